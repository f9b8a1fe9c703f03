"""A time that can be moved forward."""

from collections.abc import Callable

from cocoon_p2p.errors import LocalProtocolError


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
        return self._now + int(self._runs_with() - self._set_at) if self._runs_with else self._now

    def move(self, now: int) -> None:
        """Set the time anew.

        Raises:
            LocalProtocolError: It would go back.
        """
        if now < self.now:
            raise LocalProtocolError(f"a chain's time does not go back (now={self.now} wanted={now})")
        self._set(now)
