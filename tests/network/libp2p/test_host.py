"""The transport over real sockets on loopback: its promises, and the faults of upstream that it cures."""

import gc
import logging
import math
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress

import pytest
import trio
from libp2p.abc import INetConn
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID

from cocoon_p2p.errors import (
    ConfigurationError,
    LocalProtocolError,
    MalformedMessage,
    Refused,
    Unavailable,
)
from cocoon_p2p.identity import Identity, PeerId, peer_id_of, peer_id_text
from cocoon_p2p.network.libp2p.host import Libp2pTransport, open_transport
from cocoon_p2p.network.libp2p.limits import Limits
from cocoon_p2p.network.libp2p.muxer import MuxedConnection
from cocoon_p2p.network.libp2p.peers import PEERS_MAX
from cocoon_p2p.network.libp2p.rates import Rate
from cocoon_p2p.network.libp2p.swarm import RuledSwarm
from cocoon_p2p.network.transport import Stream, Transport

ECHO = "/test/echo/1"
LOOPBACK = ["/ip4/127.0.0.1/tcp/0"]
ALICE = Identity.from_seed(bytes([1]) * 32)
BOB = Identity.from_seed(bytes([2]) * 32)
CAROL = Identity.from_seed(bytes([3]) * 32)


async def echo(stream: Stream) -> None:
    while data := await stream.read(65536):
        await stream.write(data)
    await stream.close_write()


async def ask(transport: Transport, peer: PeerId, data: bytes = b"hello") -> bytes:
    stream = await transport.open_stream(peer, ECHO)
    await stream.write(data)
    await stream.close_write()
    answer = b""
    while piece := await stream.read(65536):
        answer += piece
    return answer


def listening(limits: Limits | None = None) -> AbstractAsyncContextManager[Libp2pTransport]:
    @asynccontextmanager
    async def serve() -> AsyncIterator[Libp2pTransport]:
        async with open_transport(ALICE, listen=LOOPBACK, limits=limits) as transport:
            transport.accept_streams(ECHO, echo)
            yield transport

    return serve()


def port_of(transport: Transport) -> int:
    return int(transport.addresses[0].split("/")[4])


@pytest.fixture(autouse=True)
async def _nothing_may_hang() -> AsyncIterator[None]:
    with trio.fail_after(20):
        yield


# ------------------------------------------------------------------ the four verbs


async def test_two_nodes_dial_open_write_read_and_close() -> None:
    async with listening() as alice, open_transport(BOB) as bob:
        peer = await bob.dial(alice.addresses)
        answer = await ask(bob, peer, b"hello" * 100_000)

        assert peer == ALICE.peer_id
        assert answer == b"hello" * 100_000
        assert bob.addresses == ()


async def test_streams_go_both_ways_over_the_connection_that_one_side_dialled() -> None:
    async with listening() as alice, open_transport(BOB) as bob:
        bob.accept_streams(ECHO, echo)
        await bob.dial(alice.addresses)

        assert await ask(alice, BOB.peer_id) == b"hello"


async def test_a_peer_that_stays_is_spoken_to_however_many_others_come_and_go() -> None:
    async with listening() as alice, open_transport(BOB) as bob:
        bob.accept_streams(ECHO, echo)
        await bob.dial(alice.addresses)
        while not alice.host.is_known_to_speak(BOB.peer_id, ECHO):
            await alice.host.identified.wait()

        for number in range(2 * PEERS_MAX):
            alice.swarm.peerstore.add_addrs(ID(peer_id_of(number.to_bytes(32, "big"))), [], 7200)

        assert await ask(alice, BOB.peer_id) == b"hello"
        assert alice.host.is_known_to_speak(BOB.peer_id, ECHO)


