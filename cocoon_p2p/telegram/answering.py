"""One answer from the network into a chat: read, shown as it grows, and put down whole in the end.

The reading and the showing are two tasks: words come as quickly as they are made, and are shown as often as
Telegram likes. Whatever ends the first, the second ends with the whole text, what it cost, and what went
wrong.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass

from aiogram.exceptions import AiogramError

from cocoon_p2p.errors import CocoonError
from cocoon_p2p.telegram.clock import Clock
from cocoon_p2p.telegram.delivery import DRAFT_SECONDS, Delivery
from cocoon_p2p.telegram.markdown import read_markdown
from cocoon_p2p.telegram.pace import Pace
from cocoon_p2p.telegram.pages import split
from cocoon_p2p.telegram.reading import Ask, Reading
from cocoon_p2p.telegram.styled import Styled, join
from cocoon_p2p.telegram.surface import Surface, Undeliverable
from cocoon_p2p.telegram.wording import Bill, Wording, bill_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """What came of an answer."""

    text: str
    "As the model wrote it, as far as it came."

    bill: Bill | None
    "None: there was no answer. Stopped before its first word, it may still have cost something (`balance`)."

    error: CocoonError | None
    is_stopped: bool
    is_delivered: bool
    "Whether it stands in the chat as it should."


class Answering:
    """One answer on its way into one place.

    Args:
        surface: The place.
        reading: The answer.
        wording: What is said beside it.
        pace: What all answers of the program may say, and when.
        clock: The time.
        heading: What stands above it.
    """

    def __init__(
        self,
        surface: Surface,
        reading: Reading,
        wording: Wording,
        pace: Pace,
        clock: Clock,
        *,
        heading: Styled | None = None,
    ) -> None:
        self._surface = surface
        self._reading = reading
        self._wording = wording
        self._delivery = Delivery(surface, pace, clock)
        self._heading = () if heading is None else (heading, Styled("\n\n"))

    async def run(self, ask: Ask) -> Told:
        """Ask, show, and deliver. What goes wrong on the way is in what it gives.

        A cancel stops the answer and settles it; what was shown of it stays as it is.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._show())
            await self._reading.run(ask)
        reading, bill = self._reading, self._bill()
        body = join([*self._heading, read_markdown(reading.text)]) if reading.text.strip() else Styled("")
        ending = self._wording.ending(body, self._note(), bill)
        is_delivered = True
        try:
            await self._delivery.finish(split(ending))
        except Undeliverable as error:
            is_delivered = False
            log.warning("an answer could not be delivered", extra={"why": str(error)})
        return Told(reading.text, bill, reading.error, reading.stopped is not None, is_delivered)

    async def _show(self) -> None:
        """Show frames until the answer is over, or can be shown to nobody: then it is stopped."""
        with suppress(AiogramError, OSError):
            await self._surface.announce()
        try:
            while not self._reading.is_over:
                await self._show_frame()
        except Undeliverable:
            self._reading.stop("")

    async def _show_frame(self) -> None:
        frame = self._frame()
        delay = self._delivery.delay(frame) if frame else None
        if delay is None:
            await self._reading.news(DRAFT_SECONDS)
        elif delay > 0:
            await self._reading.over_within(delay)
        else:
            await self._delivery.show(frame)

    def _frame(self) -> tuple[Styled, ...]:
        text = self._reading.text
        if not text.strip():
            # An empty draft is shown as somebody thinking.
            return (Styled(""),) if self._delivery.has_drafts else ()
        return split(join([*self._heading, read_markdown(text)]))

    def _note(self) -> str:
        reading = self._reading
        if reading.stopped is not None:
            return reading.stopped or self._wording.stopped
        if reading.is_cut:
            return self._wording.cut
        return self._wording.note(reading.error, has_text=bool(reading.text.strip()))

    def _bill(self) -> Bill | None:
        if self._reading.answer is not None:
            return bill_of(self._reading.answer)
        charged = self._reading.charged_max
        return Bill(charged) if charged else None
