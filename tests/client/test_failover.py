"""An answer that breaks off goes on elsewhere: one text, each token once, and a bill by the rule."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.client import Answer, AnswerPart
from cocoon_p2p.client.purse import Budget
from cocoon_p2p.errors import AnswerBroken
from cocoon_p2p.inference.engine import Feature
from cocoon_p2p.payments.pricing import client_amount, worker_amount
from cocoon_p2p.protocols.exchange.findings import Subject
from cocoon_p2p.protocols.exchange.verification import verify_bundle
from cocoon_p2p.protocols.ids import METER_TOKENS, Outcome, Reason
from cocoon_p2p.protocols.messages import Meter, Price, Usage
from cocoon_p2p.protocols.schema import decode_paper
from cocoon_p2p.testing.engine import FEATURES, ScriptedEngine, scripted_model
from cocoon_p2p.testing.papers import PRICE
from cocoon_p2p.units import Nano
from tests.client.nodes import PROXIES, WORKERS, Nodes, nodes
from tests.client.scene import CLIENT, POLICY, QUESTION, Talk, honest, scene

pytestmark = pytest.mark.slow

WORDS = tuple(f"word{number} " for number in range(50))
WHOLE = "".join(WORDS)
PROMPT_TOKENS = 4
"Of QUESTION, as scripted engines count: its three words, and one for the text."


def engine(**options: int | float) -> ScriptedEngine:
    return ScriptedEngine(WORDS, delay_seconds=0.05, **options)  # type: ignore[arg-type]


async def read(answer: Answer, at: int, lose: Callable[[], None]) -> None:
    """Read to the end, and lose somebody when this many tokens are there."""
    is_lost = False
    async for piece in answer:
        if piece.completion_tokens >= at and not is_lost:
            is_lost = True
            lose()


def crash_worker(running: Nodes, answer: Answer) -> None:
    assert answer.worker is not None
    running.network.crash(answer.worker)


def owed(usage: Usage, price: Price = PRICE) -> tuple[Nano, Nano]:
    """Reckon what a usage comes to: for the worker, and for the client with a commission of 5 %."""
    worker = worker_amount(usage, price)
    return worker, client_amount(worker, 500)


def check_broken(part: AnswerPart) -> int:
    """Hold a lost worker's part against its last signed Meter; gives what the client paid."""
    assert part.bill is not None
    settlement = part.bill.settlement
    assert (settlement.outcome, settlement.receipt) == (Outcome.FAILED, None)
    assert settlement.meter is not None
    metered = decode_paper(Meter, settlement.meter.body).usage.completion
    assert part.usage.completion - METER_TOKENS <= metered <= part.usage.completion
    assert (settlement.worker_amount, part.cost) == owed(Usage(0, 0, metered, 0))
    return part.cost


def check_last(part: AnswerPart, prompt: int, tokens: int) -> int:
    """Hold the part that came to its end against the rule; gives what the client paid."""
    assert part.bill is not None
    assert part.bill.receipt is not None
    assert part.bill.receipt.usage == part.usage == Usage(prompt, 0, tokens, 0)
    assert (part.bill.settlement.worker_amount, part.cost) == owed(part.usage)
    return part.cost


@pytest.mark.parametrize("at", [1, 2, 17, 31, 32, 33, 49])
async def test_a_lost_worker_s_answer_goes_on_with_the_next_and_each_token_is_paid_once(
    at: int, autojump_clock: MockClock
) -> None:
    async with nodes(engine(), engine()) as running:
        async with running.client.chat("scripted", QUESTION) as answer:
            await read(answer, at, lambda: crash_worker(running, answer))

        first, second = answer.parts
        delivered = first.usage.completion
        assert (answer.text, answer.finish) == (WHOLE, "stop")
        assert at <= delivered <= 50
        assert answer.usage == Usage(PROMPT_TOKENS, 0, 50, 0)
        assert (first.continues, second.continues) == (None, first.exchange)
        assert first.worker != second.worker == answer.worker
        # What was delivered is told again as one text more: its words, and one for the text.
        prompt = PROMPT_TOKENS + delivered + 1
        cost = check_broken(first) + check_last(second, prompt, 50 - delivered)
        assert answer.cost == running.paid == cost
        assert first.bundle is not None
        assert second.bundle is not None
        assert answer.bundle is second.bundle


