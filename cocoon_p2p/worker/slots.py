"""How many exchanges a worker runs at once, which, and whether it takes new ones."""

import trio

from cocoon_p2p.protocols.messages import ChannelId, ExchangeId

RunningExchange = tuple[ChannelId, ExchangeId]
"An exchange id is the client's, and unique only on the channel that pays for it."


class Slots:
    """Counts the engine's slots, and tells who waits for a change.

    An exchange leaves in two steps: it stops running when its proxy is told of its end, and its
    slot is free once the engine has let go of it, which may be one decoding step later.

    Attributes:
        total: Exchanges at once, while the engine computes as many as it did at first.
        is_draining: Whether nothing new is taken.
        changed: Set at the next change, and replaced by then: take it before you look.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.is_draining = False
        self.changed = trio.Event()
        self._limit = total
        self._taken = 0
        self._running: set[RunningExchange] = set()
        self._parting = 0

    @property
    def free(self) -> int:
        return max(0, min(self.total, self._limit) - self._taken)

    @property
    def is_busy(self) -> bool:
        """Whether the engine has work, or is about to."""
        return bool(self._taken)

    @property
    def running(self) -> int:
        """How many exchanges have not ended yet."""
        return len(self._running)

    def limit(self, slots: int) -> None:
        """Take note of how many the engine computes at once now: none while it is being started again."""
        self._limit = slots
        self._note()

    def runs(self, exchange: RunningExchange) -> bool:
        return exchange in self._running

    def take(self, exchange: RunningExchange) -> None:
        assert self.free > 0
        assert exchange not in self._running
        self._taken += 1
        self._running.add(exchange)
        self._note()

    def end(self, exchange: RunningExchange) -> None:
        """The exchange has ended; its slot may still be busy."""
        self._running.remove(exchange)
        self._note()

    def give_back(self) -> None:
        """The engine has let go of an exchange: its slot is free."""
        assert self._taken > 0
        self._taken -= 1
        self._note()

    def part(self) -> None:
        """The last word of an exchange is on its way to its proxy, until `parted`."""
        self._parting += 1

    def parted(self, count: int) -> None:
        """So many last words are written, or will never be."""
        assert self._parting >= count
        self._parting -= count
        self._note()

    async def drain(self) -> None:
        """Take nothing new, and return once nothing runs and every proxy was told how its exchange ended.

        A cancel leaves it draining.
        """
        self.is_draining = True
        self._note()
        while self._running or self._taken or self._parting:
            await self.changed.wait()

    def _note(self) -> None:
        self.changed.set()
        self.changed = trio.Event()
