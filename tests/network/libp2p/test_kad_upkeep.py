"""How nodes of the directory find each other again, and whom they name to others."""

import json
import logging
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import trio
import trio.testing
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.peer.id import ID

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.network.libp2p import kad_proving, kad_upkeep, refresh
from cocoon_p2p.network.libp2p.addresses import Address, parse_address
from cocoon_p2p.network.libp2p.host import open_transport
from cocoon_p2p.network.libp2p.kad_node import KadNode
from cocoon_p2p.network.libp2p.kad_proving import may_be_dialled
from cocoon_p2p.network.libp2p.kad_wire import Answer, encode, find_node, judge, read_message
from cocoon_p2p.network.libp2p.kept_peers import KeptPeers
from cocoon_p2p.network.libp2p.routing_table import RoutingTable
from tests.network.libp2p.kad_nodes import (
    KEYS,
    LOOPBACK,
    identity,
    knows,
    network,
    record,
    until,
    until_found,
)


async def a_free_address() -> str:
    async with open_transport(identity(99), listen=[LOOPBACK]) as place:
        return place.addresses[0].rpartition("/p2p/")[0]


def is_unreached(caplog: pytest.LogCaptureFixture, number: int) -> bool:
    """Say whether a server was dialled back in vain."""
    peer = peer_id_text(identity(number).peer_id)
    return any(
        record.message == "server not reached" and record.peer == peer  # type: ignore[attr-defined]
        for record in caplog.records
    )


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "TICK_SECONDS", 0.2)


# ------------------------------------------------------------------ islands


@pytest.mark.slow
@pytest.mark.usefixtures("_hasty")
async def test_two_islands_join_once_one_bootstrap_reaches_the_other() -> None:
    async with network() as nodes:
        place = await a_free_address()
        later = f"{place}/p2p/{peer_id_text(identity(2).peer_id)}"
        one, its_directory = await nodes.start(1, [later])
        _, mine = await nodes.start(10, one.addresses)
        await mine.publish(record(10))
        # The other bootstrap knows nobody: its island forms by itself.
        two, other_directory = await nodes.start(2, listen=place)
        _, yours = await nodes.start(11, two.addresses)
        await yours.publish(record(11))

        await until(knows(its_directory, 2))
        await until(knows(other_directory, 1))

        # And everybody on the one is found from the other.
        await until_found(mine, record(10), record(11))
        await until_found(yours, record(10), record(11))
        await until(knows(mine, 11))
        await until(knows(yours, 10))


@pytest.mark.slow
@pytest.mark.usefixtures("_hasty")
async def test_a_node_whose_table_died_goes_back_to_its_bootstrap() -> None:
    async with network() as nodes:
        place = await a_free_address()
        bootstrap = await nodes.mortal(1, listen=place)
        _, client = await nodes.client(20, bootstrap.transport.addresses)
        await until(knows(client, 1))
        await bootstrap.end()
        await until(lambda: client.servers_known == 0)

        await nodes.start(1, listen=place)

        await until(knows(client, 1))


@pytest.mark.slow
@pytest.mark.usefixtures("_hasty")
async def test_a_node_whose_table_died_goes_back_to_whom_it_kept(tmp_path: Path) -> None:
    async with network() as nodes:
        place = await a_free_address()
        bootstrap = await nodes.mortal(1)
        other = await nodes.mortal(2, bootstrap.transport.addresses, listen=place)
        node = await nodes.mortal(
            20, bootstrap.transport.addresses, listen="", keep_in=tmp_path / "peers.json"
        )
        await until(knows(node.directory, 1, 2))
        # What was kept is read when a node starts; while it runs it is what it wrote down last.
        await node.end()
        _, again = await nodes.start(20, listen="", keep_in=tmp_path / "peers.json")
        await until(knows(again, 1, 2))
        await bootstrap.end()
        await other.end()
        await until(lambda: again.servers_known == 0)

        await nodes.start(2, listen=place)

        await until(knows(again, 2))


@pytest.mark.slow
@pytest.mark.usefixtures("_hasty")
async def test_servers_that_died_leave_the_tables_of_those_who_live() -> None:
    async with network() as nodes:
        bootstrap, its_directory = await nodes.start(1)
        mortal = await nodes.mortal(10, bootstrap.addresses)
        await until(knows(its_directory, 10))
        _, client = await nodes.client(20, bootstrap.addresses)
        await until(knows(client, 1, 10))

        await mortal.end()

        await until(lambda: (client.servers_known, its_directory.servers_known) == (1, 0))


