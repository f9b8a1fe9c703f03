"""Nodes that reach each other through a relay, on loopback."""

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing
from libp2p.network.connection.swarm_connection import SwarmConn

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import Identity, PeerId, peer_id_text
from cocoon_p2p.network.libp2p import hole_punching, relay_client, relay_server, relayed, reservations
from cocoon_p2p.network.libp2p.addresses import Address, parse_address
from cocoon_p2p.network.libp2p.circuit import CircuitIO, raw_connection
from cocoon_p2p.network.libp2p.delimited import delimit, read_delimited
from cocoon_p2p.network.libp2p.hole_wire import DCUTR, observed, sync
from cocoon_p2p.network.libp2p.host import Libp2pTransport, open_transport
from cocoon_p2p.network.libp2p.limits import Limits
from cocoon_p2p.network.libp2p.relay_book import RelayLimits
from cocoon_p2p.network.libp2p.relay_client import RelayClient
from cocoon_p2p.network.libp2p.relay_server import Relay, carry
from cocoon_p2p.network.libp2p.relay_wire import (
    HOP,
    MESSAGE_MAX_BYTES,
    STOP,
    Answer,
    Limit,
    Status,
    connect,
    hop_status,
    incoming,
    judge_hop,
    judge_stop,
    reserve,
)
from cocoon_p2p.network.libp2p.swarm import is_relayed
from cocoon_p2p.network.transport import Stream
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.protocols.ids import CHANNEL
from tests.network.libp2p.relaying import (
    CLIENT,
    ECHO,
    LOOPBACK,
    OTHER_RELAY,
    PROXY,
    RELAY,
    echo,
    judge_unreachable,
    open_private,
    open_relay,
    say,
    until_direct,
)

pytestmark = pytest.mark.slow

IP_LOCAL_PORT_RANGE = 51
"linux/in.h"


@pytest.fixture(autouse=True)
async def _nothing_may_hang() -> AsyncIterator[None]:
    with trio.fail_after(60):
        yield


async def test_a_node_that_nobody_can_dial_is_reached_through_its_relay() -> None:
    async with (
        open_relay() as (relay, _),
        open_private(relay) as proxy,
        open_transport(CLIENT, punches_holes=False) as client,
    ):
        assert all(f"{peer_id_text(RELAY.peer_id)}/p2p-circuit/p2p/" in text for text in proxy.addresses)
        peer = await client.dial(proxy.addresses)
        stream = await client.open_stream(peer, ECHO)

        assert peer == PROXY.peer_id
        assert await say(stream, b"hello" * 100_000) == b"hello" * 100_000
        assert [is_relayed(conn) for conn in client.swarm.open_connections(peer)] == [True]
        assert [is_relayed(conn) for conn in proxy.swarm.open_connections(CLIENT.peer_id)] == [True]


async def test_a_relayed_connection_becomes_direct_and_its_streams_go_on() -> None:
    async with (
        open_relay() as (relay, _),
        open_private(relay, punches_holes=True) as proxy,
        open_transport(CLIENT) as client,
    ):
        await client.dial(proxy.addresses)
        early = await client.open_stream(PROXY.peer_id, ECHO)
        assert await say(early, b"before") == b"before"
        await until_direct(client, PROXY)
        await until_direct(proxy, CLIENT)
        late = await client.open_stream(PROXY.peer_id, ECHO)

        assert early.is_relayed
        assert not late.is_relayed
        assert await say(early, b"after") == b"after"
        assert await say(late, b"direct") == b"direct"


async def test_a_hole_is_punched_from_a_port_that_no_other_program_comes_to_share() -> None:
    async with (
        open_relay() as (relay, _),
        open_private(relay, punches_holes=True) as proxy,
        open_transport(CLIENT) as client,
    ):
        await client.dial(relay.addresses)
        to_relay = client.swarm.socket_of(client.swarm.direct_connection(RELAY.peer_id))
        assert to_relay is not None
        with socket.create_server(("127.0.0.1", 0)) as elsewhere, socket.socket() as other:
            choose_only(other, port=to_relay.getsockname()[1])
            with suppress(OSError):
                other.connect(elsewhere.getsockname())

            await client.dial(proxy.addresses)
            await until_direct(client, PROXY)


