"""The llama.cpp engine when the library below it breaks, stalls or cannot be had."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.catalogue import DEMO_WEIGHTS_HASH, demo_model
from cocoon_p2p.inference.chat_template import ChatTemplate
from cocoon_p2p.inference.engine import (
    Capabilities,
    ChatMessage,
    EngineError,
    Feature,
    GenerateRequest,
    ModelCard,
    Piece,
    PromptTooLong,
)
from cocoon_p2p.inference.llama_engine import LlamaCppEngine
from cocoon_p2p.inference.llama_messages import Choice, Completion, ServerEvent, Timings
from cocoon_p2p.inference.llama_server import LlamaServer
from cocoon_p2p.inference.llama_threads import LET_GO_SECONDS
from cocoon_p2p.inference.llamacpp import open_llamacpp
from cocoon_p2p.protocols.ids import ENGINE_STALL_SECONDS

CARD = ModelCard("broken", bytes(32), bytes(32), context_tokens=100, features=frozenset({Feature.CONTINUE}))
REQUEST = GenerateRequest("broken", prompt="Hi")


def says(text: str, tokens: int) -> ServerEvent:
    return ServerEvent(choices=[Choice(text)], timings=Timings(tokens))


class BrokenServer(LlamaServer):
    """Says one token, then does what a test says; splits any text into three tokens."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then
        self.is_closed = False

    def tokenize(self, text: str, *, is_prompt: bool = True) -> list[int]:
        return [1, 2, 3]

    def complete(self, completion: Completion, on_event: Callable[[ServerEvent], bool]) -> None:
        if not on_event(says("Hi", 1)):
            self._then()

    def close(self) -> None:
        self.is_closed = True


def engine_on(server: LlamaServer) -> LlamaCppEngine:
    return LlamaCppEngine(server, Capabilities("broken 1", (CARD,), slots=1), ChatTemplate(""), bos="")


class StuckServer(BrokenServer):
    """Falls silent after one token, until it is told to go on."""

    def __init__(self) -> None:
        super().__init__(self._wait)
        self.may_go_on = threading.Event()

    def _wait(self) -> None:
        self.may_go_on.wait()


@pytest.fixture
def stuck() -> Iterator[StuckServer]:
    server = StuckServer()
    yield server
    server.may_go_on.set()


@pytest.fixture
def clock() -> MockClock:
    """Time that stands still until a test lets it jump: it would not wait for a thread's first word."""
    return MockClock()


def let_time_jump(clock: MockClock) -> None:
    clock.autojump_threshold = 0


async def test_a_library_that_fails_is_an_error_after_what_it_delivered() -> None:
    def fail() -> None:
        raise EngineError("llama.cpp failed: out of memory")

    received = list[Piece]()
    async with engine_on(BrokenServer(fail)).generate(REQUEST) as pieces:
        with pytest.raises(EngineError, match="out of memory"):
            async for piece in pieces:
                received.append(piece)

    assert received == [Piece("Hi", 1)]


