"""A first token that is late is bought twice: there is one answer, and who loses is paid by the rule."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from cocoon_p2p.client import AnswerPart
from cocoon_p2p.client.desk import Desk
from cocoon_p2p.client.hedging import loser_cost_bound
from cocoon_p2p.client.purse import Budget
from cocoon_p2p.client.wishes import Wishes
from cocoon_p2p.errors import CocoonError
from cocoon_p2p.identity import PeerId
from cocoon_p2p.inference.engine import GenerateRequest, Piece
from cocoon_p2p.ledger import Status
from cocoon_p2p.payments.pricing import client_amount, owed_usage, worker_amount
from cocoon_p2p.protocols.exchange.verification import verify_bundle
from cocoon_p2p.protocols.ids import PEERS_MAX, Outcome, Reason, Trust
from cocoon_p2p.protocols.messages import Cancel, Meter, Settled, Signed, Usage
from cocoon_p2p.protocols.schema import decode_paper
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.testing.overlay import open_overlay
from cocoon_p2p.testing.papers import PRICE, paper_identity
from cocoon_p2p.units import Nano
from tests.client.nodes import Nodes, nodes
from tests.client.scene import POLICY, QUESTION, Script, Talk, honest, scene
from tests.client.test_purses import charged, untied
from tests.client.test_purses_and_crashes import Buyer

pytestmark = pytest.mark.slow

WORDS = tuple(f"word{number} " for number in range(20))
WHOLE = "".join(WORDS)
PROMPT_COST = 42
"In nanoTON, of QUESTION: four words as scripted engines count, at PRICE with a commission of 5 %."

ALWAYS = replace(POLICY, hedges_per_thousand=1000, completion_tokens_max=20)
LATE_SECONDS = 20.0


class Turns(ScriptedEngine):
    """One of several: the first request that any of them gets takes so long to its first token, and so on."""

    def __init__(self, prefills: Iterator[float], fail_at: int | None = None) -> None:
        super().__init__(WORDS, delay_seconds=0.02, prefill_steps=4, fail_at=fail_at)
        self._prefills = prefills

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
        self._prefill_seconds = next(self._prefills, 0.0)
        async with super().generate(request) as pieces:
            yield pieces


def engines(*prefills: float, count: int = 2) -> list[Turns]:
    turns = iter(prefills)
    return [Turns(turns) for _ in range(count)]


def check_part(part: AnswerPart) -> int:
    """Hold one part's bill against its paper; gives what it cost."""
    if part.bill is None:
        assert (part.is_open, part.cost) == (False, 0)
        return 0
    settlement, receipt = part.bill.settlement, part.bill.receipt
    usage = Usage(0, 0, 0, 0)
    if receipt is not None:
        usage = owed_usage(receipt.usage, settlement.outcome)
    elif settlement.meter is not None:
        usage = owed_usage(decode_paper(Meter, settlement.meter.body).usage, settlement.outcome)
    due = worker_amount(usage, PRICE)
    assert (settlement.worker_amount, part.cost) == (due, client_amount(due, 500))
    assert part.bundle is not None
    assert verify_bundle(part.bundle).holds
    return part.cost


def check_lost(part: AnswerPart) -> int:
    """Hold a part that lost before its first token against the rule: at most its prompt is paid."""
    assert part.has_lost
    assert part.bill is not None
    assert part.bill.settlement.outcome is Outcome.CANCELLED
    assert part.usage.completion == part.bill.usage.completion == 0
    assert part.cost <= PROMPT_COST
    return check_part(part)


async def check_idle(running: Nodes, *idle: ScriptedEngine) -> None:
    await running.agreed()
    assert [engine.running for engine in idle] == [0] * len(idle)


@pytest.mark.parametrize("proxies", [1, 2])
async def test_where_the_first_token_is_late_a_second_worker_answers_and_the_first_is_paid_its_prompt(
    proxies: int, autojump_clock: MockClock
) -> None:
    both = engines(LATE_SECONDS)
    async with nodes(*both, policy=ALWAYS, proxies=proxies) as running:
        async with running.client.chat("scripted", QUESTION, prefer="fast") as answer:
            assert await answer.read() == WHOLE

        won, lost = answer.parts
        assert answer.first_token_seconds is not None
        assert answer.first_token_seconds < LATE_SECONDS / 4
        assert (won.has_lost, answer.attempts, answer.finish) == (False, 2, "stop")
        assert (answer.worker, answer.proxy, answer.bundle) == (won.worker, won.proxy, won.bundle)
        assert answer.continued_from == ()
        assert won.worker != lost.worker
        assert (won.proxy != lost.proxy) is (proxies == 2)
        assert answer.usage.completion == 20
        assert answer.cost == check_part(won) + check_lost(lost) == running.paid
        await check_idle(running, *both)


