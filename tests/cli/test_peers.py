"""`cocoon peers`: what is shown of a running node's network, and what is said where none runs."""

import json
from functools import partial
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from cocoon_p2p.cli import cocoon, exit_code, leaves
from cocoon_p2p.config import BootstrapFile, load
from cocoon_p2p.control import serve_control
from cocoon_p2p.errors import CocoonError, ConfigurationError
from cocoon_p2p.network.health import (
    BootstrapHealth,
    BucketHealth,
    Connections,
    Health,
    Kept,
    RangeHealth,
)
from cocoon_p2p.network.reachability import ReachabilityView, Seen
from cocoon_p2p.node import CONTROL_SOCKET, run_bootstrap
from cocoon_p2p.node.sole import sole
from cocoon_p2p.overview import PEERS, show_peers

HEALTH = Health(
    peer="12D3KooWLZw3LsHqWVfFxX6o8XEnP8wfPCw3SkikvjJ9BNj8ohYy",
    addresses=["/ip4/203.0.113.7/tcp/4001/p2p/12D3KooWLZw3LsHqWVfFxX6o8XEnP8wfPCw3SkikvjJ9BNj8ohYy"],
    reachability="public",
    servers=21,
    looked_up_seconds_ago=12.5,
    buckets=[BucketHealth(256, 20, 3, 4.0, None), BucketHealth(255, 1, 0, 61.0, 12.5)],
    bootstraps=[
        BootstrapHealth("12D3KooWBootstrapA", ["/ip4/203.0.113.8/tcp/4001"], True),
        BootstrapHealth("12D3KooWBootstrapB", ["/dns/example.org/tcp/4001"], False),
        BootstrapHealth("12D3KooWBootstrapC", ["/dns/example.net/tcp/4001"], None),
    ],
    connections=Connections(5, 3, 2, [RangeHealth("203.0.113.0/24", 4), RangeHealth("", 1)]),
    kept=Kept(7, 2),
    peers_for_restart=19,
)
CLIENT = Health("12D3KooWClient", [], "unknown", 0, None, [], [], Connections(0, 0, 0, []), None, 0)

REACH = ReachabilityView(
    "private",
    ("/ip4/203.0.113.8/tcp/4001/p2p/12D3KooWRelay/p2p-circuit",),
    (Seen("/ip4/203.0.113.7/tcp/4001", "observed", 1, 3),),
    ("203.0.113.7",),
    "forward TCP port 4001",
)

CONFIG = """
[network]
name = "demo"
listen = ["/ip4/127.0.0.1/tcp/0"]
[bootstrap]
[data]
directory = "data"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    file = tmp_path / "bootstrap.toml"
    file.write_text(CONFIG)
    return file


async def run(*arguments: str | Path) -> Result:
    return await trio.to_thread.run_sync(CliRunner().invoke, cocoon, ["peers", *map(str, arguments)])


async def shown(config: Path, role: str, health: Health, *options: str) -> str:
    """Show a node that stands so."""
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            answer = PEERS.by(partial(show_peers, role, "demo", lambda: health, lambda: REACH))  # type: ignore[arg-type]
            await nursery.start(serve_control, config.parent / "data" / CONTROL_SOCKET, [answer])
            done = await run(config, *options)
            nursery.cancel_scope.cancel()
    assert done.exit_code == 0, done
    return done.stdout


async def test_a_person_sees_who_is_there_and_what_is_wrong(config: Path) -> None:
    text = await shown(config, "bootstrap", HEALTH)

    for said in (
        "bootstrap on demo",
        HEALTH.peer,
        "public",
        "21, 19 written down for a restart",
        "5: 3 inbound, 2 outbound",
        "7 records, 2 announcements",
        "203.0.113.0/24",
        "/ip4/203.0.113.7/tcp/4001: reached by 1, missed by 3",
        "forward TCP port 4001",
    ):
        assert said in text
    rows = [line.split() for line in text.splitlines()]
    assert ["256", "20", "3", "4", "never"] in rows
    assert ["unknown", "1"] in rows
    assert ["…otstrapB", "no", "/dns/example.org/tcp/4001"] in rows
    assert ["…otstrapC", "not", "asked", "yet", "/dns/example.net/tcp/4001"] in rows


async def test_who_only_asks_and_knows_nobody_is_shown_too(config: Path) -> None:
    text = await shown(config, "client", CLIENT)

    assert "nothing, it only asks" in text
    assert "bucket" not in text


async def test_the_json_has_the_fields_that_programs_read(config: Path) -> None:
    """A field that goes, or has another name, breaks somebody's monitoring."""
    found = json.loads(await shown(config, "bootstrap", HEALTH, "--json"))

    assert set(found) == {"role", "network", "health", "reach"}
    assert set(found["reach"]) == {"reachability", "told", "seen", "observed", "advice"}
    assert found["reach"]["seen"] == [
        {"address": "/ip4/203.0.113.7/tcp/4001", "source": "observed", "reached_by": 1, "missed_by": 3}
    ]
    health = found["health"]
    assert set(health) == {
        "peer", "addresses", "reachability", "servers", "looked_up_seconds_ago", "buckets", "bootstraps",
        "connections", "kept", "peers_for_restart",
    }  # fmt: skip
    assert health["buckets"][0] == {
        "bucket": 256, "servers": 20, "standing_by": 3, "heard_seconds_ago": 4.0,
        "looked_up_seconds_ago": None,
    }  # fmt: skip
    assert health["bootstraps"][1] == {
        "peer": "12D3KooWBootstrapB", "addresses": ["/dns/example.org/tcp/4001"], "is_reached": False,
    }  # fmt: skip
    assert health["connections"]["ranges"][0] == {"range": "203.0.113.0/24", "connections": 4}
    assert health["kept"] == {"records": 7, "announcements": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CONFIG, "start it: cocoon bootstrap {}"),
        (CONFIG.replace("[bootstrap]", ""), "start it: cocoon bootstrap {}"),
        (CONFIG.replace("[bootstrap]", "[client]"), "a client runs only while it asks"),
    ],
)
def test_where_no_node_runs_it_is_said_how_to_start_one(config: Path, text: str, said: str) -> None:
    config.write_text(text)

    done = CliRunner().invoke(cocoon, ["peers", str(config)])

    assert done.exception is not None
    (failure,) = leaves(done.exception)
    assert isinstance(failure, CocoonError)
    assert exit_code(failure) == 3
    assert "only a running node knows its peers" in str(failure)
    assert failure.hint == said.format(config)


@pytest.mark.slow
async def test_a_bootstrap_node_tells_of_itself_and_is_alone_in_its_folder(config: Path) -> None:
    loaded = load(BootstrapFile, config, {})
    steps: dict[str, object] = {}
    stop, ready = trio.Event(), trio.Event()

    def announce(step: str, **facts: object) -> None:
        steps[step] = facts
        if step == "ready":
            ready.set()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_bootstrap, loaded, announce, stop)
            await ready.wait()
            found = json.loads((await run(config, "--json")).stdout)
            with pytest.raises(ConfigurationError, match="another node runs in this data folder"):
                async with sole(loaded.data_directory):
                    pass
            stop.set()

    assert found["role"] == "bootstrap"
    assert {"addresses": found["health"]["addresses"]} == steps["listening"]
    assert found["health"]["kept"] == {"records": 0, "announcements": 0}
    async with sole(loaded.data_directory):
        pass
