"""The client with the project's own proxy and workers: one protocol, three readings of it."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import AnswerBroken, CocoonError
from cocoon_p2p.protocols.ids import Outcome
from cocoon_p2p.testing.engine import ScriptedEngine
from tests.client.nodes import PROXY, WORKERS, nodes
from tests.client.scene import CLIENT, POLICY, QUESTION

WORDS = tuple(f"word{number} " for number in range(50))


def engine(**options: int | float) -> ScriptedEngine:
    return ScriptedEngine(WORDS, delay_seconds=0.05, **options)  # type: ignore[arg-type]


async def test_a_whole_answer_is_paid_for_at_both_hops(autojump_clock: MockClock) -> None:
    async with nodes(engine()) as running:
        async with running.client.chat("scripted", QUESTION) as answer:
            assert await answer.read() == "".join(WORDS)

        assert answer.settlement is not None
        assert answer.settlement.outcome is Outcome.COMPLETED
        assert answer.cost == answer.settlement.worker_amount + answer.settlement.commission
        assert (running.paid, running.earned) == (answer.cost, answer.settlement.worker_amount)
        await running.agreed()


async def test_leaving_stops_the_engine_and_both_hops_agree_on_what_came(autojump_clock: MockClock) -> None:
    script = engine()
    async with nodes(script) as running:
        async with running.client.chat("scripted", QUESTION) as answer:
            async for _ in answer:
                if answer.usage.completion >= 10:
                    break

        assert answer.settlement is not None
        assert answer.settlement.outcome is Outcome.CANCELLED
        assert answer.usage.completion <= script.tokens_made[0] < 20
        assert answer.dispute is None
        await running.agreed()


async def test_the_money_s_end_ends_the_answer_with_length_and_is_never_passed(
    autojump_clock: MockClock,
) -> None:
    words = WORDS * 2
    async with nodes(ScriptedEngine(words, delay_seconds=0.05)) as running:
        async with running.client.chat("scripted", QUESTION, max_cost=1_200) as answer:
            text = await answer.read()

        assert answer.finish == "length"
        assert 0 < len(text) < len("".join(words))
        assert answer.cost <= 1_200
        await running.agreed()


async def test_an_engine_that_fails_before_the_first_token_costs_nothing_and_another_answers(
    autojump_clock: MockClock,
) -> None:
    async with nodes(engine(fail_at=0), engine()) as running:
        for _ in range(3):
            async with running.client.chat("scripted", QUESTION) as answer:
                assert await answer.read() == "".join(WORDS)
            assert answer.worker == WORKERS[1].peer_id

        assert running.paid == 3 * answer.cost
        await running.agreed()


async def test_an_engine_that_fails_later_costs_the_tokens_and_not_the_prompt(
    autojump_clock: MockClock,
) -> None:
    async with nodes(engine(fail_at=5)) as running:
        with pytest.raises(AnswerBroken) as raised:
            async with running.client.chat("scripted", QUESTION) as answer:
                await answer.read()

        assert raised.value.code == "engine-failed"
        assert raised.value.text == "".join(WORDS[:5])
        assert raised.value.charged == running.paid == 5 * 21
        await running.agreed()


async def test_a_worker_that_vanishes_is_paid_by_its_meter(autojump_clock: MockClock) -> None:
    async with nodes(engine()) as running:
        with pytest.raises(AnswerBroken) as raised:
            async with running.client.chat("scripted", QUESTION) as answer:
                async for _ in answer:
                    if answer.usage.completion >= 20:
                        running.network.crash(WORKERS[0].peer_id)

        assert raised.value.code == "worker-lost"
        assert 0 < running.paid <= answer.usage.completion * 21
        assert answer.dispute is None


async def test_a_lost_connection_is_settled_when_it_is_back(autojump_clock: MockClock) -> None:
    async with nodes(engine()) as running:
        with pytest.raises(AnswerBroken):
            async with running.client.chat("scripted", QUESTION) as answer:
                async for _ in answer:
                    if answer.usage.completion >= 20:
                        running.network.cut(CLIENT.peer_id, PROXY.peer_id)

        await running.agreed()

        assert running.paid >= 20 * 21
        assert answer.dispute is None


async def test_a_deadline_ends_the_answer_and_what_came_is_paid(autojump_clock: MockClock) -> None:
    async with nodes(engine(stall_at=10)) as running:
        with pytest.raises(AnswerBroken) as raised:
            async with running.client.chat("scripted", QUESTION, timeout_seconds=5) as answer:
                await answer.read()

        assert raised.value.code == "deadline"
        assert raised.value.charged == running.paid > 10 * 21
        await running.agreed()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
async def test_many_at_once_that_read_leave_and_cancel_are_all_settled(
    seed: int, autojump_clock: MockClock
) -> None:
    async def ask(number: int) -> None:
        await trio.sleep(0.1 * (number % 7))
        with trio.move_on_after(1.0 if number % 3 == 0 else 60):
            async with running.client.chat("scripted", QUESTION, timeout_seconds=60) as answer:
                async for _ in answer:
                    if number % 3 == 1 and answer.usage.completion > number:
                        break
            assert answer.dispute is None

    policy = replace(POLICY, wait_seconds=60)
    async with nodes(engine(), engine(), engine(), policy=policy, seed=seed) as running:
        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(ask, number)

        await running.agreed()
        assert running.paid > running.earned > 0


async def test_a_feature_that_no_worker_has_is_refused_by_name(autojump_clock: MockClock) -> None:
    async with nodes(engine()) as running:
        with pytest.raises(CocoonError) as raised:
            async with running.client.chat("scripted", QUESTION, stop=["x"]):
                pytest.fail("there can be no answer")

        assert raised.value.code == "unknown-feature"
        assert "stop" in str(raised.value)
