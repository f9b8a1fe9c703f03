"""A payer is told why its stream ends, whatever it had written into the reason."""

from cocoon_p2p.identity import Identity
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.network.transport import Stream
from cocoon_p2p.payments.settlement import _refuse
from cocoon_p2p.protocols.ids import CHANNEL, TEXT_MAX_BYTES, Reason
from cocoon_p2p.protocols.messages import ChannelRefused
from cocoon_p2p.testing.memory import MemoryNetwork

PAYER, PAYEE = (Identity.from_seed(bytes([number]) * 32) for number in (1, 2))


async def test_a_reason_longer_in_bytes_than_in_letters_still_fits_its_message() -> None:
    async def accept(stream: Stream) -> None:
        await _refuse(MessageStream(stream), Reason.MALFORMED, "ж" * TEXT_MAX_BYTES)

    async with MemoryNetwork() as network:
        payer, payee = network.transport(PAYER, listen=False), network.transport(PAYEE)
        payee.accept_streams(CHANNEL, accept)
        network.connect(PAYER.peer_id, PAYEE.peer_id)

        told = await MessageStream(await payer.open_stream(PAYEE.peer_id, CHANNEL)).receive()

    assert isinstance(told, ChannelRefused)
    assert 0 < len(told.detail.encode()) <= TEXT_MAX_BYTES