# ------------------------------------------------------------------ a restart


@pytest.mark.slow
@pytest.mark.parametrize("listen", [LOOPBACK, ""])
async def test_a_node_that_restarts_finds_the_proxy_though_its_bootstrap_is_gone(
    tmp_path: Path, listen: str
) -> None:
    keep_in = tmp_path / "peers.json"
    async with network() as nodes:
        bootstrap = await nodes.mortal(1)
        addresses = bootstrap.transport.addresses
        _, proxy = await nodes.start(10, addresses)
        await nodes.start(11, addresses)
        await proxy.publish(record(10))
        node = await nodes.mortal(20, addresses, listen=listen, keep_in=keep_in)
        await until(knows(node.directory, 10))
        await node.end()
        await bootstrap.end()
        assert peer_id_text(identity(10).peer_id) in keep_in.read_text()

        _, again = await nodes.start(20, addresses, listen=listen, keep_in=keep_in)

        await until_found(again, record(10))


@pytest.mark.slow
async def test_a_corrupt_file_of_peers_does_not_stop_a_node(tmp_path: Path) -> None:
    keep_in = tmp_path / "peers.json"
    keep_in.write_bytes(b"\0 not at all")
    keep_in.chmod(0o600)
    async with network() as nodes:
        bootstrap, _ = await nodes.start(1)
        node = await nodes.mortal(20, bootstrap.addresses, listen="", keep_in=keep_in)
        await until(knows(node.directory, 1))

        await node.end()

        (kept,) = json.loads(keep_in.read_text())["peers"]
        assert kept["peer"] == peer_id_text(identity(1).peer_id)


# ------------------------------------------------------------------ who enters a table


@pytest.mark.slow
async def test_a_server_that_can_be_dialled_back_is_named_to_others_and_no_other_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "cocoon_p2p.network.libp2p.kad_proving")
    async with network() as nodes:
        bootstrap, directory = await nodes.start(1)
        dead = [await a_free_address()]
        liar = await nodes.enter(open_transport(identity(12), listen=[LOOPBACK], announce=dead))
        liar.accept_streams(KEYS.protocol, lambda _: trio.sleep_forever())
        await liar.dial(bootstrap.addresses)
        await nodes.start(10, bootstrap.addresses)
        await until(knows(directory, 10))
        await until(lambda: is_unreached(caplog, 12))

        question = find_node(identity(12).peer_id)
        client = await nodes.enter(open_transport(identity(30)))
        await client.dial(bootstrap.addresses)
        stream = await client.open_stream(bootstrap.peer_id, KEYS.protocol)
        await stream.write(encode(question))
        named = judge(await read_message(stream), question).closer

        assert [entry.peer for entry in named] == [identity(10).peer_id]
        assert directory.servers_known == 1


@pytest.mark.slow
@pytest.mark.usefixtures("_hasty")
async def test_a_server_is_dialled_back_where_it_was_though_nobody_remembers_what_it_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kad_upkeep, "DIALLED_SECONDS", 0.0)
    async with network() as nodes:
        bootstrap, directory = await nodes.start(1)
        await nodes.start(10, bootstrap.addresses)
        await until(knows(directory, 10))
        peer = identity(10).peer_id
        bootstrap.swarm.peerstore.clear_addrs(ID(peer))
        cleared = time.time()

        await until(lambda: (entry := directory.table.entry(peer)) is None or entry.dialled > cleared)

        assert peer in directory.table