async def test_a_stream_names_its_protocol_and_the_peer_that_proved_its_key() -> None:
    seen: list[tuple[PeerId, str]] = []

    async def note(stream: Stream) -> None:
        await stream.read(1)
        seen.append((stream.peer, stream.protocol))

    async with listening() as alice, open_transport(BOB) as bob:
        alice.accept_streams("/test/note/1", note)
        await bob.dial(alice.addresses)
        stream = await bob.open_stream(ALICE.peer_id, "/test/note/1")
        await stream.write(b"x")
        with pytest.raises(Unavailable):
            await stream.read(1)

        assert seen == [(BOB.peer_id, "/test/note/1")]
        assert (stream.peer, stream.protocol) == (ALICE.peer_id, "/test/note/1")


async def test_a_protocol_the_peer_does_not_speak_is_unavailable_and_leaves_the_connection() -> None:
    async with listening() as alice, open_transport(BOB) as bob:
        await bob.dial(alice.addresses)

        with pytest.raises(Unavailable, match="/test/unheard-of/1"):
            await bob.open_stream(ALICE.peer_id, "/test/unheard-of/1")
        assert await ask(bob, ALICE.peer_id) == b"hello"


async def test_a_stream_to_nobody_is_unavailable() -> None:
    async with open_transport(BOB) as bob:
        with pytest.raises(Unavailable, match="not connected"):
            await bob.open_stream(ALICE.peer_id, ECHO)


async def test_a_dial_that_is_given_up_leaves_no_socket_open() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    ended, gave_up = trio.Event(), trio.CancelScope()

    async def say_nothing(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        gave_up.cancel()
        with suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                pass
        ended.set()

    gc.disable()
    try:
        with trio.fail_after(30):
            async with listener, open_transport(BOB) as bob, trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, say_nothing, [listener])
                with gave_up:
                    await bob.dial([f"/ip4/127.0.0.1/tcp/{port}/p2p/{ID(ALICE.peer_id)}"])
                await ended.wait()
                nursery.cancel_scope.cancel()
    finally:
        gc.enable()


async def test_a_reset_reaches_both_ends_and_may_be_repeated() -> None:
    felt = trio.Event()

    async def wait(stream: Stream) -> None:
        with pytest.raises(Unavailable):
            await stream.read(1)
        felt.set()

    async with listening() as alice, open_transport(BOB) as bob:
        alice.accept_streams("/test/wait/1", wait)
        await bob.dial(alice.addresses)
        stream = await bob.open_stream(ALICE.peer_id, "/test/wait/1")
        await stream.write(b"x")
        stream.reset()
        stream.reset()

        with pytest.raises(Unavailable):
            await stream.read(1)
        with pytest.raises(Unavailable):
            await stream.write(b"x")
        await felt.wait()


async def test_writing_after_closing_is_a_fault_of_ours() -> None:
    async with listening() as alice, open_transport(BOB) as bob:
        await bob.dial(alice.addresses)
        stream = await bob.open_stream(ALICE.peer_id, ECHO)
        await stream.close_write()

        with pytest.raises(LocalProtocolError):
            await stream.write(b"x")


async def test_whoever_waits_learns_that_the_last_connection_went() -> None:
    async with listening() as alice:
        await alice.wait_disconnected(BOB.peer_id)
        async with open_transport(BOB) as bob:
            await bob.dial(alice.addresses)
            assert await ask(bob, ALICE.peer_id) == b"hello"
            assert alice.is_connected(BOB.peer_id)
        await alice.wait_disconnected(BOB.peer_id)

        assert not alice.is_connected(BOB.peer_id)


async def test_what_was_written_before_the_transport_closed_still_arrives() -> None:
    async with open_transport(BOB) as bob:
        arrived = bytearray()

        async def collect(stream: Stream) -> None:
            while data := await stream.read(65536):
                arrived.extend(data)
            arrived.extend(b"|")

        bob.accept_streams("/test/collect/1", collect)
        async with listening() as alice:
            await bob.dial(alice.addresses)
            stream = await alice.open_stream(BOB.peer_id, "/test/collect/1")
            await stream.write(b"x" * 100_000)
            await stream.close_write()
        await bob.wait_disconnected(ALICE.peer_id)

        assert bytes(arrived) == b"x" * 100_000 + b"|"


