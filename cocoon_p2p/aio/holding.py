"""An answer's block on trio, held open by a task for a reader elsewhere."""

from collections.abc import Callable

import trio

from cocoon_p2p.aio.flow import Flow
from cocoon_p2p.client import Answer, Client
from cocoon_p2p.client.answer import Report
from cocoon_p2p.client.asked import Asked
from cocoon_p2p.errors import Unavailable
from cocoon_p2p.units import Nano

Asking = Callable[[Client], Asked]


class Noted:
    """Makes a request, and remembers what it has cost, for any thread.

    Args:
        asking: Makes it. Called in trio's thread, once.
    """

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._asked: Asked | None = None

    def __call__(self, client: Client) -> Asked:
        """Make it."""
        self._asked = self._asking(client)
        return self._asked

    @property
    def charged_max(self) -> Nano:
        """As of the request on trio; nothing where it was never made."""
        return Nano(0) if self._asked is None else self._asked.charged_max


class Held:
    """One answer, from entering its block to leaving it. `run` is cancelled to leave.

    Args:
        asking: Asks for it.
        flow: Where its pieces go.
        begun: Called, in trio's thread, when the block was entered and `report` is there.
    """

    def __init__(self, asking: Asking, flow: Flow, begun: Callable[[], None]) -> None:
        self.report: Report | None = None
        self._asking = asking
        self._flow = flow
        self._begun = begun

    async def run(self, client: Client) -> None:
        """Hold the block until a cancel. Raises what entering it raises."""
        try:
            async with self._asking(client) as answer:
                self.report = answer.report
                self._begun()
                await self._pump(answer)
                await trio.sleep_forever()
        finally:
            # Whoever still reads learns that nothing more comes.
            self._flow.end(Unavailable("the client was closed before the answer had ended"))

    async def _pump(self, answer: Answer) -> None:
        try:
            async for piece in answer:
                self._flow.put(piece)
                await self._flow.room()
        except Exception as error:  # noqa: BLE001 (carried to the reader)
            self._flow.end(error)
        else:
            self._flow.end()
