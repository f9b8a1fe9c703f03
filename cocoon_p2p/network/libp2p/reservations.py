"""Which relays to ask for a reservation, when, and until when one is to be relied on. Pure.

    free --choose--> asked --taken--> held --taken--> held (refreshed)
      ^                |                |
      |              failed           failed
      +- 5 s, 10 s ... 5 min later -----+

Rule 1: `wanted` relays are held or asked at a time; of those that do not rest, the first in the list.
Rule 2: a reservation is refreshed when three quarters of it are over, and is worth nothing after its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cocoon_p2p.errors import RemoteProtocolError
from cocoon_p2p.identity import PeerId

REST_FIRST_SECONDS = 5.0
REST_LONGEST_SECONDS = 300.0

SPAN_MIN_SECONDS = 60.0
SPAN_MAX_SECONDS = 24 * 3600.0
"Reservations that are shorter would be refreshed all the time; longer ones are refreshed once a day."


def refresh_after(expires: float, now: float) -> float:
    """Say how many seconds after `now` a reservation is to be refreshed.

    Args:
        expires: When it ends, seconds since the Unix epoch, by the relay's clock.
        now: The same, by ours.

    Raises:
        RemoteProtocolError: It would be over in less than a minute; or their clock or ours is wrong.
    """
    if expires - now < SPAN_MIN_SECONDS:
        raise RemoteProtocolError(f"the relay's reservation ends too soon (seconds={expires - now:.0f})")
    return min(expires - now, SPAN_MAX_SECONDS) * 3 / 4


@dataclass(slots=True)
class _Rest:
    until: float = 0.0
    failures: int = 0


@dataclass(slots=True)
class Reservations:
    """The relays that a node knows, and which of them it relies on. `now` is any clock."""

    relays: Sequence[PeerId]
    wanted: int
    _busy: set[PeerId] = field(default_factory=set[PeerId])
    _held: list[PeerId] = field(default_factory=list[PeerId])
    _rests: dict[PeerId, _Rest] = field(default_factory=dict[PeerId, _Rest])

    @property
    def held(self) -> tuple[PeerId, ...]:
        """The relays that pass on who wants us, longest held first."""
        return tuple(self._held)

    def choose(self, now: float) -> tuple[PeerId, ...]:
        """Choose whom to ask now. Each is told of with `taken`, and in the end with
        `failed` or `dropped`."""
        room = self.wanted - len(self._busy)
        free = [peer for peer in self.relays if peer not in self._busy and self._until(peer) <= now]
        chosen = tuple(free[: max(0, room)])
        self._busy.update(chosen)
        return chosen

    def seconds_left(self, now: float) -> float:
        """Say after how many seconds it is worth choosing again, if nothing happens before."""
        rests = [self._until(peer) - now for peer in self.relays if peer not in self._busy]
        return max(0.0, min(rests, default=REST_LONGEST_SECONDS))

    def taken(self, peer: PeerId) -> None:
        """Note that a relay took, or refreshed, our reservation."""
        if peer not in self._held:
            self._held.append(peer)
        self._rests.pop(peer, None)

    def failed(self, peer: PeerId, now: float) -> None:
        """Note that a relay took nothing, or is gone. It rests, twice as long as after the failure before.

        One that had taken our reservation rests shortly: whoever takes and drops it at once is not
        asked without end.
        """
        rest = self._rests.setdefault(peer, _Rest())
        # The exponent is bounded before the power: a relay may fail as often as it likes.
        rest.until = now + min(REST_LONGEST_SECONDS, REST_FIRST_SECONDS * 2 ** min(rest.failures, 16))
        rest.failures += 1
        self.dropped(peer)

    def dropped(self, peer: PeerId) -> None:
        """Note that we rely on a relay no longer, by our own choice."""
        self._busy.discard(peer)
        if peer in self._held:
            self._held.remove(peer)

    def _until(self, peer: PeerId) -> float:
        return self._rests[peer].until if peer in self._rests else 0.0
