"""A paid answer while it is read, which may be stopped at any moment: the worker, and the paying with it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from cocoon_p2p.aio import Answer, Asked
from cocoon_p2p.errors import CocoonError
from cocoon_p2p.telegram.clock import Clock
from cocoon_p2p.telegram.pages import fitting
from cocoon_p2p.telegram.styled import utf16_units
from cocoon_p2p.units import Nano

Ask = Callable[[], Awaitable[AbstractAsyncContextManager[Answer]]]
"""Asks, once that is to be: gives a block that is entered when the first piece is there, as `Client.chat`
does."""


class Reading:
    """One answer on its way from the network.

    Args:
        clock: The time.
        units_max: UTF-16 units that are read at most; then it is stopped.
    """

    def __init__(self, clock: Clock, *, units_max: int) -> None:
        self._clock = clock
        self.answer: Answer | None = None
        "None before the first piece, and where there is none."

        self.error: CocoonError | None = None
        "Why the rest did not come."

        self.stopped: str | None = None
        "What the reader is told, where somebody did not want the rest; may be empty."

        self.is_cut = False
        "It was too long, and the rest was not bought."

        self._asked: AbstractAsyncContextManager[Answer] | None = None
        self._texts: list[str] = []
        self._units_left = units_max
        self._until: asyncio.Timeout | None = None
        self._over = asyncio.Event()
        self._news = asyncio.Event()

    @property
    def text(self) -> str:
        """What came so far."""
        return "".join(self._texts)

    @property
    def charged_max(self) -> Nano:
        """What it may have cost at most, also where it was stopped before its first word."""
        return self._asked.charged_max if isinstance(self._asked, Asked) else Nano(0)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come, and what it cost is known."""
        return self._over.is_set()

    async def run(self, ask: Ask) -> None:
        """Read to the end. What stands in the way is in `error`.

        A cancel stops the answer, and waits until it is settled, as leaving its block does.
        """
        try:
            async with asyncio.timeout(None) as self._until:
                if self.stopped is not None:
                    return
                await self._read(ask)
        except TimeoutError:
            if self.stopped is None:
                raise
        except CocoonError as error:
            self.error = error
        finally:
            self._until = None
            self._over.set()
            self._news.set()

    async def _read(self, ask: Ask) -> None:
        self._asked = await ask()
        async with self._asked as self.answer:
            async for piece in self.answer:
                # A worker decides how much comes at once.
                text = piece.text[: fitting(piece.text, 0, self._units_left)]
                self._texts.append(text)
                self._news.set()
                self._units_left -= utf16_units(text)
                if text != piece.text:
                    self.is_cut = True
                    return

    def stop(self, why: str) -> None:
        """Have the rest not made, nor paid for. Also before it has begun; after its end this does nothing.

        Args:
            why: What the reader is told.
        """
        if self.is_over or self.stopped is not None:
            return
        self.stopped = why
        if self._until is not None:
            self._until.reschedule(asyncio.get_running_loop().time())

    async def news(self, seconds: float) -> None:
        """Wait until more came than when this was asked last, or the end; so many seconds at most."""
        await self._clock.wait(self._news, seconds)
        self._news.clear()

    async def over_within(self, seconds: float) -> None:
        """Wait so many seconds, or until the end."""
        await self._clock.wait(self._over, seconds)
