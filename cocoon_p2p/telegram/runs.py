"""All that is being answered: begun, one thing after the other in each chat, stopped, and brought to an end.

A new question waits for the answer before it: what is being paid for is not thrown away because somebody
went on typing. A few may wait.
"""

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from itertools import count

from cocoon_p2p.aio.calling import GRACE_SECONDS
from cocoon_p2p.errors import CocoonError
from cocoon_p2p.telegram.answering import Answering, Told
from cocoon_p2p.telegram.clock import Clock
from cocoon_p2p.telegram.reading import Ask, Reading
from cocoon_p2p.telegram.talk import Place

log = logging.getLogger(__name__)

DRAFTS_MAX = 64
"Numbers of drafts that one answer has: one for each page."

LEAVE_SECONDS = GRACE_SECONDS + 15.0
"How long ending everything may take: answers are settled, and what was paid for is delivered."

Keep = Callable[[str], Awaitable[None]]
"Told what was answered."

Chat = tuple[int, int]
"A bot's id and a chat's: whatever the topic, one purse pays for it."


@dataclass(eq=False, slots=True)
class Run:
    """One thing that somebody asked: it waits, is being answered, or is over."""

    place: Place
    asker: int
    "Who asked: a person's id, or that of the chat in whose name they did."

    drafts: int
    "The first of its `DRAFTS_MAX` numbers of drafts."

    reading: Reading
    id: str
    "Names it on its stop button. Nobody can guess it, though nobody gains by that."

    told: Told | None = None
    "What came of it; None before the end, and where it was stopped before it began."

    is_forgotten: bool = False
    "Whether it is not to be remembered."

    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def chat(self) -> Chat:
        return self.place.bot_id, self.place.chat_id

    async def wait(self) -> Told | None:
        """Wait until it is over: delivered, and remembered. A cancel ends the wait and nothing else."""
        await self.over.wait()
        return self.told

    def stop(self, why: str = "") -> None:
        """Have it stopped, and what came of it delivered.

        Args:
            why: What the reader is told. Where it is empty, one that has not begun says nothing at all.
        """
        self.reading.stop(why)


class Runs:
    """All runs of a kit.

    Args:
        clock: The time.
        waiting_max: Runs of one chat, the one that is being answered included.
        runs_max: Runs of all chats.
    """

    def __init__(self, clock: Clock, *, waiting_max: int, runs_max: int) -> None:
        self._clock = clock
        self._waiting_max = waiting_max
        self._runs_max = runs_max
        self._runs: dict[asyncio.Task[None], Run] = {}
        self._turns: defaultdict[Chat, asyncio.Lock] = defaultdict(asyncio.Lock)
        # Drafts that another life of the program left may still be shown.
        self._drafts = count(DRAFTS_MAX * (1 + secrets.randbelow(1 << 24)), DRAFTS_MAX)

    @property
    def all(self) -> tuple[Run, ...]:
        """Every run that is not over."""
        return tuple(self._runs.values())

    def of(self, bot_id: int, chat_id: int) -> tuple[Run, ...]:
        """Give a chat's runs, the oldest first."""
        return tuple(run for run in self._runs.values() if run.chat == (bot_id, chat_id))

    def find(self, run_id: str) -> Run | None:
        """Find a run that is not over."""
        return next((run for run in self._runs.values() if run.id == run_id), None)

    def has_room(self, bot_id: int, chat_id: int) -> bool:
        """Say whether a chat may ask for one thing more."""
        return len(self._runs) < self._runs_max and len(self.of(bot_id, chat_id)) < self._waiting_max

    def new(self, place: Place, asker: int, *, units_max: int, run_id: str | None = None) -> Run:
        """Make a run, which `start` starts."""
        reading = Reading(self._clock, units_max=units_max)
        return Run(place, asker, next(self._drafts), reading, run_id or secrets.token_hex(8))

    def start(self, run: Run, answering: Answering, ask: Ask, keep: Keep | None = None) -> None:
        """Have a run answered, once all that its chat asked before it is."""
        task = asyncio.create_task(self._work(run, answering, ask, keep), name=f"answer {run.id}")
        self._runs[task] = run
        task.add_done_callback(self._end)

    async def leave(self, why: str, bots: Collection[int] | None = None) -> None:
        """Stop all runs, deliver what came of them, and wait for that, `LEAVE_SECONDS` at most.

        A cancel drops what is not delivered yet; it is settled all the same.

        Args:
            why: What readers are told.
            bots: Of these bots only, by their ids.
        """
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                # What is begun meanwhile ends as well.
                while runs := self._of_bots(bots):
                    for run in runs.values():
                        run.stop(why)
                    await next(iter(runs.values())).wait()
        except TimeoutError:
            log.warning("answers were left undelivered", extra={"count": len(self._of_bots(bots))})
        finally:
            for task in self._of_bots(bots):
                task.cancel()

    def _of_bots(self, bots: Collection[int] | None) -> dict[asyncio.Task[None], Run]:
        return {task: run for task, run in self._runs.items() if bots is None or run.place.bot_id in bots}

    async def _work(self, run: Run, answering: Answering, ask: Ask, keep: Keep | None) -> None:
        try:
            async with self._turns[run.chat]:
                # One that waited while it was stopped has nothing to say.
                if run.reading.stopped != "":
                    run.told = await answering.run(ask)
                    if keep is not None and not run.is_forgotten:
                        await keep(run.told.text)
        except CocoonError as error:
            log.warning("an answer was not remembered", extra={"error": error.code})
        except Exception as exc:  # noqa: BLE001  (a task's top)
            log.error("an answer ended by a fault of ours", extra={"error": type(exc).__name__})

    def _end(self, task: asyncio.Task[None]) -> None:
        run = self._runs.pop(task)
        if not self.of(*run.chat):
            self._turns.pop(run.chat, None)
        run.over.set()