async def test_an_error_in_the_block_comes_out_as_itself() -> None:
    with pytest.raises(ZeroDivisionError):
        async with listening(), open_transport(BOB):
            raise ZeroDivisionError


# ------------------------------------------------------------------ dialling


async def test_a_dial_does_not_take_a_quarter_of_a_second() -> None:
    seconds: list[float] = []
    async with listening() as alice:
        for _ in range(3):
            async with open_transport(BOB) as bob:
                began = trio.current_time()
                await bob.dial(alice.addresses)
                seconds.append(trio.current_time() - began)

    assert min(seconds) < 0.2


async def test_dead_addresses_before_the_good_one_do_not_matter() -> None:
    async with listening() as alice, open_transport(BOB) as bob:
        name = alice.addresses[0].rpartition("/")[2]
        refused = f"/ip4/127.0.0.1/tcp/1/p2p/{name}"
        relayed = f"/ip4/127.0.0.1/tcp/1/p2p/{name}/p2p-circuit"

        await bob.dial([refused, relayed, f"/dns4/localhost/tcp/{port_of(alice)}/p2p/{name}"])

        assert bob.is_connected(ALICE.peer_id)


async def test_another_key_at_the_address_is_not_the_peer() -> None:
    async with listening() as alice, open_transport(BOB) as bob:
        imposter = alice.addresses[0].rpartition("/p2p/")[0] + "/p2p/" + str(ID(CAROL.peer_id))

        with pytest.raises(Unavailable, match="does not correspond"):
            await bob.dial([imposter])
        assert not bob.is_connected(CAROL.peer_id)
        assert not bob.is_connected(ALICE.peer_id)


async def test_a_node_does_not_dial_itself() -> None:
    async with listening() as alice:
        with pytest.raises(Unavailable, match="own key"):
            await alice.dial(alice.addresses)


@pytest.mark.parametrize("addresses", [[], ["rubbish"], ["/ip4/127.0.0.1/tcp/1"]])
async def test_addresses_that_name_nobody_are_unavailable(addresses: list[str]) -> None:
    async with open_transport(BOB) as bob:
        with pytest.raises(Unavailable, match="name 0 peers"):
            await bob.dial(addresses)


async def test_a_peer_that_restarted_is_reached_again() -> None:
    async with open_transport(BOB) as bob:
        async with listening() as alice:
            listen = [alice.addresses[0].rpartition("/p2p/")[0]]
            await bob.dial(alice.addresses)
        await bob.wait_disconnected(ALICE.peer_id)
        async with open_transport(ALICE, listen=listen) as alice:
            alice.accept_streams(ECHO, echo)
            await bob.dial(alice.addresses)

            assert await ask(bob, ALICE.peer_id) == b"hello"


# ------------------------------------------------------------------ listening


async def test_a_port_that_another_node_listens_on_is_refused() -> None:
    async with listening() as alice:
        taken = alice.addresses[0].rpartition("/p2p/")[0]

        with pytest.raises(ConfigurationError, match="cannot listen on"):
            async with open_transport(BOB, listen=[taken]):
                pass


async def test_a_node_on_all_interfaces_tells_where_each_of_them_is() -> None:
    async with open_transport(ALICE, listen=["/ip4/0.0.0.0/tcp/0"]) as alice:
        assert alice.addresses
        assert not any("0.0.0.0" in address for address in alice.addresses)


async def test_announced_addresses_are_told_instead_of_those_listened_on() -> None:
    announced = "/dns4/proxy.example.org/tcp/4001"
    async with open_transport(ALICE, listen=LOOPBACK, announce=[announced]) as alice:
        assert alice.addresses == (f"{announced}/p2p/{ID(ALICE.peer_id)}",)


async def test_announcing_another_peers_address_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="names another peer"):
        async with open_transport(ALICE, announce=[f"/ip4/203.0.113.7/tcp/1/p2p/{ID(BOB.peer_id)}"]):
            pass


# ------------------------------------------------------------------ strangers