async def test_papers_chain_from_part_to_part(autojump_clock: MockClock) -> None:
    async with nodes(engine(fail_at=10), engine(fail_at=20), engine()) as running:
        async with running.client.chat("scripted", QUESTION) as answer:
            pieces = [piece async for piece in answer]

        assert answer.text == WHOLE
        assert [piece.completion_tokens for piece in pieces] == sorted(
            {piece.completion_tokens for piece in pieces}
        )
        exchanges = [part.exchange for part in answer.parts]
        assert [part.continues for part in answer.parts] == [None, *exchanges[:-1]]
        receipts = [part.bill.receipt for part in answer.parts if part.bill is not None]
        assert [receipt and receipt.continues for receipt in receipts] == [None, *exchanges[:-1]]
        assert [receipt and receipt.usage.prompt for receipt in receipts[:-1]] == [0] * (len(receipts) - 1)
        assert running.paid == answer.cost == sum(part.cost for part in answer.parts)
        await running.agreed()


async def test_each_part_has_a_bundle_that_stands_alone_and_names_what_it_goes_on_with(
    autojump_clock: MockClock,
) -> None:
    async with nodes(engine(fail_at=10), engine()) as running:
        async with running.client.chat("scripted", QUESTION, prefer=[WORKERS[0].peer_id]) as answer:
            await answer.read()

        first, second = answer.parts
        assert first.bundle is not None
        assert second.bundle is not None
        found = [verify_bundle(bundle) for bundle in (first.bundle, second.bundle)]
        assert [one.holds for one in found] == [True, True]
        assert (found[0].text, found[1].text) == ("".join(WORDS[:10]), "".join(WORDS[10:]))
        question = next(one for one in found[1].findings if one.subject is Subject.QUESTION)
        assert first.exchange.hex() in question.words


async def test_a_receipt_that_does_not_say_what_it_goes_on_with_is_disputed(
    autojump_clock: MockClock,
) -> None:
    async def break_off(talk: Talk) -> None:
        await talk.begin()
        await talk.chunk("It ", 1)
        await trio.sleep(0.1)
        talk.stream.reset()

    async def forget(talk: Talk) -> None:
        request = await talk.begin()
        assert request.answer_prefix == "It "
        await talk.chunk("is this.", 3, final=True)
        receipt = talk.deal.receipt(talk.usage, answer_hash=talk.answer_hash, continues=None)
        await talk.settle(receipt=receipt)

    async with scene(break_off, forget, commissions=(100, 500), features=("continue",)) as stage:
        async with stage.client.chat("scripted", QUESTION) as answer:
            assert await answer.read() == "It is this."

        assert "continues another exchange" in str(answer.dispute)
        assert stage.proxies[1].talks[0].ask.continues == stage.proxies[0].talks[0].ask.exchange
        assert stage.paying(stage.proxies[1]).charged == 0


async def test_the_first_answer_s_worker_is_not_asked_again_when_its_engine_failed(
    autojump_clock: MockClock,
) -> None:
    async with nodes(engine(fail_at=10), engine()) as running:
        async with running.client.chat("scripted", QUESTION, prefer=[WORKERS[0].peer_id]) as answer:
            assert await answer.read() == WHOLE

        assert [part.worker for part in answer.parts] == [worker.peer_id for worker in WORKERS[:2]]
        await running.agreed()


@pytest.mark.parametrize("at", [1, 20, 49])
async def test_a_lost_proxy_s_answer_goes_on_through_another(at: int, autojump_clock: MockClock) -> None:
    async with nodes(engine(), engine(), proxies=2) as running:
        async with running.client.chat("scripted", QUESTION) as answer:

            def lose() -> None:
                assert answer.proxy is not None
                running.network.cut(CLIENT.peer_id, answer.proxy)

            await read(answer, at, lose)

        first, second = answer.parts
        assert answer.text == WHOLE
        assert {first.proxy, second.proxy} == {proxy.peer_id for proxy in PROXIES}
        assert answer.usage.completion == 50
        assert second.continues == first.exchange
        # The first proxy lives, and cannot tell this from a client that has left.
        await running.agreed()
        assert first.bill is not None
        assert first.bill.settlement.outcome is Outcome.CANCELLED
        assert answer.cost == running.paid == sum(part.cost for part in answer.parts) <= POLICY.max_cost


