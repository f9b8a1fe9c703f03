"""How long a server may be silent, and what it says of itself that is no answer."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise

import httpx
import pytest
import trio
import trio.testing

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import EngineError, GenerateRequest, Piece, PromptTooLong
from cocoon_p2p.inference.upstream import Upstream, open_upstream, probing
from cocoon_p2p.inference.upstream.address import is_in_clear
from cocoon_p2p.inference.upstream.generation import Terms, UpstreamGeneration
from cocoon_p2p.inference.upstream.health import Health
from cocoon_p2p.inference.upstream.pace import BEAT_SECONDS, PREFILL_MAX_SECONDS, SLACK, STEP_SECONDS, Pace
from cocoon_p2p.inference.upstream.reading import AHEAD_STEPS, Reading
from cocoon_p2p.inference.upstream.steps import CallDelta, Choice, Delta, FunctionDelta, Progress, Step, Usage
from cocoon_p2p.inference.upstream.telling import tell
from cocoon_p2p.inference.upstream.wire import ServerBusy, look, stream_steps
from cocoon_p2p.nursery import open_service_nursery
from tests.inference.upstream.scene import Script, scripted_server

BOUND_SECONDS = 60
END = Step([Choice("a", finish_reason="length")], usage=Usage(9, 1))


@asynccontextmanager
async def slowly(said: list[tuple[float, Step]]) -> AsyncIterator[AsyncIterator[Step]]:
    """Steps, each after so many seconds."""

    async def steps() -> AsyncIterator[Step]:
        for seconds, step in said:
            await trio.sleep(seconds)
            yield step

    yield steps()


async def test_a_model_that_calls_what_nobody_offered_makes_no_server_ill() -> None:
    astray = Step([Choice(delta=Delta(tool_calls=[CallDelta(0, "1", FunctionDelta("other"))]))])
    reading, health = Reading(slowly([(0.0, astray)])), Health(trio.lowlevel.checkpoint)
    async with open_service_nursery() as nursery:
        nursery.start_soon(reading.run)
        with Pace(0.0).waiting(3) as waiting, pytest.raises(EngineError, match="not offered"):
            async for _ in tell(UpstreamGeneration(Terms(3, 9)), reading, waiting, health):
                pass

    health.require()


async def told(said: list[tuple[float, Step]], *, tokens: int, prefill: Pace) -> list[tuple[float, Piece]]:
    """What a worker is told of such an answer, and when."""
    got, began = list[tuple[float, Piece]](), trio.current_time()
    reading = Reading(slowly(said))
    health = Health(trio.lowlevel.checkpoint)
    async with open_service_nursery() as nursery:
        nursery.start_soon(reading.run)
        with prefill.waiting(tokens) as waiting:
            async for piece in tell(UpstreamGeneration(Terms(tokens, 9)), reading, waiting, health):
                got.append((trio.current_time() - began, piece))
    return got


async def test_a_long_prompt_is_waited_for_and_the_worker_is_told_so(
    autojump_clock: trio.testing.MockClock,
) -> None:
    prefill = Pace(0.01)

    got = await told([(100.0, END)], tokens=10_000, prefill=prefill)

    waits = [after for after, _ in got]
    assert waits[-1] == 100.0
    assert max(later - sooner for sooner, later in pairwise([0.0, *waits])) <= BEAT_SECONDS
    assert {piece.prompt_tokens for after, piece in got if after < 100} == {0}
    assert {piece.completion_tokens for after, piece in got if after < 100} == {0}


async def test_a_short_prompt_is_not_waited_for_as_long(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(EngineError, match="no step"):
        await told([(100.0, END)], tokens=100, prefill=Pace(0.01))


async def test_after_the_first_token_silence_is_a_stall(autojump_clock: trio.testing.MockClock) -> None:
    first = Step([Choice("b")], usage=Usage(9, 1))

    with pytest.raises(EngineError, match="no step"):
        await told([(0.0, first), (STEP_SECONDS + 1, END)], tokens=10_000, prefill=Pace(1.0))


async def test_a_server_that_says_how_far_it_is_is_waited_for_as_long_as_it_does(
    autojump_clock: trio.testing.MockClock,
) -> None:
    far = [(STEP_SECONDS - 1, Step(prompt_progress=Progress(at))) for at in range(1, 6)]

    got = await told([*far, (1.0, END)], tokens=9, prefill=Pace(0.0))

    prefilled = [piece.prompt_tokens for _, piece in got]
    assert prefilled == sorted(prefilled)
    assert set(prefilled) == {0, 1, 2, 3, 4, 5, 9}


async def test_arguments_of_a_call_that_take_long_are_no_stall(
    autojump_clock: trio.testing.MockClock,
) -> None:
    nothing = [(STEP_SECONDS / 5, Step([Choice("")])) for _ in range(50)]

    got = await told([*nothing, (0.0, END)], tokens=9, prefill=Pace(0.0))

    waits = [after for after, _ in got]
    assert max(later - sooner for sooner, later in pairwise(waits)) <= STEP_SECONDS / 2


async def test_a_patience_that_grows_while_it_is_waited_for_is_heeded_to_the_last(
    autojump_clock: trio.testing.MockClock,
) -> None:
    began = trio.current_time()
    reading = Reading(slowly([(40.0, END)]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reading.run)
        steps = reading.steps(lambda: 50.0 if trio.current_time() > began + 29 else STEP_SECONDS)

        assert [step async for step in steps if step is not None] == [END]


async def test_a_slow_reader_stops_its_own_server(autojump_clock: trio.testing.MockClock) -> None:
    made = list[int]()

    @asynccontextmanager
    async def endless() -> AsyncIterator[AsyncIterator[Step]]:
        async def steps() -> AsyncGenerator[Step, None]:
            for number in range(10_000):
                await trio.lowlevel.checkpoint()
                made.append(number)
                yield Step()

        async with aclosing(steps()) as said:
            yield said

    reading = Reading(endless())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reading.run)
        await trio.testing.wait_all_tasks_blocked()
        assert len(made) == AHEAD_STEPS + 1
        steps = reading.steps(lambda: STEP_SECONDS)
        await anext(steps)
        await trio.testing.wait_all_tasks_blocked()
        assert len(made) == AHEAD_STEPS + 2
        await steps.aclose()
        nursery.cancel_scope.cancel()


def test_all_prompts_that_wait_may_be_computed_first() -> None:
    prefill = Pace(0.01)

    with prefill.waiting(1000) as first:
        with prefill.waiting(2000) as second:
            assert first.patience_seconds == STEP_SECONDS + SLACK * 30
            second.begun()
            assert second.patience_seconds == STEP_SECONDS
            assert first.patience_seconds == STEP_SECONDS + SLACK * 30
        assert first.patience_seconds == STEP_SECONDS + SLACK * 30
    with prefill.waiting(500) as third:
        assert third.patience_seconds == STEP_SECONDS + SLACK * 5
    with prefill.waiting(10**9) as endless:
        assert endless.patience_seconds == PREFILL_MAX_SECONDS


async def test_who_waited_behind_a_long_prompt_is_not_given_up_once_that_is_left(
    autojump_clock: trio.testing.MockClock,
) -> None:
    prefill = Pace(0.01)

    async def leave() -> None:
        with prefill.waiting(10_000):
            await trio.sleep(99)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        await trio.testing.wait_all_tasks_blocked()
        got = await told([(100.0, END)], tokens=100, prefill=prefill)

    assert got[-1][0] == 100.0


# ---------------------------------------------------------------- what is no answer


@pytest.fixture
def unprobed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What these servers can do beside is no matter here."""
    monkeypatch.setattr(probing, "PROBES_SECONDS", 0.0)


