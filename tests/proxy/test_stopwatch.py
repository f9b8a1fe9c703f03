"""What is measured of a worker, and what is not its time."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from trio.testing import MockClock

from cocoon_p2p.protocols.ids import MODELS_MAX
from cocoon_p2p.protocols.messages import (
    Accept,
    Chunk,
    ExchangeId,
    Load,
    ModelOffer,
    PromptMetered,
    Usage,
)
from cocoon_p2p.proxy.session import WorkerSession
from cocoon_p2p.proxy.stopwatch import TOKENS_MIN, Lap, Stopwatch
from cocoon_p2p.scheduling import Witness
from tests.scheduling.crowd import NOW, OFFER, paced, worker

ID = ExchangeId(b"e" * 16)


def chunk(tokens: int, *, reasoning: int = 0) -> Chunk:
    return Chunk(ID, 0, False, Usage(30, 10, tokens, reasoning), b"sealed")


def metered_at(now: float) -> Stopwatch:
    watch = Stopwatch()
    watch.assigned(1.0)
    watch.heard(Accept(ID, b"", bytes(64)), 1.25)
    watch.heard(PromptMetered(ID, Usage(30, 10, 0, 0)), now)
    return watch


def test_each_part_of_an_exchange_is_timed_by_itself() -> None:
    watch = metered_at(5.0)
    for number in range(TOKENS_MIN + 1):
        watch.heard(chunk(1, reasoning=number), 7.0 + number / 4)

    assert watch.lap() == Lap(0.25, 30, 2.0, TOKENS_MIN, TOKENS_MIN / 4, 0.25)


def test_what_a_worker_waits_for_others_is_not_its_time() -> None:
    watch = metered_at(5.0)
    watch.heard(chunk(1), 7.0)
    watch.heard(chunk(11), 8.0)
    watch.held_up()
    watch.heard(chunk(12), 30.0)
    late = metered_at(5.0)
    late.held_up()
    late.heard(chunk(1), 30.0)

    early = Stopwatch()
    early.held_up()
    early.heard(PromptMetered(ID, Usage(30, 10, 0, 0)), 5.0)
    early.heard(chunk(1), 7.0)

    assert watch.lap() == Lap(0.25, 30, 2.0, 10, 1.0, 0.25)
    assert early.lap() == Lap(None, 30, 2.0, cached_share=0.25)
    assert late.lap() == Lap(0.25, cached_share=0.25)


def test_a_few_tokens_say_nothing_of_the_pace() -> None:
    watch = metered_at(5.0)
    watch.heard(chunk(1), 7.0)
    watch.heard(chunk(TOKENS_MIN), 9.0)

    assert (watch.lap().decode_tokens, watch.lap().prefill_tokens) == (0, 30)


def test_of_an_exchange_that_never_began_nothing_is_known() -> None:
    assert Stopwatch().lap() == Lap()


def test_who_meters_a_prompt_late_has_not_taken_less_time() -> None:
    watch, known = Stopwatch(), Stopwatch()
    watch.assigned(1.0)
    watch.heard(Accept(ID, b"", bytes(64)), 1.25)
    for each in (watch, known):
        each.given(2.0)
        each.heard(PromptMetered(ID, Usage(30, 10, 0, 0)), 42.0)
        each.heard(chunk(1), 42.1)

    assert watch.lap().prefill_seconds == pytest.approx(39.6)
    assert known.lap(0.5).prefill_seconds == pytest.approx(39.1)
    assert known.lap().prefill_seconds == pytest.approx(0.1), "how long the line takes is not known"


def session_with(offer: ModelOffer) -> WorkerSession:
    paper = cast("Any", SimpleNamespace(record=None, statement=None, sequence=0))
    return WorkerSession(cast("Any", None), paper, worker(offer=offer), paper, lambda _: None)


async def test_a_worker_that_offers_ever_other_models_does_not_fill_the_memory(
    autojump_clock: MockClock,
) -> None:
    session = session_with(OFFER)

    for number in range(3 * MODELS_MAX):
        for name in (f"model {number}", "steady"):
            session.measured(Lap(0.1), replace(OFFER, name=name), NOW, Witness(b"a client"))

    assert len(session.standing.paces) == MODELS_MAX
    assert {"steady", f"model {3 * MODELS_MAX - 1}"} <= session.standing.paces.keys()


async def test_a_worker_that_says_it_is_slowed_down_is_not_taken_for_quick(autojump_clock: MockClock) -> None:
    offer = paced(prefill=1_000, decode=1_000_000, full=0.001)
    session = session_with(offer)
    session.take_load(Load(1, 4_096, 0), NOW)
    session.reserve(ID)

    session.measured(Lap(decode_tokens=100, decode_seconds=100.0), offer, NOW, Witness(b"a client"))

    measured = session.standing.paces[offer.name].decode
    assert measured.seconds / measured.tokens == pytest.approx(0.5), "beside one other it took twice as long"
