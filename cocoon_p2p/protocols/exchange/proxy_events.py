"""What the proxy's exchange machine hears (events) and orders (effects).

Events are named for what happened, effects for what the shell must do. `now` is the time of
the event in seconds, on a clock of the shell's choice that never goes back.

Spec: protocols/exchange.md. The machine: `proxy`.
"""

from dataclasses import dataclass

from cocoon_p2p.protocols.ids import Outcome
from cocoon_p2p.protocols.messages import ChannelId, Signed, Usage
from cocoon_p2p.units import Nano

# ---------------------------------------------------------------- events: the two peers


@dataclass(frozen=True, slots=True)
class ClientSaid:
    """The client sent this message of the closed set. It is judged by the machine, not trusted."""

    message: object
    now: float


@dataclass(frozen=True, slots=True)
class ClientLost:
    """The client closed or reset the stream, vanished, did what is not allowed, or reads nothing."""

    now: float


@dataclass(frozen=True, slots=True)
class WorkerSaid:
    """The worker sent this message of the closed set. It is judged by the machine, not trusted."""

    message: object
    now: float


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """As `ClientLost`, of the worker that the exchange was assigned to."""

    detail: str
    "In words, for the client."

    now: float


# ---------------------------------------------------------------- events: our own side


@dataclass(frozen=True, slots=True)
class Covered:
    """The client's account has this much set aside for the exchange. Follows `Cover`, perhaps often."""

    amount: Nano
    now: float


@dataclass(frozen=True, slots=True)
class WorkerOpened:
    """There is a stream to the worker, and a channel to pay it through. Follows `OpenWorker`."""

    channel: ChannelId
    now: float


@dataclass(frozen=True, slots=True)
class WorkerUnavailable:
    """There is not: it is gone, or takes no channel of ours. Follows `OpenWorker`."""

    detail: str
    now: float


@dataclass(frozen=True, slots=True)
class HoldRefused:
    """Our channel to the worker cannot carry the newest `Hold`."""

    now: float


@dataclass(frozen=True, slots=True)
class Charged:
    """Both channels are charged, durably, and this Settlement says so. Follows `Charge`."""

    settlement: Signed
    now: float


@dataclass(frozen=True, slots=True)
class Woke:
    """It is `next_wake` or later."""

    now: float
    is_client_read: bool = True
    "False while nobody listens to the client, because the worker takes nothing: silence means nothing then."

    is_worker_read: bool = True
    "Likewise."


Event = (
    ClientSaid
    | ClientLost
    | WorkerSaid
    | WorkerLost
    | Covered
    | WorkerOpened
    | WorkerUnavailable
    | HoldRefused
    | Charged
    | Woke
)

# ---------------------------------------------------------------- effects


@dataclass(frozen=True, slots=True)
class ToClient:
    """Send this, after everything that was sent to the client before."""

    message: object


@dataclass(frozen=True, slots=True)
class ToWorker:
    """Send this, after everything that was sent to the worker before."""

    message: object


@dataclass(frozen=True, slots=True)
class Cover:
    """Set aside as much of the client's credit as there is, up to this total, for the exchange.

    Answered by `Covered` at once with what there is now, and again whenever it rises. A later
    `Cover` takes the place of an earlier one and is never below it.
    """

    amount: Nano


@dataclass(frozen=True, slots=True)
class OpenWorker:
    """Get a stream and a paying channel to the worker. Ends in `WorkerOpened` or `WorkerUnavailable`."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep this total covered for the exchange at the worker. Never below an earlier one."""

    amount: Nano


@dataclass(frozen=True, slots=True)
class LeaveWorker:
    """We are done with the worker: its slot is free. The stream can be used again only if it is clean."""

    is_stream_clean: bool


@dataclass(frozen=True, slots=True)
class LeaveClient:
    """The client is gone: reset its stream."""


@dataclass(frozen=True, slots=True)
class Reckoning:
    """What an exchange comes to, and the paper that says so."""

    outcome: Outcome
    worker_amount: Nano
    client_amount: Nano
    "Commission included."

    usage: Usage
    "What is charged for."

    receipt: Signed | None
    meter: Signed | None
    "The newest Meter, where the worker vanished without a receipt."


@dataclass(frozen=True, slots=True)
class Charge:
    """Charge both channels, durably, and sign the Settlement. Ends in `Charged`."""

    reckoning: Reckoning


@dataclass(frozen=True, slots=True)
class Release:
    """Nothing is owed: give back what was set aside and held."""


Effect = ToClient | ToWorker | Cover | OpenWorker | Hold | LeaveWorker | LeaveClient | Charge | Release
Effects = tuple[Effect, ...]
