"""What can happen to a channel, and what must be done about it: the closed sets of its two machines.

Events are named by what happened, effects by what to do. All `Save` effects of one step are
written together; what is sent waits for them. Every effect may be carried out twice.
"""

from dataclasses import dataclass

from cocoon_p2p.payments.channel import Backing
from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.protocols.messages import (
    ChannelState,
    CloseAgreed,
    CloseTerms,
    CloseWanted,
    Deposit,
    ExchangeId,
    PaperWanted,
    Signed,
    Voucher,
)
from cocoon_p2p.units import Nano

# ---------------------------------------------------------------- events of both sides


@dataclass(frozen=True, slots=True)
class ExchangeCharged:
    """An exchange ended and this is owed for it. Never applied twice for one id: the ledger knows."""

    exchange: ExchangeId
    amount: Nano
    paper: Signed
    "The payee's receipt or settlement."


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
    message: CloseWanted | CloseAgreed
    "What it signed, for us and for the contract; both signatures were checked."

    now: float


@dataclass(frozen=True, slots=True)
class BackingSeen:
    """We looked at the channel's contract on the chain, with proof."""

    backing: Backing


@dataclass(frozen=True, slots=True)
class ChannelSettled:
    """The contract is gone: it has paid this much all told, and the payer got the rest."""

    total: Nano


@dataclass(frozen=True, slots=True)
class TermsLapsed:
    """The contract was seen to stand still: if the agreed close terms are past, others may be signed."""

    now: float
    "A time at which it stood, by the chain's clock: one that is ahead would give terms up that still hold."


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
class ExchangeBroken:
    """An exchange's hop was lost: what it comes to is known, and the payee must come to agree."""

    exchange: ExchangeId
    amount: Nano
    "What we settled at, by the newest Meter: all that the payee may charge."

    question: PaperWanted
    "What to ask the payee, until it has answered."


@dataclass(frozen=True, slots=True)
class ExchangeRecovered:
    """After a break the payee gave its paper for an exchange that we still hold something for."""

    exchange: ExchangeId
    amount: Nano
    amount_max: Nano | None
    """What we settled at; None if a crash of ours forgot what we saw, or if we were away for so
    long that the payee need not take our Meter any more."""

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

    deposit: Deposit | None = None
    "What it has seen behind the channel."

    is_restored: bool = False
    "Whether our ledger was restored from a backup since the payee was last met."


@dataclass(frozen=True, slots=True)
class DepositTaken:
    """The payee says what it has seen behind the channel: it takes vouchers up to that."""

    deposit: Deposit


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
    | ExchangeBroken
    | ExchangeRecovered
    | Accepted
    | StateReceived
    | Disputed
    | DepositTaken
    | CloseRequested
    | TermsReceived
    | BackingSeen
    | ChannelSettled
    | TermsLapsed
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
class ExchangeLowered:
    """The payer shows that it saw less of an exchange than we charged: the Meter counts."""

    exchange: ExchangeId
    before: Nano
    "What it was charged at."

    amount: Nano
    "What it is charged at from now on: less."

    paper: Signed


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
    | ExchangeLowered
    | OwnStateReturned
    | CloseRequested
    | TermsReceived
    | BackingSeen
    | ChannelSettled
    | TermsLapsed
)

# ---------------------------------------------------------------- effects: what to save


@dataclass(frozen=True, slots=True)
class SaveBegun:
    """Remember that an exchange runs, so that a restart asks how it ended."""

    exchange: ExchangeId
    held: Nano


@dataclass(frozen=True, slots=True)
class SaveBroken:
    """Remember what a broken exchange was settled at, and what to ask the payee: a restart goes on asking."""

    exchange: ExchangeId
    held: Nano
    question: PaperWanted


@dataclass(frozen=True, slots=True)
class SaveCharge:
    """Remember what an exchange cost."""

    exchange: ExchangeId
    amount: Nano
    paper: Signed


@dataclass(frozen=True, slots=True)
class SaveLowered:
    """Remember that an exchange cost less than it was charged at; its older paper is replaced."""

    exchange: ExchangeId
    before: Nano
    amount: Nano
    paper: Signed


@dataclass(frozen=True, slots=True)
class SaveReleased:
    """Forget an exchange that cost nothing."""

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
    theirs: CloseWanted | None
    "The same terms with the peer's signatures: with both sides' the channel is closed."


@dataclass(frozen=True, slots=True)
class SaveClosed:
    """Save the peer's signatures over terms that bear ours: the channel is closed at their total."""

    terms: CloseTerms
    theirs: CloseWanted | CloseAgreed


@dataclass(frozen=True, slots=True)
class SaveBacking:
    """Remember what was seen behind the channel: deposits, claims, the payer's leaving."""

    backing: Backing


@dataclass(frozen=True, slots=True)
class SaveSettled:
    """Remember that the contract is gone, and what it paid all told."""

    total: Nano


@dataclass(frozen=True, slots=True)
class SaveReopened:
    """Remember that the terms lapsed, and that the channel goes on to other ones."""


# ---------------------------------------------------------------- effects: what to send


@dataclass(frozen=True, slots=True)
class SendVoucher:
    total: Nano


@dataclass(frozen=True, slots=True)
class SendState:
    state: ChannelState


@dataclass(frozen=True, slots=True)
class SendDeposit:
    """Say what we have seen behind the channel."""

    deposit: Deposit


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
    | SaveBroken
    | SaveCharge
    | SaveReleased
    | SaveRecovered
    | SignVoucher
    | SaveVoucher
    | SaveState
    | SaveStopped
    | SignTerms
    | SaveClosed
    | SaveBacking
    | SaveSettled
    | SaveReopened
)
PayerSend = SendVoucher | SendCloseWanted | SendCloseAgreed | SendRefused
PayerEffect = PayerSave | PayerSend

PayeeSave = (
    SaveVoucher
    | SaveCharge
    | SaveLowered
    | SaveRecovered
    | SignState
    | SignTerms
    | SaveClosed
    | SaveBacking
    | SaveSettled
    | SaveReopened
)
PayeeSend = SendState | SendDeposit | SendCloseWanted | SendCloseAgreed | SendRefused
PayeeEffect = PayeeSave | PayeeSend
