"""What can happen to a channel, and what must be done about it: the closed sets of its two machines.

Events are named by what happened, effects by what to do. All `Save` effects of one step are
written together; what is sent waits for them. Every effect may be carried out twice.
"""

from dataclasses import dataclass

from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.protocols.messages import ChannelState, CloseTerms, ExchangeId, Signed, Voucher
from cocoon_p2p.units import Nano

_NOTHING = Nano(0)

# ---------------------------------------------------------------- events of both sides


@dataclass(frozen=True, slots=True)
class ExchangeCharged:
    """An exchange ended and this is owed for it. Never applied twice for one id: the ledger knows."""

    exchange: ExchangeId
    amount: Nano
    paper: Signed
    "The payee's receipt or settlement; for a broken exchange the worker's last Meter."

    amount_max: Nano = _NOTHING
    """A payer's alone: what the payee may yet come back with a receipt for, where the exchange broke.
    Not above `amount` for an exchange that ended well."""


@dataclass(frozen=True, slots=True)
class ExchangeReleased:
    """Nothing (more) is owed for an exchange: it was refused, or the payee does not know it."""

    exchange: ExchangeId


@dataclass(frozen=True, slots=True)
class CloseRequested:
    """Our operator wants the channel closed. Repeated until it is."""

    now: float


@dataclass(frozen=True, slots=True)
class TermsReceived:
    """The peer signed close terms: ours, which it agrees to, or some that it proposes."""

    terms: CloseTerms
    paper: Signed
    now: float


# ---------------------------------------------------------------- events of the payer


@dataclass(frozen=True, slots=True)
class HoldRaised:
    """An exchange is to be kept covered up to this much: from its start, and as it moves on."""

    exchange: ExchangeId
    amount: Nano


@dataclass(frozen=True, slots=True)
class VoucherDue:
    """The writer is free: sign the newest total if it is above the last one."""


@dataclass(frozen=True, slots=True)
class ExchangeRecovered:
    """After a break the payee gave its paper for an exchange that we still hold something for."""

    exchange: ExchangeId
    before: Nano | None
    "What it was charged at by its Meter; None if it was not charged yet."

    amount: Nano
    paper: Signed


@dataclass(frozen=True, slots=True)
class Accepted:
    """The payee accepted the channel's stream and showed what it holds."""

    grant: Nano
    state: ChannelState
    paper: Signed
    "The state as it came, signed."

    returned: Voucher | None
    "Our newest voucher, as the payee has it."


@dataclass(frozen=True, slots=True)
class StateReceived:
    """The payee charged something, and says what it has charged all told."""

    state: ChannelState
    paper: Signed


@dataclass(frozen=True, slots=True)
class Disputed:
    """Somebody of ours checked a paper and found that it does not hold."""

    reason: str
    papers: tuple[Signed, ...]


PayerEvent = (
    HoldRaised
    | VoucherDue
    | ExchangeCharged
    | ExchangeReleased
    | ExchangeRecovered
    | Accepted
    | StateReceived
    | Disputed
    | CloseRequested
    | TermsReceived
)

# ---------------------------------------------------------------- events of the payee


@dataclass(frozen=True, slots=True)
class GrantChanged:
    """Our policy lets this payer owe another amount from now on."""

    grant: Nano


@dataclass(frozen=True, slots=True)
class VoucherReceived:
    voucher: Voucher


@dataclass(frozen=True, slots=True)
class VoucherSaved:
    """A voucher of this total is on disk."""

    total: Nano


@dataclass(frozen=True, slots=True)
class AccruedRaised:
    """A running exchange is about to do work that brings it to this total."""

    exchange: ExchangeId
    accrued: Nano


@dataclass(frozen=True, slots=True)
class OwnStateReturned:
    """The payer shows a state that bears our signature."""

    state: ChannelState


PayeeEvent = (
    GrantChanged
    | VoucherReceived
    | VoucherSaved
    | AccruedRaised
    | ExchangeCharged
    | ExchangeReleased
    | OwnStateReturned
    | CloseRequested
    | TermsReceived
)

# ---------------------------------------------------------------- effects: what to save


@dataclass(frozen=True, slots=True)
class SaveBegun:
    """Remember that an exchange runs, so that a restart asks how it ended."""

    exchange: ExchangeId
    held: Nano


@dataclass(frozen=True, slots=True)
class SaveCharge:
    """Remember what an exchange cost."""

    exchange: ExchangeId
    amount: Nano
    "All told for this exchange."

    rise: Nano
    "How much of it was not charged before."

    held: Nano
    "What a payer still holds for it."

    paper: Signed


@dataclass(frozen=True, slots=True)
class SaveReleased:
    """Forget an exchange, but for what it may have been charged at by its Meter."""

    exchange: ExchangeId


@dataclass(frozen=True, slots=True)
class SaveRecovered:
    """Our ledger was an older one: this much was charged since, and its papers are lost."""

    rise: Nano


@dataclass(frozen=True, slots=True)
class SignVoucher:
    """Sign a new total and save the voucher."""

    total: Nano


@dataclass(frozen=True, slots=True)
class SaveVoucher:
    """Save a voucher that came with its signature."""

    voucher: Voucher


@dataclass(frozen=True, slots=True)
class SignState:
    """Sign what we have charged all told, and save it. Signing twice gives the same bytes."""

    state: ChannelState


@dataclass(frozen=True, slots=True)
class SaveState:
    """Save the payee's newest state."""

    paper: Signed


@dataclass(frozen=True, slots=True)
class SaveStopped:
    """Keep the papers that contradict each other, and that we pay no more."""

    reason: str
    papers: tuple[Signed, ...]


@dataclass(frozen=True, slots=True)
class SignTerms:
    """Sign close terms, and save them before anybody sees the signature."""

    terms: CloseTerms
    theirs: Signed | None
    "The same terms with the peer's signature: with both the channel is closed."


@dataclass(frozen=True, slots=True)
class SaveClosed:
    """Save the peer's signature over terms that bear ours: the channel is closed at their total."""

    terms: CloseTerms
    theirs: Signed


# ---------------------------------------------------------------- effects: what to send


@dataclass(frozen=True, slots=True)
class SendVoucher:
    total: Nano


@dataclass(frozen=True, slots=True)
class SendState:
    state: ChannelState


@dataclass(frozen=True, slots=True)
class SendCloseWanted:
    terms: CloseTerms


@dataclass(frozen=True, slots=True)
class SendCloseAgreed:
    terms: CloseTerms


@dataclass(frozen=True, slots=True)
class SendRefused:
    reason: Reason
    detail: str


PayerSave = (
    SaveBegun
    | SaveCharge
    | SaveReleased
    | SaveRecovered
    | SignVoucher
    | SaveVoucher
    | SaveState
    | SaveStopped
    | SignTerms
    | SaveClosed
)
PayerSend = SendVoucher | SendCloseWanted | SendCloseAgreed | SendRefused
PayerEffect = PayerSave | PayerSend

PayeeSave = SaveVoucher | SaveCharge | SaveRecovered | SignState | SignTerms | SaveClosed
PayeeSend = SendState | SendCloseWanted | SendCloseAgreed | SendRefused
PayeeEffect = PayeeSave | PayeeSend
