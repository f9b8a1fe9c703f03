"""A worker is measured once, and again when anything that decides its speed is another."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from cocoon_p2p.config import SLOTS_UNMEASURED, Loaded, ModelSection, WorkerFile, load
from cocoon_p2p.inference.engine import Capabilities, Engine
from cocoon_p2p.inference.measuring.kept import FILE, read_measurements
from cocoon_p2p.inference.measuring.levels import Speeds
from cocoon_p2p.inference.several import SeveralEngines
from cocoon_p2p.node import measuring
from cocoon_p2p.node.measuring import SLOTS_TRIED, bench, kept_speeds, measure_when_idle, with_slots
from cocoon_p2p.protocols.messages import ChannelId, ExchangeId
from cocoon_p2p.testing.engine import ScriptedEngine, scripted_model
from cocoon_p2p.worker.slots import Slots
from tests.inference.measuring.paced import PacedEngine

Load = Callable[..., Loaded[WorkerFile]]
HERE = "a processor x 2"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "describe_machine", lambda: HERE)


@pytest.fixture
def worker(tmp_path: Path) -> Load:
    def write(**keys: object) -> Loaded[WorkerFile]:
        path = tmp_path / "worker.toml"
        tables = "".join(f"{key} = {json.dumps(value)}\n" for key, value in {"model": "demo", **keys}.items())
        path.write_text(f'[worker]\n{tables}[network]\nname = "local"\n')
        return load(WorkerFile, path, {})

    return write


class Start:
    """What a worker's start comes to."""

    def __init__(self, loaded: Loaded[WorkerFile], engine: Engine, slots: Slots | None = None) -> None:
        self.loaded = loaded
        self.engine = engine
        self.slots = slots or Slots(engine.capabilities.slots)
        self.speeds = kept_speeds(loaded, engine)
        self.steps: list[str] = []

    async def measure(self) -> dict[str, Speeds]:
        known = tuple(self.speeds)
        await measure_when_idle(
            self.loaded, self.engine, self.slots, known, self.speeds.__setitem__, self._announce
        )
        return self.speeds

    def _announce(self, step: str, **facts: object) -> None:
        self.steps.append(step)


async def find_speeds(loaded: Loaded[WorkerFile], engine: Engine) -> dict[str, Speeds]:
    return await Start(loaded, engine).measure()


def sharing(running: int) -> float:
    """Two at once bring twice as much as one, more bring nothing."""
    return 20 / max(running, 2)


async def test_a_start_measures_and_the_next_one_need_not(autojump_clock: MockClock, worker: Load) -> None:
    engine = PacedEngine(write=sharing)

    speeds = await find_speeds(worker(), engine)
    asked = len(engine.requests)
    again = await find_speeds(worker(), engine)

    found = speeds["scripted"]
    assert found == Speeds(pytest.approx(100), pytest.approx(10), pytest.approx(5))  # type: ignore[arg-type]
    assert again == speeds
    assert len(engine.requests) == asked
    assert trio.current_time() < 3 * worker().settings.worker.measure_seconds


@pytest.mark.parametrize(
    "changed",
    [
        PacedEngine(card=replace(scripted_model(), weights_hash=bytes(32))),
        PacedEngine(card=replace(scripted_model(), context_tokens=2048)),
        PacedEngine(slots=3),
    ],
    ids=["weights", "context", "slots"],
)
async def test_what_changed_is_measured_anew(
    autojump_clock: MockClock, worker: Load, changed: PacedEngine
) -> None:
    await find_speeds(worker(), PacedEngine())

    assert (await find_speeds(worker(), changed)).keys() == {"scripted"}
    assert changed.requests