def choose_only(sock: socket.socket, *, port: int) -> None:
    """Have the kernel give a socket that dials this port, if it would give it at all."""
    try:
        sock.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, struct.pack("=HH", port, port))
    except OSError:
        pytest.skip("Linux 6.3 or newer is missing: an older kernel cannot be told which port to choose")


# ------------------------------------------------------------------ moving to a better connection


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relayed, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(relayed, "LINGER_SECONDS", 0.1)


def relayed_connections(transport: Libp2pTransport, peer: Identity) -> list[SwarmConn]:
    return [conn for conn in transport.swarm.open_connections(peer.peer_id) if is_relayed(conn)]


async def test_a_relayed_connection_ends_when_only_streams_are_left_that_are_opened_again(
    quickly: None,
) -> None:
    async with (
        open_relay() as (relay, _),
        open_private(relay, punches_holes=True) as proxy,
        open_transport(CLIENT) as client,
    ):
        proxy.accept_streams(CHANNEL, echo)
        await client.dial(proxy.addresses)
        (old,) = relayed_connections(client, PROXY)
        answer = await client.open_stream(PROXY.peer_id, ECHO)
        channel = await client.open_stream(PROXY.peer_id, CHANNEL)
        assert await say(answer, b"1") + await say(channel, b"2") == b"12"
        await until_direct(client, PROXY)

        assert answer.is_superseded
        assert not old.is_closed
        assert await say(answer, b"goes on") == b"goes on"
        await answer.close_write()
        assert await answer.read(1) == b""
        await old.event_closed.wait()

        with pytest.raises(Unavailable):
            await say(channel, b"lost")
        again = await client.open_stream(PROXY.peer_id, CHANNEL)
        assert not again.is_superseded
        assert await say(again, b"opened again") == b"opened again"


@pytest.mark.parametrize("limit", [RelayLimits(circuit_seconds=4), RelayLimits(circuit_bytes=100_000)])
async def test_who_dialled_through_a_relay_has_another_connection_before_the_limit_cuts_one(
    quickly: None, limit: RelayLimits
) -> None:
    async with (
        open_relay(limits=limit) as (relay, _),
        open_private(relay) as proxy,
        open_transport(CLIENT, punches_holes=False) as client,
    ):
        await client.dial(proxy.addresses)
        (old,) = relayed_connections(client, PROXY)
        early = await client.open_stream(PROXY.peer_id, ECHO)
        while len(relayed_connections(client, PROXY)) < 2:
            await say(early, bytes(1000))
            await trio.sleep(0.02)
        late = await client.open_stream(PROXY.peer_id, ECHO)

        assert early.is_superseded
        assert not late.is_superseded
        assert await say(late, b"new") == b"new"
        with pytest.raises(Unavailable):
            while True:
                await say(early, bytes(1000))
        await old.event_closed.wait()
        assert await say(late, b"still here") == b"still here"


async def test_a_connection_that_nobody_uses_is_not_renewed(quickly: None) -> None:
    async with (
        open_relay(limits=RelayLimits(circuit_seconds=1)) as (relay, served),
        open_private(relay) as proxy,
        open_transport(CLIENT, punches_holes=False) as client,
    ):
        await client.dial(proxy.addresses)
        await client.wait_disconnected(PROXY.peer_id)
        await proxy.wait_disconnected(CLIENT.peer_id)

        assert served.book.circuits == 0


# ------------------------------------------------------------------ what a relay does not do


async def hop(client: Libp2pTransport, peer: PeerId, message: bytes) -> Answer:
    """Say something to a relay and give its answer."""
    stream = await client.open_stream(peer, HOP)
    await stream.write(message)
    answer = judge_hop(await read_delimited(stream, size_max_bytes=MESSAGE_MAX_BYTES))
    assert isinstance(answer, Answer)
    stream.reset()
    return answer


async def test_a_relay_says_by_the_codes_of_the_specification_what_it_does_not_do() -> None:
    async with (
        open_relay() as (relay, _),
        open_private(relay),
        open_transport(CLIENT, punches_holes=False) as client,
    ):
        await client.dial(relay.addresses)

        said = [
            await hop(client, RELAY.peer_id, message)
            for message in (
                connect(OTHER_RELAY.peer_id),
                connect(RELAY.peer_id),
                connect(CLIENT.peer_id),
                delimit(b"\xff\xff"),
                delimit(b""),
                hop_status(Status.OK),
            )
        ]

        assert [answer.status for answer in said] == [
            Status.NO_RESERVATION,
            Status.PERMISSION_DENIED,
            Status.PERMISSION_DENIED,
            Status.MALFORMED_MESSAGE,
            Status.MALFORMED_MESSAGE,
            Status.UNEXPECTED_MESSAGE,
        ]