@pytest.mark.parametrize("error", [ValueError("a bug"), Refused("no", code="drain"), EOFError()])
async def test_what_an_acceptor_raises_ends_its_stream_and_not_the_node(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(stream: Stream) -> None:
        await stream.read(1)
        raise error

    async with listening() as alice, open_transport(BOB) as bob:
        alice.accept_streams("/test/fail/1", fail)
        await bob.dial(alice.addresses)
        stream = await bob.open_stream(ALICE.peer_id, "/test/fail/1")
        await stream.write(b"x")

        with pytest.raises(Unavailable):
            await stream.read(1)
        assert await ask(bob, ALICE.peer_id) == b"hello"
    assert "accepted stream failed" in caplog.messages


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\x05\xff\xfe\xfd\xfc\n", b"\xff" * 20, b"\x13/multistream/1.0.0\n\x03\xff\xff\n", bytes(500)],
)
async def test_garbage_instead_of_a_negotiation_does_not_end_the_node(garbage: bytes) -> None:
    async with listening() as alice, open_transport(BOB) as bob:
        await bob.dial(alice.addresses)
        muxed = await bob.swarm.open_connections(ALICE.peer_id)[0].muxed_conn.open_stream()
        await muxed.write(garbage)
        await muxed.reset()

        assert await ask(bob, ALICE.peer_id) == b"hello"


async def test_what_strangers_can_cause_at_will_writes_no_line_that_is_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def refuse(stream: Stream) -> None:
        await stream.read(1)
        raise MalformedMessage("not what we speak")

    caplog.set_level(logging.INFO, "cocoon_p2p")
    async with listening(Limits(streams_per_peer_max=1)) as alice, open_transport(BOB) as bob:
        alice.accept_streams("/test/refuse/1", refuse)
        await bob.dial(alice.addresses)
        for protocol in ("/test/refuse/1", ECHO, ECHO, "/test/refuse/1"):
            with suppress(Unavailable):
                stream = await bob.open_stream(ALICE.peer_id, protocol)
                await stream.write(b"x")
                await stream.read(1)
        (conn,) = bob.swarm.open_connections(ALICE.peer_id)
        conn.muxed_conn.session._outbox.put(9, 9, 9, 9)  # No such frame.
        conn.muxed_conn.flush()
        await bob.wait_disconnected(ALICE.peer_id)

    assert [line.getMessage() for line in caplog.records if line.name.startswith("cocoon_p2p")] == []


@pytest.mark.parametrize("offer", ["/plaintext/2.0.0", "/secio/1.0.0"])
async def test_an_unsecured_connection_is_refused(offer: str) -> None:
    async with listening() as alice:
        stream = await trio.open_tcp_stream("127.0.0.1", port_of(alice))
        async with stream:
            for line in ("/multistream/1.0.0\n", offer + "\n"):
                await stream.send_all(bytes([len(line)]) + line.encode())
            heard = b""
            while not heard.endswith(b"na\n"):
                heard += await stream.receive_some()

        assert heard == b"\x13/multistream/1.0.0\n\x03na\n"


async def test_the_place_of_a_connection_comes_back_when_it_closes() -> None:
    async with listening(Limits(connections_max=3)) as alice, open_transport(BOB) as bob:
        for _ in range(8):
            await bob.dial(alice.addresses)
            (conn,) = bob.swarm.open_connections(ALICE.peer_id)
            await conn.muxed_conn.close()
            await bob.wait_disconnected(ALICE.peer_id)

        await bob.dial(alice.addresses)
        assert await ask(bob, ALICE.peer_id) == b"hello"


@pytest.mark.slow
async def test_three_hundred_connections_in_a_row_are_no_more_than_one() -> None:
    free = Rate(math.inf, 1)
    limits = Limits(handshake_rate=free, handshake_rate_per_range=free)
    async with listening(limits) as alice, open_transport(BOB) as bob:
        for _ in range(300):
            await bob.dial(alice.addresses)
            (conn,) = bob.swarm.open_connections(ALICE.peer_id)
            await conn.muxed_conn.close()
            await bob.wait_disconnected(ALICE.peer_id)

        await bob.dial(alice.addresses)
        assert await ask(bob, ALICE.peer_id) == b"hello"
        assert alice.swarm.admission.connections < 300


