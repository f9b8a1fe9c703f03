"""Clients' applications: they ask, read, leave early, and say what came of it."""

from collections import deque
from dataclasses import dataclass

import trio

from cocoon_p2p.client import Client
from cocoon_p2p.errors import CocoonError
from cocoon_p2p.testing.simulation.nodes import Nodes
from cocoon_p2p.testing.simulation.plan import MODEL, Wish

OVERTIME_SECONDS = 15.0
"How long after its timeout a request may end: its settlement is waited for, and a disk written."


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one request."""

    wish: Wish
    text: str
    tokens: int
    "By the signed count."

    error: str | None
    "Its code; None if the answer was read to its end or left."

    finish: str | None
    seconds: float
    is_overdue: bool
    "It had not ended when its time and `OVERTIME_SECONDS` were over."

    was_killed: bool
    "The client's node ended meanwhile."


class Customer:
    """One client's application."""

    def __init__(self, nodes: Nodes, name: str, wishes: tuple[Wish, ...]) -> None:
        self._nodes = nodes
        self._name = name
        self._wishes = deque(wishes)
        self.outcomes: list[Outcome] = []

    async def run(self, concurrency: int) -> None:
        """Make every request, so many at once."""
        async with trio.open_nursery() as nursery:
            for _ in range(concurrency):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        while self._wishes:
            wish = self._wishes.popleft()
            await trio.sleep(wish.pause_seconds)
            while self._name not in self._nodes.lives:
                await self._nodes.changed.wait()
            life = self._nodes.lives[self._name]
            assert isinstance(life.role, Client)
            began = trio.current_time()
            asked = _Asked(wish)
            with trio.move_on_after(wish.timeout_seconds + OVERTIME_SECONDS) as scope:
                await asked.run(life.role)
            self.outcomes.append(
                Outcome(
                    wish,
                    "".join(asked.pieces),
                    asked.tokens,
                    asked.error,
                    asked.finish,
                    trio.current_time() - began,
                    scope.cancelled_caught,
                    was_killed=self._nodes.lives.get(self._name) is not life,
                )
            )


class _Asked:
    """One request under way."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self.pieces: list[str] = []
        self.tokens = 0
        self.error: str | None = None
        self.finish: str | None = None

    async def run(self, client: Client) -> None:
        wish = self._wish
        messages = [{"role": "user", "content": f"count {wish.tokens} {wish.tag}"}]
        try:
            async with client.chat(
                MODEL,
                messages,
                timeout_seconds=wish.timeout_seconds,
                max_cost=wish.max_cost,
                prefer=wish.prefer,
            ) as answer:
                async for piece in answer:
                    self.pieces.append(piece.text)
                    self.tokens = piece.completion_tokens
                    if wish.leave_at is not None and self.tokens >= wish.leave_at:
                        break
                else:
                    self.finish = answer.finish
        except CocoonError as error:
            self.error = error.code