async def test_a_relay_protects_those_who_hold_a_reservation_and_nobody_who_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    protected: set[PeerId] = set()

    def protect(peer: PeerId, _tag: str) -> None:
        protected.add(peer)

    def unprotect(peer: PeerId, _tag: str) -> None:
        protected.discard(peer)

    async with open_relay() as (relay, _), open_private(relay):
        monkeypatch.setattr(relay.swarm, "protect_peer", protect)
        monkeypatch.setattr(relay.swarm, "unprotect_peer", unprotect)
        for seed in range(3):
            passing = Identity.from_seed(bytes([seed]) * 32)
            async with open_transport(passing) as client:
                await client.dial(relay.addresses)
                assert (await hop(client, RELAY.peer_id, reserve())).status == Status.OK
            await relay.wait_disconnected(passing.peer_id)
        async with open_transport(CLIENT) as client:
            await client.dial(relay.addresses)
            await hop(client, RELAY.peer_id, reserve())

            assert protected == {CLIENT.peer_id}


async def test_nothing_is_relayed_or_reserved_over_a_relayed_connection() -> None:
    async with (
        open_relay() as (relay, _),
        open_private(relay) as proxy,
        open_transport(CLIENT, punches_holes=False) as client,
    ):
        Relay(proxy, PROXY, RelayLimits())
        await client.dial(proxy.addresses)

        for message in (reserve(), connect(RELAY.peer_id)):
            answer = await hop(client, PROXY.peer_id, message)
            assert answer.status == Status.PERMISSION_DENIED


async def test_a_peer_that_is_no_relay_of_ours_passes_nobody_on_to_us() -> None:
    async with (
        open_relay() as (relay, _),
        open_private(relay) as proxy,
        open_transport(CLIENT) as client,
    ):
        listening = [
            f"{text}/p2p/{peer_id_text(PROXY.peer_id)}" for text in proxy.announced.offered("listening")
        ]
        await client.dial(listening)
        stream = await client.open_stream(PROXY.peer_id, STOP)
        await stream.write(incoming(OTHER_RELAY.peer_id, Limit()))
        answer = judge_stop(await read_delimited(stream, size_max_bytes=MESSAGE_MAX_BYTES))

        assert answer == Answer(Status.PERMISSION_DENIED)


async def test_who_cannot_prove_the_key_that_was_dialled_is_not_connected() -> None:
    # The reservation is another peer's: the relay reaches it, and it proves its own key only.
    async with (
        open_relay() as (relay, _),
        open_private(relay) as proxy,
        open_transport(CLIENT, punches_holes=False) as client,
    ):
        await client.dial(relay.addresses)
        stream = await client.open_stream(RELAY.peer_id, HOP)
        await stream.write(connect(PROXY.peer_id))
        await read_delimited(stream, size_max_bytes=MESSAGE_MAX_BYTES)
        io = CircuitIO(stream, trio.current_time())

        with pytest.raises(Unavailable):
            await client.swarm.secure(raw_connection(io, is_initiator=True), OTHER_RELAY.peer_id)

        assert not client.is_connected(OTHER_RELAY.peer_id)
        assert not proxy.is_connected(OTHER_RELAY.peer_id)


async def test_a_relay_that_names_another_than_who_comes_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def name_another(_: PeerId, limit: Limit) -> bytes:
        return incoming(OTHER_RELAY.peer_id, limit)

    async with (
        open_relay() as (relay, _),
        open_private(relay) as proxy,
        open_transport(CLIENT, punches_holes=False) as client,
    ):
        monkeypatch.setattr(relay_server, "incoming", name_another)
        with suppress(Unavailable):
            await client.dial(proxy.addresses)
        await client.wait_disconnected(PROXY.peer_id)
        await proxy.wait_disconnected(CLIENT.peer_id)

        assert not proxy.is_connected(OTHER_RELAY.peer_id)