@pytest.mark.slow
async def test_a_peer_keeps_its_newest_connections_and_no_more_than_its_share() -> None:
    async with listening(Limits(connections_per_peer_max=2)) as alice, open_transport(BOB) as bob:
        await bob.dial(alice.addresses)
        for _ in range(5):
            await bob.swarm.dial_addr(_multiaddr(alice), ID(ALICE.peer_id))

        with trio.fail_after(30):
            while len(alice.swarm.open_connections(BOB.peer_id)) != 2:  # noqa: ASYNC110  (it tells nobody)
                await trio.sleep(0.01)
        assert await ask(bob, ALICE.peer_id) == b"hello"


@pytest.mark.slow
async def test_a_full_node_lets_the_oldest_idle_connection_go_for_a_newcomer() -> None:
    limits = Limits(connections_max=3)
    async with (
        listening(limits) as alice,
        open_transport(BOB) as bob,
        open_transport(CAROL) as carol,
        AsyncExitStack() as stack,
    ):
        await bob.dial(alice.addresses)
        await carol.dial(alice.addresses)
        await trio.testing.wait_all_tasks_blocked(0.05)
        for seed in range(10, 12):
            identity = Identity.from_seed(bytes([seed]) * 32)
            newcomer = await stack.enter_async_context(open_transport(identity))
            await newcomer.dial(alice.addresses)
            assert await ask(newcomer, ALICE.peer_id) == b"hello"

        with trio.fail_after(30):
            await bob.wait_disconnected(ALICE.peer_id)


async def test_a_peer_with_too_many_streams_has_the_next_one_reset_and_others_go_on() -> None:
    limits = Limits(streams_per_peer_max=3)
    async with listening(limits) as alice, open_transport(BOB) as bob, open_transport(CAROL) as carol:
        await bob.dial(alice.addresses)
        await carol.dial(alice.addresses)
        held = [await bob.open_stream(ALICE.peer_id, ECHO) for _ in range(2)]
        for stream in held:
            await stream.write(b"x")
            assert await stream.read(1) == b"x"
        refused = 0
        for _ in range(3):
            try:
                stream = await bob.open_stream(ALICE.peer_id, ECHO)
                held.append(stream)
                await stream.write(b"x")
                assert await stream.read(1) == b"x"
            except Unavailable:
                refused += 1

        assert refused == 2
        assert await ask(carol, ALICE.peer_id) == b"hello"


async def test_silent_sockets_are_closed_in_time() -> None:
    async with (
        listening(Limits(handshake_seconds=0.3)) as alice,
        await trio.open_tcp_stream("127.0.0.1", port_of(alice)) as silent,
    ):
        assert await silent.receive_some() == b"\x13/multistream/1.0.0\n"
        assert await silent.receive_some() == b""


async def test_silent_sockets_keep_nobody_out() -> None:
    async with (
        listening(Limits(handshakes_max=2)) as alice,
        open_transport(BOB) as bob,
        AsyncExitStack() as stack,
    ):
        silent: list[trio.SocketStream] = []
        for _ in range(3):
            stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port_of(alice)))
            assert await stream.receive_some() == b"\x13/multistream/1.0.0\n"
            silent.append(stream)
        # The oldest made room for the last one, and the next for us.
        assert await silent[0].receive_some() == b""
        await bob.dial(alice.addresses)
        assert alice.swarm.admission.handshakes == 1
        assert await silent[1].receive_some() == b""
        assert await ask(bob, ALICE.peer_id) == b"hello"