async def test_a_node_that_is_cut_off_does_not_forget_whom_it_kept(tmp_path: Path) -> None:
    table, kept = RoutingTable(identity(20).peer_id), KeptPeers(tmp_path / "peers.json", "demo")
    for number in (1, 2):
        place = Address("ip4", "127.0.0.1", 4000 + number)
        table.heard(identity(number).peer_id, (place,), now=time.time() - 90)
    kept.keep(table)

    async def ask(peer: PeerId, _question: Message) -> Answer:
        await trio.lowlevel.checkpoint()
        if peer == identity(1).peer_id:
            table.remove(peer)
        raise Unavailable("the network is down")

    async def look_up(_question: Message, *, closest: int) -> tuple[PeerId, ...]:
        await trio.lowlevel.checkpoint()
        return ()

    node = SimpleNamespace(
        table=table,
        kept=kept,
        ask=ask,
        look_up=look_up,
        late=set[PeerId](),
        reached=dict[PeerId, bool](),
        bootstraps=(),
        refresh=refresh.Refresh(identity(20).peer_id),
        proving=SimpleNamespace(prove_soon=lambda _: None),
        transport=SimpleNamespace(peer_id=identity(20).peer_id),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kad_upkeep.Upkeep(cast(KadNode, node)).run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    assert len(table) < 2
    assert set(kept.peers) == {identity(1).peer_id, identity(2).peer_id}


@pytest.mark.slow
async def test_somebody_elses_address_does_not_bring_a_server_in(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "cocoon_p2p.network.libp2p.kad_proving")
    async with network() as nodes:
        bootstrap, directory = await nodes.start(1)
        other = await nodes.enter(open_transport(identity(13), listen=[LOOPBACK]))
        stolen = other.addresses[0].rpartition("/p2p/")[0]
        liar = await nodes.enter(open_transport(identity(12), listen=[LOOPBACK], announce=[stolen]))
        liar.accept_streams(KEYS.protocol, lambda _: trio.sleep_forever())
        await liar.dial(bootstrap.addresses)

        await until(lambda: is_unreached(caplog, 12))

        assert directory.servers_known == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\xff" * 200,
        b"\x13/multistream/1.0.0\n\x07/noise\n",
        b"\x13/multistream/1.0.0\n\x07/noise\n\x00\x60" + bytes(range(96)) + b"\xff" * 500,
        b"\x13/multistream/1.0.0\n\x07/noise\n\x00\x00\xff\xff" + bytes(1000),
        b"\x13/multistream/1.0.0\n\x03na\n\x0b/tls/1.0.0\n" + b"\x16\x03\x01" * 99,
    ],
)
async def test_whatever_is_said_to_who_dials_back_ends_nothing(
    caplog: pytest.LogCaptureFixture, said: bytes
) -> None:
    caplog.set_level(logging.DEBUG, "cocoon_p2p.network.libp2p.kad_proving")

    async def say(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(said)
            await stream.receive_some()
            await stream.send_eof()

    async with network() as nodes, trio.open_nursery() as strangers:
        (listener,) = await strangers.start(partial(trio.serve_tcp, say, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        bootstrap = await nodes.mortal(1)
        here = [f"/ip4/127.0.0.1/tcp/{port}"]
        liar = await nodes.mortal(12, bootstrap.transport.addresses, announce=here)
        await until(lambda: is_unreached(caplog, 12))
        honest = await nodes.mortal(10, bootstrap.transport.addresses)
        await until(knows(bootstrap.directory, 10))
        for each in (honest, liar, bootstrap):
            await each.end()
        strangers.cancel_scope.cancel()


@pytest.mark.slow
async def test_an_address_that_never_answers_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kad_proving, "AT_ONCE_MAX", 2)
    async with network() as nodes:
        silent = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = silent[0].socket.getsockname()[1]
        bootstrap, directory = await nodes.start(1)
        liar = await nodes.enter(
            open_transport(identity(12), listen=[LOOPBACK], announce=[f"/ip4/127.0.0.1/tcp/{port}"])
        )
        liar.accept_streams(KEYS.protocol, lambda _: trio.sleep_forever())
        await liar.dial(bootstrap.addresses)

        await nodes.start(10, bootstrap.addresses)

        await until(knows(directory, 10))
        await silent[0].aclose()


@pytest.mark.parametrize(
    ("text", "said_from", "may"),
    [
        ("/ip4/127.0.0.1/tcp/22", "8.8.8.0/24", False),
        ("/ip4/192.168.1.1/tcp/80", "8.8.8.0/24", False),
        ("/ip4/192.168.1.1/tcp/80", "", False),
        ("/ip4/9.9.9.9/tcp/4001", "8.8.8.0/24", True),
        ("/ip4/9.9.9.9/tcp/4001", "", True),
        ("/dns/example.org/tcp/4001", "8.8.8.0/24", True),
        ("/ip4/192.168.1.1/tcp/4001", "192.168.1.0/24", True),
        ("/ip4/127.0.0.1/tcp/4001", "127.0.0.0/24", True),
        ("/ip4/9.9.9.9/tcp/0", "8.8.8.0/24", False),
        ("/ip4/0.0.0.0/tcp/4001", "127.0.0.0/24", False),
        ("/ip6/::1/tcp/4001", "2a00::/48", False),
    ],
)
def test_nobody_from_the_internet_makes_us_dial_into_our_own_house(
    text: str, said_from: str, may: bool
) -> None:
    assert may_be_dialled(parse_address(text)[0], said_from) == may
