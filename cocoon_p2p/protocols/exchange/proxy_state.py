"""An exchange as its proxy sees it, and what is due when.

Spec: protocols/exchange.md (Time). The machine: `proxy`.
"""

from dataclasses import dataclass, field
from enum import Enum, auto

from cocoon_p2p.frozen import replace
from cocoon_p2p.protocols.exchange.proxy_events import Effects, ToClient, ToWorker
from cocoon_p2p.protocols.exchange.pulse import LOST_SECONDS, Pulse
from cocoon_p2p.protocols.exchange.relayed import Deal, Passed, is_next_token_held
from cocoon_p2p.protocols.ids import ENGINE_STALL_SECONDS, Reason
from cocoon_p2p.protocols.messages import Hello, Part
from cocoon_p2p.units import Nano

NEVER = float("inf")
ZERO = Nano(0)

STALL_SECONDS = ENGINE_STALL_SECONDS + LOST_SECONDS
"A worker judges its own engine first; one that does not is found out a little later."


class Phase(Enum):
    QUOTED = auto()
    "A slot is held. The client makes up its mind."

    COVERING = auto()
    "The client goes on; its credit must cover the prompt's bound first."

    OPENING = auto()
    "A stream and a channel to the worker are being had."

    UPLOADING = auto()
    METERING = auto()
    "The whole request is with the worker, which counts it."

    ANSWERING = auto()
    STOPPING = auto()
    "The worker was told to stop, and will sign for what it did."

    SETTLING = auto()
    "What is owed is known and being written down."

    ENDED = auto()


UNASSIGNED = (Phase.QUOTED, Phase.COVERING, Phase.OPENING)
ASSIGNED = (Phase.UPLOADING, Phase.METERING, Phase.ANSWERING)
WITH_WORKER = (*ASSIGNED, Phase.STOPPING)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange as the proxy sees it."""

    deal: Deal
    phase: Phase
    deadline: float
    patience: float | None
    "When the phase's own limit ends; None if only the deadline counts."

    client: Pulse
    worker: Pulse
    is_client_here: bool = True
    is_greeted: bool = False
    "Whether there was a Hello."

    is_greeting: bool = False
    "Whether its Accept is still to come."

    parts: int = 0
    is_uploaded: bool = False
    to_upload: tuple[Hello | Part, ...] = ()
    "What the client sent before the worker was assigned. The shell stops listening at the first Part."

    passed: Passed = field(default_factory=Passed)
    reach: Nano = ZERO
    "The worker's amount up to which cover was asked for."

    covered: Nano = ZERO
    held: Nano = ZERO
    steps: int = 0
    stepped: float = 0.0
    "When the engine last got on."

    reason: Reason | None = None
    "Why it was stopped, or broke."

    detail: str = ""

    @property
    def listens_to_client(self) -> bool:
        """Whether the shell should read on from the client; if not, its silence means nothing."""
        return not any(isinstance(message, Part) for message in self.to_upload)


def is_waiting_for_credit(exchange: Exchange) -> bool:
    """Say whether something is held back until the client covers it, not just kept ahead."""
    if exchange.phase is Phase.ANSWERING:
        return not is_next_token_held(exchange.passed, exchange.held, exchange.deal)
    return exchange.phase is Phase.COVERING


def listen(exchange: Exchange, now: float, *, client: bool = False, worker: bool = False) -> Exchange:
    """Begin to listen to a side, now: how long it was not listened to is not its silence."""
    if client:
        exchange = replace(exchange, client=Pulse(now, exchange.client.spoke))
    if worker:
        exchange = replace(exchange, worker=Pulse(now, exchange.worker.spoke), stepped=now)
    return exchange


def to_client(exchange: Exchange, now: float, *messages: object) -> tuple[Exchange, Effects]:
    """Say something to the client, if it is still there."""
    if not messages or not exchange.is_client_here:
        return exchange, ()
    exchange = replace(exchange, client=Pulse(exchange.client.heard, now))
    return exchange, tuple(map(ToClient, messages))


def to_worker(exchange: Exchange, now: float, *messages: object) -> tuple[Exchange, Effects]:
    """Say something to the worker."""
    exchange = replace(exchange, worker=Pulse(exchange.worker.heard, now))
    return exchange, tuple(map(ToWorker, messages))


# ---------------------------------------------------------------- what is due


def ends_at(exchange: Exchange) -> float:
    """Say when the whole exchange runs out of time; never, once it is being stopped."""
    return NEVER if exchange.phase in (Phase.STOPPING, Phase.SETTLING) else exchange.deadline


def client_lost_at(exchange: Exchange) -> float:
    """Say when the client counts as lost. While it makes up its mind the reservation is limit enough."""
    if not exchange.is_client_here or not exchange.listens_to_client or exchange.phase is Phase.QUOTED:
        return NEVER
    return exchange.client.lost_at


def client_beat_at(exchange: Exchange) -> float:
    """Say when the client must hear from us."""
    return exchange.client.heartbeat_due if exchange.is_client_here else NEVER


def worker_lost_at(exchange: Exchange) -> float:
    """Say when the worker counts as lost."""
    return exchange.worker.lost_at if exchange.phase in WITH_WORKER else NEVER


def worker_beat_at(exchange: Exchange) -> float:
    """Say when the worker must hear from us."""
    return exchange.worker.heartbeat_due if exchange.phase in WITH_WORKER else NEVER


def stalled_at(exchange: Exchange) -> float:
    """Say when an engine that should work has made no step for too long."""
    is_at_work = exchange.phase in (Phase.METERING, Phase.ANSWERING)
    return exchange.stepped + STALL_SECONDS if is_at_work else NEVER


def next_wake(exchange: Exchange) -> float:
    """Say when `Woke` is due if nothing happens before; infinity if time alone changes nothing."""
    if exchange.phase is Phase.ENDED:
        return NEVER
    return min(
        NEVER if exchange.patience is None else exchange.patience,
        ends_at(exchange),
        client_lost_at(exchange),
        client_beat_at(exchange),
        worker_lost_at(exchange),
        worker_beat_at(exchange),
        stalled_at(exchange),
    )