async def test_another_machine_engine_or_number_of_threads_is_measured_anew(
    autojump_clock: MockClock, worker: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = PacedEngine()
    await find_speeds(worker(), engine)

    async def measures_anew(loaded: Loaded[WorkerFile]) -> bool:
        before = len(engine.requests)
        await find_speeds(loaded, engine)
        return len(engine.requests) > before

    assert await measures_anew(worker(threads=3))
    engine.capabilities = Capabilities("paced 2", engine.capabilities.models, engine.capabilities.slots)
    assert await measures_anew(worker(threads=3))
    monkeypatch.setattr(measuring, "describe_machine", lambda: "another")
    assert await measures_anew(worker(threads=3))
    assert not await measures_anew(worker(threads=3))


async def test_who_switches_measuring_off_promises_nothing(autojump_clock: MockClock, worker: Load) -> None:
    engine = PacedEngine()
    await find_speeds(worker(), engine)
    engine.requests.clear()

    assert await find_speeds(worker(measure_seconds=0), engine) == {}
    assert engine.requests == []


async def test_an_engine_with_a_fault_of_its_own_ends_no_worker(
    autojump_clock: MockClock, worker: Load, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_running: int) -> float:
        raise RuntimeError("what the prompt was")

    assert await find_speeds(worker(), PacedEngine(write=broken)) == {}
    assert "not measured" in caplog.text
    assert "what the prompt was" not in caplog.text


async def test_an_engine_that_fails_at_it_promises_nothing_and_is_served(
    autojump_clock: MockClock, worker: Load, caplog: pytest.LogCaptureFixture
) -> None:
    assert await find_speeds(worker(), ScriptedEngine(fail_at=0)) == {}
    assert "not measured" in caplog.text
    assert not worker().data_directory.joinpath(FILE).exists()


async def test_two_models_are_measured_each(autojump_clock: MockClock, worker: Load) -> None:
    engine = ScriptedEngine(
        lambda request: ("word ",) * request.completion_tokens_max,
        models=[scripted_model("one"), scripted_model("two")],
        prefill_seconds=0.1,
    )
    start = Start(worker(), engine)

    assert (await start.measure()).keys() == {"one", "two"}
    assert start.steps == ["speed", "speed"]


async def test_a_client_has_the_engine_at_once_and_the_measurement_begins_anew_after_it(
    autojump_clock: MockClock, worker: Load
) -> None:
    engine, slots = PacedEngine(), Slots(4)
    start, client = Start(worker(), engine, slots), (ChannelId(bytes(32)), ExchangeId(bytes(16)))
    slots.take(client)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(start.measure)
        await trio.sleep(100)
        assert engine.requests == []

        slots.end(client)
        slots.give_back()
        await trio.sleep(2)
        assert engine.running
        slots.take(client)
        await trio.testing.wait_all_tasks_blocked()
        assert not engine.running
        assert start.speeds == {}

        slots.end(client)
        slots.give_back()
    assert start.speeds["scripted"].decode == pytest.approx(10)


async def test_a_full_disk_ends_no_worker(
    autojump_clock: MockClock, worker: Load, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = worker()
    loaded.data_directory.write_text("no folder")

    assert (await find_speeds(loaded, PacedEngine())).keys() == {"scripted"}
    assert "speeds not kept" in caplog.text


async def test_a_bench_is_what_the_next_start_goes_by(autojump_clock: MockClock, worker: Load) -> None:
    loaded, engine = worker(slots=8), PacedEngine(write=sharing, slots=8)

    measured = await bench(loaded, engine, seconds=15, is_auto=False)
    engine.requests.clear()
    speeds = await find_speeds(loaded, engine)

    assert measured["scripted"].slots == 2
    assert engine.requests == []
    # Eight share what four had, which is what two had.
    assert (speeds["scripted"].decode, speeds["scripted"].decode_full) == (
        pytest.approx(10),
        pytest.approx(2.5),
    )


async def test_auto_is_what_a_bench_found_worth_having(autojump_clock: MockClock, worker: Load) -> None:
    loaded = worker(slots="auto")
    assert with_slots(loaded).settings.worker.slots == SLOTS_UNMEASURED
    tried = with_slots(loaded, is_bench=True)
    assert tried.settings.worker.slots == SLOTS_TRIED

    await bench(tried, PacedEngine(write=sharing, slots=SLOTS_TRIED), seconds=15, is_auto=True)

    settled = with_slots(loaded)
    assert settled.settings.worker.slots == 2
    opened = PacedEngine(write=sharing, slots=2)
    speeds = await find_speeds(settled, opened)
    assert opened.requests == []
    assert speeds["scripted"].decode_full == pytest.approx(10)


async def test_auto_outlives_a_measurement_that_was_due_anew(autojump_clock: MockClock, worker: Load) -> None:
    loaded = worker(slots="auto")
    tried = with_slots(loaded, is_bench=True)
    await bench(tried, PacedEngine(write=sharing, slots=SLOTS_TRIED), seconds=15, is_auto=True)

    updated = PacedEngine(write=sharing, slots=2)
    updated.capabilities = replace(updated.capabilities, engine="paced 2")
    assert (await find_speeds(with_slots(loaded), updated)).keys() == {"scripted"}

    assert updated.requests
    assert with_slots(loaded).settings.worker.slots == 2


async def test_of_several_models_the_one_that_is_worth_most_slots_decides(
    autojump_clock: MockClock, worker: Load
) -> None:
    loaded = worker(slots="auto")
    models = [ModelSection(model="one"), ModelSection(model="two")]
    loaded = replace(loaded, settings=msgspec.structs.replace(loaded.settings, model=models))
    sharing_engine, other = (
        PacedEngine(write=sharing, slots=8),
        PacedEngine(slots=8, card=scripted_model("two")),
    )
    engine = SeveralEngines([sharing_engine, other])

    measured = await bench(with_slots(loaded, is_bench=True), engine, seconds=15, is_auto=True)

    assert {name: each.slots for name, each in measured.items()} == {"scripted": 2, "two": 8}
    assert with_slots(loaded).settings.worker.slots == 8
    assert Start(with_slots(loaded), engine).speeds.keys() == {"scripted", "two"}


async def test_auto_holds_for_its_model_and_machine_only(
    autojump_clock: MockClock, worker: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = with_slots(worker(slots="auto"), is_bench=True)
    await bench(tried, PacedEngine(write=sharing, slots=SLOTS_TRIED), seconds=15, is_auto=True)

    # More memory than it may have: nobody has tried that.
    other = worker(slots="auto", model="other")
    assert with_slots(other).settings.worker.slots == SLOTS_UNMEASURED
    monkeypatch.setattr(measuring, "describe_machine", lambda: "another")
    assert with_slots(worker(slots="auto")).settings.worker.slots == SLOTS_UNMEASURED


async def test_a_bench_without_time_to_see_says_so(autojump_clock: MockClock, worker: Load) -> None:
    tried = with_slots(worker(slots="auto"), is_bench=True)
    engine = PacedEngine(read=2, write=lambda _running: 0.5, slots=SLOTS_TRIED)

    measured = await bench(tried, engine, seconds=5, is_auto=True)

    assert measured["scripted"].slots is None
    assert with_slots(worker(slots="auto")).settings.worker.slots == SLOTS_UNMEASURED
    assert read_measurements(tried.data_directory) == measured


def test_slots_that_are_said_stay_said(worker: Load) -> None:
    loaded = worker(slots=3)

    assert with_slots(loaded) is loaded
    assert with_slots(loaded, is_bench=True) is loaded
