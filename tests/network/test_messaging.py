"""Messages on a stream, however its bytes were cut on their way."""

import trio

from cocoon_p2p.identity import Identity
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.network.transport import Stream
from cocoon_p2p.protocols.ids import EXCHANGE
from cocoon_p2p.protocols.messages import ExchangeId, Heartbeat
from cocoon_p2p.testing.memory import MemoryNetwork

ALICE, BOB = Identity.from_seed(b"a" * 32), Identity.from_seed(b"b" * 32)
FIRST, SECOND = (Heartbeat(ExchangeId(bytes(16)), steps) for steps in (1, 2))


async def test_a_message_that_came_along_with_another_is_there_without_a_wait() -> None:
    heard_all = trio.Event()

    async def hear(stream: Stream) -> None:
        heard = MessageStream(stream)
        assert not heard.has_message
        assert await heard.receive() == FIRST

        assert heard.has_message
        with trio.CancelScope() as scope:
            scope.cancel()
            assert await heard.receive() == SECOND
        assert not heard.has_message
        heard_all.set()

    async with MemoryNetwork() as network:
        alice, bob = network.transport(ALICE), network.transport(BOB)
        bob.accept_streams(EXCHANGE, hear)
        await alice.dial(bob.addresses)

        said = MessageStream(await alice.open_stream(BOB.peer_id, EXCHANGE))
        await said.send(FIRST, SECOND)

        with trio.fail_after(60):
            await heard_all.wait()