async def test_garbage_through_a_relay_ends_its_circuit_and_nothing_else() -> None:
    async with (
        open_relay() as (relay, served),
        open_private(relay) as proxy,
        open_transport(CLIENT, punches_holes=False) as client,
    ):
        await client.dial(relay.addresses)
        for garbage in (
            b"\xff" * 100,
            b"\x13/multistream/1.0.0\n\x07/noise\n\x00\x20" + bytes(32) + b"\x00\x60" + bytes(96),
        ):
            stream = await client.open_stream(RELAY.peer_id, HOP)
            await stream.write(connect(PROXY.peer_id))
            await read_delimited(stream, size_max_bytes=MESSAGE_MAX_BYTES)
            await stream.write(garbage)
            with suppress(Unavailable):
                while await stream.read(4096):
                    pass

        await client.dial(proxy.addresses)
        assert await say(await client.open_stream(PROXY.peer_id, ECHO), b"hello") == b"hello"
        assert served.book.reservations == 1


async def test_a_relay_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def say_nothing(stream: Stream) -> None:
        await stream.read(4096)
        await trio.sleep_forever()

    limits = Limits(dial_relayed_seconds=0.5)
    async with (
        open_relay() as (relay, _),
        open_transport(CLIENT, limits=limits) as client,
    ):
        relay.accept_streams(HOP, say_nothing)
        await client.dial(relay.addresses)
        way = f"{relay.addresses[0]}/p2p-circuit/p2p/{peer_id_text(PROXY.peer_id)}"

        with pytest.raises(Unavailable, match="no answer in time"):
            await client.dial([way])

        assert client.is_connected(RELAY.peer_id)
        (conn,) = client.swarm.open_connections(RELAY.peer_id)
        assert all(str(stream.get_protocol()) != HOP for stream in conn.get_streams())


async def test_a_peer_that_does_not_answer_its_relay_costs_who_dials_a_moment_and_the_relay_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def say_nothing(stream: Stream) -> None:
        await stream.read(4096)
        await trio.sleep_forever()

    monkeypatch.setattr(relay_server, "TALK_SECONDS", 0.5)
    async with (
        open_relay() as (relay, served),
        open_private(relay) as proxy,
        open_transport(CLIENT, punches_holes=False) as client,
    ):
        proxy.accept_streams(STOP, say_nothing)

        with pytest.raises(Unavailable, match="203"):
            await client.dial(proxy.addresses)

        assert served.book.circuits == 0


async def test_who_leaves_while_a_relay_reaches_for_its_peer_takes_no_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reached = trio.Event()

    async def say_nothing(stream: Stream) -> None:
        reached.set()
        await stream.read(4096)
        with suppress(Unavailable):
            while await stream.read(4096):
                pass

    monkeypatch.setattr(relay_server, "TALK_SECONDS", 0.5)
    async with open_relay() as (relay, served), open_private(relay) as proxy:
        proxy.accept_streams(STOP, say_nothing)
        async with open_transport(CLIENT) as client, trio.open_nursery() as nursery:
            nursery.start_soon(client.dial, proxy.addresses)
            await reached.wait()
            assert served.book.circuits == 1
            nursery.cancel_scope.cancel()
        while served.book.circuits:
            await trio.testing.wait_all_tasks_blocked()


async def test_nobody_has_us_dial_at_his_word_on_a_connection_that_is_direct() -> None:
    async with open_relay() as (relay, _), open_transport(CLIENT) as client:
        await client.dial(relay.addresses)

        with pytest.raises(Unavailable, match="reset"):
            stream = await client.open_stream(RELAY.peer_id, DCUTR)
            await stream.write(observed([Address("ip4", "127.0.0.1", 1)]))
            await stream.read(1)


@pytest.fixture
def knocks(monkeypatch: pytest.MonkeyPatch) -> list[Address]:
    """Where was knocked in vain: every door is shut."""
    heard: list[Address] = []

    async def knock(_local: object, address: Address) -> trio.SocketStream:
        heard.append(address)
        raise OSError("nobody is there")

    monkeypatch.setattr(hole_punching, "connect_from", knock)
    return heard


