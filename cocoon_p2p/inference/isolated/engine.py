"""An engine in a process of its own, behind the same face as one in this process.

    requests --> IsolatedEngine --> RunningChild ==line==> child: the engine itself
                      |
                      +-- keeps a child running: starts another when one dies (`lives`)

What runs when a child dies fails at once. Until the next one serves, there are no slots; what asks
nevertheless is refused. An engine whose children die one after another is given up: it has no models
any more.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

import trio

from cocoon_p2p.errors import CocoonError
from cocoon_p2p.inference.engine import Capabilities, EngineError, GenerateRequest, Piece, PromptCount
from cocoon_p2p.inference.isolated.lives import Lives, died, opened
from cocoon_p2p.inference.isolated.running import RunningChild
from cocoon_p2p.inference.isolated.starting import Plan, open_child

log = logging.getLogger(__name__)

RELOAD_SECONDS: Final = 3600.0
"How long another child may load. The first may take its time: somebody waits for it and sees it."


class IsolatedEngine:
    """An `Engine` whose work is done by a child. Made by `open_isolated`; lives in one trio run."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._known: Capabilities
        "What the first child said; every other one says the same."

        self._child: RunningChild | None = None
        self._why_not = "it is being started again"
        self._lives = Lives()
        self._is_given_up = False
        self._changed = trio.Event()
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    @property
    def capabilities(self) -> Capabilities:
        """What it offers right now: no slots while no child serves, no models once it is given up."""
        if self._is_given_up:
            return replace(self._known, models=(), slots=0)
        return self._known if self._child is not None else replace(self._known, slots=0)

    async def wait_for_change(self, known: Capabilities) -> Capabilities:
        """Return what it offers once that is something else (`ChangingEngine`)."""
        while self.capabilities == known:
            await self._changed.wait()
        return self.capabilities

    async def count(self, request: GenerateRequest) -> PromptCount:
        """Let the child count (`Engine.count`)."""
        return await self._serving().count(request)

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
        """Let the child generate (`Engine.generate`). Waits for a slot if all are taken."""
        async with self._serving().generate(request) as pieces:
            yield pieces

    async def aclose(self) -> None:
        """Kill the child, also one that loads, and wait until it is gone: for ten seconds at most."""
        self._scope.cancel()
        with trio.CancelScope(shield=True):
            await self._ended.wait()

    def _serving(self) -> RunningChild:
        if self._child is None:
            raise EngineError(f"the engine's process does not serve: {self._why_not}")
        return self._child

    # ------------------------------------------------------------ its children

    async def keep(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a child serving until the engine is closed or given up.

        Raises:
            CocoonError: The first child does not open; as `open_child` does.
        """
        try:
            with self._scope:
                async with open_child(self._plan) as child:
                    self._known = child.capabilities
                    task_status.started()
                    why = await self._attend(child)
                while not self._is_given_up:
                    why = await self._next(why)
        finally:
            if not self._is_given_up:
                self._why_not = "it was closed"
            self._child = None
            self._note()
            self._ended.set()

    async def _next(self, why: str) -> str:
        """Start another child after one has died, and attend to it until it dies in its turn."""
        self._lives = died(self._lives, trio.current_time())
        facts = {"why": why, "deaths": self._lives.deaths}
        if self._lives.is_given_up:
            self._give_up(f"given up after {self._lives.deaths} deaths: {why}")
            return why
        log.error("engine process died", extra={**facts, "next_start_seconds": self._lives.rest_seconds})
        await trio.sleep(self._lives.rest_seconds)
        with trio.CancelScope(deadline=trio.current_time() + RELOAD_SECONDS) as loading:
            try:
                async with open_child(self._plan) as child:
                    loading.deadline = float("inf")
                    return await self._attend_again(child)
            except CocoonError as exc:
                return str(exc)
        return "it loads for ever"

    async def _attend_again(self, child: RunningChild) -> str:
        if child.capabilities != self._known:
            self._give_up("its model is not what it was; start the worker again")
            return ""
        log.info("engine process serves again", extra={"deaths": self._lives.deaths})
        return await self._attend(child)

    async def _attend(self, child: RunningChild) -> str:
        self._lives = opened(self._lives, trio.current_time())
        self._child = child
        self._note()
        try:
            return await child.attend()
        finally:
            self._child = None
            self._note()

    def _give_up(self, why: str) -> None:
        log.error("engine given up", extra={"why": why})
        self._is_given_up = True
        self._why_not = why
        self._note()

    def _note(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
