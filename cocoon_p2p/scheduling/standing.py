"""A worker as its proxy knows it at this moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cocoon_p2p.identity import PeerId
from cocoon_p2p.protocols.ids import Trust
from cocoon_p2p.protocols.messages import ModelOffer
from cocoon_p2p.scheduling.odds import NO_ENDS, Fault, Odds
from cocoon_p2p.scheduling.pace import Pace


@dataclass(frozen=True, slots=True)
class WorkerStanding:
    """A worker as its proxy knows it at this moment."""

    peer: PeerId
    offers: tuple[ModelOffer, ...]
    trust: Trust
    "What is proven about its machine, until `trust_until`; then nothing is."

    slots_free: int
    "By its last word, less what was reserved or assigned since."

    is_draining: bool
    heard: float
    "When it last told its load, on the same clock as `now`."

    expires: int
    "When its record or its statement ends, whichever is first, in seconds since the Unix epoch."

    rests_until: float = 0.0
    "Until when it is left alone after a broken exchange."

    rests_for: Fault | None = None
    "What it rests for, or rested for last; None where it was no fault of its."

    trust_until: float = float("inf")
    "In seconds since the Unix epoch."

    platform: bytes = b""
    "The id of its machine, where that is proven."

    slots_total: int = 1
    answer_seconds: float | None = None
    "How long it takes to say anything, its line included; None if it was not asked yet."

    paces: Mapping[str, Pace] = field(default_factory=dict[str, Pace])
    "What was measured, by the model's name."

    odds: Odds = NO_ENDS

    @property
    def has_room(self) -> bool:
        """Whether a slot is free that may be given away."""
        return self.slots_free > 0 and not self.is_draining

    @property
    def load(self) -> float:
        """What part of its slots is taken, from 0 to 1."""
        total = max(1, self.slots_total, self.slots_free)
        return min(1.0, 1.0 - self.slots_free / total)


def proven(worker: WorkerStanding, date: float) -> Trust:
    """Say what is proven about a worker's machine at a date."""
    return worker.trust if date < worker.trust_until else Trust.OPEN
