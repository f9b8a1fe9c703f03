"""The scripted engine keeps the promises that roles rely on."""

import pytest
import trio
import trio.testing

from cocoon_p2p.inference.engine import (
    ChatMessage,
    Engine,
    EngineError,
    FeatureMissing,
    Finish,
    GenerateRequest,
    Piece,
    PromptTooLong,
)
from cocoon_p2p.testing.engine import ScriptedEngine, echo, scripted_model


def _ask(text: str = "one two three", **changes: object) -> GenerateRequest:
    return GenerateRequest("scripted", (ChatMessage("user", text),), **changes)  # type: ignore[arg-type]


async def _all(engine: Engine, request: GenerateRequest) -> list[Piece]:
    async with engine.generate(request) as pieces:
        return [piece async for piece in pieces]


async def test_it_says_the_script_at_its_pace_and_counts_words(
    autojump_clock: trio.testing.MockClock,
) -> None:
    engine = ScriptedEngine(("a", "b", "c"), delay_seconds=0.5)
    started = trio.current_time()

    count = await engine.count(_ask())
    pieces = await _all(engine, _ask())

    assert count.prompt_tokens == 4
    assert "".join(piece.text for piece in pieces) == "abc"
    assert [piece.completion_tokens for piece in pieces] == [1, 2, 3, 3]
    assert [piece.finish for piece in pieces] == [None, None, None, Finish.STOP]
    assert trio.current_time() - started == pytest.approx(1.5)


async def test_a_limit_ends_the_answer_with_length(autojump_clock: trio.testing.MockClock) -> None:
    pieces = await _all(ScriptedEngine(("a", "b", "c")), _ask(completion_tokens_max=2))

    assert "".join(piece.text for piece in pieces) == "ab"
    assert pieces[-1].finish is Finish.LENGTH


async def test_an_answer_goes_on_after_its_prefix(autojump_clock: trio.testing.MockClock) -> None:
    pieces = await _all(ScriptedEngine(("a", "b", "c")), _ask(answer_prefix="ab"))

    assert "".join(piece.text for piece in pieces) == "c"


async def test_who_leaves_frees_the_slot_before_the_next_step(autojump_clock: trio.testing.MockClock) -> None:
    engine = ScriptedEngine(("a",) * 100, slots=1, delay_seconds=1)

    with trio.move_on_after(3.5):
        await _all(engine, _ask())

    assert engine.running == 0
    assert engine.tokens_made == [3]
    assert len(await _all(engine, _ask(completion_tokens_max=1))) == 2


async def test_one_generation_too_many_is_an_error(autojump_clock: trio.testing.MockClock) -> None:
    engine = ScriptedEngine(slots=1)

    async with engine.generate(_ask()):
        with pytest.raises(EngineError, match="no free slot"):
            await _all(engine, _ask())


async def test_it_fails_and_stalls_where_the_script_says(autojump_clock: trio.testing.MockClock) -> None:
    got: list[str] = []
    failing = ScriptedEngine(("a", "b", "c"), fail_at=2)
    stalling = ScriptedEngine(("a", "b", "c"), stall_at=1)

    with pytest.raises(EngineError, match="tokens=2"):
        async with failing.generate(_ask()) as pieces:
            async for piece in pieces:
                got.append(piece.text)
    with trio.move_on_after(60) as scope:
        await _all(stalling, _ask())

    assert got == ["a", "b"]
    assert scope.cancelled_caught
    assert stalling.tokens_made == [1]


async def test_closing_fails_what_runs(autojump_clock: trio.testing.MockClock) -> None:
    engine = ScriptedEngine(stall_at=1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_expect_failure, engine)
        await trio.sleep(1)
        await engine.aclose()

    assert engine.running == 0


async def _expect_failure(engine: ScriptedEngine) -> None:
    with pytest.raises(EngineError):
        await _all(engine, _ask())


async def test_prefill_shows_its_progress(autojump_clock: trio.testing.MockClock) -> None:
    engine = ScriptedEngine(("a",), prefill_seconds=4, prefill_steps=4)

    pieces = await _all(engine, _ask())

    assert [piece.prompt_tokens for piece in pieces] == [1, 2, 3, 4, 4, 4]


async def test_a_prompt_is_cached_for_its_own_scope_only(autojump_clock: trio.testing.MockClock) -> None:
    engine = ScriptedEngine(caches=True)

    await _all(engine, _ask(cache_scope=b"1"))

    assert (await engine.count(_ask(cache_scope=b"1"))).cached_tokens == 3
    assert (await engine.count(_ask(cache_scope=b"2"))).cached_tokens == 0


async def test_what_the_model_lacks_is_refused_when_counted(autojump_clock: trio.testing.MockClock) -> None:
    engine = ScriptedEngine(models=(scripted_model(context_tokens=4),))

    with pytest.raises(FeatureMissing, match="stop"):
        await engine.count(_ask("one", stop=("x",)))
    with pytest.raises(PromptTooLong, match="prompt=4 context=4"):
        await engine.count(_ask())


async def test_echo_says_the_last_message_again(autojump_clock: trio.testing.MockClock) -> None:
    pieces = await _all(ScriptedEngine(echo), _ask("one two three"))

    assert "".join(piece.text for piece in pieces) == "one two three"
