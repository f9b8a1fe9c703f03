"""What the worker's exchange machine hears (events) and orders (effects).

Events are named for what happened, effects for what the shell must do. `now` is always the
time of the event, in the seconds of the shell's own clock, which never goes back.
"""

from dataclasses import dataclass

from cocoon_p2p.protocols.contents import AnswerContent
from cocoon_p2p.protocols.exchange.answer import Draft
from cocoon_p2p.protocols.exchange.assignment import Job, Standing
from cocoon_p2p.protocols.ids import Kind, Outcome, Reason
from cocoon_p2p.protocols.messages import Accept, Assign, Hello, Part, Signed, Usage
from cocoon_p2p.units import Nano

# ---------------------------------------------------------------- events: the proxy


@dataclass(frozen=True, slots=True)
class AssignReceived:
    """The proxy assigned an exchange."""

    assign: Assign
    standing: Standing
    now: float


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """The proxy sent any other message of the closed set."""

    message: object
    now: float


@dataclass(frozen=True, slots=True)
class PeerLost:
    """The proxy closed or reset the stream, vanished, sent what is not allowed, or reads nothing."""

    now: float


# ---------------------------------------------------------------- events: our own side


@dataclass(frozen=True, slots=True)
class SessionAccepted:
    """A sealing session stands. Follows `Greet`."""

    accept: Accept
    now: float


@dataclass(frozen=True, slots=True)
class RequestOpened:
    """The whole request is opened and read. Follows the `OpenPart` of the final part."""

    kind: Kind
    model: str
    completion_tokens_max: int
    now: float


@dataclass(frozen=True, slots=True)
class RequestRejected:
    """The handshake, a seal, the contents or the count of the prompt says no.

    Follows `Greet`, `OpenPart` or `CountPrompt`.
    """

    reason: Reason
    detail: str
    now: float


@dataclass(frozen=True, slots=True)
class PromptCounted:
    """The engine has tokenised the prompt. Follows `CountPrompt`."""

    prompt_tokens: int
    cached_tokens: int
    "Of those."

    now: float


@dataclass(frozen=True, slots=True)
class Covered:
    """Credit covers an amount. Follows `Cover`."""

    amount: Nano
    "One of those that were asked for."

    now: float


@dataclass(frozen=True, slots=True)
class Generated:
    """The engine made a step. All counts are cumulative."""

    content: AnswerContent
    "Its `finish` is set in the last one only."

    completion_tokens: int
    prompt_tokens: int
    "Computed, or found in the cache, so far."

    now: float


@dataclass(frozen=True, slots=True)
class EngineFailed:
    """The engine will make no step more, and has not finished."""

    now: float


@dataclass(frozen=True, slots=True)
class ChunkTaken:
    """The newest chunk is written: the stream has room for the next one."""

    now: float


@dataclass(frozen=True, slots=True)
class ReceiptSaved:
    """The receipt is signed and charged, durably. Follows `SaveReceipt`."""

    receipt: Signed
    now: float


@dataclass(frozen=True, slots=True)
class TimePassed:
    """It is `next_wake` or later."""

    now: float


Report = (
    SessionAccepted
    | RequestOpened
    | RequestRejected
    | PromptCounted
    | Covered
    | Generated
    | EngineFailed
    | ChunkTaken
)
"What our own side did. Late ones, of an exchange that has ended, are harmless."

Event = AssignReceived | MessageReceived | PeerLost | TimePassed | ReceiptSaved | Report

# ---------------------------------------------------------------- effects


@dataclass(frozen=True, slots=True)
class Send:
    """Send one message, after everything that was sent before."""

    message: object


@dataclass(frozen=True, slots=True)
class Admit:
    """Take a slot and note that this exchange runs, until `Dismiss`."""

    job: Job


@dataclass(frozen=True, slots=True)
class Greet:
    """Answer a sealing handshake. Ends in `SessionAccepted` or `RequestRejected`."""

    hello: Hello


@dataclass(frozen=True, slots=True)
class OpenPart:
    """Open the seal of one part and keep what is inside.

    Ends in `RequestRejected`, or nothing; after the final part in `RequestOpened`.
    """

    part: Part


@dataclass(frozen=True, slots=True)
class CountPrompt:
    """Let the engine tokenise. Ends in `PromptCounted` or `RequestRejected`."""


@dataclass(frozen=True, slots=True)
class Cover:
    """Raise what the exchange has accrued to the highest of these totals that credit covers now.

    If it covers none, wait for the lowest. Ends in `Covered`.
    """

    amounts: tuple[Nano, ...]
    "Ascending."


@dataclass(frozen=True, slots=True)
class Permit:
    """The proxy allows the exchange to accrue up to this total: `Cover` waits for that too."""

    amount: Nano


@dataclass(frozen=True, slots=True)
class StartEngine:
    """Generate. Ends in `Generated` again and again, or `EngineFailed`."""

    completion_tokens_max: int


@dataclass(frozen=True, slots=True)
class StopWork:
    """Leave the engine, and whatever else is under way for the exchange: counting, waiting for credit."""


@dataclass(frozen=True, slots=True)
class SendChunk:
    """Seal a chunk, sign its Meter if it says so, and send it. Ends in `ChunkTaken`."""

    draft: Draft


@dataclass(frozen=True, slots=True)
class SaveReceipt:
    """Sign the receipt and charge the amount, durably. Ends in `ReceiptSaved`. Cannot be cancelled."""

    usage: Usage
    "What counts."

    amount: Nano
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Dismiss:
    """The exchange is over: free its slot, forget its request, release what it accrued but did not charge."""

    reason: Reason | None = None
    "Why, unless it was completed."


@dataclass(frozen=True, slots=True)
class Reset:
    """Give the stream up."""


Effect = (
    Send
    | Admit
    | Greet
    | OpenPart
    | CountPrompt
    | Cover
    | Permit
    | StartEngine
    | StopWork
    | SendChunk
    | SaveReceipt
    | Dismiss
    | Reset
)
