"""Whether the peer at the other end of a hop still lives, and when it must hear from us.

Only a hop with work in it has a pulse: a stream between two exchanges may be silent for ever.

Spec: protocols/exchange.md (Time).
"""

from dataclasses import dataclass

from cocoon_p2p.protocols.ids import HEARTBEAT_SECONDS, HEARTBEATS_MISSED_MAX

LOST_SECONDS = HEARTBEAT_SECONDS * HEARTBEATS_MISSED_MAX
"A peer that was silent for this long is lost."


@dataclass(frozen=True, slots=True)
class Pulse:
    """When either side last said anything, in the seconds of one clock."""

    heard: float
    spoke: float

    @property
    def heartbeat_due(self) -> float:
        """When we must say something, were it only a Heartbeat."""
        return self.spoke + HEARTBEAT_SECONDS

    @property
    def lost_at(self) -> float:
        """When the peer counts as lost unless it says something."""
        return self.heard + LOST_SECONDS
