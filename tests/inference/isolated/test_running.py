"""A node and an engine's process, both in this one: what the line between them does, and what it forbids."""

import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing

from cocoon_p2p.inference.engine import (
    Engine,
    EngineError,
    Feature,
    FeatureMissing,
    Finish,
    GenerateRequest,
    Piece,
    PromptCount,
    RequestMalformed,
)
from cocoon_p2p.inference.isolated.forwarding import FACTS_MAX, Allowance, logged, write_log
from cocoon_p2p.inference.isolated.frames import (
    FROM_CHILD,
    TO_CHILD,
    WINDOW_BYTES,
    Begun,
    Counted,
    FromChild,
    Left,
    LineBroken,
    Logged,
    Said,
    ToChild,
    encode_frame,
)
from cocoon_p2p.inference.isolated.line import Line
from cocoon_p2p.inference.isolated.running import RunningChild
from cocoon_p2p.inference.isolated.serving import serve
from cocoon_p2p.inference.wishes import Tool
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.testing.engine import ScriptedEngine

BOUND_SECONDS = 30
"A bound for a test that hangs; none waits for it."

LONG = ("word ",) * 4000


def request(prompt: str = "one two", tokens: int = 10_000, **options: object) -> GenerateRequest:
    return GenerateRequest("scripted", prompt=prompt, completion_tokens_max=tokens, **options)  # type: ignore[arg-type]


async def killed() -> str:
    return "signal=SIGKILL"


@asynccontextmanager
async def ends() -> AsyncIterator[tuple[Line[FromChild], Line[ToChild], trio.Nursery]]:
    """Both ends of a line, each with its writer."""
    one, other = socket.socketpair()
    ours, theirs = Line(one, FROM_CHILD), Line(other, TO_CHILD)
    try:
        with trio.fail_after(BOUND_SECONDS):
            async with open_service_nursery() as nursery:
                nursery.start_soon(ours.write)
                nursery.start_soon(theirs.write)
                yield ours, theirs, nursery
    finally:
        ours.close()
        theirs.close()


@asynccontextmanager
async def running(
    engine: Engine, *, patience_seconds: float = BOUND_SECONDS, beat_seconds: float = 0.01
) -> AsyncIterator[RunningChild]:
    """Serve an engine over a line, as a child would."""
    async with ends() as (ours, theirs, nursery):
        child = RunningChild(ours, engine.capabilities, killed, patience_seconds=patience_seconds)
        nursery.start_soon(lambda: serve(theirs, engine, beat_seconds=beat_seconds))
        nursery.start_soon(child.attend)
        yield child


@asynccontextmanager
async def scripted(
    *answers: Callable[[ToChild], list[FromChild]],
) -> AsyncIterator[tuple[RunningChild, list[str]]]:
    """A child that answers each message of ours by the next function; and why it was over, once it is."""
    why: list[str] = []

    async def answer() -> None:
        left = list(answers)
        while messages := await theirs.receive():
            for message, _ in messages:
                for said in left.pop(0)(message) if left else []:
                    theirs.send(said)

    async def attend() -> None:
        why.append(await child.attend())

    async with ends() as (ours, theirs, nursery):
        offered = ScriptedEngine(slots=1).capabilities
        child = RunningChild(ours, offered, killed, patience_seconds=BOUND_SECONDS)
        nursery.start_soon(answer)
        nursery.start_soon(attend)
        yield child, why


async def text_of(child: RunningChild, asked: GenerateRequest) -> str:
    async with child.generate(asked) as pieces:
        return "".join([piece.text async for piece in pieces])


async def test_an_answer_is_the_engine_s_own() -> None:
    async with running(ScriptedEngine(delay_seconds=0)) as child:
        counted = await child.count(request())
        async with child.generate(request()) as pieces:
            came = [piece async for piece in pieces]

    assert counted == PromptCount(3)
    assert "".join(piece.text for piece in came) == "Hello, world."
    assert came[-1] == Piece("", 4, 3, 0, Finish.STOP)