async def test_a_proxy_lost_while_the_next_worker_reads_the_prompt_is_one_part_more_without_a_token(
    autojump_clock: MockClock,
) -> None:
    engines = [engine(fail_at=10), engine(prefill_seconds=3)]
    async with nodes(*engines, proxies=2) as running:
        async with (
            running.client.chat("scripted", QUESTION, prefer=[WORKERS[0].peer_id]) as answer,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(answer.read)
            await trio.sleep(2)
            assert engines[1].running == 1
            assert answer.proxy is not None
            running.network.cut(CLIENT.peer_id, answer.proxy)
        await running.agreed()

        first, second, third = answer.parts
        assert answer.text == WHOLE
        assert [part.usage.completion for part in answer.parts] == [10, 0, 40]
        assert second.continues == third.continues == first.exchange
        assert answer.continued_from == (first,)
        assert answer.cost == running.paid == sum(part.cost for part in answer.parts)
        assert not any(part.is_open for part in answer.parts)


async def test_a_silent_proxy_is_noticed_within_five_seconds(autojump_clock: MockClock) -> None:
    async with nodes(engine(), engine(), proxies=2) as running:
        async with running.client.chat("scripted", QUESTION) as answer:
            last = longest = 0.0
            async for piece in answer:
                now = trio.current_time()
                last, longest = now, max(longest, now - (last or now))
                if piece.completion_tokens == 10:
                    assert answer.proxy is not None
                    running.network.partition(CLIENT.peer_id, answer.proxy)

        assert answer.text == WHOLE
        assert 3 <= longest < 5


async def test_a_silent_worker_is_noticed_within_five_seconds(autojump_clock: MockClock) -> None:
    async with nodes(engine(), engine()) as running:
        async with running.client.chat("scripted", QUESTION) as answer:
            last = longest = 0.0
            async for piece in answer:
                now = trio.current_time()
                last, longest = now, max(longest, now - (last or now))
                if piece.completion_tokens == 10:
                    assert answer.worker is not None
                    running.network.partition(PROXIES[0].peer_id, answer.worker)

        assert answer.text == WHOLE
        assert 3 <= longest < 5
        assert check_broken(answer.parts[0]) < answer.cost == running.paid


async def test_a_lost_proxy_that_is_back_goes_on_where_there_is_no_other(autojump_clock: MockClock) -> None:
    async with nodes(engine()) as running:
        async with running.client.chat("scripted", QUESTION) as answer:
            await read(answer, 20, lambda: running.network.cut(CLIENT.peer_id, PROXIES[0].peer_id))

        assert answer.text == WHOLE
        assert [part.proxy for part in answer.parts] == [PROXIES[0].peer_id] * 2
        await running.agreed()


async def test_a_proxy_that_is_lost_twice_is_not_asked_a_third_time(autojump_clock: MockClock) -> None:
    async with nodes(engine()) as running:
        with pytest.raises(AnswerBroken, match="did not go on elsewhere: nobody else is known") as raised:
            async with running.client.chat("scripted", QUESTION) as answer:
                async for piece in answer:
                    if piece.completion_tokens in (10, 20, 30):
                        running.network.cut(CLIENT.peer_id, PROXIES[0].peer_id)

        tokens = raised.value.text.split()
        assert tokens == "".join(WORDS[: len(tokens)]).split()
        assert 20 <= len(tokens) < 30
        await running.agreed()


async def test_a_worker_lost_after_all_tokens_that_were_asked_for_leaves_a_complete_answer(
    autojump_clock: MockClock,
) -> None:
    async with nodes(engine(stall_at=10), engine()) as running:
        wishes = {"prefer": [WORKERS[0].peer_id], "completion_tokens_max": 10}
        async with running.client.chat("scripted", QUESTION, **wishes) as answer:  # type: ignore[arg-type]
            await read(answer, 10, lambda: crash_worker(running, answer))

        assert (answer.text, answer.finish) == ("".join(WORDS[:10]), "length")
        (part,) = answer.parts
        assert running.paid == answer.cost == check_broken(part)


async def test_the_limit_on_tokens_is_of_the_whole_answer(autojump_clock: MockClock) -> None:
    async with nodes(engine(fail_at=10), engine()) as running:
        wishes = {"prefer": [WORKERS[0].peer_id], "completion_tokens_max": 30}
        async with running.client.chat("scripted", QUESTION, **wishes) as answer:  # type: ignore[arg-type]
            assert await answer.read() == "".join(WORDS[:30])

        assert (answer.finish, answer.usage.completion) == ("length", 30)
        await running.agreed()


async def test_the_max_cost_is_of_all_parts_together(autojump_clock: MockClock) -> None:
    words = WORDS * 2
    first, second = (ScriptedEngine(words, fail_at=fail_at) for fail_at in (10, None))
    async with nodes(first, second) as running:
        # Ten tokens are 210 nanoTON with the commission, the next prompt is 63.
        async with running.client.chat(
            "scripted", QUESTION, max_cost=1_700, prefer=[WORKERS[0].peer_id]
        ) as answer:
            await answer.read()

        assert answer.finish == "length"
        assert answer.usage.completion == 10 + (1_700 - 210 - 63) // 21
        assert answer.text == "".join(words[: answer.usage.completion])
        assert 1_679 < answer.cost == running.paid <= 1_700
        await running.agreed()


async def test_where_the_money_is_up_the_answer_ends_with_what_was_said(autojump_clock: MockClock) -> None:
    async with nodes(engine(fail_at=10), engine()) as running:
        with pytest.raises(AnswerBroken, match="price above limit") as raised:
            async with running.client.chat(
                "scripted", QUESTION, max_cost=1_200, prefer=[WORKERS[0].peer_id]
            ) as answer:
                await answer.read()

        assert (raised.value.code, raised.value.text) == ("engine-failed", "".join(WORDS[:10]))
        assert raised.value.charged == running.paid == 210


async def test_nobody_without_the_same_weights_goes_on(autojump_clock: MockClock) -> None:
    other = ScriptedEngine(WORDS, models=[replace(scripted_model(), weights_hash=bytes(32))])
    async with nodes(engine(fail_at=10), other) as running:
        with pytest.raises(AnswerBroken, match="did not go on elsewhere: ") as raised:
            async with running.client.chat("scripted", QUESTION, prefer=[WORKERS[0].peer_id]) as answer:
                await answer.read()

        assert raised.value.text == "".join(WORDS[:10])
        assert other.requests == []


async def test_nobody_who_splits_text_otherwise_goes_on(autojump_clock: MockClock) -> None:
    other = ScriptedEngine(WORDS, models=[replace(scripted_model(), tokenizer_hash=bytes(32))])
    async with nodes(engine(fail_at=10), other) as running:
        with pytest.raises(AnswerBroken, match="another tokenizer"):
            async with running.client.chat("scripted", QUESTION, prefer=[WORKERS[0].peer_id]) as answer:
                await answer.read()

        assert other.requests == []
        assert running.paid == 210


async def test_an_engine_that_cannot_continue_is_not_asked_to(autojump_clock: MockClock) -> None:
    unable = ScriptedEngine(WORDS, models=[scripted_model(features=FEATURES - {Feature.CONTINUE})])
    async with nodes(engine(fail_at=10), unable) as running:
        with pytest.raises(AnswerBroken, match="did not go on elsewhere"):
            async with running.client.chat("scripted", QUESTION, prefer=[WORKERS[0].peer_id]) as answer:
                await answer.read()

        assert unable.requests == []


async def test_what_would_go_on_wrongly_ends_with_what_was_said_and_why(autojump_clock: MockClock) -> None:
    models = [scripted_model(features=FEATURES | {Feature.LOGPROBS})]
    first, second = (ScriptedEngine(WORDS, models=models, fail_at=at) for at in (10, None))
    async with nodes(first, second) as running:
        with pytest.raises(AnswerBroken, match="did not go on elsewhere: it tells logprobs") as raised:
            async with running.client.chat(
                "scripted", QUESTION, logprobs=0, prefer=[WORKERS[0].peer_id]
            ) as answer:
                await answer.read()

        assert (raised.value.code, raised.value.text) == ("engine-failed", "".join(WORDS[:10]))
        assert second.requests == []


async def test_an_answer_that_always_breaks_off_ends_some_time(autojump_clock: MockClock) -> None:
    policy = replace(POLICY, breaks_max=2)
    engines = [engine(fail_at=5) for _ in range(4)]
    async with nodes(*engines, policy=policy) as running:
        with pytest.raises(AnswerBroken, match="too often") as raised:
            async with running.client.chat("scripted", QUESTION) as answer:
                await answer.read()

        assert raised.value.text == "".join(WORDS[:15])
        assert raised.value.charged == running.paid == 15 * 21
        await running.agreed()


async def test_a_policy_can_do_without(autojump_clock: MockClock) -> None:
    async with nodes(engine(fail_at=5), engine(), policy=replace(POLICY, breaks_max=0)) as running:
        with pytest.raises(AnswerBroken):
            async with running.client.chat("scripted", QUESTION, prefer=[WORKERS[0].peer_id]) as answer:
                await answer.read()
        assert running.paid == 5 * 21


async def test_leaving_while_the_next_worker_is_sought_ends_it_at_once(autojump_clock: MockClock) -> None:
    second = engine(count_seconds=20)
    async with nodes(engine(fail_at=5), second) as running:
        began = 0.0
        async with running.client.chat("scripted", QUESTION, prefer=[WORKERS[0].peer_id]) as answer:
            async for piece in answer:
                if piece.completion_tokens == 5:
                    break
            with trio.move_on_after(2):
                await anext(answer)
            began = trio.current_time()

        assert trio.current_time() - began < 5
        assert answer.text == "".join(WORDS[:5])
        assert second.requests == []
        await running.agreed()
        assert running.paid == 5 * 21


async def test_leaving_the_next_worker_s_part_costs_what_it_delivered_and_its_prompt(
    autojump_clock: MockClock,
) -> None:
    async with nodes(engine(fail_at=5), engine()) as running:
        async with running.client.chat("scripted", QUESTION, prefer=[WORKERS[0].peer_id]) as answer:
            async for piece in answer:
                if piece.completion_tokens == 15:
                    break

        _, second = answer.parts
        assert second.bill is not None
        assert second.bill.settlement.outcome is Outcome.CANCELLED
        charged = second.bill.usage
        assert charged.prompt == PROMPT_TOKENS + 5 + 1
        assert 10 <= charged.completion <= second.usage.completion
        assert running.paid == 5 * 21 + owed(charged)[1]
        await running.agreed()


@pytest.mark.parametrize("lost", ["worker", "proxy"])
async def test_a_purse_pays_for_all_parts_and_keeps_nothing_back(
    lost: str, autojump_clock: MockClock
) -> None:
    async with nodes(engine(), engine()) as running:
        await running.client.purses.allow("chat/1", Budget(Nano(20_000)))
        async with running.client.chat("scripted", QUESTION, purse="chat/1") as answer:

            def lose() -> None:
                if lost == "worker":
                    crash_worker(running, answer)
                else:
                    running.network.cut(CLIENT.peer_id, PROXIES[0].peer_id)

            await read(answer, 20, lose)
        await trio.sleep(30)

        view = await running.client.purses.look("chat/1")
        assert answer.text == WHOLE
        assert len(answer.parts) == 2
        assert (view.spent, view.reserved) == (answer.cost, 0)


async def test_a_stop_string_across_the_seam_ends_the_answer_and_the_paying(
    autojump_clock: MockClock,
) -> None:
    # Scripted engines look for no stop strings: what one of ours never lets go of is delivered here.
    words = ("The ", "E", "N", "D", "LESS ", *WORDS)
    models = [scripted_model(features=FEATURES | {Feature.STOP})]
    first, second = (ScriptedEngine(words, models=models, fail_at=at) for at in (2, None))
    async with nodes(first, second) as running:
        async with running.client.chat(
            "scripted", QUESTION, stop=["END"], prefer=[WORKERS[0].peer_id]
        ) as answer:
            text = await answer.read()

        assert (text, answer.finish) == ("The E", "stop")
        assert second.tokens_made[0] < 10
        _, part = answer.parts
        assert part.bill is not None
        assert part.bill.settlement.outcome is Outcome.CANCELLED
        assert answer.cost == running.paid == 2 * 21 + owed(part.bill.usage)[1]
        await running.agreed()


# ---------------------------------------------------------------- proxies that want more


async def start(talk: Talk) -> None:
    await talk.begin()
    await talk.chunk("It ", 1)
    # What was said has arrived by then.
    await trio.sleep(0.1)


async def test_what_was_vouchered_for_a_late_bill_that_is_disputed_is_not_spent_again(
    autojump_clock: MockClock,
) -> None:
    async def greedy(talk: Talk) -> None:
        await start(talk)
        talk.proxy.network.cut(CLIENT.peer_id, talk.proxy.peer)
        talk.make_chunk("is ", 500)
        settlement = talk.settlement(Outcome.CANCELLED)
        talk.usage = talk.chunks[0].usage
        await talk.charge(settlement, Outcome.CANCELLED)

    async def break_off(talk: Talk) -> None:
        await start(talk)
        # By now the first one's bill was had, and disputed.
        await trio.sleep(5)
        talk.is_silent = True
        await trio.sleep(20)

    async def end(talk: Talk) -> None:
        await talk.begin()
        await talk.chunk("it.", 1, final=True)
        await talk.settle(receipt=talk.deal.receipt(talk.usage, answer_hash=talk.answer_hash))

    async with scene(greedy, break_off, end, commissions=(100, 200, 300), features=("continue",)) as stage:
        async with stage.client.chat("scripted", QUESTION, completion_tokens_max=1_000) as answer:
            assert await answer.read() == "It It it."

        assert answer.dispute is not None
        first, second, third = (proxy.talks[0].ask.max_cost for proxy in stage.proxies)
        assert first - second > 0
        assert third == second - stage.paying(stage.proxies[1]).held


async def test_a_bill_for_nothing_takes_what_was_vouchered_for_it_off_the_next_try(
    autojump_clock: MockClock,
) -> None:
    held = 0

    async def bill(talk: Talk) -> None:
        nonlocal held
        await talk.begin()
        held = stage.paying(stage.proxy).held
        await talk.settle(Outcome.CANCELLED)

    async with scene(bill, honest, commissions=(100, 500)) as stage:
        async with stage.client.chat("scripted", QUESTION, max_cost=5_000) as answer:
            assert await answer.read() == "It is this."

        assert "cancelled, but not by us" in str(answer.dispute)
        assert held > 0
        assert stage.proxies[1].talks[0].ask.max_cost == 5_000 - held


async def test_a_proxy_that_is_lost_before_it_goes_on_is_not_asked_after_each_break(
    autojump_clock: MockClock,
) -> None:
    async def take_prompts(talk: Talk) -> None:
        await talk.begin()
        await trio.sleep(0.1)
        talk.stream.reset()

    async def break_off(talk: Talk) -> None:
        await start(talk)
        talk.stream.reset()

    scripts = (take_prompts, break_off, break_off, break_off)
    async with scene(*scripts, commissions=(100, 200, 300, 400), features=("continue",)) as stage:
        with pytest.raises(AnswerBroken, match="did not go on elsewhere"):
            async with stage.client.chat("scripted", QUESTION) as answer:
                await answer.read()

        assert [len(proxy.talks) for proxy in stage.proxies] == [2, 2, 2, 2]


async def test_a_worker_that_failed_in_the_midst_is_not_asked_after_a_wait_either(
    autojump_clock: MockClock,
) -> None:
    async def fail(talk: Talk) -> None:
        if talk.proxy.worker.peer in talk.ask.exclude:
            return await talk.refuse(Reason.NO_CAPACITY, retry_after_ms=4_000)
        await start(talk)
        return await talk.settle(Outcome.FAILED, Reason.ENGINE_FAILED)

    async with scene(fail, features=("continue",)) as stage:
        with pytest.raises(AnswerBroken, match="did not go on elsewhere: no capacity"):
            async with stage.client.chat("scripted", QUESTION) as answer:
                await answer.read()

        excluded = [talk.proxy.worker.peer in talk.ask.exclude for talk in stage.proxy.talks]
        assert excluded == [False, True, True, True]
