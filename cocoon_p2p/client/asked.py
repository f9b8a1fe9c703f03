"""A request that was made: the block in which its answer is read, and what it has cost in any case."""

from contextlib import AbstractAsyncContextManager
from types import TracebackType

from cocoon_p2p.client.answer import Answer, Report
from cocoon_p2p.units import Nano


class Asked(AbstractAsyncContextManager[Answer]):
    """What `Client.chat` and its like give: enter it for the answer.

    Args:
        block: Asks when it is entered, and settles when it is left.
        report: What becomes known of the answer.
    """

    def __init__(self, block: AbstractAsyncContextManager[Answer], report: Report) -> None:
        self._block = block
        self._report = report

    @property
    def charged_max(self) -> Nano:
        """What the request may have cost at most, also where entering it was cancelled, or failed.

        Once the block was left: what was booked, and what may still be, in nanoTON.
        """
        return Nano(self._report.charged + self._report.pending)

    async def __aenter__(self) -> Answer:
        return await self._block.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._block.__aexit__(kind, error, trace)
