"""The steps that a node makes while it joins: told as they are made, and kept for who asks later.

A step has been made (`ok`), is late (`waiting`), or could not be made (`failed`); the last two say what
the node's owner can do. What waits may still be made, and what failed may be tried again: the newest
that is said of a step counts.

Spec: docs/joining.md.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Literal

import trio

from cocoon_p2p.errors import CocoonError
from cocoon_p2p.node.announce import Announce
from cocoon_p2p.nursery import open_service_nursery

Status = Literal["ok", "waiting", "failed"]

LATE_SECONDS = 10.0
"When a step that was not made is told to be late, for the first time."

LATE_LAST_SECONDS = 3600.0
"The longest pause until that is told again; pauses double."

STEPS_MAX = 64
"Steps that are kept, far more than there are names of them."


@dataclass(frozen=True, slots=True)
class Step:
    """The newest that is known of one step."""

    name: str
    seconds: float
    "When it was said, since the node began."

    status: Status
    facts: Mapping[str, object]
    hint: str
    "What the owner can do, where it was not made; empty where it was."


class Steps:
    """Tells of each step and keeps it (an `Announce`); made by `open_steps`."""

    def __init__(self, tell: Announce, nursery: trio.Nursery) -> None:
        self._tell = tell
        self._nursery = nursery
        self._began = trio.current_time()
        self._made: dict[str, Step] = {}

    @property
    def made(self) -> Sequence[Step]:
        """What is known of each step, in the order in which they were first spoken of."""
        return tuple(self._made.values())

    def __call__(self, step: str, **facts: object) -> None:
        """Tell of a step that was made."""
        self._note(step, "ok", "", facts)
        self._tell(step, **facts)

    def waiting(self, step: str, hint: str, **facts: object) -> None:
        """Tell of a step that is not made yet, and what the owner can do."""
        self._tell_not_made(step, "waiting", hint, facts)

    def failed(self, step: str, hint: str, **facts: object) -> None:
        """Tell of a step that could not be made, and what the owner can do. It may be tried again."""
        self._tell_not_made(step, "failed", hint, facts)

    def _tell_not_made(self, step: str, status: Status, hint: str, facts: Mapping[str, object]) -> None:
        self._note(step, status, hint, facts)
        self._tell(step, status=status, hint=hint, **facts)

    def _note(self, step: str, status: Status, hint: str, facts: Mapping[str, object]) -> None:
        if step in self._made or len(self._made) < STEPS_MAX:
            self._made[step] = Step(step, trio.current_time() - self._began, status, facts, hint)

    @contextmanager
    def expect(
        self,
        step: str,
        hint: str | Callable[[], str],
        *,
        after_seconds: float = LATE_SECONDS,
        **facts: object,
    ) -> Iterator[None]:
        """Tell that a step is late, and what to do, for as long as the block runs; and if it fails.

        Whoever writes the block tells that the step is made, after it.

        Args:
            step: Its name.
            hint: What the owner can do, or what says so by then.
            after_seconds: When it is late.
            facts: What is known of it already.
        """
        scope = trio.CancelScope()
        self._nursery.start_soon(self._tell_late, scope, step, hint, after_seconds, facts)
        try:
            yield
        except CocoonError as exc:
            self.failed(step, exc.hint or _said(hint), why=str(exc), **facts)
            raise
        finally:
            scope.cancel()

    async def _tell_late(
        self,
        scope: trio.CancelScope,
        step: str,
        hint: str | Callable[[], str],
        pause: float,
        facts: Mapping[str, object],
    ) -> None:
        began = trio.current_time()
        with scope:
            while True:
                await trio.sleep(pause)
                waited = round(trio.current_time() - began, 1)
                self.waiting(step, _said(hint), **facts, waited_seconds=waited)
                pause = min(2 * pause, LATE_LAST_SECONDS)


def _said(hint: str | Callable[[], str]) -> str:
    return hint if isinstance(hint, str) else hint()


@asynccontextmanager
async def open_steps(tell: Announce) -> AsyncIterator[Steps]:
    """Begin a node's steps: what it tells of them goes to `tell`, while the block runs."""
    async with open_service_nursery() as nursery:
        yield Steps(tell, nursery)
