"""What all connections of this process together may hold in memory for others. Pure.

Each connection has bounds of its own, but keys are cheap and so are connections: a thousand peers that
neither take what they asked for nor stop asking would have the memory of a thousand connections.

Rule: above the budget the connection that holds most gives up the stream that holds most, until there
is room. Who stays within what others use is never the one; nor is a protected peer, while strangers hold
anything: or many of them, each holding a little less, would have its streams reset.
"""

from typing import Protocol

HELD_MAX_BYTES = 64 << 20
"""Received and not read, and written and not sent, over all connections: 256 streams of which nobody reads a
byte, each with a whole window. What two processes that work at full speed hold between them is a few MiB."""


class Holder(Protocol):
    """A connection, as far as the budget is concerned."""

    @property
    def held_bytes(self) -> int:
        """What it holds now."""
        ...

    @property
    def is_protected(self) -> bool:
        """Whether others give way first."""
        ...

    def shed(self) -> None:
        """Give up the stream that holds most."""
        ...


class Budget:
    """The connections that hold something, and how much all of them may."""

    def __init__(self, held_max_bytes: int = HELD_MAX_BYTES) -> None:
        self._held_max_bytes = held_max_bytes
        self._noted: dict[Holder, int] = {}
        self._total_bytes = 0

    def note(self, holder: Holder) -> None:
        """Look at a holder that may hold more than before; if that is too much, let somebody give way.

        Who holds less since is seen when it matters, so only growth need be noted.
        """
        held = holder.held_bytes
        self._total_bytes += held - self._noted.get(holder, 0)
        self._noted[holder] = held
        if self._total_bytes > self._held_max_bytes:
            self._relieve()

    def forget(self, holder: Holder) -> None:
        """Count a holder no longer: its connection is lost."""
        self._total_bytes -= self._noted.pop(holder, 0)

    def _rank(self, holder: Holder) -> tuple[bool, int]:
        held = self._noted[holder]
        return held > 0 and not holder.is_protected, held

    def _relieve(self) -> None:
        for holder in self._noted:
            self._noted[holder] = holder.held_bytes
        self._total_bytes = sum(self._noted.values())
        while self._total_bytes > self._held_max_bytes:
            fullest = max(self._noted, key=self._rank)
            fullest.shed()
            held = fullest.held_bytes
            assert held < self._noted[fullest], "what holds most has something to give up"
            self._total_bytes -= self._noted[fullest] - held
            self._noted[fullest] = held
