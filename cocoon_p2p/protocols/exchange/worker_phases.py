"""In which phases a worker's stream of exchanges can be, and when each needs waking.

How one leads to the next is drawn and decided in `worker`.
"""

from dataclasses import dataclass
from typing import assert_never

from cocoon_p2p.protocols.exchange.answer import Answer
from cocoon_p2p.protocols.exchange.assignment import Job
from cocoon_p2p.protocols.exchange.pulse import Pulse
from cocoon_p2p.protocols.ids import ENGINE_STALL_SECONDS, Reason
from cocoon_p2p.protocols.messages import ExchangeId, Usage


@dataclass(frozen=True, slots=True)
class Idle:
    """Between exchanges."""

    last: ExchangeId | None = None
    "The exchange that ended last on this stream."

    late: int = 0
    "Messages of it that came after its end."


@dataclass(frozen=True, slots=True)
class Opening:
    """The request is on its way."""

    job: Job
    pulse: Pulse
    due: float
    "When the next part must have come."

    is_greeted: bool = False
    parts: int = 0
    request: tuple[bytes, int] | None = None
    "Session, and number in it, as the first part said."

    is_complete: bool = False


@dataclass(frozen=True, slots=True)
class Counting:
    """The engine tokenises the prompt."""

    job: Job
    pulse: Pulse
    due: float
    completion_tokens_max: int


@dataclass(frozen=True, slots=True)
class Covering:
    """The prompt is metered, and waits for credit."""

    job: Job
    pulse: Pulse
    due: float
    completion_tokens_max: int
    metered: Usage


@dataclass(frozen=True, slots=True)
class Answering:
    """The engine works."""

    job: Job
    pulse: Pulse
    answer: Answer
    engine_since: float
    "Since when the engine owes a step, unless it is held back."

    cover_due: float | None = None
    "Until when credit for the next chunk is waited for, if it is."

    is_writing: bool = False
    "Whether a chunk is being written."

    @property
    def stalled_at(self) -> float:
        """When the engine counts as failed unless it makes a step."""
        return float("inf") if self.answer.is_held else self.engine_since + ENGINE_STALL_SECONDS

    @property
    def due(self) -> float:
        """When the answer needs a decision: a chunk to cut, a wait that is over."""
        if self.cover_due is not None:
            return min(self.cover_due, self.stalled_at)
        chunk_due = None if self.is_writing else self.answer.due
        return self.stalled_at if chunk_due is None else min(chunk_due, self.stalled_at)


@dataclass(frozen=True, slots=True)
class Ending:
    """The receipt is being saved."""

    job: Job
    pulse: Pulse
    reason: Reason | None
    "Why it was not completed."

    is_gone: bool = False
    "Whether nobody is there to send it to."


@dataclass(frozen=True, slots=True)
class Gone:
    """The stream has ended. Nothing comes after it."""


Unpaid = Opening | Counting | Covering
"Nothing is computed yet, so nothing can be owed."

Running = Unpaid | Answering | Ending
"An exchange is on."

State = Idle | Running | Gone


def next_wake(state: State) -> float | None:
    """Say when `TimePassed` is due, unless something else happens first; None for never."""
    match state:
        case Idle() | Gone() | Ending(is_gone=True):
            return None
        case Ending():
            return _pulse_due(state.pulse)
        case Opening() | Counting() | Covering():
            return min(_pulse_due(state.pulse), state.job.deadline, state.due)
        case Answering():
            # A heartbeat cannot overtake the chunk that is being written, and need not follow it.
            pulse_due = state.pulse.lost_at if state.is_writing else _pulse_due(state.pulse)
            return min(pulse_due, state.job.deadline, state.due)
    assert_never(state)


def wants_step(state: State) -> bool:
    """Say whether the engine may make its next step, or must wait for the reader."""
    return isinstance(state, Answering) and not state.answer.is_held


def _pulse_due(pulse: Pulse) -> float:
    return min(pulse.heartbeat_due, pulse.lost_at)