async def test_a_first_worker_that_yields_before_the_second_is_the_answer(autojump_clock: MockClock) -> None:
    both = engines(5, LATE_SECONDS)
    async with nodes(*both, policy=ALWAYS) as running:
        async with running.client.chat("scripted", QUESTION, prefer="fast") as answer:
            assert await answer.read() == WHOLE

        won, lost = answer.parts
        assert answer.first_token_seconds is not None
        assert 5 < answer.first_token_seconds < LATE_SECONDS / 2
        assert answer.cost == check_part(won) + check_lost(lost) == running.paid
        await check_idle(running, *both)


@pytest.mark.parametrize(
    ("wishes", "prefill"),
    [({}, LATE_SECONDS), ({"prefer": "cheap"}, LATE_SECONDS), ({"prefer": "fast"}, 0.2)],
)
async def test_nobody_else_is_asked_unless_fast_is_preferred_and_the_first_token_is_late(
    wishes: Wishes, prefill: float, autojump_clock: MockClock
) -> None:
    both = engines(prefill)
    async with nodes(*both, policy=ALWAYS) as running:
        async with running.client.chat("scripted", QUESTION, **wishes) as answer:
            assert await answer.read() == WHOLE

        assert len(answer.parts) == answer.attempts == 1
        assert sum(len(engine.requests) for engine in both) == 1


async def test_nobody_else_is_asked_where_the_max_cost_or_the_purse_does_not_hold_two_answers(
    autojump_clock: MockClock,
) -> None:
    both = engines(*[LATE_SECONDS] * 10)
    async with nodes(*both, policy=ALWAYS) as running:
        (quote,) = await running.client.quote("scripted", QUESTION, prefer="fast")
        await running.client.purses.allow("short", Budget(Nano(2 * quote.cost_max - 1)))
        too_short: list[Wishes] = [
            {"prefer": "fast", "max_cost": 2 * quote.cost_max - 1},
            {"prefer": "fast", "purse": "short"},
        ]
        for wishes in too_short:
            (short,) = await running.client.quote("scripted", QUESTION, **wishes)
            assert (quote.hedge_max > PROMPT_COST, short.hedge_max) == (True, 0)
            async with running.client.chat("scripted", QUESTION, **wishes) as answer:
                assert await answer.read() == WHOLE

            assert len(answer.parts) == 1
        await check_idle(running, *both)


async def test_a_quote_says_what_a_cheaper_second_one_comes_to(autojump_clock: MockClock) -> None:
    policy = replace(ALWAYS, completion_tokens_max=1000)
    dear, cheap = priced(after(10, answers)), priced(after(0, answers))
    async with scene(dear, cheap, policy=policy, commissions=(500, 100), publish=False) as stage:
        stage.publish(stage.proxies[0])
        async with stage.client.chat("scripted", QUESTION) as answer:
            # Who has a channel is asked before who is cheaper.
            await answer.read()
        stage.publish(stage.proxies[1])
        await trio.sleep(300)
        (whole,) = {
            quote.cost_max
            for quote in await stage.client.quote("scripted", QUESTION, prefer="fast")
            if quote.proxy == stage.proxy.peer
        }
        wishes: Wishes = {"prefer": "fast", "max_cost": 2 * whole - 1}
        quotes = await stage.client.quote("scripted", QUESTION, **wishes)
        (quote,) = (quote for quote in quotes if quote.proxy == stage.proxy.peer)
        async with stage.client.chat("scripted", QUESTION, **wishes) as answer:
            await answer.read()

        assert [part.proxy for part in answer.parts if part.has_lost] == [stage.proxy.peer]
        assert 0 < answer.parts[1].cost <= quote.hedge_max