@pytest.mark.slow
async def test_a_protected_peer_stays_while_strangers_come_and_go_and_theirs_is_the_only_loss() -> None:
    async with (
        listening(Limits(strangers_max=2)) as alice,
        open_transport(BOB) as bob,
        AsyncExitStack() as stack,
    ):
        alice.protect(BOB.peer_id, "payer")
        await bob.dial(alice.addresses)
        strangers = list[Libp2pTransport]()
        for seed in range(10, 14):
            transport = await stack.enter_async_context(
                open_transport(Identity.from_seed(bytes([seed]) * 32))
            )
            await transport.dial(alice.addresses)
            # A stream that is merely held makes nobody worth keeping.
            held = await transport.open_stream(ALICE.peer_id, ECHO)
            await held.write(b"x")
            assert await held.read(1) == b"x"
            strangers.append(transport)

        await strangers[0].wait_disconnected(ALICE.peer_id)
        await strangers[1].wait_disconnected(ALICE.peer_id)
        assert await ask(bob, ALICE.peer_id) == b"hello"

        alice.unprotect(BOB.peer_id, "payer")
        async with open_transport(CAROL) as carol:
            await carol.dial(alice.addresses)
            await strangers[2].wait_disconnected(ALICE.peer_id)


async def test_streams_of_strangers_are_taken_no_faster_than_they_may_and_those_of_the_protected_are() -> (
    None
):
    never = Rate(per_second=0.001, burst=2)
    async with (
        listening(Limits(stream_rate_of_strangers=never)) as alice,
        open_transport(BOB) as bob,
        open_transport(CAROL) as carol,
    ):
        alice.protect(BOB.peer_id, "payer")
        await bob.dial(alice.addresses)
        await carol.dial(alice.addresses)
        for _ in range(5):
            assert await ask(bob, ALICE.peer_id) == b"hello"
        await trio.testing.wait_all_tasks_blocked(0.05)

        waits = [await carol.open_stream(ALICE.peer_id, ECHO) for _ in range(10)]
        for stream in waits:
            await stream.write(b"x")
        with trio.move_on_after(0.1) as scope:
            await waits[-1].read(1)

        assert scope.cancelled_caught
        assert await ask(bob, ALICE.peer_id) == b"hello"


async def test_the_host_that_a_protected_peer_connects_from_is_a_range_of_its_own() -> None:
    async with listening() as alice, open_transport(BOB) as bob:
        await bob.dial(alice.addresses)
        assert not alice.swarm.admission._favoured
        await ask(bob, ALICE.peer_id)

        alice.protect(BOB.peer_id, "payer")

        assert list(alice.swarm.admission._favoured) == ["127.0.0.1"]


@pytest.mark.parametrize("call", ["open", "read", "write"])
async def test_a_cancelled_call_leaves_the_connection_alive(call: str) -> None:
    async def stall(stream: Stream) -> None:
        await trio.sleep_forever()

    async with listening() as alice, open_transport(BOB) as bob:
        alice.accept_streams("/test/stall/1", stall)
        await bob.dial(alice.addresses)
        (conn,) = bob.swarm.open_connections(ALICE.peer_id)
        for number in range(40):
            stream = await bob.open_stream(ALICE.peer_id, "/test/stall/1") if call != "open" else None
            with trio.move_on_after(number * 0.0001):
                match call, stream:
                    case "read", stream if stream is not None:
                        await stream.read(1)
                    case "write", stream if stream is not None:
                        await stream.write(bytes(1_000_000))
                    case _:
                        stream = await bob.open_stream(ALICE.peer_id, ECHO)
            if stream is not None:
                stream.reset()

        assert await ask(bob, ALICE.peer_id) == b"hello"
        assert bob.swarm.open_connections(ALICE.peer_id) == [conn]
        assert len(conn.streams) <= 1


# ------------------------------------------------------------------ manners


