"""The thread that owns a generator: each gets their own, who leaves is forgotten, failures are shared."""

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count

import pytest
import trio
import trio.lowlevel

from cocoon_p2p.inference.engine import EngineError, Finish, Piece
from cocoon_p2p.inference.exllama import thread as threads
from cocoon_p2p.inference.exllama.generator import Order, Step, Ticket
from cocoon_p2p.inference.exllama.thread import FAILURES_MAX, GeneratorThread, Job
from cocoon_p2p.inference.pipe import Pipe
from cocoon_p2p.observability import JsonFormatter

BOUND_SECONDS = 30


class ScriptedGenerator:
    """Says the numbers of its tokens; fails, refuses and stands still when told to."""

    def __init__(self) -> None:
        self.running = dict[Ticket, tuple[Order, int]]()
        self.cancelled = list[Ticket]()
        self.failures = 0
        self.failure: BaseException = RuntimeError("the card is gone")
        self.go_on = threading.Event()
        self.go_on.set()
        self.stands = threading.Event()
        self.is_closed = False
        self._tickets = count(1)

    def start(self, order: Order) -> Ticket:
        if not order.prompt:
            raise ValueError("it can never fit")
        ticket = next(self._tickets)
        self.running[ticket] = order, 0
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        del self.running[ticket]
        self.cancelled.append(ticket)

    def step(self) -> Sequence[Step]:
        if not self.go_on.is_set():
            self.stands.set()
            self.go_on.wait(BOUND_SECONDS)
        if self.failures:
            self.failures -= 1
            raise self.failure
        steps = list[Step]()
        for ticket, (order, done) in list(self.running.items()):
            done += 1
            self.running[ticket] = order, done
            finish = Finish.LENGTH if done == order.tokens_max else None
            if finish:
                del self.running[ticket]
            steps.append(Step(ticket, text=f" {done}", tokens=done, finish=finish, cached_tokens=1))
        return steps

    def cached_tokens(self, prompt: Sequence[int], cache_scope: bytes) -> int:
        return len(cache_scope)

    def close(self) -> None:
        self.is_closed = True


class Bench:
    """A thread, the generators it made, and how often it let go."""

    def __init__(self, failures: int = 0) -> None:
        self.made = list[ScriptedGenerator]()
        self.let_go = 0
        self._failures = failures
        self.thread = GeneratorThread(self._make)

    def _make(self) -> ScriptedGenerator:
        generator = ScriptedGenerator()
        generator.failures = self._failures
        self.made.append(generator)
        return generator

    def job(self, tokens: int, *, stop: tuple[str, ...] = (), prompt: tuple[int, ...] = (1, 2)) -> Job:
        def let_go() -> None:
            self.let_go += 1

        return Job(Order(prompt, tokens, 0.0, 1.0, None, False, b"scope"), stop, Pipe[Piece](), let_go)


@asynccontextmanager
async def bench(failures: int = 0) -> AsyncIterator[Bench]:
    with trio.fail_after(BOUND_SECONDS):
        bench = Bench(failures)
        bench.thread.open()
        try:
            yield bench
        finally:
            bench.made[-1].go_on.set()
            await trio.to_thread.run_sync(bench.thread.close)


async def read(job: Job) -> list[Piece]:
    with job.pipe as pieces:
        return [piece async for piece in pieces]


async def test_each_gets_its_own_pieces_and_is_let_go_once() -> None:
    async with bench() as at:
        jobs = [at.job(tokens) for tokens in (1, 2, 5)]
        for job in jobs:
            at.thread.submit(job)
        answers = [await read(job) for job in jobs]

    assert ["".join(piece.text for piece in answer) for answer in answers] == [" 1", " 1 2", " 1 2 3 4 5"]
    assert [answer[-1].finish for answer in answers] == [Finish.LENGTH] * 3
    assert [answer[-1].completion_tokens for answer in answers] == [1, 2, 5]
    assert answers[0][-1].cached_tokens == 1
    assert at.let_go == 3


async def test_whoever_leaves_is_cancelled_before_the_next_step() -> None:
    async with bench() as at:
        job, other = at.job(1_000_000), at.job(3)
        at.thread.submit(job)
        with job.pipe as pieces:
            await anext(pieces)
        at.thread.submit(other)
        await read(other)

        assert at.made[0].cancelled == [1]
    assert at.let_go == 2


async def test_a_stop_string_ends_it_and_the_generator_is_told() -> None:
    async with bench() as at:
        job = at.job(1_000_000, stop=(" 4",))
        at.thread.submit(job)
        pieces = await read(job)
        # The next order's steps come after the cancel.
        other = at.job(1)
        at.thread.submit(other)
        await read(other)

        assert at.made[0].cancelled == [1]
    assert "".join(piece.text for piece in pieces) == " 1 2 3"
    assert (pieces[-1].finish, pieces[-1].completion_tokens) == (Finish.STOP, 3)


async def test_an_order_that_can_never_fit_fails_alone() -> None:
    async with bench() as at:
        good, bad = at.job(3), at.job(3, prompt=())
        at.thread.submit(bad)
        at.thread.submit(good)
        with pytest.raises(EngineError, match="cannot take this request"):
            await read(bad)
        assert len(await read(good)) == 3
    assert at.let_go == 2