async def test_nobody_else_is_asked_where_the_first_worker_could_not_be_left_out(
    autojump_clock: MockClock,
) -> None:
    both = engines(LATE_SECONDS)
    strangers = [paper_identity(200 + number).peer_id for number in range(PEERS_MAX)]
    async with nodes(*both, policy=ALWAYS) as running:
        async with running.client.chat("scripted", QUESTION, prefer="fast", exclude=strangers) as answer:
            assert await answer.read() == WHOLE

        assert answer.attempts == 1


async def test_no_answer_costs_more_beside_it_than_the_quote_says(autojump_clock: MockClock) -> None:
    both = engines(LATE_SECONDS)
    async with nodes(*both, policy=ALWAYS) as running:
        (quote,) = await running.client.quote("scripted", QUESTION, prefer="fast")
        (cheap,) = await running.client.quote("scripted", QUESTION, prefer="cheap")
        async with running.client.chat("scripted", QUESTION, prefer="fast") as answer:
            await answer.read()

        assert cheap.hedge_max == 0
        assert check_lost(answer.parts[1]) <= quote.hedge_max


async def test_one_request_in_ten_is_asked_twice_at_most(autojump_clock: MockClock) -> None:
    late = [1, 2, 12, 13]
    # Whoever is asked second is quick.
    both = engines(LATE_SECONDS, 0, LATE_SECONDS, *[0.0] * 9, LATE_SECONDS, 0, LATE_SECONDS)
    policy = replace(ALWAYS, hedges_per_thousand=100)
    seconds: list[float] = []
    async with nodes(*both, policy=policy) as running:
        for _ in range(13):
            async with running.client.chat("scripted", QUESTION, prefer="fast") as answer:
                assert await answer.read() == WHOLE
            assert answer.first_token_seconds is not None
            seconds.append(answer.first_token_seconds)

        # One at first, and one for each ten.
        assert sum(len(engine.requests) for engine in both) == 13 + 2
        waited = [number for number, spent in enumerate(seconds, 1) if spent > 0.5]
        assert (waited, [number for number in waited if seconds[number - 1] < 5]) == (late, [1, 12])
        await check_idle(running, *both)


@pytest.mark.long
async def test_what_is_always_slow_is_not_late_in_the_long_run(autojump_clock: MockClock) -> None:
    both = engines(*[2.0] * 100)
    async with nodes(*both, policy=ALWAYS) as running:
        asked: list[int] = []
        for _ in range(35):
            async with running.client.chat("scripted", QUESTION, prefer="fast") as answer:
                await answer.read()
            asked.append(answer.attempts)

    # At first the worker's word is all that there is; later few are slower than nineteen in twenty. Which
    # ones, and how many, hangs on hairs.
    assert asked[:10] == [2] * 10
    assert asked[20:].count(2) < 8


async def test_an_answer_that_won_goes_on_elsewhere_when_it_breaks_off(autojump_clock: MockClock) -> None:
    turns = iter([LATE_SECONDS])
    three = [Turns(turns, fail_at=7), Turns(turns, fail_at=7), Turns(turns)]
    async with nodes(*three, policy=ALWAYS) as running:
        async with running.client.chat("scripted", QUESTION, prefer="fast") as answer:
            assert await answer.read() == WHOLE

        lost = [part for part in answer.parts if part.has_lost]
        assert sum(check_lost(part) for part in lost) <= PROMPT_COST
        chain = [part for part in answer.parts if not part.has_lost]
        assert [part.continues for part in chain] == [None, *(part.exchange for part in chain[:-1])]
        assert answer.continued_from == tuple(chain[:-1])
        assert answer.cost == sum(map(check_part, answer.parts)) == running.paid
        await check_idle(running, *three)


def after(seconds: float, then: Script) -> Script:
    """Take the request and compute so long, unless the client cancels; then do as `then`."""

    async def script(talk: Talk) -> None:
        await talk.begin()
        # Between two heartbeats: a read that is cut short in the midst of one loses its stream.
        with trio.move_on_after(seconds and seconds + 0.25):
            assert isinstance(await talk.hear(), Cancel)
            await talk.settle(Outcome.CANCELLED, Reason.CANCELLED)
            return
        await then(talk)

    return script


async def answers(talk: Talk) -> None:
    await talk.chunk("It is this.", 3, final=True)
    await talk.settle()


def priced(script: Script) -> Script:
    """Tell the price where only that is asked for; else do as `script`."""

    async def either(talk: Talk) -> None:
        await (talk.quote() if talk.ask.channel is None else script(talk))

    return either


