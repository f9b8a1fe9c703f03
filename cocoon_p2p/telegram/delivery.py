"""Brings an answer into a chat: frames while it grows, if they may be shown, and its end in any case.

The thin shell around `showing`: it waits for its turn, carries a step out, and keeps what came of it.
"""

import logging
from dataclasses import replace

from cocoon_p2p.telegram.clock import Clock
from cocoon_p2p.telegram.pace import SPARED, Pace
from cocoon_p2p.telegram.showing import Board, Drafted, PageRefused, Send, Step, after, next_step
from cocoon_p2p.telegram.styled import Styled
from cocoon_p2p.telegram.surface import Silenced, Surface, Uncertain, Undeliverable, perform

log = logging.getLogger(__name__)

FINISH_SECONDS = 15 * 60.0
"How long an answer's end is tried to be delivered, through whatever Telegram or the network say to it."

BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
"Waits after calls that failed one after the other."

DRAFT_SECONDS = 20.0
"A draft is shown anew after this long: it goes by itself after 30 s."


class Delivery:
    """One answer's way into one place.

    Args:
        surface: The place.
        pace: What all answers of the program may say, and when.
        clock: The time.
        has_stubs: Whether messages begin as stubs, so that no text is sent twice.
    """

    def __init__(self, surface: Surface, pace: Pace, clock: Clock, *, has_stubs: bool = True) -> None:
        self._surface = surface
        self._pace = pace
        self._clock = clock
        self._board = Board(surface.standing, has_drafts=surface.has_drafts, has_stubs=has_stubs)
        self._drafted_at = 0.0
        self._failures = 0
        self._is_withheld = False

    @property
    def has_drafts(self) -> bool:
        return self._board.has_drafts

    def delay(self, pages: tuple[Styled, ...]) -> float | None:
        """Say in how many seconds the next frame may be shown; None: there is nothing to be shown."""
        step = self._next_frame(pages)
        if step is None:
            return None
        return self._pace.delay(self._surface.meters(step), self._clock.now(), SPARED)

    async def show(self, pages: tuple[Styled, ...]) -> None:
        """Carry the next step of a frame out, if it may be now. What fails is left to the frames after it.

        Raises:
            Undeliverable: Nothing can be shown there.
        """
        step = self._next_frame(pages)
        if step is None or self.delay(pages):
            return
        self._pace.take(self._surface.meters(step), self._clock.now())
        try:
            await self._perform(step)
        except Uncertain:
            # It may stand. Another one now could be one more each time; the end will send it.
            self._is_withheld = isinstance(step, Send)
            self._wait_after(step, self._backoff())
        except Silenced as exc:
            self._wait_after(step, exc.seconds)

    def wait_seconds(self, pages: tuple[Styled, ...]) -> float:
        """Say in how many seconds Telegram would take the first step of `finish`."""
        step = next_step(self._board, pages, is_live=False)
        return 0.0 if step is None else self._pace.delay(self._surface.meters(step), self._clock.now())

    async def finish(self, pages: tuple[Styled, ...], *, within_seconds: float | None = None) -> None:
        """Bring the chat to show these pages and nothing else of the answer.

        A cancel leaves what stands.

        Args:
            pages: What is to be read there.
            within_seconds: How long that is tried; None: `FINISH_SECONDS`.

        Raises:
            Undeliverable: Nothing can be shown there, or nothing got through for that long.
        """
        until = self._clock.now() + (FINISH_SECONDS if within_seconds is None else within_seconds)
        pages = pages[: self._surface.pages_max]
        while step := next_step(self._board, pages, is_live=False):
            await self._wait_for_turn(step, until)
            try:
                await self._perform(step)
            except Uncertain as exc:
                seconds = self._backoff()
                if self._clock.now() + seconds > until:
                    raise Undeliverable("nothing got through to Telegram") from exc
                await self._clock.sleep(seconds)
            except Silenced as exc:
                self._wait_after(step, exc.seconds)

    def _next_frame(self, pages: tuple[Styled, ...]) -> Step | None:
        board, now = self._board, self._clock.now()
        if board.draft is not None and now > self._drafted_at + DRAFT_SECONDS:
            board = replace(board, draft=None)
        step = next_step(board, pages[: self._surface.pages_max], is_live=True)
        return None if self._is_withheld and isinstance(step, Send) else step

    async def _perform(self, step: Step) -> None:
        event = await perform(self._surface, step)
        if isinstance(event, PageRefused) and event.page in self._board.unshowable:
            raise Undeliverable("Telegram takes no text there")
        if isinstance(event, Drafted):
            self._drafted_at = self._clock.now()
        self._failures = 0
        self._board = after(self._board, event)

    async def _wait_for_turn(self, step: Step, until: float) -> None:
        meters, now = self._surface.meters(step), self._clock.now()
        delay = self._pace.delay(meters, now)
        # Its turn is taken before it waits, so that who came first goes first.
        self._pace.take(meters, now)
        while delay > 0:
            if self._clock.now() + delay > until:
                raise Undeliverable("Telegram wanted silence for too long")
            await self._clock.sleep(delay)
            delay = self._pace.silence_left(meters, self._clock.now())
        if self._clock.now() > until:
            raise Undeliverable("nothing got through to Telegram")

    def _wait_after(self, step: Step, seconds: float) -> None:
        meters = self._surface.meters(step)
        subject = next(iter(meters))
        self._pace.silence(subject, meters[subject], self._clock.now() + seconds)

    def _backoff(self) -> float:
        seconds = BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS) - 1)]
        self._failures += 1
        return seconds
