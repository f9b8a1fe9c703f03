"""The memory network keeps the promises of a transport, and breaks them when told to."""

import pytest
import trio
import trio.testing

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import Identity, peer_id_text
from cocoon_p2p.network.transport import Stream, Transport
from cocoon_p2p.testing.memory import BUFFER_SIZE_BYTES, Fate, MemoryNetwork, MemoryTransport, Write

ALICE, BOB = (Identity.from_seed(bytes([number]) * 32) for number in (1, 2))
ECHO = "/echo/1"


async def echo(stream: Stream) -> None:
    while data := await stream.read(1000):
        await stream.write(data)
    await stream.close_write()


def pair(network: MemoryNetwork) -> tuple[MemoryTransport, MemoryTransport]:
    alice, bob = network.transport(ALICE, listen=False), network.transport(BOB)
    bob.accept_streams(ECHO, echo)
    network.connect(ALICE.peer_id, BOB.peer_id)
    return alice, bob


async def read_all(stream: Stream) -> bytes:
    whole = b""
    while data := await stream.read(7):
        whole += data
    return whole


def test_a_memory_transport_is_a_transport() -> None:
    transport: Transport = MemoryNetwork().transport(ALICE)

    assert transport.peer_id == ALICE.peer_id


async def test_bytes_come_back_in_order_and_end_with_the_stream() -> None:
    async with MemoryNetwork() as network:
        alice, bob = pair(network)

        stream = await alice.open_stream(bob.peer_id, ECHO)
        await stream.write(b"hello ")
        await stream.write(b"world")
        await stream.close_write()

        assert await read_all(stream) == b"hello world"
        assert stream.peer == bob.peer_id


async def test_a_dial_only_node_accepts_streams_over_the_connection_it_made() -> None:
    async with MemoryNetwork() as network:
        alice, bob = network.transport(ALICE, listen=False), network.transport(BOB)
        alice.accept_streams(ECHO, echo)

        await alice.dial(bob.addresses)
        stream = await bob.open_stream(ALICE.peer_id, ECHO)
        await stream.write(b"x")

        assert await stream.read(10) == b"x"


async def test_nobody_can_dial_a_node_that_does_not_listen() -> None:
    async with MemoryNetwork() as network:
        bob = network.transport(BOB)
        network.transport(ALICE, listen=False)

        with pytest.raises(Unavailable, match="nobody answers"):
            await bob.dial([f"/memory/1/p2p/{peer_id_text(ALICE.peer_id)}"])


async def test_a_writer_waits_for_a_reader_that_does_not_read(autojump_clock: trio.abc.Clock) -> None:
    async with MemoryNetwork() as network:
        alice, bob = pair(network)
        bob.accept_streams("/stall/1", lambda _stream: trio.sleep_forever())
        stream = await alice.open_stream(bob.peer_id, "/stall/1")

        await stream.write(bytes(BUFFER_SIZE_BYTES))
        with trio.move_on_after(60) as waited:
            await stream.write(b"more")

        assert waited.cancelled_caught


async def test_a_delay_is_kept_and_does_not_reorder(autojump_clock: trio.abc.Clock) -> None:
    async with MemoryNetwork(seed=3, delay_seconds=(0.01, 0.5)) as network:
        alice, bob = pair(network)
        stream = await alice.open_stream(bob.peer_id, ECHO)
        started = trio.current_time()

        for number in range(20):
            await stream.write(bytes([number]))
        await stream.close_write()

        assert await read_all(stream) == bytes(range(20))
        assert trio.current_time() - started >= 0.02


async def test_a_cut_resets_both_ends_and_a_new_dial_heals() -> None:
    async with MemoryNetwork() as network:
        alice, bob = pair(network)
        stream = await alice.open_stream(bob.peer_id, ECHO)

        network.cut(ALICE.peer_id, BOB.peer_id)

        with pytest.raises(Unavailable):
            await stream.read(1)
        await alice.wait_disconnected(bob.peer_id)
        await alice.dial(bob.addresses)
        assert alice.is_connected(bob.peer_id)


async def test_a_partition_is_silent(autojump_clock: trio.abc.Clock) -> None:
    async with MemoryNetwork() as network:
        alice, bob = pair(network)
        stream = await alice.open_stream(bob.peer_id, ECHO)

        network.partition(ALICE.peer_id, BOB.peer_id)
        await stream.write(b"into the void")
        with trio.move_on_after(60) as waited:
            await stream.read(1)

        assert waited.cancelled_caught
        assert alice.is_connected(bob.peer_id)


@pytest.mark.parametrize("number", [0, 1, 2])
async def test_a_fault_breaks_the_connection_at_the_chosen_write(number: int) -> None:
    def fault(write: Write) -> tuple[Fate, float]:
        return (Fate.RESET if write.number == number else Fate.DELIVER), 0.0

    async with MemoryNetwork() as network:
        network.fault = fault
        alice, bob = pair(network)
        stream = await alice.open_stream(bob.peer_id, ECHO)

        received = 0
        with pytest.raises(Unavailable):
            for _ in range(3):
                await stream.write(b"x")
                received += len(await stream.read(1))

        assert received == number // 2


async def test_a_crash_ends_the_tasks_that_served_the_node() -> None:
    ended = trio.Event()

    async def serve(_stream: Stream) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with MemoryNetwork() as network:
        alice, bob = pair(network)
        bob.accept_streams("/long/1", serve)
        await alice.open_stream(bob.peer_id, "/long/1")
        await trio.testing.wait_all_tasks_blocked()

        network.crash(BOB.peer_id)
        await ended.wait()

        assert not alice.is_connected(BOB.peer_id)


async def test_a_handler_that_fails_ends_only_its_stream() -> None:
    async def fail(_stream: Stream) -> None:
        raise RuntimeError("a fault of the handler")

    async with MemoryNetwork() as network:
        alice, bob = pair(network)
        bob.accept_streams("/fail/1", fail)

        broken = await alice.open_stream(bob.peer_id, "/fail/1")
        with pytest.raises(Unavailable):
            await broken.read(1)
        stream = await alice.open_stream(bob.peer_id, ECHO)
        await stream.write(b"still here")

        assert await stream.read(100) == b"still here"
