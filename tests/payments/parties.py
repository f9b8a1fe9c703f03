"""Two ends of a channel, and the papers that pass between them."""

from cocoon_p2p.identity import Identity, network_id
from cocoon_p2p.payments.channel import (
    Backing,
    Channel,
    channel_of,
    contract_salt,
    make_backed_offer,
    make_offer,
)
from cocoon_p2p.payments.close_terms import payee_key
from cocoon_p2p.payments.contract import AccountId, Deployment, deposit_for
from cocoon_p2p.payments.events import TermsReceived
from cocoon_p2p.payments.voucher import sign_voucher
from cocoon_p2p.protocols.ids import Outcome
from cocoon_p2p.protocols.messages import (
    ChannelState,
    CloseAgreed,
    CloseTerms,
    CloseWanted,
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


# ---------------------------------------------------------------- with a contract behind it

DELAY = 24 * 3600
WALLETS = AccountId(b"\xaa" * 32), AccountId(b"\xbb" * 32)
"The payer's and the payee's."

GLOBAL_ID = -239
EPOCH = 77
DEPLOYMENT = Deployment(
    global_id=GLOBAL_ID,
    payer=WALLETS[0],
    payee=WALLETS[1],
    payer_key=CHANNEL_KEY.public_key,
    payee_key=payee_key(PAYEE.seed)[0],
    close_delay_seconds=DELAY,
    salt=contract_salt(NETWORK, PAYER.peer_id, PAYEE.peer_id, CHANNEL_KEY.public_key),
)
BACKED_OFFER = make_backed_offer(NETWORK, PAYER.peer_id, PAYEE.peer_id, DEPLOYMENT)
BACKED: Channel = channel_of(BACKED_OFFER)


def backing(capacity: int = CAPACITY, *, epoch: int = EPOCH, claimed: int = 0, close_at: int = 0) -> Backing:
    """What is seen of a contract that pays so much."""
    return Backing(epoch, deposit_for(Nano(capacity)), Nano(claimed), close_at)


def backed_voucher(total: int, *, epoch: int = EPOCH) -> Voucher:
    signature = sign_voucher(CHANNEL_KEY.secret_key, BACKED.id, epoch, Nano(total))
    return Voucher(BACKED.id, epoch, total, signature)


def backed_state(sequence: int, charged: int) -> ChannelState:
    return ChannelState(BACKED.id, sequence, 0, charged, ())


def backed_terms(total: int, *, valid_seconds: int = 3600, epoch: int = EPOCH) -> CloseTerms:
    return CloseTerms(BACKED.id, epoch, total, int(NOW) + valid_seconds)


def wanted(terms: CloseTerms, *, by: Identity = PAYEE, now: float = NOW) -> TermsReceived:
    return TermsReceived(terms, CloseWanted(signed(terms, by=by), bytes(64)), now)


def agreed(terms: CloseTerms, *, by: Identity = PAYEE, now: float = NOW) -> TermsReceived:
    return TermsReceived(terms, CloseAgreed(signed(terms, by=by), bytes(64)), now)
