"""What the client's machine takes in, what it has done, and how an exchange can end.

Spec: protocols/exchange.md. The machine: `client`.
"""

from dataclasses import dataclass

from cocoon_p2p.errors import CocoonError, Refused
from cocoon_p2p.protocols.contents import AnswerContent
from cocoon_p2p.protocols.exchange.bill import Bill
from cocoon_p2p.protocols.exchange.terms import Terms
from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.protocols.messages import Chunk, Part, Signed, Usage
from cocoon_p2p.protocols.messages import Refused as Refusal
from cocoon_p2p.units import Nano

# ---------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Received:
    """A message came."""

    message: object
    "Any of the closed set, except a Chunk whose seal opened."

    now: float
    date: float
    credit: Nano | None = None
    """In nanoTON: what the proxy may have had worked for beyond what was charged, by all exchanges of the
    channel; None: not known."""


@dataclass(frozen=True, slots=True)
class ChunkOpened:
    """A Chunk came, and its seal opened."""

    chunk: Chunk
    content: AnswerContent
    now: float


@dataclass(frozen=True, slots=True)
class HelloMade:
    """There was no sealing session with this worker; this Hello opens one."""

    hello: bytes
    now: float


@dataclass(frozen=True, slots=True)
class RequestSealed:
    """The request is ready to be sent."""

    parts: tuple[Part, ...]
    now: float


@dataclass(frozen=True, slots=True)
class HoldRefused:
    """Our own account cannot cover what was to be held."""

    error: Refused
    now: float


@dataclass(frozen=True, slots=True)
class CancelWanted:
    """The application does not want the answer, or the rest of it."""

    now: float


@dataclass(frozen=True, slots=True)
class PeerLost:
    """The stream broke; or, with a `RemoteProtocolError`, the peer did what is not allowed."""

    error: CocoonError


@dataclass(frozen=True, slots=True)
class Woke:
    """Time has passed, perhaps up to `next_wake`."""

    now: float
    is_listening: bool = True
    "False while the application reads so slowly that we do not read either: silence means nothing then."


Event = Received | ChunkOpened | HelloMade | RequestSealed | HoldRefused | CancelWanted | PeerLost | Woke

# ---------------------------------------------------------------- ends


@dataclass(frozen=True, slots=True)
class Priced:
    """A price question was answered."""

    terms: Terms


@dataclass(frozen=True, slots=True)
class Declined:
    """A hop said no, before it computed anything: nothing is owed."""

    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Dropped:
    """We gave up before anything was sealed: nothing is owed."""

    error: CocoonError | None
    "What we could not accept, or None if the application gave up."


@dataclass(frozen=True, slots=True)
class Paid:
    """Settled and booked, whatever the outcome was."""

    bill: Bill
    cancelled: Reason | None
    "Why we had cancelled, if we had."

    reason: Reason | None
    "Why the exchange broke, as the proxy says, if it did."

    detail: str | None


@dataclass(frozen=True, slots=True)
class Disputed:
    """The charge was not accepted. Keep the papers, and pay nothing more on this channel."""

    error: CocoonError
    terms: Terms
    settlement: Signed
    meter: Signed | None
    "The newest that the worker signed."


@dataclass(frozen=True, slots=True)
class Lost:
    """No settlement came."""

    error: CocoonError
    terms: Terms | None
    owed_max: Nano
    "The settlement can be asked for by exchange id, and is good up to this amount."

    meter: Signed | None


End = Priced | Declined | Dropped | Paid | Disputed | Lost

# ---------------------------------------------------------------- effects


@dataclass(frozen=True, slots=True)
class Send:
    """Send messages, in order; feed `PeerLost` if the stream is broken."""

    messages: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class SealRequest:
    """Seal the request for this worker and feed `RequestSealed`, or `HelloMade` if no session stands."""

    terms: Terms


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Finish the handshake, seal the request and feed `RequestSealed`; `PeerLost` if the Accept is false."""

    terms: Terms
    accept: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep this total covered for the exchange; feed `HoldRefused` if that cannot be."""

    amount: Nano


@dataclass(frozen=True, slots=True)
class Release:
    """Nothing is owed for the exchange: hold nothing any more."""


@dataclass(frozen=True, slots=True)
class Charge:
    """Book, durably, what the exchange cost."""

    bill: Bill


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand a piece of the answer to the application."""

    content: AnswerContent
    usage: Usage


@dataclass(frozen=True, slots=True)
class Reset:
    """Give the stream up."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The exchange has ended. The stream may be used again unless `Reset` came before."""

    end: End


Effect = Send | SealRequest | OpenSession | Hold | Release | Charge | Deliver | Reset | Finish
Effects = tuple[Effect, ...]