async def test_who_is_named_by_a_stranger_hears_little_of_us(knocks: list[Address]) -> None:
    async with (
        open_relay() as (relay, _),
        open_private(relay) as proxy,
        open_transport(CLIENT) as client,
    ):
        await client.dial(proxy.addresses)
        relayed_there = proxy.swarm.open_connections(CLIENT.peer_id)[-1]
        victims = [Address("ip4", "127.0.0.9", port) for port in range(1, 41)]

        async def have_us_knock() -> None:
            with suppress(Unavailable):
                stream = await proxy.open_stream_on(relayed_there, DCUTR)
                await stream.write(observed(victims))
                await stream.read(4096)
                await stream.write(sync())
                await stream.read(1)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(have_us_knock)

        assert 0 < len(knocks) <= hole_punching.ATTEMPTS * 4 * 7


async def test_who_loses_the_connection_it_reserved_on_reserves_on_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reservations, "REST_FIRST_SECONDS", 0.1)
    async with (
        open_relay() as (relay, _),
        open_private(relay) as proxy,
        open_transport(CLIENT, punches_holes=False) as client,
    ):
        (reserved,) = proxy.swarm.open_connections(RELAY.peer_id)
        await proxy.swarm.dialler.dial_anew(RELAY.peer_id, [parse_address(relay.addresses[0])[0]])
        # It may reserve again before the connection is closed on both sides.
        announced, lost = proxy.addresses, proxy.addresses_changed
        await reserved.close()
        await lost.wait()
        while proxy.addresses != announced:
            await proxy.addresses_changed.wait()

        await client.dial(announced)


async def test_a_relay_that_goes_away_is_replaced_by_another_and_no_longer_announced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay_client, "RELAYS_WANTED", 1)

    async def relay_until(
        left: trio.Event, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        async with open_relay() as (transport, _):
            task_status.started(transport.addresses)
            await left.wait()

    leave = trio.Event()
    async with (
        open_relay(OTHER_RELAY) as (other, _),
        open_transport(PROXY, listen=LOOPBACK) as proxy,
        open_service_nursery() as nursery,
    ):
        first: Sequence[str] = await nursery.start(relay_until, leave)
        nursery.start_soon(RelayClient(proxy, [*first, *other.addresses]).run)
        judge_unreachable(proxy)
        while not proxy.addresses:
            await proxy.addresses_changed.wait()
        assert peer_id_text(RELAY.peer_id) in proxy.addresses[0]

        leave.set()
        while not proxy.addresses or peer_id_text(RELAY.peer_id) in proxy.addresses[0]:
            await proxy.addresses_changed.wait()
        assert peer_id_text(OTHER_RELAY.peer_id) in proxy.addresses[0]


async def test_who_can_be_dialled_after_all_announces_no_relay_any_more() -> None:
    async with open_relay() as (relay, _), open_private(relay) as proxy:
        listening = proxy.announced.offered("listening")
        proxy.announced.judge({parse_address(text)[0]: True for text in listening})
        while any("p2p-circuit" in text for text in proxy.addresses):
            await proxy.addresses_changed.wait()
        await trio.testing.wait_all_tasks_blocked()

        assert proxy.addresses
        assert not proxy.relayed.relays
        assert not proxy.announced.offered("relay")


async def test_a_relay_carries_what_it_cannot_read() -> None:
    secret = b"what nobody but the two may read"
    carried = bytearray()

    async with (
        open_relay() as (relay, _),
        open_private(relay) as proxy,
        open_transport(CLIENT, punches_holes=False) as client,
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(relay_server, "carry", overhearing(carried))
            await client.dial(proxy.addresses)
            stream = await client.open_stream(PROXY.peer_id, ECHO)
            assert await say(stream, secret * 10) == secret * 10

    assert len(carried) > 2 * len(secret * 10)
    assert secret[:8] not in carried


def overhearing(carried: bytearray) -> Callable[[Stream, Stream, RelayLimits], Awaitable[None]]:
    """Carry as a relay does, and keep a copy of what it sees."""

    class Overheard:
        def __init__(self, stream: Stream) -> None:
            self._stream = stream

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

        async def read(self, size_max_bytes: int) -> bytes:
            data = await self._stream.read(size_max_bytes)
            carried.extend(data)
            return data

    async def listen_in(source: Stream, target: Stream, limits: RelayLimits) -> None:
        await carry(Overheard(source), Overheard(target), limits)  # type: ignore[arg-type]

    return listen_in
