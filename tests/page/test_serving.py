"""A node serves its page where its file says, and works on whatever becomes of that."""

import socket
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from cocoon_p2p.config import BootstrapFile, Loaded, PageSection, ProxyFile, WorkerFile, load
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.node.paging import PORTS, serve_page
from cocoon_p2p.node.showing import Showing
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.overview.channels import ChannelView
from cocoon_p2p.overview.deeds import Close
from cocoon_p2p.page import TOKEN_FILE
from cocoon_p2p.testing.processes import open_local_network
from tests.page.scene import CHANNEL, by_owner, worker_snapshot


class Told:
    """The steps that were told."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, dict[str, object]]] = []
        self.has_told = trio.Event()

    def __call__(self, step: str, **facts: object) -> None:
        self.steps.append((step, facts))
        self.has_told.set()


class NoDeeds:
    """A node's channels: there are none."""

    async def close(self, request: Close, say: Any) -> None:
        await trio.lowlevel.checkpoint()
        if request.channel != CHANNEL:
            raise ConfigurationError("there is no such channel", hint="look again")
        view: ChannelView = worker_snapshot().channels[0]
        await say(view)


def proxy_file(folder: Path, page: str) -> Loaded[ProxyFile]:
    (folder / "data").mkdir(mode=0o700, exist_ok=True)
    path = folder / "proxy.toml"
    path.write_text(f'[network]\nname = "local"\n[proxy]\n[page]\n{page}\n')
    return load(ProxyFile, path, {})


def showing() -> Showing:
    shown, health = Showing("proxy", "local"), worker_snapshot().health
    shown.stands_on(lambda: health, lambda: worker_snapshot().reach, None)
    return shown


async def told_of(loaded: Loaded[ProxyFile]) -> list[tuple[str, dict[str, object]]]:
    """Give what is told by a page that does not come to be."""
    told = Told()
    with trio.fail_after(60):
        await serve_page(loaded, told, showing())
    return told.steps


async def test_the_page_is_told_of_by_its_address_and_shows_the_node(tmp_path: Path) -> None:
    told, loaded = Told(), proxy_file(tmp_path, 'listen = "127.0.0.1:0"')
    with trio.fail_after(60):
        async with open_service_nursery() as nursery:
            nursery.start_soon(serve_page, loaded, told, showing(), NoDeeds())
            await told.has_told.wait()
            ((step, facts),) = told.steps
            async with httpx.AsyncClient(base_url=str(facts["url"]), trust_env=False) as client:
                page, ready = await client.get("/"), await client.get("/readyz")
                owner = by_owner(client, (loaded.data_directory / TOKEN_FILE).read_text().strip())
                closed = await client.post("/act/close", headers=owner, json={"channel": CHANNEL})
                unknown = await client.post("/act/close", headers=owner, json={"channel": "0" * 64})
                drained = await client.post("/act/drain", headers=owner)

    assert step == "page"
    assert "Proxy" in page.text
    assert ready.text == "not ready: it is not announced yet: nobody finds it\n"
    assert closed.json() == {"said": "channel 3f3f3f3f is open"}
    assert (unknown.status_code, unknown.json()["hint"]) == (400, "look again")
    assert drained.json()["error"] == "the node is still starting"


async def test_a_port_that_is_taken_is_told_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ((step, facts),) = await told_of(proxy_file(tmp_path, f'listen = "127.0.0.1:{port}"'))

    assert (step, facts["status"]) == ("page", "failed")
    assert str(port) in str(facts["why"])
    assert "0 takes any that is free" in str(facts["hint"])


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:8910"])
async def test_others_are_not_let_in_by_an_address_alone(tmp_path: Path, listen: str) -> None:
    ((_, facts),) = await told_of(proxy_file(tmp_path, f'listen = "{listen}"'))

    assert facts["status"] == "failed"
    assert "others can reach" in str(facts["why"])
    assert "ssh -L" in str(facts["hint"])


@pytest.mark.parametrize("listen", ["8910", "example.org:8910", "127.0.0.1:70000", "127.0.0.1:", "nonsense"])
async def test_what_is_no_address_is_told(tmp_path: Path, listen: str) -> None:
    ((_, facts),) = await told_of(proxy_file(tmp_path, f'listen = "{listen}"'))

    assert "not an address to listen on" in str(facts["why"])


async def test_a_missing_extra_is_told_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cocoon_p2p.page", None)

    ((_, facts),) = await told_of(proxy_file(tmp_path, 'listen = "127.0.0.1:0"'))

    assert facts["status"] == "failed"
    assert "pip install 'cocoon-p2p[page]'" in str(facts["hint"])


async def test_a_token_that_others_can_read_is_told_and_there_is_no_page(tmp_path: Path) -> None:
    loaded = proxy_file(tmp_path, 'listen = "127.0.0.1:0"')
    (loaded.data_directory / TOKEN_FILE).write_text("x" * 64)
    (loaded.data_directory / TOKEN_FILE).chmod(0o644)

    ((_, facts),) = await told_of(loaded)

    assert "can be read by others" in str(facts["why"])


async def test_a_page_that_is_switched_off_is_not_there(tmp_path: Path) -> None:
    loaded = proxy_file(tmp_path, 'listen = ""')

    assert await told_of(loaded) == []
    assert not (loaded.data_directory / TOKEN_FILE).exists()


def test_roles_on_one_machine_want_ports_of_their_own() -> None:
    assert set(PORTS) == {WorkerFile, ProxyFile, BootstrapFile}
    assert len(set(PORTS.values())) == 3
    assert PageSection().listen is None


@pytest.mark.long
async def test_every_node_of_a_network_serves_its_page_and_drains_when_told(tmp_path: Path) -> None:
    on = {"page": {"listen": "127.0.0.1:0"}}
    names = ("bootstrap", "proxy", "worker-1")
    with trio.fail_after(300):
        async with (
            open_local_network(tmp_path, workers=1, more=dict.fromkeys(names, on)) as network,
            httpx.AsyncClient(timeout=60, trust_env=False) as client,
        ):
            urls = {name: str((await network.nodes[name].wait_for("page"))["url"]) for name in names}
            for url in urls.values():
                # The page comes before the node is ready.
                while (await client.get(f"{url}/readyz")).status_code != 200:  # noqa: ASYNC110 (nothing tells)
                    await trio.sleep(0.1)
            token = (network.data_directory("worker-1") / TOKEN_FILE).read_text().strip()
            headers = {"origin": urls["worker-1"], "x-cocoon-token": token}
            drained = await client.post(f"{urls['worker-1']}/act/drain", headers=headers)
            while (await client.get(f"{urls['worker-1']}/readyz")).status_code == 200:  # noqa: ASYNC110 (nothing tells)
                await trio.sleep(0.1)
            page = await client.get(urls["worker-1"])

    assert drained.json() == {"said": "draining: nothing new is taken"}
    assert "draining" in page.text