async def loses_its_worker(talk: Talk) -> None:
    await talk.refuse(Reason.WORKER_LOST)


async def has_no_room(talk: Talk) -> None:
    await talk.refuse(Reason.NO_CAPACITY)


NEVER = 1000.0


@pytest.mark.parametrize(
    ("first", "second", "seconds"),
    [
        (after(6, answers), after(1, loses_its_worker), 6),
        (after(6, answers), has_no_room, 6),
        (after(5, loses_its_worker), after(4, answers), 5.5),
        (after(5, loses_its_worker), after(NEVER, answers), None),
    ],
    ids=[
        "the second is lost",
        "the second has no room",
        "the first is lost",
        "the first is lost, and waited for",
    ],
)
async def test_whichever_of_two_fails_the_other_one_answers(
    first: Script, second: Script, seconds: float | None, autojump_clock: MockClock
) -> None:
    async with scene(first, second, policy=ALWAYS, commissions=(100, 500)) as stage:
        if seconds is None:
            with pytest.raises(CocoonError, match="the deadline has passed"):
                async with stage.client.chat("scripted", QUESTION, prefer="fast"):
                    pytest.fail("there is no answer")
        else:
            async with stage.client.chat("scripted", QUESTION, prefer="fast") as answer:
                assert await answer.read() == "It is this."
            assert answer.first_token_seconds is not None
            assert answer.first_token_seconds < seconds + 1

        assert [len(proxy.talks) for proxy in stage.proxies] == [1, 1]
        assert all(account.held == 0 for account in stage.accounts.payees())


async def test_a_proxy_that_refused_to_be_second_is_asked_when_the_first_one_failed(
    autojump_clock: MockClock,
) -> None:
    asked: list[Talk] = []

    async def second(talk: Talk) -> None:
        asked.append(talk)
        await (has_no_room(talk) if len(asked) == 1 else honest(talk))

    async with scene(after(5, loses_its_worker), second, policy=ALWAYS, commissions=(100, 500)) as stage:
        async with stage.client.chat("scripted", QUESTION, prefer="fast") as answer:
            assert await answer.read() == "It is this."

        assert len(asked) == 2
        assert asked[0].ask.exclude == (stage.proxies[0].worker.identity.peer_id,)
        assert asked[0].ask.max_cost < asked[1].ask.max_cost == POLICY.max_cost


async def test_the_bill_of_a_loser_that_says_nothing_is_not_waited_for_and_is_counted_until_it_comes(
    autojump_clock: MockClock,
) -> None:
    async def stays_silent(talk: Talk) -> None:
        await talk.begin()
        await talk.hear()
        talk.is_silent = True
        await trio.sleep_forever()

    async with scene(stays_silent, after(0, answers), policy=ALWAYS, commissions=(100, 500)) as stage:
        asked = stage.client.chat("scripted", QUESTION, prefer="fast")
        async with asked as answer:
            began_at = trio.current_time()
            assert await answer.read() == "It is this."
            assert trio.current_time() - began_at < 2

        held = stage.paying().held
        assert held > 0
        assert answer.cost + held <= asked.charged_max <= POLICY.max_cost
        assert answer.parts[1].is_open


async def test_a_loser_s_bill_that_lies_is_disputed_and_the_answer_stands(autojump_clock: MockClock) -> None:
    async def bills_too_much(talk: Talk) -> None:
        await talk.begin()
        await talk.hear()
        talk.usage = replace(talk.usage, prompt=talk.usage.prompt + 1)
        await talk.settle(Outcome.CANCELLED, Reason.CANCELLED)

    async with scene(bills_too_much, after(0, answers), policy=ALWAYS, commissions=(100, 500)) as stage:
        async with stage.client.chat("scripted", QUESTION, prefer="fast") as answer:
            assert await answer.read() == "It is this."

        assert answer.dispute is not None
        assert (stage.paying().charged, answer.worker) == (0, stage.proxies[1].worker.identity.peer_id)


