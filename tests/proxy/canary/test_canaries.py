"""A proxy's own questions, asked of real workers behind real papers: what they find, and what they cost."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.inference.engine import GenerateRequest
from cocoon_p2p.payments.pricing import client_amount
from cocoon_p2p.protocols.exchange.relayed import Deal
from cocoon_p2p.protocols.messages import Ask
from cocoon_p2p.proxy import ProxyPolicy
from cocoon_p2p.proxy.canary import purchase
from cocoon_p2p.proxy.canary.findings import Finding
from cocoon_p2p.proxy.canary.purchase import ANSWER_SECONDS
from cocoon_p2p.proxy.canary.question import Question
from cocoon_p2p.proxy.canary.watch import PATIENCE_SECONDS, PAUSE_FIRST_SECONDS
from cocoon_p2p.proxy.quotes import make_deal
from cocoon_p2p.scheduling import Fault, WorkerStanding
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.units import Nano
from tests.client.nodes import WORKERS, Nodes, nodes

FOUND_SECONDS = 30
ASKING = ProxyPolicy(canary_budget=Nano(1_000_000))
WORKER = WORKERS[0].peer_id


def talkative(request: GenerateRequest) -> Sequence[str]:
    """Make an answer of many words that hang on the question."""
    words = request.messages[-1].content.split()
    return tuple(f" {word}" for word in words * 4)


def words_of(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def named(request: GenerateRequest) -> dict[str, object]:
    return {each.name: getattr(request, each.name) for each in fields(request)}


def standing(scene: Nodes) -> WorkerStanding:
    return next(worker for worker in scene.proxies[0].workers if worker.peer == WORKER)


def is_out(scene: Nodes) -> bool:
    found = standing(scene)
    return found.rests_for is Fault.CANARY and trio.current_time() < found.rests_until


def finding(scene: Nodes) -> Finding | None:
    return scene.proxies[0].canaries.watch(WORKER)[0].finding


@pytest.mark.slow
async def test_a_worker_that_answers_well_stays_and_is_paid_for_it(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine(talkative)
    async with nodes(engine, proxy_policy=ASKING) as scene:
        await trio.sleep(60)

        assert finding(scene) is Finding.GOOD
        assert not is_out(scene)
        assert len(engine.requests) >= 4
        assert scene.earned == scene.proxies[0].canaries.spent > 0
        await scene.agreed()


async def test_what_it_answers_us_does_not_make_its_word_count_for_others(autojump_clock: MockClock) -> None:
    async with nodes(ScriptedEngine(talkative), proxy_policy=ASKING) as scene:
        await trio.sleep(60)

        odds = standing(scene).odds
        assert odds.kept > 2
        assert odds.kept_for_others(trio.current_time()) == 0


async def test_no_budget_no_question(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine(talkative)
    async with nodes(engine):
        await trio.sleep(60)

        assert engine.requests == []


@pytest.mark.parametrize("stall_at", [0, 3])
async def test_a_generator_that_sticks_is_found_within_half_a_minute(
    autojump_clock: MockClock, stall_at: int
) -> None:
    engine = ScriptedEngine(talkative)
    async with nodes(engine, proxy_policy=ASKING) as scene:
        await trio.sleep(20)
        assert not is_out(scene)

        engine.stall_at = stall_at
        await trio.sleep(FOUND_SECONDS)

        assert is_out(scene)
        assert standing(scene).slots_total > 0, "its session is as green as ever"


async def test_a_generator_that_says_nothing_is_found_within_half_a_minute(autojump_clock: MockClock) -> None:
    words: list[str] = ["all", " is", " well"]
    async with nodes(ScriptedEngine(lambda _: tuple(words)), proxy_policy=ASKING) as scene:
        await trio.sleep(20)
        assert not is_out(scene)

        words[:] = [" "] * 3
        await trio.sleep(FOUND_SECONDS)

        assert is_out(scene)
        assert finding(scene) is Finding.EMPTY


async def test_a_generator_that_stammers_is_found_within_half_a_minute(autojump_clock: MockClock) -> None:
    words: list[str] = ["all", " is", " well"]
    async with nodes(ScriptedEngine(lambda _: tuple(words)), proxy_policy=ASKING) as scene:
        await trio.sleep(20)

        words[:] = ["!"] * 10
        await trio.sleep(FOUND_SECONDS)

        assert is_out(scene)
        assert finding(scene) is Finding.STAMMER


@pytest.mark.long
async def test_an_engine_that_fails_is_asked_with_growing_pauses_and_comes_back(
    autojump_clock: MockClock,
) -> None:
    engine = ScriptedEngine(talkative, fail_at=0)
    async with nodes(engine, proxy_policy=ASKING) as scene:
        await trio.sleep(10 * PAUSE_FIRST_SECONDS)
        assert is_out(scene)
        tried = len(engine.requests)
        assert 3 <= tried <= 5, "after 30, 60, 120 seconds"

        engine.fail_at = None
        await trio.sleep(8 * PAUSE_FIRST_SECONDS)

        assert not is_out(scene)
        assert finding(scene) is Finding.GOOD
        scored = scene.proxies[0].workers[0].odds
        assert dict(scored.faults)[Fault.CANARY] > 0, "it is let back in, not forgiven"
        await scene.agreed()


@pytest.mark.slow
async def test_clients_are_not_given_a_worker_that_is_out(autojump_clock: MockClock) -> None:
    dead, well = ScriptedEngine(talkative, stall_at=0), ScriptedEngine(talkative)
    async with nodes(dead, well, proxy_policy=ASKING) as scene:
        await trio.sleep(FOUND_SECONDS)
        asked = len(dead.requests)

        for _ in range(5):
            async with scene.client.chat("scripted", words_of("Is anybody there?")) as answer:
                assert [piece async for piece in answer]

        assert len(dead.requests) == asked


@pytest.mark.slow
async def test_a_worker_that_serves_clients_is_not_asked_meanwhile(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine(talkative)
    async with nodes(engine, proxy_policy=ASKING) as scene:
        while finding(scene) is not Finding.GOOD:  # noqa: ASYNC110 (the mock clock jumps)
            await trio.sleep(1)
        asked = len(engine.requests)

        for _ in range(12):
            await trio.sleep(4)  # Less than half of what counts as idle.
            async with scene.client.chat("scripted", words_of("One more")) as answer:
                assert [piece async for piece in answer]

        assert len(engine.requests) == asked + 12


async def test_a_worker_that_the_proxy_cannot_pay_is_not_blamed(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine(talkative)
    policy = ProxyPolicy(canary_budget=Nano(1_000_000), channel_capacity=Nano(1))
    async with nodes(engine, proxy_policy=policy, worker_grant=0) as scene:
        await trio.sleep(60)

        watch, why = scene.proxies[0].canaries.watch(WORKER)
        assert watch.finding is Finding.UNTOLD
        assert "could not be asked" in why
        assert not standing(scene).odds.faults


async def test_a_question_that_is_too_dear_is_not_asked_and_that_is_said(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine(talkative)
    async with nodes(engine, proxy_policy=ProxyPolicy(canary_budget=Nano(1_000))) as scene:
        await trio.sleep(60)

        assert engine.requests == []
        assert "the budget allows 50 at once" in scene.proxies[0].canaries.watch(WORKER)[1]


@pytest.mark.long
async def test_an_hour_costs_no_more_than_the_budget(autojump_clock: MockClock) -> None:
    budget = Nano(100_000)
    engines = [ScriptedEngine(talkative) for _ in range(2)]
    async with nodes(*engines, proxy_policy=ProxyPolicy(canary_budget=budget)) as scene:
        await trio.sleep(900)

        assert scene.proxies[0].canaries.spent <= budget / 4 + budget / 20
        assert scene.earned == scene.proxies[0].canaries.spent > budget / 20


@pytest.mark.slow
async def test_a_question_that_is_cut_off_is_settled_like_any_other(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine(talkative, stall_at=3)
    async with nodes(engine, proxy_policy=ASKING) as scene:
        while not engine.running:  # noqa: ASYNC110 (the mock clock jumps)
            await trio.sleep(1)
        assert scene.proxies[0].canaries.spent == 0

        await trio.sleep(PATIENCE_SECONDS + ANSWER_SECONDS)

        assert engine.running <= 1
        assert scene.proxies[0].running == 0
        (account,) = scene.proxies_accounts[0].payees()
        assert account.charged == scene.proxies[0].canaries.spent > 0


@pytest.mark.long
async def test_two_questions_are_hardly_ever_the_same(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine(talkative)
    async with nodes(engine, proxy_policy=ASKING):
        await trio.sleep(200)

        said = {(request.messages[-1].content, request.completion_tokens_max) for request in engine.requests}
        assert len(said) == len(engine.requests) >= 12


@pytest.mark.slow
async def test_what_it_may_cost_does_not_give_it_away(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Ask] = []

    def note(ask: Ask, *args: Any, **more: Any) -> Deal:
        seen.append(ask)
        return make_deal(ask, *args, **more)

    monkeypatch.setattr(purchase, "make_deal", note)
    async with nodes(ScriptedEngine(talkative), proxy_policy=ASKING) as scene:
        await trio.sleep(60)
        offer = standing(scene).offers[0]

    bounds = [purchase.worst_case(offer, Question("", ask.completion_tokens_max)) for ask in seen]
    rests = [
        ask.max_cost % (1 + client_amount(bound, ASKING.commission_basis_points))
        for ask, bound in zip(seen, bounds, strict=True)
    ]
    assert len(rests) >= 4
    assert len(set(rests)) > 2, "what is left over is by chance"


async def test_to_the_engine_it_is_a_request_like_a_clients(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine(talkative)
    async with nodes(engine, proxy_policy=ASKING) as scene:
        async with scene.client.chat(
            "scripted", words_of("What is a fountain pen?"), temperature=0.0, completion_tokens_max=20
        ) as answer:
            assert [piece async for piece in answer]
        await trio.sleep(30)

        theirs, ours = engine.requests[0], engine.requests[-1]
        assert theirs.cache_scope != ours.cache_scope
        unlike = {"messages", "completion_tokens_max", "cache_scope"}
        assert {name for name in named(theirs) if named(theirs)[name] != named(ours)[name]} <= unlike