async def test_a_fault_of_ours_in_the_thread_is_told_to_the_reader(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    async with engine_on(BrokenServer(fail)).generate(REQUEST) as pieces:
        with pytest.raises(EngineError, match="ZeroDivisionError"):
            async for _ in pieces:
                pass

    assert "engine thread failed" in caplog.text


async def test_an_engine_that_falls_silent_is_given_up_and_leaving_it_is_bounded(
    clock: MockClock, stuck: StuckServer
) -> None:
    engine = engine_on(stuck)
    started = trio.current_time()

    async with engine.generate(REQUEST) as pieces:
        await anext(pieces)
        let_time_jump(clock)
        with pytest.raises(EngineError, match="made no step"):
            await anext(pieces)

    assert trio.current_time() - started == pytest.approx(ENGINE_STALL_SECONDS + LET_GO_SECONDS)


async def test_a_slot_that_the_engine_keeps_is_not_given_to_others_until_it_lets_go(
    clock: MockClock, stuck: StuckServer
) -> None:
    engine = engine_on(stuck)
    async with engine.generate(REQUEST) as pieces:
        await anext(pieces)
        let_time_jump(clock)

    with trio.move_on_after(60) as while_stuck:
        async with engine.generate(REQUEST):
            pass
    clock.autojump_threshold = float("inf")
    stuck.may_go_on.set()
    async with engine.generate(REQUEST) as pieces:
        again = await anext(pieces)

    assert while_stuck.cancelled_caught
    assert again == Piece("Hi", 1)


async def test_an_engine_that_does_not_let_go_is_not_unloaded(clock: MockClock, stuck: StuckServer) -> None:
    engine = engine_on(stuck)
    async with engine.generate(REQUEST) as pieces:
        await anext(pieces)
        let_time_jump(clock)

        await engine.aclose()

    assert not stuck.is_closed


async def test_a_reader_that_leaves_is_heard_at_the_next_step() -> None:
    """A step is one call back from the library: after the reader left, there is one more at most."""
    heard_after_leaving, left = list[bool](), threading.Event()

    class Endless(BrokenServer):
        def complete(self, completion: Completion, on_event: Callable[[ServerEvent], bool]) -> None:
            tokens = 0
            while True:
                tokens += 1
                has_left = left.is_set()
                stops = on_event(says("x", tokens))
                if has_left:
                    heard_after_leaving.append(stops)
                if stops:
                    return

    async with engine_on(Endless(lambda: None)).generate(REQUEST) as pieces:
        for _ in range(5):
            await anext(pieces)
        pieces.stop()  # type: ignore[attr-defined]
        left.set()

    assert heard_after_leaving in ([], [True])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"slots": 0}, "slots=0"),
        ({"threads": 0}, "threads=0"),
        ({"context_tokens": 1}, "asked=1 trained=2048"),
        ({"context_tokens": 2049}, "asked=2049 trained=2048"),
        ({"expected_weights_hash": bytes(32)}, "found=" + DEMO_WEIGHTS_HASH.hex()[:16]),
    ],
)
async def test_what_an_operator_got_wrong_is_said_before_the_model_is_loaded(
    options: dict[str, int], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        async with open_llamacpp(demo_model(), **options):  # type: ignore[arg-type]
            pass


async def test_a_model_whose_template_refuses_every_chat_is_not_served(
    demo_with: Callable[[bytes, bytes], Path],
) -> None:
    model = demo_with(b"{{ m['content'] }}", b"{{ m.x.y.z.w + 1}}")

    with pytest.raises(ConfigurationError, match="template fails"):
        async with open_llamacpp(model):
            pass


@pytest.mark.parametrize(("adds_bos", "text"), [(True, "user: Hi"), (False, "<s>user: Hi")])
async def test_a_begin_token_that_the_engine_adds_is_not_written_by_the_template_too(
    adds_bos: bool, text: str
) -> None:
    splits = list[str]()

    class Counting(BrokenServer):
        def tokenize(self, text: str, *, is_prompt: bool = True) -> list[int]:
            splits.append(text)
            return [1] * (adds_bos + len(text))

    template = ChatTemplate("{{ bos_token }}user: {{ messages[0].content }}", bos="<s>")
    capabilities = Capabilities("counting 1", (CARD,), slots=1)
    engine = LlamaCppEngine(Counting(lambda: None), capabilities, template, bos="<s>")

    await engine.count(GenerateRequest("broken", (ChatMessage("user", "Hi"),)))

    assert splits[-1] == text


async def test_a_prompt_that_cannot_fit_is_refused_without_being_split() -> None:
    class Unwilling(BrokenServer):
        def tokenize(self, text: str, *, is_prompt: bool = True) -> list[int]:
            raise AssertionError("split")

    capabilities = Capabilities("unwilling 1", (CARD,), slots=1)
    server = Unwilling(lambda: None)
    engine = LlamaCppEngine(server, capabilities, ChatTemplate(""), bos="", token_size_max_bytes=4)

    with pytest.raises(PromptTooLong, match="401 characters"):
        await engine.count(GenerateRequest("broken", prompt="x" * 300, answer_prefix="x" * 101))


async def test_a_prompt_is_split_once_for_its_count_and_its_answer() -> None:
    splits = list[str]()

    class Counting(BrokenServer):
        def tokenize(self, text: str, *, is_prompt: bool = True) -> list[int]:
            splits.append(text)
            return [1, 2, 3]

    engine = engine_on(Counting(lambda: None))
    await engine.count(REQUEST)
    await engine.count(REQUEST)
    async with engine.generate(replace(REQUEST, completion_tokens_max=5)):
        pass
    for number in range(100):
        await engine.count(replace(REQUEST, prompt=str(number)))

    assert splits[:2] == ["Hi", "0"]
    assert len(engine._counted._made) < 100
