"""An engine that fails and comes back: what its worker tells its proxies meanwhile."""

import pytest
import trio
import trio.testing

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.inference.engine import Capabilities, ModelCard
from cocoon_p2p.protocols.ids import Reason, Role
from cocoon_p2p.protocols.messages import Load
from cocoon_p2p.records import check_record
from cocoon_p2p.testing.engine import ScriptedEngine, scripted_model
from tests.worker.scene import NETWORK, PRICE, Scene, now, scene

MockClock = trio.testing.MockClock


class Changing(ScriptedEngine):
    """An engine that offers what a test says."""

    def __init__(self, *models: ModelCard) -> None:
        super().__init__(models=models, slots=3)
        self.offered = super().capabilities
        self.changed = trio.Event()

    @property
    def capabilities(self) -> Capabilities:
        return self.offered

    async def wait_for_change(self, known: Capabilities) -> Capabilities:
        while self.offered == known:
            await self.changed.wait()
        return self.offered

    async def turn(self, slots: int, *models: ModelCard) -> None:
        """Offer something else, and let whom it concerns hear it."""
        self.offered = Capabilities(self.offered.engine, models, slots)
        self.changed.set()
        self.changed = trio.Event()
        await trio.sleep(0.5)


def load(here: Scene) -> Load:
    return [message for message in here.told.messages if isinstance(message, Load)][-1]


async def test_a_worker_whose_engine_is_being_started_again_has_no_slots(autojump_clock: MockClock) -> None:
    engine = Changing()
    (card,) = engine.offered.models
    async with scene(engine) as here:
        before = here.worker.record
        await engine.turn(0, card)
        down = load(here)
        refused, stream = here.ask(), await here.open()
        await stream.send(refused.assign)
        await here.listen(refused, stream)
        await engine.turn(3, card)
        up = load(here)
        answered = await here.run(here.ask())

        assert (down.slots_free, down.slots_total) == (0, 3)
        assert up == Load(3, 3, 0)
        assert here.worker.record == before

    assert refused.refused.reason is Reason.NO_CAPACITY
    assert answered.text == "Hello, world."


async def test_a_worker_whose_engine_failed_before_it_began_waits_until_it_is_back(
    autojump_clock: MockClock,
) -> None:
    engine = Changing()
    (card,) = engine.offered.models
    engine.offered = Capabilities(engine.offered.engine, (card,), 0)
    async with trio.open_nursery() as nursery:

        async def come_back() -> None:
            await trio.sleep(5)
            await engine.turn(3, card)

        nursery.start_soon(come_back)
        async with scene(engine) as here:
            began = load(here)
            answered = await here.run(here.ask())

    assert (began.slots_free, began.slots_total) == (3, 3)
    assert answered.text == "Hello, world."


def offered(here: Scene) -> list[str]:
    record = check_record(here.told.newest().record, network=NETWORK, now=now(), role=Role.WORKER)
    return [model.name for model in record.models]


async def test_a_model_whose_engine_is_gone_is_offered_no_more_until_it_is_back(
    autojump_clock: MockClock,
) -> None:
    one, two = scripted_model("scripted"), scripted_model("two")
    engine = Changing(one, two)
    async with scene(engine, prices={"scripted": PRICE, "two": PRICE}) as here:
        seen = [offered(here)]
        for models in ((one,), (one, two)):
            await engine.turn(3, *models)
            seen.append(offered(here))
        answered = await here.run(here.ask())

    assert seen == [["scripted", "two"], ["scripted"], ["scripted", "two"]]
    assert answered.text == "Hello, world."


async def test_a_worker_without_any_engine_ends_and_says_why(autojump_clock: MockClock) -> None:
    engine = Changing()

    with pytest.RaisesGroup(pytest.RaisesExc(Unavailable, match="no engine is left"), flatten_subgroups=True):
        async with scene(engine):
            await engine.turn(0)
            await trio.sleep_forever()
