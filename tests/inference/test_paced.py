"""An engine that is held back: the same answer, no sooner than it is due."""

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.inference.engine import GenerateRequest
from cocoon_p2p.inference.paced import PacedEngine
from cocoon_p2p.testing.engine import ScriptedEngine

REQUEST = GenerateRequest(model="scripted", prompt="What is it?")


async def test_each_token_comes_when_it_is_due_and_the_first_at_once(autojump_clock: MockClock) -> None:
    engine = PacedEngine(ScriptedEngine(("It ", "is ", "this."), delay_seconds=0.01), 20)
    came: list[tuple[float, int]] = []

    async with engine.generate(REQUEST) as pieces:
        async for piece in pieces:
            came.append((trio.current_time(), piece.completion_tokens))

    assert [tokens for _, tokens in came] == [1, 2, 3, 3]
    assert [at for at, _ in came] == pytest.approx([0.01, 0.06, 0.11, 0.11])


async def test_an_engine_that_is_slower_is_not_held_back(autojump_clock: MockClock) -> None:
    engine = PacedEngine(ScriptedEngine(("It ", "is."), delay_seconds=1), 20)

    async with engine.generate(REQUEST) as pieces:
        came = [trio.current_time() async for _ in pieces]

    assert came == pytest.approx([1, 2, 2])


async def test_leaving_it_leaves_what_is_behind_it(autojump_clock: MockClock) -> None:
    scripted = ScriptedEngine(("tick ",) * 100, delay_seconds=0.01)
    engine = PacedEngine(scripted, 2)

    with trio.move_on_after(3):
        async with engine.generate(REQUEST) as pieces:
            async for _ in pieces:
                pass

    assert scripted.running == 0
    assert trio.current_time() == pytest.approx(3)


async def test_all_else_is_the_engine_s_own(autojump_clock: MockClock) -> None:
    scripted = ScriptedEngine()
    engine = PacedEngine(scripted, 20)

    assert engine.capabilities == scripted.capabilities
    assert await engine.count(REQUEST) == await scripted.count(REQUEST)
    with trio.move_on_after(60) as waiting:
        await engine.wait_for_change(engine.capabilities)
    assert waiting.cancelled_caught
