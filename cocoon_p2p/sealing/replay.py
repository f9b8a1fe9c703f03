"""Which numbers were seen already, where they may come out of order but each only once."""

from cocoon_p2p.protocols.ids import REPLAY_WINDOW


class ReplayWindow:
    """Remembers the last `size` numbers up to the highest one seen; all below count as seen.

    The window of RFC 4303, section 3.4.3: a number is looked at first (`is_fresh`) and marked
    only once what it came with has been authenticated, else a forger could use numbers up.
    """

    __slots__ = ("_highest", "_seen", "_size")

    def __init__(self, size: int = REPLAY_WINDOW) -> None:
        self._size = size
        self._highest = -1
        # Bit i stands for `highest - i`.
        self._seen = 0

    def is_fresh(self, number: int) -> bool:
        """Say whether `number` is inside or above the window and was never marked."""
        age = self._highest - number
        return age < 0 or (age < self._size and not self._seen >> age & 1)

    def mark(self, number: int) -> None:
        """Count `number`, a fresh one, as seen."""
        assert self.is_fresh(number)
        ahead = number - self._highest
        if ahead <= 0:
            self._seen |= 1 << -ahead
            return
        # A peer chooses the number: never shift by what it says.
        kept = self._seen << ahead & (1 << self._size) - 1 if ahead < self._size else 0
        self._seen = kept | 1
        self._highest = number
