"""Two ends of a channel, and the papers that pass between them."""

from cocoon_p2p.identity import Identity, network_id
from cocoon_p2p.payments.channel import Channel, channel_of, make_offer
from cocoon_p2p.payments.voucher import sign_voucher
from cocoon_p2p.protocols.ids import Outcome
from cocoon_p2p.protocols.messages import (
    ChannelState,
    CloseTerms,
    ExchangeId,
    Receipt,
    Signed,
    Usage,
    Voucher,
)
from cocoon_p2p.protocols.papers import sign
from cocoon_p2p.units import Nano

NETWORK = network_id("test")
PAYER, PAYEE = Identity.from_seed(b"\x01" * 32), Identity.from_seed(b"\x02" * 32)
CHANNEL_KEY = Identity.from_seed(b"\x03" * 32)
CAPACITY = Nano(1000)
OFFER = make_offer(
    NETWORK, PAYER.peer_id, PAYEE.peer_id, CHANNEL_KEY.public_key, capacity=CAPACITY, salt=bytes(16)
)
CHANNEL: Channel = channel_of(OFFER)
NOW = 1_000_000.0

ONE, TWO, THREE = (ExchangeId(bytes([number]) * 16) for number in (1, 2, 3))


def voucher(total: int, *, epoch: int = 0, key: Identity = CHANNEL_KEY) -> Voucher:
    signature = sign_voucher(key.secret_key, CHANNEL.id, epoch, Nano(total))
    return Voucher(CHANNEL.id, epoch, total, signature)


def receipt(exchange: ExchangeId, amount: int) -> Signed:
    nothing = Usage(0, 0, 0, 0)
    paper = Receipt(
        exchange, bytes(32), "m", bytes(32), "e", nothing, amount, bytes(32), 0, 0, Outcome.COMPLETED
    )
    return sign(PAYEE, NETWORK, paper)


def state(sequence: int, charged: int, *, vouchered: int = 0) -> ChannelState:
    return ChannelState(CHANNEL.id, sequence, vouchered, charged, ())


def signed(paper: ChannelState | CloseTerms, *, by: Identity = PAYEE) -> Signed:
    return sign(by, NETWORK, paper)


def terms(total: int, *, valid_seconds: int = 3600) -> CloseTerms:
    return CloseTerms(CHANNEL.id, 0, total, int(NOW) + valid_seconds)