ASK = GenerateRequest("scripted", prompt="one two", completion_tokens_max=2)


@pytest.mark.parametrize(
    ("said", "seconds"), [("7", 7.0), ("100000", 60.0), ("-1", 0.0), ("nan", 1.0), ("soon", 1.0), ("", 1.0)]
)
async def test_a_server_without_room_says_when_to_come_back_and_is_not_ill(
    unprobed: None, said: str, seconds: float
) -> None:
    script = Script()
    with trio.fail_after(BOUND_SECONDS):
        async with scripted_server(script) as address, open_upstream(Upstream(address)) as engine:
            script.status, script.error_headers = 429, (("retry-after", said),)
            with pytest.raises(ServerBusy) as raised:
                async with engine.generate(ASK) as pieces:
                    await anext(pieces)

            assert raised.value.retry_after == seconds
            assert (await engine.count(ASK)).prompt_tokens == 2


async def test_a_server_without_room_for_one_token_is_not_ill_either(
    autojump_clock: trio.testing.MockClock,
) -> None:
    looks = list[float]()

    async def compute() -> None:
        looks.append(trio.current_time())
        raise ServerBusy("no room", retry_after=0.0)

    health = Health(compute)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(health.watch)
        await trio.sleep(100)
        health.require()
        nursery.cancel_scope.cancel()

    assert 2 < len(looks) < 20


