"""So many at each pass of the event loop, and the others after them, in the order in which they came.

A rate bounds what strangers cost in a second; this bounds what they cost between two steps of somebody
else. An answer takes some ten passes of trio's loop (a stream is accepted, a protocol agreed on, a question
read), and at each of them waits for whatever else is ready to run. When each of twenty connections
begins a stream at each pass, that is 200 beginnings for one answer. When nobody is in a hurry, nobody waits.
"""

import trio
from trio.lowlevel import ParkingLot, checkpoint


class Passing:
    """Who may begin something at this pass of the loop.

    Args:
        at_once_max: How many at one pass.
    """

    def __init__(self, at_once_max: int) -> None:
        self._at_once_max = at_once_max
        self._room = at_once_max
        self._waiting = ParkingLot()
        self._used = ParkingLot()

    async def go_by(self) -> None:
        """Return at once where this pass has room, else when a later one has. A cancel takes no room."""
        if self._room and not self._waiting:
            self._room -= 1
            self._used.unpark_all()
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await self._waiting.park()

    async def run(self) -> None:
        """Make room at each pass, until cancelled. Nobody goes by who must wait, where this does not run."""
        while True:
            if self._room == self._at_once_max:
                await self._used.park()
            await checkpoint()
            self._room = self._at_once_max - len(self._waiting.unpark(count=self._at_once_max))
