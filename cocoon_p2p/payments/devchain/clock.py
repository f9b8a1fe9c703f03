"""A time that can be moved forward."""

from collections.abc import Callable

from cocoon_p2p.errors import LocalProtocolError

TIME_MAX = 2**31 - 1
"The last second that lite servers can spell, in January 2038."


class MovableClock:
    """Stands still until it is moved, or runs along with another clock."""

    def __init__(self, now: int, runs_with: Callable[[], float] | None) -> None:
        """Set it.

        Args:
            now: In seconds since the Unix epoch.
            runs_with: Seconds since any moment, never falling; None for a time that stands still.
        """
        self._runs_with = runs_with
        self._set(now)

    def _set(self, now: int) -> None:
        self._now = now
        self._set_at = self._runs_with() if self._runs_with else 0.0

    @property
    def now(self) -> int:
        """The time, in seconds since the Unix epoch."""
        passed = int(self._runs_with() - self._set_at) if self._runs_with else 0
        return min(self._now + passed, TIME_MAX)

    def move(self, now: int) -> None:
        """Set the time anew.

        Raises:
            LocalProtocolError: It would go back, or beyond `TIME_MAX`.
        """
        if not self.now <= now <= TIME_MAX:
            raise LocalProtocolError(
                f"a chain's time moves forward, to {TIME_MAX} at most (now={self.now} wanted={now})"
            )
        self._set(now)