async def test_what_the_engine_refuses_is_refused_with_its_class() -> None:
    async with running(ScriptedEngine()) as child:
        with pytest.raises(FeatureMissing, match=Feature.TOOLS.value):
            await child.count(request(tools=(Tool("add", "", "{}"),)))


async def test_what_came_before_a_failure_is_delivered() -> None:
    came: list[str] = []
    async with running(ScriptedEngine(delay_seconds=0, fail_at=2)) as child:
        with pytest.raises(EngineError, match="the script says fail"):
            async with child.generate(request()) as pieces:
                async for piece in pieces:
                    came.append(piece.text)
        counted = await child.count(request())

    assert came == ["Hello", ", "]
    assert counted == PromptCount(3)


async def test_a_request_that_is_no_text_is_malformed_and_costs_nothing() -> None:
    async with running(ScriptedEngine(slots=1)) as child:
        with pytest.raises(RequestMalformed, match="half of a character"):
            await child.count(request("\ud800"))
        with pytest.raises(RequestMalformed, match="half of a character"):
            await text_of(child, request("\ud800"))
        with pytest.raises(RequestMalformed, match="cannot be sent"):
            await text_of(child, request(seed=2**64))

        assert await child.count(request())
        assert await text_of(child, request())


async def test_leaving_an_answer_stops_the_engine_and_frees_its_slot() -> None:
    engine = ScriptedEngine(LONG, delay_seconds=0.001, slots=1)
    async with running(engine) as child:
        async with child.generate(request()) as pieces:
            await anext(pieces)
        stopped = engine.running

        assert await text_of(child, request(tokens=1))

    assert stopped == 0
    assert engine.tokens_made[0] < len(LONG)


async def test_a_cancelled_answer_leaves_its_slot_too() -> None:
    engine = ScriptedEngine(LONG, delay_seconds=0.001, slots=1)
    async with running(engine) as child:
        with trio.CancelScope() as scope:
            async with child.generate(request()) as pieces:
                await anext(pieces)
                scope.cancel()
                await anext(pieces)

        assert await text_of(child, request(tokens=1))


async def test_a_cancelled_count_is_cancelled_in_the_child() -> None:
    left = trio.Event()

    class Slow(ScriptedEngine):
        async def count(self, request: GenerateRequest) -> PromptCount:
            try:
                await trio.sleep_forever()
            finally:
                left.set()

    async with running(Slow()) as child:
        with trio.move_on_after(0.01):
            await child.count(request())

        await left.wait()


async def test_more_requests_than_slots_wait_here_and_not_in_the_child() -> None:
    engine = ScriptedEngine(delay_seconds=0.001, slots=2)
    async with running(engine) as child, trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(text_of, child, request())

    # A scripted engine raises, where it is asked for more.
    assert len(engine.requests) == 6
    assert engine.running_max == 2


async def test_a_slow_reader_holds_up_nobody_and_fills_no_memory() -> None:
    engine = ScriptedEngine(LONG, delay_seconds=0, slots=2)
    async with running(engine) as child, child.generate(request()) as slow:
        first = await anext(slow)
        other = await text_of(child, request())
        held = engine.tokens_made[0]
        rest = [piece.text async for piece in slow]

    assert other == "".join(LONG)
    assert held < WINDOW_BYTES // 10
    assert first.text + "".join(rest) == "".join(LONG)


async def test_what_waits_for_a_slow_reader_is_bounded_in_bytes() -> None:
    engine = ScriptedEngine(("x" * 30_000,) * 100, delay_seconds=0)
    async with running(engine) as child, child.generate(request()) as slow:
        await anext(slow)
        # Each count goes to the child and comes back, behind all that was said before.
        for _ in range(50):
            await child.count(request())
        held = engine.tokens_made[0]
        count = len([piece async for piece in slow])

    assert held <= 6
    assert count == 100


async def test_an_engine_that_makes_no_step_is_given_up_with_its_process() -> None:
    async with running(ScriptedEngine(stall_at=1), patience_seconds=0.3) as child:
        with pytest.raises(EngineError, match=r"no step|gone"):
            await text_of(child, request())
        with pytest.raises(EngineError, match="gone"):
            while True:
                await child.count(request())


