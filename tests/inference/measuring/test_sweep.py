"""An engine is measured by what it does, within its time, and not further than brings something."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.inference.catalogue import demo_model
from cocoon_p2p.inference.engine import EngineError, Feature, PromptTooLong
from cocoon_p2p.inference.llamacpp import open_llamacpp
from cocoon_p2p.inference.measuring.levels import Level, concurrencies
from cocoon_p2p.inference.measuring.sweep import SILENT_SECONDS, sweep
from cocoon_p2p.protocols.ids import Kind
from cocoon_p2p.testing.engine import ScriptedEngine, scripted_model
from tests.inference.measuring.paced import PacedEngine

SECONDS = 15.0


async def measure(
    engine: PacedEngine | ScriptedEngine, *, slots: int = 4, seconds: float = SECONDS
) -> tuple[Level, ...]:
    card = engine.capabilities.models[0]
    return await sweep(engine, card, concurrencies=concurrencies(slots), seconds=seconds)


def near(rate: float) -> object:
    return pytest.approx(rate, rel=1e-6)


async def test_each_level_is_told_as_the_engine_is(autojump_clock: MockClock) -> None:
    def write(running: int) -> float:
        return {1: 10.0, 2: 9.0, 4: 6.0}.get(running, 0.1)

    levels = await measure(PacedEngine(read=100, write=write))

    assert [level.concurrency for level in levels] == [1, 2, 4]
    assert [level.prefill for level in levels] == [near(100)] * 3
    assert [level.decode for level in levels] == [near(10), near(9), near(6)]
    assert [level.decode_all for level in levels] == [near(10), near(18), near(24)]


async def test_it_goes_no_further_than_brings_something(autojump_clock: MockClock) -> None:
    engine = PacedEngine(write=lambda running: 20 / max(running, 2), slots=32)

    levels = await measure(engine, slots=32)

    # Two bring twice as much as one, four and eight no more than two.
    assert [level.concurrency for level in levels] == [1, 2, 4, 8]


@pytest.mark.parametrize(("read", "write"), [(3.0, 1.0), (100.0, 10.0), (1e4, 300.0), (1e6, 1e5)])
async def test_it_takes_about_its_time_however_quick_the_engine_is(
    autojump_clock: MockClock, read: float, write: float
) -> None:
    engine = PacedEngine(read=read, write=lambda _running: write)

    levels = await measure(engine)

    # The slowest one has no time for what tells anything at more than one request.
    assert trio.current_time() <= 2.5 * SECONDS
    assert levels[0].prefill == near(read)
    assert levels[0].decode == near(write)


async def test_requests_that_take_turns_bring_nothing(autojump_clock: MockClock) -> None:
    levels = await measure(PacedEngine(turns=True, slots=8), slots=8)

    assert [level.concurrency for level in levels] == [1, 2, 4]
    assert levels[1].decode is not None
    assert levels[1].decode < 10 / 2


@pytest.mark.parametrize("seconds", [0.5, SECONDS])
async def test_tokens_that_come_in_one_bunch_are_not_taken_for_a_rate(
    autojump_clock: MockClock, seconds: float
) -> None:
    engine = PacedEngine(read=1e5, write=lambda _running: 1e3, bunch=60)

    levels = await measure(engine, seconds=seconds)

    assert [level.decode for level in levels] == [near(1e3)] * len(levels)


async def test_no_two_requests_are_alike_nor_share_a_cache(autojump_clock: MockClock) -> None:
    engine = PacedEngine()

    await measure(engine)

    assert len({request.prompt for request in engine.requests}) == len(engine.requests)
    assert len({request.cache_scope for request in engine.requests}) == len(engine.requests)
    assert all(request.ignore_eos and request.temperature for request in engine.requests)


async def test_an_engine_that_ends_answers_by_itself_is_measured_by_what_it_says(
    autojump_clock: MockClock,
) -> None:
    card = scripted_model(features=())
    engine = PacedEngine(card=card, answer_max=5)

    levels = await measure(engine)

    assert levels[0].decode == near(10)
    assert not any(request.features - {Feature.SEED} for request in engine.requests)


async def test_an_engine_that_says_one_word_has_no_rate_of_writing(autojump_clock: MockClock) -> None:
    levels = await measure(PacedEngine(answer_max=1))

    assert levels[0].decode is None
    assert levels[0].prefill == near(100)


async def test_a_model_with_little_context_is_asked_for_little(autojump_clock: MockClock) -> None:
    card = scripted_model(context_tokens=40)

    levels = await measure(PacedEngine(card=card))

    assert levels[0].decode == near(10)


async def test_a_model_with_no_room_at_all_is_refused(autojump_clock: MockClock) -> None:
    with pytest.raises(PromptTooLong):
        await measure(PacedEngine(card=scripted_model(context_tokens=3)))


async def test_an_embedding_model_has_a_rate_of_reading_only(autojump_clock: MockClock) -> None:
    card = replace(scripted_model(), kind=Kind.EMBEDDING)
    engine = PacedEngine(card=card)

    levels = await measure(engine)

    assert [(level.concurrency, level.decode) for level in levels] == [(1, None), (2, None), (4, None)]
    assert levels[0].prefill == near(100)
    assert all(request.inputs and request.prompt is None for request in engine.requests)


async def test_speech_is_measured_in_its_positions(autojump_clock: MockClock) -> None:
    card = replace(scripted_model(), kind=Kind.TRANSCRIPTION)

    levels = await measure(PacedEngine(read=1000, card=card))

    assert levels[0].prefill == near(1000)
    assert levels[0].decode == near(10)
    assert levels[0].first_token_seconds == near(1.5)


async def test_an_engine_that_fails_is_told_as_failed(autojump_clock: MockClock) -> None:
    with pytest.raises(EngineError, match="the script says fail"):
        await measure(ScriptedEngine(fail_at=2))


async def test_an_engine_that_hangs_is_given_up(autojump_clock: MockClock) -> None:
    with pytest.raises(EngineError, match="hangs"):
        await measure(ScriptedEngine(stall_at=2))
    assert trio.current_time() < SILENT_SECONDS + SECONDS


async def test_an_engine_that_takes_no_time_cannot_be_measured(autojump_clock: MockClock) -> None:
    with pytest.raises(EngineError, match="cannot be measured"):
        await measure(ScriptedEngine(delay_seconds=0))


async def test_leaving_frees_the_engine(autojump_clock: MockClock) -> None:
    engine = PacedEngine()
    with trio.move_on_after(3):
        await measure(engine)

    assert engine.running == 0


async def test_the_demo_model_is_measured() -> None:
    told: list[Level] = []
    with trio.fail_after(60):
        async with open_llamacpp(demo_model(), slots=2, context_tokens=256, threads=1) as engine:
            card = engine.capabilities.models[0]
            levels = await sweep(engine, card, concurrencies=(1, 2), seconds=0.1, tell=told.append)

    assert tuple(told) == levels
    assert levels[0].prefill > 0
    assert (levels[0].decode or 0) > 0
