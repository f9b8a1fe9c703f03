"""Several engines as one: who answers, and what is offered when one is gone."""

import pytest
import trio
import trio.testing

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import (
    Capabilities,
    ChangingEngine,
    EngineError,
    GenerateRequest,
    ModelUnknown,
)
from cocoon_p2p.inference.several import SeveralEngines
from cocoon_p2p.testing.engine import ScriptedEngine, scripted_model


class Failing(ScriptedEngine):
    """An engine that may have to be started again."""

    def __init__(self, name: str, slots: int = 4) -> None:
        super().__init__((name,), models=(scripted_model(name),), slots=slots, delay_seconds=0)
        self.now = super().capabilities
        self.changed = trio.Event()

    @property
    def capabilities(self) -> Capabilities:
        return self.now

    def turn(self, slots: int) -> None:
        self.now = Capabilities(self.now.engine, self.now.models, slots)
        self.changed.set()
        self.changed = trio.Event()

    async def wait_for_change(self, known: Capabilities) -> Capabilities:
        while self.now == known:
            await self.changed.wait()
        return self.now


def plain(name: str, slots: int = 4) -> ScriptedEngine:
    return ScriptedEngine((name,), models=(scripted_model(name),), slots=slots, delay_seconds=0)


async def answer(engine: SeveralEngines, model: str) -> str:
    async with engine.generate(GenerateRequest(model, prompt="hello")) as pieces:
        return "".join([piece.text async for piece in pieces])


async def test_each_request_goes_to_the_engine_that_has_its_model() -> None:
    engine = SeveralEngines([plain("one"), plain("two")])

    assert await answer(engine, "two") == "two"
    assert (await engine.count(GenerateRequest("one", prompt="hello"))).prompt_tokens == 2


async def test_a_model_that_none_has_is_refused_by_name() -> None:
    engine = SeveralEngines([plain("one"), plain("two")])

    with pytest.raises(ModelUnknown, match=r"'three'.*one, two"):
        await engine.count(GenerateRequest("three", prompt="hello"))


async def test_slots_are_shared_and_not_summed() -> None:
    engine = SeveralEngines([plain("one", slots=4), plain("two", slots=2)])

    assert engine.capabilities.slots == 2
    assert [card.name for card in engine.capabilities.models] == ["one", "two"]
    assert engine.capabilities.engine == "scripted 1"


async def test_two_models_of_one_name_are_a_mistake_that_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"one name \(name=same\)") as caught:
        SeveralEngines([plain("same"), plain("same")])

    assert "another `name`" in caught.value.hint


async def test_an_engine_without_slots_takes_its_models_with_it_and_brings_them_back() -> None:
    one, two = Failing("one"), Failing("two", slots=2)
    engine = SeveralEngines([one, two])
    at_first = engine.capabilities

    two.turn(0)
    without = engine.capabilities
    one.turn(0)
    none = engine.capabilities
    one.turn(4)
    two.turn(2)

    assert ([card.name for card in without.models], without.slots) == (["one"], 4)
    assert ([card.name for card in none.models], none.slots) == (["one", "two"], 0)
    assert engine.capabilities == at_first


async def test_a_change_of_any_engine_is_told(autojump_clock: trio.testing.MockClock) -> None:
    one, two = Failing("one"), Failing("two")
    engine = SeveralEngines([plain("zero"), one, two])
    seen: list[Capabilities] = []

    async def follow() -> None:
        known = engine.capabilities
        while True:
            known = await engine.wait_for_change(known)
            seen.append(known)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        for failing in (two, one, one, two):
            await trio.sleep(1)
            failing.turn(4 - failing.now.slots)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()

    assert [len(each.models) for each in seen] == [2, 1, 2, 3]


async def test_a_change_that_came_before_the_waiting_is_told_at_once() -> None:
    one = Failing("one")
    engine = SeveralEngines([one, plain("two")])
    known = engine.capabilities

    one.turn(0)

    assert (await engine.wait_for_change(known)).models == (scripted_model("two"),)


async def test_closing_closes_all() -> None:
    engine = SeveralEngines([plain("one"), plain("two")])

    await engine.aclose()

    for name in ("one", "two"):
        with pytest.raises(EngineError, match="closed"):
            await answer(engine, name)


async def test_several_engines_may_change() -> None:
    assert isinstance(SeveralEngines([ScriptedEngine()]), ChangingEngine)