async def test_a_reader_that_gives_a_stalled_engine_up_itself_ends_its_process() -> None:
    """The worker has the same patience as the engine's pipe: either may run out first."""
    async with running(ScriptedEngine(stall_at=1), patience_seconds=1) as child:
        async with child.generate(request()) as pieces:
            await anext(pieces)
            with trio.move_on_after(0.9), suppress(EngineError):
                await anext(pieces)

        with pytest.raises(EngineError, match="gone"):
            while True:
                await child.count(request())


async def test_a_node_that_was_held_up_does_not_take_its_engine_for_dead() -> None:
    """What the child said meanwhile waits in the socket, and our clocks have all struck."""
    patience_seconds = 0.5
    one, other = socket.socketpair()
    ours = Line(one, FROM_CHILD)

    def hold_up(*said: FromChild) -> None:
        other.sendall(b"".join(map(encode_frame, said)))
        time.sleep(patience_seconds)  # it is held up, with all its tasks

    async def speak() -> None:
        await trio.testing.wait_all_tasks_blocked()
        hold_up(Begun(1))
        await trio.testing.wait_all_tasks_blocked()
        hold_up(Said(1, Piece("said", 1, finish=Finish.STOP)), Left(1))

    with other, trio.fail_after(BOUND_SECONDS):
        async with open_service_nursery() as nursery:
            offered = ScriptedEngine(slots=1).capabilities
            child = RunningChild(ours, offered, killed, patience_seconds=patience_seconds)
            nursery.start_soon(child.attend)
            nursery.start_soon(speak)

            assert await text_of(child, request()) == "said"
    ours.close()


async def test_a_slow_reader_is_not_taken_for_a_stalled_engine() -> None:
    async with running(ScriptedEngine(LONG, delay_seconds=0), patience_seconds=0.2) as child:
        async with child.generate(request()) as pieces:
            await anext(pieces)
            await trio.sleep(0.3)

        assert await child.count(request())


async def test_a_child_that_says_nothing_is_given_up() -> None:
    async with running(ScriptedEngine(stall_at=0), patience_seconds=0.2, beat_seconds=1e6) as child:
        with pytest.raises(EngineError, match=r"gone|no step"):
            await text_of(child, request())


async def test_an_engine_that_neither_begins_nor_lets_go_is_given_up() -> None:
    class Stuck(ScriptedEngine):
        @asynccontextmanager
        async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
            await trio.sleep_forever()
            async with super().generate(request) as pieces:
                yield pieces

    async with running(Stuck(), patience_seconds=0.2) as child:
        with pytest.raises(EngineError, match="neither begins"):
            await text_of(child, request())


def number_of(message: ToChild) -> int:
    number = getattr(message, "call", None)
    assert isinstance(number, int)
    return number


