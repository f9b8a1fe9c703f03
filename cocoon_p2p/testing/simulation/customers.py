"""Clients' applications: they ask, read, leave early, cancel, and say what came of it."""

from collections import deque
from dataclasses import dataclass, replace

import trio

from cocoon_p2p.client import Answer, AnswerPart, Asked, Client
from cocoon_p2p.errors import CocoonError
from cocoon_p2p.testing.simulation.engines import question
from cocoon_p2p.testing.simulation.nodes import Nodes
from cocoon_p2p.testing.simulation.plan import MODEL, Wish

OVERTIME_SECONDS = 6.0
"How long after its timeout a request may end: its settlement is waited for, and a disk written."

NOBODY_THERE = ("unavailable", "unknown-model", "no-capacity", "draining", "worker-lost")
"Codes of errors after which an application tries again."

TRY_AGAIN_SECONDS = 2.0
TRIES_MAX = 10
"Twenty seconds: longer than most troubles last."

UNANSWERED_MAX = 20
"After so many answers without a token in a row a client asks nothing more than its own wishes."


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

    was_cancelled: bool
    "By its application."

    was_killed: bool
    "The client's node ended meanwhile."

    breaks: int
    "How often it went on elsewhere."

    attempts: int
    charged_max: int
    "What it has cost at most, in nanoTON, as the client said when it ended."


class Request:
    """One request, under way or over."""

    def __init__(self, wish: Wish, client: str) -> None:
        self.wish = wish
        self.client = client
        self.began = trio.current_time()
        self.ended: float | None = None
        self.pieces: list[str] = []
        self.tokens = 0
        self.error: str | None = None
        self.finish: str | None = None
        self.was_cancelled = False
        self.was_killed = False
        self.answer: Answer | None = None
        "None until its first piece came."

        self.asked: Asked | None = None

    @property
    def must_end_by(self) -> float:
        """By when nobody has a reason any more to work for it."""
        deadline = self.began + self.wish.timeout_seconds
        return deadline if self.ended is None else min(self.ended, deadline)

    @property
    def parts(self) -> tuple[AnswerPart, ...]:
        """The exchanges that it came by."""
        return () if self.answer is None else self.answer.parts

    async def run(self, client: Client) -> None:
        """Make it, and read as far as the wish says."""
        wish = self.wish
        messages = [{"role": "user", "content": question(wish.tag, wish.tokens)}]
        self.asked = client.chat(
            MODEL,
            messages,
            timeout_seconds=wish.timeout_seconds,
            max_cost=wish.max_cost,
            completion_tokens_max=wish.tokens_max,
            prefer=wish.prefer,
        )
        patience = float("inf") if wish.cancel_after is None else wish.cancel_after
        with trio.move_on_after(patience) as scope:
            try:
                async with self.asked as self.answer:
                    await self._read(self.answer)
            except CocoonError as error:
                self.error = error.code
        self.was_cancelled = scope.cancelled_caught

    async def _read(self, answer: Answer) -> None:
        async for piece in answer:
            self.pieces.append(piece.text)
            self.tokens = piece.completion_tokens
            if self.wish.leave_at is not None and self.tokens >= self.wish.leave_at:
                return
        self.finish = answer.finish

    def outcome(self, *, is_overdue: bool) -> Outcome:
        """Say what came of it, now that it is over."""
        assert self.asked is not None
        assert self.ended is not None
        return Outcome(
            self.wish,
            "".join(self.pieces),
            self.tokens,
            self.error,
            self.finish,
            self.ended - self.began,
            is_overdue,
            self.was_cancelled,
            self.was_killed,
            0 if self.answer is None else len(self.answer.continued_from),
            0 if self.answer is None else self.answer.attempts,
            self.asked.charged_max,
        )


class Customer:
    """One client's application.

    Args:
        nodes: Everybody.
        name: The client's.
        wishes: What it asks.
        spare: What it asks too, with others, as long as there were not enough exchanges.
    """

    def __init__(self, nodes: Nodes, name: str, wishes: tuple[Wish, ...], spare: deque[Wish]) -> None:
        self._nodes = nodes
        self._name = name
        self._wishes = deque(wishes)
        self._spare = spare
        self._unanswered = 0
        self.requests: list[Request] = []
        self.outcomes: list[Outcome] = []

    async def run(self, concurrency: int) -> None:
        """Make every request, so many at once."""
        async with trio.open_nursery() as nursery:
            for _ in range(concurrency):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        while (wish := self._next()) is not None:
            await trio.sleep(wish.pause_seconds)
            for again in range(TRIES_MAX):
                outcome = await self._ask(replace(wish, tag=f"{wish.tag}t{again}"))
                self.outcomes.append(outcome)
                self._unanswered = 0 if outcome.tokens else self._unanswered + 1
                if outcome.error not in NOBODY_THERE:
                    break
                await trio.sleep(TRY_AGAIN_SECONDS)

    def _next(self) -> Wish | None:
        if self._wishes:
            return self._wishes.popleft()
        is_heard = self._unanswered < UNANSWERED_MAX
        is_short = self._nodes.exchanges < self._nodes.plan.exchanges
        return self._spare.popleft() if is_heard and is_short and self._spare else None

    async def _ask(self, wish: Wish) -> Outcome:
        while self._name not in self._nodes.lives:
            await self._nodes.changed.wait()
        life = self._nodes.lives[self._name]
        assert isinstance(life.role, Client)
        request = Request(wish, self._name)
        self.requests.append(request)
        with trio.move_on_after(wish.timeout_seconds + OVERTIME_SECONDS) as scope:
            await request.run(life.role)
        request.ended = trio.current_time()
        request.was_killed = self._nodes.lives.get(self._name) is not life
        return request.outcome(is_overdue=scope.cancelled_caught)