@pytest.mark.parametrize("tokens", [8, 100])
async def test_a_loser_that_says_its_whole_answer_is_paid_no_more_than_the_quote_says(
    tokens: int, autojump_clock: MockClock
) -> None:
    async def says_all(talk: Talk) -> None:
        await talk.begin()
        assert isinstance(await talk.hear(), Cancel)
        await talk.say(talk.make_chunk("It is", tokens), talk.make_chunk(" that.", tokens, final=True))
        settlement = talk.settlement(Outcome.CANCELLED)
        await talk.say(Settled(talk.ask.exchange, settlement, Reason.CANCELLED))

    policy = replace(ALWAYS, completion_tokens_max=200)
    scripts = [priced(says_all), priced(after(0, answers))]
    async with scene(*scripts, policy=policy, commissions=(100, 500)) as stage:
        quotes = await stage.client.quote("scripted", QUESTION, prefer="fast")
        quote = next(quote for quote in quotes if quote.proxy == stage.proxy.peer)
        asked = stage.client.chat("scripted", QUESTION, prefer="fast")
        async with asked as answer:
            assert await answer.read() == "It is this."

        won, lost = answer.parts
        assert (lost.has_lost, lost.cost > 0) == (True, tokens == 8)
        assert (answer.dispute is None) is (tokens == 8)
        assert stage.paying().charged == lost.cost <= quote.hedge_max
        assert asked.charged_max == answer.cost == won.cost + lost.cost


