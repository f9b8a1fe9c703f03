"""Messages that wait for the ledger: what a channel's writer may send, and when.

*Save before send*: each message comes with the write that it depends on, and leaves only once that
is on disk. A newer state supersedes one that has not left yet. Each stream has a box of its own:
what matters is sent again after a reconnect, from the machine's state.
"""

from dataclasses import dataclass

import trio

from cocoon_p2p.ledger import Written

ITEMS_MAX = 64
"A peer that asks faster than it reads waits with its next question."


@dataclass(frozen=True, slots=True)
class _Item:
    messages: tuple[object, ...]
    written: Written | None


class Outbox:
    """What waits to be sent on one stream."""

    def __init__(self) -> None:
        self._items: list[_Item] = []
        self._woken = trio.Event()
        self._taken = trio.Event()

    def put(self, *messages: object, after: Written | None = None, supersedes: type | None = None) -> None:
        """Queue messages of one step.

        Args:
            messages: To be sent in this order, once `after` is on disk.
            after: The step's own changes. Without messages they are still waited for, so that a
                failed write is noticed.
            supersedes: Queued messages of this class need not be sent any more.
        """
        if supersedes is not None:
            for index, item in enumerate(self._items):
                kept = tuple(message for message in item.messages if not isinstance(message, supersedes))
                self._items[index] = _Item(kept, item.written)
        self._items.append(_Item(messages, after))
        self._woken.set()

    def wake(self) -> None:
        """Let the writer look whether there is something to do."""
        self._woken.set()

    async def room(self) -> None:
        """Wait until the box is not full."""
        while len(self._items) >= ITEMS_MAX:
            self._taken = trio.Event()
            await self._taken.wait()

    async def woken(self) -> None:
        """Wait until something was put in, or `wake` was called, since the last `take`."""
        await self._woken.wait()

    async def take(self) -> tuple[object, ...]:
        """Take out all messages, once everything that they depend on is on disk.

        Raises:
            Unavailable, LocalProtocolError: The ledger could not be written.
        """
        self._woken = trio.Event()
        items, self._items = self._items, []
        self._taken.set()
        for item in items:
            if item.written is not None:
                await item.written.wait()
        return tuple(message for item in items for message in item.messages)