async def test_a_step_that_fails_fails_all_and_the_generator_is_made_anew() -> None:
    async with bench() as at:
        first, second = at.job(1_000_000), at.job(1_000_000)
        at.thread.submit(first)
        at.thread.submit(second)
        with first.pipe, second.pipe:
            await anext(first.pipe)
            await anext(second.pipe)
            at.made[0].failures = 1
            for job in (first, second):
                with pytest.raises(EngineError, match="the engine failed"):
                    async for _ in job.pipe:
                        pass
        third = at.job(2)
        at.thread.submit(third)

        assert len(await read(third)) == 2
        assert at.thread.is_alive
    assert len(at.made) == 2
    assert at.made[0].is_closed
    assert at.let_go == 3


class Panic(BaseException):
    """As libraries in Rust raise them."""


async def test_a_library_that_panics_fails_what_runs_and_not_the_thread() -> None:
    async with bench() as at:
        job = at.job(1)
        at.made[0].failures, at.made[0].failure = 1, Panic()
        at.thread.submit(job)
        with pytest.raises(EngineError, match="the engine failed"):
            await read(job)

        other = at.job(1)
        at.thread.submit(other)
        assert (await read(other))[-1].finish is Finish.LENGTH


async def test_one_that_fails_time_and_again_is_given_up() -> None:
    async with bench(failures=1_000_000) as at:
        failed = 0
        while at.thread.is_alive:
            job = at.job(1)
            try:
                at.thread.submit(job)
                await read(job)
            except EngineError:
                failed += 1

        with pytest.raises(EngineError, match="takes no requests"):
            at.thread.submit(at.job(1))
    assert failed >= FAILURES_MAX
    assert len(at.made) == FAILURES_MAX
    assert all(generator.is_closed for generator in at.made)


async def test_closing_fails_what_runs_and_what_waits() -> None:
    async with bench() as at:
        running, waiting = at.job(1_000_000), at.job(1_000_000)
        at.thread.submit(running)
        await anext(running.pipe)
        at.made[0].go_on.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, at.thread.close)
            at.thread.submit(waiting)
            at.made[0].go_on.set()
            for job in (running, waiting):
                with job.pipe, pytest.raises(EngineError, match="closed"):
                    async for _ in job.pipe:
                        pass
    assert at.let_go == 2
    assert at.made[0].is_closed


async def test_who_waits_is_told_also_if_the_generator_neither_computes_nor_closes() -> None:
    class Wedged(ScriptedGenerator):
        def close(self) -> None:
            raise RuntimeError("the card is gone")

    generator = Wedged()
    with trio.fail_after(BOUND_SECONDS):
        at = Bench()
        at.thread = GeneratorThread(lambda: generator)
        at.thread.open()
        generator.go_on.clear()
        running, waiting = at.job(1_000_000), at.job(1)
        at.thread.submit(running)
        while not generator.running:
            await trio.lowlevel.checkpoint()
        at.thread.submit(waiting)
        generator.failures = 1
        generator.go_on.set()
        for job in (running, waiting):
            with pytest.raises(EngineError):
                await read(job)
        await trio.to_thread.run_sync(at.thread.close)
    assert at.let_go == 2


async def test_what_the_library_says_of_its_failure_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Talking(ScriptedGenerator):
        def step(self) -> Sequence[Step]:
            raise RuntimeError("cannot compute: my secret words")

    with trio.fail_after(BOUND_SECONDS):
        at = Bench()
        at.thread = GeneratorThread(Talking)
        at.thread.open()
        while at.thread.is_alive:
            job = at.job(1)
            with pytest.raises(EngineError):
                at.thread.submit(job)
                await read(job)
        await trio.to_thread.run_sync(at.thread.close)

    assert "engine given up" in caplog.messages
    assert not any("secret" in JsonFormatter().format(record) for record in caplog.records)


async def test_what_makes_the_generator_may_fail() -> None:
    def make() -> ScriptedGenerator:
        raise ValueError("no memory")

    thread = GeneratorThread(make)
    with pytest.raises(ValueError, match="no memory"):
        await trio.to_thread.run_sync(thread.open)
    await trio.to_thread.run_sync(thread.close)


async def test_closing_does_not_wait_for_ever_for_a_step_that_never_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(threads, "CLOSE_SECONDS", 0.01)
    async with bench() as at:
        job = at.job(1_000_000)
        at.thread.submit(job)
        with job.pipe as pieces:
            await anext(pieces)
            at.made[0].go_on.clear()
            await trio.to_thread.run_sync(at.made[0].stands.wait, BOUND_SECONDS)
            try:
                with trio.fail_after(BOUND_SECONDS / 3):
                    await trio.to_thread.run_sync(at.thread.close, abandon_on_cancel=True)
                assert not at.made[0].is_closed
            finally:
                at.made[0].go_on.set()
        monkeypatch.setattr(threads, "CLOSE_SECONDS", BOUND_SECONDS)

    assert "engine does not stop" in caplog.messages
    assert at.made[0].is_closed