async def test_a_server_without_room_is_probed_again(autojump_clock: trio.testing.MockClock) -> None:
    asked = list[float]()

    async def proves() -> bool:
        asked.append(trio.current_time())
        if len(asked) < 3:
            raise ServerBusy("no room", retry_after=4.0)
        return True

    assert await probing.is_proven("a wish", proves)
    assert [at - asked[0] for at in asked] == [0.0, 4.0, 8.0]


async def test_a_probe_that_takes_too_long_proves_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async def proves() -> bool:
        await trio.sleep(probing.PROBE_SECONDS + 1)
        return True

    assert not await probing.is_proven("a wish", proves)


async def test_a_prompt_that_the_server_finds_too_long_is_said_so(unprobed: None) -> None:
    script = Script()
    with trio.fail_after(BOUND_SECONDS):
        async with scripted_server(script) as address, open_upstream(Upstream(address)) as engine:
            script.status, script.complaint = 400, "This model's maximum context length is 5 tokens"
            with pytest.raises(PromptTooLong) as raised:
                async with engine.generate(ASK) as pieces:
                    await anext(pieces)

    assert "[3, 3]" not in str(raised.value)


async def test_an_answer_that_trickles_for_ever_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    class Trickle(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                await trio.sleep(1)
                yield b" "

    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Trickle()))
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as http:
        with pytest.raises(EngineError, match="waited=30 s"):
            await look(http, "/v1/models", dict)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_is_not_taken_is_a_matter_of_the_configuration(status: int) -> None:
    async with scripted_server(Script(status=status)) as address:
        with pytest.raises(ConfigurationError) as raised:
            async with open_upstream(Upstream(address, api_key="k")):
                raise AssertionError("it must not open")

    assert "api_key_file" in raised.value.hint


async def test_a_server_that_sends_elsewhere_is_not_followed(unprobed: None) -> None:
    script = Script()
    with trio.fail_after(BOUND_SECONDS):
        async with scripted_server(script) as address, open_upstream(Upstream(address)) as engine:
            script.status, script.error_headers = 307, (("location", address + "/v1/models"),)
            with pytest.raises(EngineError, match="elsewhere"):
                async with engine.generate(ASK) as pieces:
                    await anext(pieces)


@pytest.mark.parametrize("location", ["mailto:x", "http://xn--a/", "http://[::", "//\x7f"])
async def test_a_server_that_sends_nowhere_is_an_error_of_the_engine(location: str) -> None:
    headers = {"location": location}
    transport = httpx.MockTransport(lambda _: httpx.Response(307, headers=headers))
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as http:
        with pytest.raises(EngineError):
            await look(http, "/v1/models", dict)
        with pytest.raises(EngineError):
            async with stream_steps(http, "/v1/completions", {}):
                raise AssertionError("it must not open")


# ---------------------------------------------------------------- in the clear


@pytest.mark.parametrize(
    ("root", "is_clear"),
    [
        ("http://127.0.0.1:8000", False),
        ("http://[::1]:8000", False),
        ("http://10.1.2.3", False),
        ("http://192.168.1.2", False),
        ("http://[fd00::1]", False),
        ("http://localhost", False),
        ("http://vllm:8000", False),
        ("http://gpu.local", False),
        ("http://8.8.8.8", True),
        ("http://gpu.example.org", True),
        ("http://gpu.example.org.", True),
        ("http://[2001:4860::1]", True),
        ("http://localhost.example.org", True),
        ("https://gpu.example.org", False),
    ],
)
def test_plain_http_is_for_hosts_that_are_near(root: str, is_clear: bool) -> None:
    assert is_in_clear(root) is is_clear


async def test_prompts_that_can_be_read_on_the_way_are_warned_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_far(root: str) -> bool:
        return bool(root)

    monkeypatch.setattr("cocoon_p2p.inference.upstream.opening.is_in_clear", is_far)
    async with scripted_server(Script(models=())) as address:
        with caplog.at_level(logging.WARNING), pytest.raises(ConfigurationError):
            async with open_upstream(Upstream(address)):
                raise AssertionError("it must not open")

    assert "in the clear" in caplog.text
