"""The image's recipe and the network of containers, as far as they can be tried without an engine.

hadolint reads the Dockerfile. The compose file is read by PyYAML, which the docs' environment has; the files
that its `setup` writes are those of a network that runs, here on this machine's loopback.
"""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from cocoon_p2p.testing.processes import NodeProcess
from deploy.docker.local_network import main as set_up
from tests.failover.gates import free_ports

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deploy" / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
YAML = ROOT / ".venv-docs" / "bin" / "python"
HADOLINT = Path(sys.executable).with_name("hadolint")


def pins(lock: Path) -> dict[str, set[str]]:
    """Read a lock: for each pinned release its hashes."""
    text = lock.read_text().replace("\\\n", "")
    lines = (line for line in text.splitlines() if line and not line.startswith(("#", " ")))
    return {line.split(" ")[0]: set(re.findall(r"sha256:[0-9a-f]{64}", line)) for line in lines}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    if not YAML.exists():
        pytest.skip("no PyYAML to read the compose file with: make docs brings one")
    read = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))"
    printed = subprocess.run(
        [YAML, "-c", read], input=(DOCKER / "compose.yaml").read_bytes(), capture_output=True, check=True
    )
    found: dict[str, Any] = json.loads(printed.stdout)
    return found


@pytest.mark.skipif(
    not HADOLINT.exists(), reason="hadolint is missing: `make test` installs it with the locked tools"
)
def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    judged = subprocess.run([HADOLINT, DOCKER / "Dockerfile"], capture_output=True, text=True, check=False)

    assert (judged.returncode, judged.stdout) == (0, "")


def test_the_image_runs_as_nobody_and_installs_only_what_is_hashed() -> None:
    assert re.search(r"^USER 1\d{4}$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^STOPSIGNAL SIGTERM$", DOCKERFILE, re.MULTILINE)
    installs = re.findall(r"pip install (.*)", DOCKERFILE)
    assert len(installs) == 2
    assert all("--no-deps" in line for line in installs)
    assert "--require-hashes -r requirements.lock" in installs[0]
    assert installs[1].split() == ["--no-deps", "--no-build-isolation", "."]


def test_the_images_lock_is_a_part_of_the_tested_one() -> None:
    image, tested = pins(DOCKER / "requirements.lock"), pins(ROOT / "requirements.lock")

    assert image.keys() <= tested.keys()
    assert all(hashes and hashes <= tested[release] for release, hashes in image.items())
    assert any(release.startswith("hatchling==") for release in image)
    assert not any(release.startswith(("playwright==", "mypy==")) for release in image)


def test_what_the_dockerfile_copies_is_sent_to_the_engine() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }

    assert ignore[1] == "*"
    assert {f"!{source}" for source in copied} == {line for line in ignore if line.startswith("!")}
    assert all((ROOT / source).exists() for source in copied)


def test_a_service_waits_for_what_it_stands_on(compose: dict[str, Any]) -> None:
    services: dict[str, Any] = compose["services"]
    assert set(services) == {
        *("setup", "chain", "bootstrap", "proxy", "worker-1", "worker-2", "explorer", "client")
    }

    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            is_checked = not services[other].get("healthcheck", {}).get("disable")
            wanted = "service_healthy" if is_checked else "service_completed_successfully"
            assert how["condition"] == wanted, (name, other)
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["stop_grace_period"] == "2m"


def test_nothing_is_open_but_to_this_machine(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", ())]

    assert ports == ["127.0.0.1:8920:8920"]


def test_the_file_that_a_health_check_looks_at_is_the_one_that_the_service_runs_from(
    compose: dict[str, Any],
) -> None:
    for name in ("bootstrap", "proxy", "worker-1", "worker-2"):
        service = compose["services"][name]
        role, file = service["command"]

        assert role == name.partition("-")[0]
        assert service["healthcheck"]["test"] == ["CMD", "cocoon", "status", file]
        assert file == f"/var/lib/cocoon/{name}/node.toml"


@pytest.mark.long
def test_what_setup_writes_are_the_files_of_a_network(tmp_path: Path) -> None:
    setup = [sys.executable, DOCKER / "local_network.py", tmp_path]
    subprocess.run(setup, check=True)
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    subprocess.run(setup, check=True)

    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == written
    for name in ("bootstrap", "proxy", "worker-1", "worker-2", "client"):
        command = [sys.executable, "-m", "cocoon_p2p.cli", "config", "check", tmp_path / name / "node.toml"]
        checked = subprocess.run(command, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
    assert len((tmp_path / "chain" / "arguments").read_text().splitlines()) == 2


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_the_commands_of_the_compose_file_bring_up_a_network_that_sells(
    tmp_path: Path, compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # In a container a page's usual port is its own.
    monkeypatch.setenv("COCOON_PAGE__LISTEN", "")
    chain, bootstrap, proxy = free_ports(3)
    client = str(tmp_path / "client" / "node.toml")
    set_up(
        tmp_path,
        {"bootstrap": f"/ip4/127.0.0.1/tcp/{bootstrap}", "proxy": f"/ip4/127.0.0.1/tcp/{proxy}"},
    )

    def here(text: str) -> str:
        for there, other in (
            ("/var/lib/cocoon", str(tmp_path)),
            ("172.30.57.2:4443", f"127.0.0.1:{chain}"),
            ("cocoon devchain", f"{sys.executable} -m cocoon_p2p.cli devchain"),
            ("$$", "$"),
        ):
            text = text.replace(there, other)
        return text

    async with trio.open_nursery() as nursery:
        (command,) = compose["services"]["chain"]["command"]
        running = await trio.lowlevel.open_process(["/bin/sh", "-c", here(command)], stdin=subprocess.DEVNULL)
        try:
            await is_written(tmp_path / "chain" / "chain.json")
            nodes: list[NodeProcess] = []
            for name in ("bootstrap", "proxy", "worker-1"):
                role, file = map(here, compose["services"][name]["command"])
                nodes.append(NodeProcess(name, (role, file), Path(file)))
                await nodes[-1].start(nursery)
                await nodes[-1].wait_for("ready")
            await ran("channels", "open", "1", "--config", client)
            said = await ran("ask", "Translate to Spanish: the red house", "--config", client)
            for node in reversed(nodes):
                await node.stop(within_seconds=60)
        finally:
            running.send_signal(signal.SIGTERM)
            with trio.CancelScope(shield=True):
                await running.wait()
        nursery.cancel_scope.cancel()

    assert said.strip() == "la casa roja"


async def ran(*arguments: str) -> str:
    """Run a command; give what it printed."""
    command = [sys.executable, "-m", "cocoon_p2p.cli", *arguments]
    ended = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout.decode()


async def is_written(file: Path) -> None:
    """Wait for what the chain's health check looks at."""
    at = trio.Path(file)
    with trio.fail_after(60):
        while not (await at.exists() and (await at.stat()).st_size):  # noqa: ASYNC110 (another process's)
            await trio.sleep(0.1)