LIES: dict[str, Callable[[ToChild], list[FromChild]]] = {
    "a piece of a call that nobody made": lambda message: [Said(99, Piece("x", 1))],
    "letting go of a call that nobody made": lambda message: [Left(99)],
    "counts that fall": lambda message: [
        Begun(number_of(message)),
        Said(number_of(message), Piece("x", 2)),
        Said(number_of(message), Piece("x", 1)),
    ],
    "more tokens than asked for": lambda message: [
        Begun(number_of(message)),
        Said(number_of(message), Piece("x", 11_000)),
    ],
    "more than there is credit for": lambda message: [
        Begun(number_of(message)),
        *[Said(number_of(message), Piece("x" * 1000, 1))] * 100,
    ],
    "words after the last": lambda message: [
        Begun(number_of(message)),
        *[Said(number_of(message), Piece("x", 1, finish=Finish.STOP))] * 2,
    ],
    "a count where an answer was asked for": lambda message: [Counted(number_of(message), PromptCount(1))],
    "another's log": lambda message: [Logged(40, "root", "hello", {})],
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_a_child_that_says_what_it_must_not_is_ended(lie: Callable[[ToChild], list[FromChild]]) -> None:
    async with scripted(lie) as (child, why):
        with pytest.raises(EngineError, match="broke the protocol"):
            async with child.generate(request()) as pieces:
                # A reader that takes nothing, until all is over.
                await child.is_over.wait()
                async for _ in pieces:
                    pass
            await child.count(request())

    assert why[0].startswith("it broke the protocol")


async def test_a_count_that_cannot_be_ends_the_child() -> None:
    async with scripted(lambda message: [Counted(number_of(message), PromptCount(1, 2))]) as (child, why):
        with pytest.raises(EngineError, match="broke the protocol"):
            await child.count(request())

    assert len(why) == 1


async def test_an_answer_that_ends_without_its_last_piece_has_failed() -> None:
    async with scripted(
        lambda message: [
            Begun(number_of(message)),
            Said(number_of(message), Piece("x", 1)),
            Left(number_of(message)),
        ]
    ) as (child, _):
        with pytest.raises(EngineError, match="broke an answer off"):
            await text_of(child, request())


def record(message: str, **facts: object) -> logging.LogRecord:
    return logging.getLogger("cocoon_p2p.inference.x").makeRecord(
        "cocoon_p2p.inference.x", logging.WARNING, "f.py", 1, message, (), None, extra=facts
    )


def test_a_line_of_log_arrives_with_its_facts(caplog: pytest.LogCaptureFixture) -> None:
    write_log(logged(record("engine keeps a slot", slot=3, seconds=10.0, path=["x"])), Allowance())

    (line,) = caplog.records
    assert (line.getMessage(), line.name, line.levelno) == (
        "engine keeps a slot",
        "cocoon_p2p.inference.x",
        logging.WARNING,
    )
    assert (vars(line)["slot"], vars(line)["seconds"], vars(line)["path"]) == (3, 10.0, "['x']")


class Measured(float):
    """A number of a library's own kind, as numpy's are."""


@pytest.mark.parametrize(
    ("fact", "arrives"),
    [(Measured(1.5), "1.5"), (2**64, str(2**64)), (-(2**70), str(-(2**70))), (True, True)],
)
def test_a_fact_that_the_line_does_not_take_is_written_as_text(fact: object, arrives: object) -> None:
    said = logged(record("engine keeps a slot", fact=fact))

    assert encode_frame(said)
    assert said.facts["fact"] == arrives


def test_of_an_exception_that_was_logged_only_the_class_is_told() -> None:
    try:
        raise ValueError("the prompt was: my secret")
    except ValueError as exc:
        failed = record("engine thread failed")
        failed.exc_info = (type(exc), exc, exc.__traceback__)

    said = logged(failed)

    assert said.facts == {"error": "ValueError"}
    assert "secret" not in repr(said)


@pytest.mark.parametrize(
    "said",
    [
        Logged(40, "trio", "x", {}),
        Logged(40, "cocoon_p2pevil", "x", {}),
        Logged(40, "cocoon_p2p", "x", {"msg": "another"}),
        Logged(40, "cocoon_p2p", "x" * 1000, {}),
        Logged(40, "cocoon_p2p", "x", {str(number): 1 for number in range(FACTS_MAX + 1)}),
    ],
)
def test_a_line_of_log_that_is_none_breaks_the_line(said: Logged) -> None:
    with pytest.raises(LineBroken):
        write_log(said, Allowance())


def test_a_percent_sign_in_a_line_of_log_is_only_that(caplog: pytest.LogCaptureFixture) -> None:
    write_log(Logged(40, "cocoon_p2p", "100 %s", {}), Allowance())

    assert caplog.records[0].getMessage() == "100 %s"


def test_a_child_that_logs_without_end_is_not_heard() -> None:
    now = 0.0
    allowance = Allowance(3, clock=lambda: now)

    at_once = [allowance.take() for _ in range(5)]
    now = 2.0
    later = [allowance.take() for _ in range(3)]
    now = 1000.0
    rested = [allowance.take() for _ in range(4)]

    assert at_once == [True, True, True, False, False]
    assert later == [True, True, False]
    assert rested == [True, True, True, False]


def test_a_line_of_log_beyond_the_allowance_breaks_the_line() -> None:
    with pytest.raises(LineBroken):
        write_log(Logged(40, "cocoon_p2p", "x", {}), Allowance(0))
