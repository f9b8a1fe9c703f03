"""What clients' requests see corrects what the worker advertises."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.inference.engine import Piece
from cocoon_p2p.inference.measuring.drift import PAUSE_SECONDS, Drift
from cocoon_p2p.inference.measuring.levels import Speeds
from cocoon_p2p.inference.measuring.stopwatch import Observation
from cocoon_p2p.protocols.ids import Role
from cocoon_p2p.protocols.messages import Rates
from cocoon_p2p.records import check_record
from cocoon_p2p.testing.engine import ScriptedEngine, scripted_model
from cocoon_p2p.worker import gauge as gauge_module
from cocoon_p2p.worker.gauge import Gauge
from cocoon_p2p.worker.papers import Papers
from tests.worker.scene import CONTENT, NETWORK, PRICE, WORKER, Dice, Scene, beat, now, scene

STATED = Speeds(prefill=50, decode=20, decode_full=10)
ANSWER = tuple(f"{number} " for number in range(30))
PATIENT = replace(CONTENT, completion_tokens_max=100)


def advertised(here: Scene) -> Rates | None:
    record = check_record(here.told.newest().record, network=NETWORK, now=now(), role=Role.WORKER)
    return record.models[0].rates


async def ask_for_a_while(here: Scene, seconds: float) -> None:
    ends, stream, session = trio.current_time() + seconds, await here.open(), None
    while trio.current_time() < ends:
        ask = here.ask()
        ask.session = session
        session = (await here.run(ask, stream, content=PATIENT)).session
        await trio.sleep(5)
    # The next load carries the newest record.
    await trio.sleep(1.5)


async def test_what_was_measured_is_advertised(autojump_clock: MockClock) -> None:
    async with scene(speeds={"scripted": STATED}) as here:
        assert advertised(here) == Rates(50_000, 20_000, 10_000)


async def test_what_was_not_measured_is_not_advertised(autojump_clock: MockClock) -> None:
    async with scene(ScriptedEngine(ANSWER, delay_seconds=0.5)) as here:
        await ask_for_a_while(here, PAUSE_SECONDS + 60)

        assert advertised(here) is None


async def test_requests_that_are_slower_than_advertised_lower_it_for_every_proxy(
    autojump_clock: MockClock,
) -> None:
    async with scene(ScriptedEngine(ANSWER, delay_seconds=0.1), speeds={"scripted": STATED}) as here:
        before = here.worker.record
        await ask_for_a_while(here, PAUSE_SECONDS + 10)

        assert here.worker.record != before
        rates = advertised(here)
        assert rates is not None
        assert (rates.decode_milli, rates.decode_full_milli) == (
            pytest.approx(10_000, 1),
            pytest.approx(5_000, 1),
        )
        # Its prompts are too short to tell.
        assert rates.prefill_milli == 50_000


async def test_requests_as_quick_as_advertised_change_nothing(autojump_clock: MockClock) -> None:
    async with scene(ScriptedEngine(ANSWER, delay_seconds=0.05), speeds={"scripted": STATED}) as here:
        await ask_for_a_while(here, PAUSE_SECONDS + 60)

        registers = [message for message in here.told.messages if hasattr(message, "record")]
        assert len(registers) == 1


async def test_a_client_that_pays_late_does_not_look_like_a_slow_engine(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Observation] = []

    def note(known: Drift, observation: Observation, _now: float) -> Drift:
        seen.append(observation)
        return known

    monkeypatch.setattr(gauge_module, "observe", note)
    long = ANSWER * 3
    async with scene(ScriptedEngine(long, delay_seconds=0.05), speeds={"scripted": STATED}) as here:
        ask, stream = await here.begin(hold=100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beat, stream, ask.exchange)
            await trio.sleep(2.5)
            nursery.cancel_scope.cancel()
        here.hold(ask)
        await here.listen(ask, stream)
        await here.run(here.ask())

    assert [(each.running, each.decode) for each in seen] == [(1, None), (1, pytest.approx(20))]


async def test_what_is_measured_later_is_advertised_and_watched_from_then_on(
    autojump_clock: MockClock,
) -> None:
    async with scene(ScriptedEngine(ANSWER, delay_seconds=0.1)) as here:
        here.worker.set_speeds("scripted", STATED)
        await trio.sleep(1.5)
        assert advertised(here) == Rates(50_000, 20_000, 10_000)

        await ask_for_a_while(here, PAUSE_SECONDS + 10)
        rates = advertised(here)
        assert rates is not None
        assert rates.decode_milli == pytest.approx(10_000, 1)


async def test_speeds_that_cannot_be_spelled_are_spelled_as_near_as_can_be(autojump_clock: MockClock) -> None:
    papers = Papers(WORKER, NETWORK, [scripted_model()], {"scripted": PRICE}, now=now, draw=Dice())
    for speeds, rates in (
        (Speeds(1e-9, 1e300, 0.0004), Rates(1, 2**63 - 1, 1)),
        (Speeds(1.5), Rates(1500)),
    ):
        papers.set_speeds("scripted", speeds)
        record = check_record(papers.record, network=NETWORK, now=now(), role=Role.WORKER)
        assert record.models[0].rates == rates


async def test_a_request_that_fails_is_watched_until_then(autojump_clock: MockClock) -> None:
    papers = Papers(WORKER, NETWORK, [scripted_model()], {"scripted": PRICE}, now=now, draw=Dice())
    gauge = Gauge(papers, {"scripted": STATED}, 4)
    with pytest.raises(RuntimeError), gauge.watch("scripted") as watch:
        gauge.step(watch, Piece("a", 1, 10))
        raise RuntimeError

    with gauge.watch("scripted") as watch:
        assert watch.read(1).running == 1


async def test_the_prompts_steps_are_no_tokens(autojump_clock: MockClock) -> None:
    papers = Papers(WORKER, NETWORK, [scripted_model()], {"scripted": PRICE}, now=now, draw=Dice())
    gauge = Gauge(papers, {"scripted": STATED}, 4)
    with gauge.watch("scripted") as watch:
        await trio.sleep(1)
        gauge.step(watch, Piece("", 0, 100))
        await trio.sleep(1)
        gauge.step(watch, Piece("a", 1, 220, cached_tokens=20))

        assert watch.read(1).prefill == pytest.approx(100)