async def test_nothing_of_what_strangers_do_reaches_stderr_or_the_root_logger(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    async with listening() as alice, open_transport(BOB) as bob:
        await bob.dial(alice.addresses)
        with pytest.raises(Unavailable):
            await bob.open_stream(ALICE.peer_id, "/test/unheard-of/1")
        with pytest.raises(Unavailable):
            await bob.dial([f"/ip4/127.0.0.1/tcp/1/p2p/{ID(CAROL.peer_id)}"])
        async with await trio.open_tcp_stream("127.0.0.1", port_of(alice)) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")

    assert logging.getLogger().handlers == []
    assert capfd.readouterr().err == ""


async def test_the_package_and_its_command_load_without_libp2p() -> None:
    code = "import cocoon_p2p, cocoon_p2p.cli, sys; sys.exit('libp2p' in sys.modules)"

    assert (await trio.run_process([sys.executable, "-c", code], check=False)).returncode == 0


def _multiaddr(transport: Transport) -> object:
    from multiaddr import Multiaddr

    return Multiaddr(transport.addresses[0].rpartition("/p2p/")[0])


async def test_a_dial_that_is_cancelled_in_its_handshake_leaves_no_socket_open() -> None:
    dialled, ended = trio.Event(), trio.Event()

    async def say_nothing(stream: trio.SocketStream) -> None:
        while await stream.receive_some():
            dialled.set()
        ended.set()

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with open_transport(BOB) as bob, trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, say_nothing, listeners)
        with trio.CancelScope() as dialling:
            async with trio.open_nursery() as dials:
                dials.start_soon(bob.dial, [f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer_id_text(ALICE.peer_id)}"])
                await dialled.wait()
                dialling.cancel()
        await ended.wait()
        nursery.cancel_scope.cancel()


async def test_a_connection_that_is_lost_as_soon_as_it_stands_is_remembered_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with listening() as alice, open_transport(BOB) as bob:
        secure, lost = RuledSwarm.secure, list[INetConn]()

        async def secure_and_lose(swarm: RuledSwarm, raw: RawConnection, peer: PeerId) -> INetConn:
            conn = await secure(swarm, raw, peer)
            await conn.muxed_conn.close()
            while conn in swarm.get_connections():  # noqa: ASYNC110  nobody there sets an event for us
                await trio.sleep(0.01)
            lost.append(conn)
            return conn

        monkeypatch.setattr(RuledSwarm, "secure", secure_and_lose)
        await bob.dial(alice.addresses)

        assert [bob.swarm.socket_of(conn) for conn in lost] == [None]


@pytest.mark.parametrize(
    "handshake",
    [
        b"\x07/noise\n\x00\x60" + bytes(96),
        b"\x07/noise\n\x00\x10" + bytes(16),
        b"\x07/noise\n\xff\xff" + bytes(65535),
        b"\x07/noise\n\x00",
        b"\x03na\n\x0b/tls/1.0.0\n" + bytes(500),
        b"\xff" * 100,
    ],
    ids=["noise", "noise too short", "noise too long", "noise breaks off", "tls", "negotiation"],
)
async def test_a_handshake_that_is_garbage_is_nobody_who_can_be_reached(handshake: bytes) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.receive_some()
            await stream.send_all(b"\x13/multistream/1.0.0\n" + handshake)
            while await stream.receive_some():
                pass

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    limits = Limits(dial_seconds=2)
    async with open_transport(BOB, limits=limits) as bob, trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer, listeners)
        with pytest.raises(Unavailable):
            await bob.dial([f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer_id_text(ALICE.peer_id)}"])
        nursery.cancel_scope.cancel()


async def test_who_was_answered_and_never_says_that_nothing_more_comes_is_not_waited_for() -> None:
    async def answer(stream: Stream) -> None:
        await stream.write(b"no")
        await stream.close_write()

    async with listening() as alice, open_transport(BOB) as bob:
        alice.accept_streams("/test/answer/1", answer)
        await bob.dial(alice.addresses)
        stream = await bob.open_stream(ALICE.peer_id, "/test/answer/1")
        assert await stream.read(16) == b"no"
        assert await stream.read(16) == b""
        (conn,) = alice.swarm.open_connections(BOB.peer_id)
        assert isinstance(conn.muxed_conn, MuxedConnection)
        conn.muxed_conn.session.tick(trio.current_time() + 100.0)
        conn.muxed_conn.flush()

        with pytest.raises(Unavailable, match="reset"):
            while True:
                await stream.write(b"on and on")