async def test_a_quote_that_is_looked_into_when_the_other_one_answers_is_not_taken(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def is_late(talk: Talk) -> None:
        await (has_no_room(talk) if len(first.talks) == 1 else after(2, answers)(talk))

    async with scene(is_late, honest, policy=ALWAYS, commissions=(100, 500)) as stage:
        first, second = stage.proxies
        async with stage.client.chat("scripted", QUESTION) as answer:
            # The second worker knows the client from here on: a request is all that it would be sent.
            assert await answer.read() == "It is this."
        charged = stage.paying(second).charged

        async def learn(desk: Desk, signed: Signed, *, via: PeerId, asked: Trust) -> None:
            await trio.sleep(5 if via == second.peer else 0)

        monkeypatch.setattr(Desk, "learn", learn)
        async with stage.client.chat("scripted", QUESTION, prefer="fast") as answer:
            assert await answer.read() == "It is this."

        await trio.sleep(10)
        assert [len(talk.heard) > 0 for talk in second.talks] == [True, False]
        assert stage.paying(second).charged == charged
        assert (answer.worker, len(answer.parts)) == (first.worker.identity.peer_id, 1)


async def test_what_a_loser_cannot_cost_pays_for_the_rest_of_an_answer_that_breaks_off(
    autojump_clock: MockClock,
) -> None:
    async def breaks_off(talk: Talk) -> None:
        await talk.begin()
        await trio.sleep(2)
        await talk.chunk("It is", 2)
        await talk.settle(Outcome.FAILED, Reason.ENGINE_FAILED)

    async def is_slow_to_stop(talk: Talk) -> None:
        await talk.begin()
        assert isinstance(await talk.hear(), Cancel)
        await trio.sleep(3)
        await talk.settle(Outcome.CANCELLED, Reason.CANCELLED)

    def goes_on(first: Script) -> Script:
        async def script(talk: Talk) -> None:
            if talk.ask.continues is None:
                await first(talk)
                return
            await talk.begin()
            await talk.chunk(" this.", 1, final=True)
            await talk.settle()

        return script

    scripts = [goes_on(breaks_off), goes_on(is_slow_to_stop)]
    async with scene(*scripts, policy=ALWAYS, commissions=(100, 500), features=("continue",)) as stage:
        await stage.client.purses.allow("p", Budget(Nano(10**6)))
        asked = stage.client.chat("scripted", QUESTION, prefer="fast", purse="p")
        async with asked as answer:
            assert await answer.read() == "It is this."

        await trio.sleep(10)
        purse = await stage.client.purses.look("p")
        assert (len(answer.parts), purse.reserved) == (3, 0)
        assert purse.spent == answer.cost == asked.charged_max


@pytest.mark.parametrize("leaves_after", [0.005, 0.3, 3.01, 3.02, 3.03, 4.0])
async def test_leaving_while_two_are_asked_stops_both(leaves_after: float, autojump_clock: MockClock) -> None:
    both = engines(LATE_SECONDS, LATE_SECONDS)
    async with nodes(*both, policy=ALWAYS, proxies=2) as running:
        await running.client.purses.allow("p", Budget(Nano(10**6)))
        with trio.move_on_after(leaves_after):
            async with running.client.chat("scripted", QUESTION, prefer="fast", purse="p"):
                pytest.fail("there is no answer yet")

        assert [engine.running for engine in both] == [0, 0]
        await check_idle(running, *both)
        purse = await running.client.purses.look("p")
        assert (purse.spent, purse.reserved) == (running.paid, 0)
        assert running.paid <= 2 * PROMPT_COST


async def test_a_purse_pays_for_both_and_keeps_nothing_back(autojump_clock: MockClock) -> None:
    both = engines(LATE_SECONDS)
    async with nodes(*both, policy=ALWAYS, proxies=2) as running:
        await running.client.purses.allow("p", Budget(Nano(10**6)))
        async with running.client.chat("scripted", QUESTION, prefer="fast", purse="p") as answer:
            purse = await running.client.purses.look("p")
            assert purse.spent + purse.reserved == POLICY.max_cost
            await answer.read()

        purse = await running.client.purses.look("p")
        assert (purse.spent, purse.reserved) == (answer.cost, 0)
        assert answer.cost == check_part(answer.parts[0]) + check_lost(answer.parts[1])


@pytest.mark.parametrize("die_after", range(6, 36, 6))
async def test_a_machine_that_dies_while_two_are_asked_knows_both_when_it_is_back(
    die_after: int, autojump_clock: MockClock
) -> None:
    both = engines(LATE_SECONDS)
    async with open_overlay(engines=both, delay_seconds=(0.001, 0.02)) as overlay:
        buyer = Buyer(overlay)
        async with buyer.live(die_after=die_after) as client:
            await client.purses.allow("p", Budget(Nano(10**9)))
            with suppress(CocoonError):
                async with client.chat("scripted", QUESTION, prefer="fast", purse="p") as answer:
                    await answer.read()
            await trio.sleep(60)

        async with buyer.live() as client:
            await client.connect(buyer.proxy)
            await untied(buyer.disk)
            purse = await client.purses.look("p")
            assert (purse.total, purse.reserved) == (charged(buyer.disk), 0)
            assert not [row for row in buyer.disk.exchanges.values() if row.status is not Status.ENDED]
        assert [engine.running for engine in both] == [0, 0]


async def two(
    firsts: tuple[float, float], fails: tuple[int | None, int | None], proxies: int, seed: int
) -> None:
    turns = iter(firsts)
    both = [Turns(turns, fail_at) for fail_at in fails]
    async with nodes(*both, policy=ALWAYS, seed=seed, proxies=proxies) as running:
        asked = running.client.chat("scripted", QUESTION, prefer="fast")
        text, charged_max = "", 0
        try:
            async with asked as answer:
                async for piece in answer:
                    text += piece.text
                charged_max = asked.charged_max
            assert text == WHOLE
        except CocoonError:
            assert any(fail_at is not None for fail_at in fails)
            assert WHOLE.startswith(text)
            await check_idle(running, *both)
            assert running.paid <= POLICY.max_cost
            return
        await check_idle(running, *both)

        parts = answer.parts
        assert answer.usage.completion == 20
        assert sum(part.usage.completion for part in parts if not part.has_lost) == 20
        assert sum(part.has_lost for part in parts) <= 1
        for part in parts:
            if part.has_lost and part.bill is not None:
                # What it had sent before it heard that it had lost is owed too.
                assert part.cost <= PROMPT_COST + 21 * part.bill.usage.completion
                assert part.cost <= loser_cost_bound(part.terms, PROMPT_COST)
        assert answer.cost == sum(map(check_part, parts)) == running.paid <= charged_max <= POLICY.max_cost


@settings(max_examples=12, deadline=None)
@given(
    firsts=st.tuples(st.floats(0, 8), st.floats(0, 8)),
    fails=st.tuples(*[st.sampled_from([None, None, 0, 1, 7, 20])] * 2),
    proxies=st.integers(1, 2),
    seed=st.integers(0, 999),
)
def test_whoever_yields_or_fails_when_there_is_one_answer_billed_by_the_rule_and_no_slot_is_lost(
    firsts: tuple[float, float], fails: tuple[int | None, int | None], proxies: int, seed: int
) -> None:
    trio.run(two, firsts, fails, proxies, seed, clock=MockClock(autojump_threshold=0))
