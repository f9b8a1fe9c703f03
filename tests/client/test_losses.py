"""Proxies that vanish, fall silent or fail, at every point: who is asked next, and what is owed."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import AnswerBroken, CocoonError, Refused, Unavailable
from cocoon_p2p.protocols.ids import UNCLAIMED_RESERVATIONS_MAX, Outcome, Reason
from cocoon_p2p.protocols.messages import Candidate, Hello, Part, Settled
from cocoon_p2p.testing.papers import paper_worker
from tests.client.scene import CLIENT, NETWORK, POLICY, QUESTION, Script, Talk, honest, now, scene

Point = Callable[[Talk], Awaitable[None]]


async def asked(talk: Talk) -> None:
    pass


async def quoted(talk: Talk) -> None:
    await talk.quote()


async def greeted(talk: Talk) -> None:
    await talk.quote()
    await talk.hear()


async def told(talk: Talk) -> None:
    await talk.quote()
    await talk.open()


async def metered(talk: Talk) -> None:
    await talk.begin()


BEFORE_THE_FIRST_PIECE = [asked, quoted, greeted, told, metered]


async def answering(talk: Talk) -> None:
    await talk.begin()
    await talk.chunk("It ", 2)


async def answered(talk: Talk) -> None:
    await answering(talk)
    await talk.chunk("is.", 1, final=True)


def then(point: Point, what: Point) -> Script:
    async def script(talk: Talk) -> None:
        await point(talk)
        await what(talk)

    return script


async def be_silent(talk: Talk) -> None:
    talk.is_silent = True
    while True:
        await talk.hear()


async def reset(talk: Talk) -> None:
    # What was said before has arrived by then.
    await trio.sleep(0.1)
    talk.stream.reset()


async def close(talk: Talk) -> None:
    await talk.stream.close()


async def cut(talk: Talk) -> None:
    await trio.sleep(0.1)
    talk.proxy.network.cut(CLIENT.peer_id, talk.proxy.peer)


@pytest.mark.parametrize("loss", [be_silent, reset, close, cut])
@pytest.mark.parametrize("point", BEFORE_THE_FIRST_PIECE)
async def test_before_the_first_piece_another_proxy_answers_instead(
    point: Point, loss: Point, autojump_clock: MockClock
) -> None:
    async with scene(then(point, loss), honest, commissions=(100, 500)) as stage:
        async with stage.client.chat("scripted", QUESTION) as answer:
            assert await answer.read() == "It is this."

        assert answer.proxy == stage.proxies[1].peer
        assert answer.attempts == 2
        assert answer.cost == 126
        assert trio.current_time() < 10


@pytest.mark.parametrize("loss", [be_silent, reset, close, cut])
async def test_where_nobody_can_go_on_the_answer_ends_with_an_error_and_what_was_said(
    loss: Point, autojump_clock: MockClock
) -> None:
    async def unable(talk: Talk) -> None:
        await talk.refuse(Reason.UNKNOWN_FEATURE, "unknown feature: nobody here has all of continue")

    async with scene(then(answering, loss), unable, commissions=(100, 500)) as stage:
        with pytest.raises(AnswerBroken, match="did not go on elsewhere: unknown feature") as raised:
            async with stage.client.chat("scripted", QUESTION) as answer:
                await answer.read()

        assert (raised.value.code, raised.value.text) == ("unavailable", "It ")
        assert trio.current_time() < 15


@pytest.mark.parametrize("loss", [be_silent, reset, close, cut])
async def test_a_complete_answer_stands_even_if_its_bill_never_comes(
    loss: Point, autojump_clock: MockClock
) -> None:
    async with scene(then(answered, loss)) as stage:
        async with stage.client.chat("scripted", QUESTION) as answer:
            assert await answer.read() == "It is."

        # (10 x 4 + 3 x 20) x 1.05: what is owed for it, until it is billed.
        assert (answer.settlement, answer.cost) == (None, 105)
        assert stage.paying().held >= 105


async def test_a_settlement_is_fetched_once_the_proxy_is_back_and_both_agree(
    autojump_clock: MockClock,
) -> None:
    async def lost(talk: Talk) -> None:
        await answering(talk)
        await cut(talk)
        talk.is_silent = True
        # What was under way when the connection broke is owed too; here one token more.
        talk.make_chunk("is ", 1)
        await trio.sleep(3)
        await talk.charge(talk.settlement(Outcome.CANCELLED), Outcome.CANCELLED)

    async with scene(lost) as stage:
        with pytest.raises(AnswerBroken):
            async with stage.client.chat("scripted", QUESTION) as answer:
                await answer.read()
        assert stage.paying().held > 0

        await trio.sleep(20)

        assert stage.paying().charged == 105
        await stage.agreed()


async def test_a_late_settlement_above_what_was_held_is_disputed(autojump_clock: MockClock) -> None:
    async def greedy(talk: Talk) -> None:
        await answering(talk)
        await cut(talk)
        talk.make_chunk("is ", 500)
        settlement = talk.settlement(Outcome.CANCELLED)
        talk.usage = talk.chunks[0].usage
        await talk.charge(settlement, Outcome.CANCELLED)

    async with scene(greedy) as stage:
        with pytest.raises(AnswerBroken):
            async with stage.client.chat("scripted", QUESTION, completion_tokens_max=1_000) as answer:
                await answer.read()
        await trio.sleep(20)

        assert stage.paying().charged == 0
        assert stage.paying().phase.name == "STOPPED"


async def test_an_exchange_of_which_the_proxy_knows_nothing_costs_nothing(autojump_clock: MockClock) -> None:
    async with scene(then(told, reset)) as stage:
        with pytest.raises(Unavailable):
            async with stage.client.chat("scripted", QUESTION):
                pytest.fail("there can be no answer")
        await trio.sleep(20)

        assert (stage.paying().charged, stage.paying().held) == (0, 0)


async def test_two_tries_together_never_cost_more_than_the_max_cost(autojump_clock: MockClock) -> None:
    async with scene(then(metered, reset), honest, commissions=(100, 500)) as stage:
        async with stage.client.chat("scripted", QUESTION, max_cost=5_000) as answer:
            await answer.read()

        first, second = (proxy.talks[0].ask.max_cost for proxy in stage.proxies)
        held = stage.paying(stage.proxies[0]).held
        assert (first, second) == (5_000, 5_000 - held)
        assert held > 0


async def test_heartbeats_without_an_answer_last_until_the_deadline_and_no_longer(
    autojump_clock: MockClock,
) -> None:
    async def stall(talk: Talk) -> None:
        await talk.begin()
        await talk.hear()
        await talk.settle(Outcome.CANCELLED, Reason.DEADLINE)

    async with scene(stall) as stage:
        with pytest.raises(AnswerBroken, match="deadline") as raised:
            async with stage.client.chat("scripted", QUESTION, timeout_seconds=7):
                pytest.fail("there can be no answer")

        assert raised.value.code == "deadline"
        # The prompt was prefilled before the time was up.
        assert raised.value.charged == 42
        assert trio.current_time() == pytest.approx(7, abs=0.1)
        await stage.agreed()


async def test_a_process_that_was_held_up_itself_does_not_take_its_proxy_for_lost(
    autojump_clock: MockClock,
) -> None:
    async def steady(talk: Talk) -> None:
        await answering(talk)
        await trio.sleep(8)
        await talk.chunk("is.", 1, final=True)
        await talk.settle()

    async with scene(steady) as stage, stage.client.chat("scripted", QUESTION) as answer:
        await anext(aiter(answer))
        autojump_clock.jump(5)
        assert await answer.read() == "It is."


async def test_a_proxy_that_was_started_anew_is_asked_on_a_new_stream(autojump_clock: MockClock) -> None:
    async with scene(honest) as stage:
        async with stage.client.chat("scripted", QUESTION) as answer:
            await answer.read()
        stage.network.cut(CLIENT.peer_id, stage.proxy.peer)

        async with stage.client.chat("scripted", QUESTION) as answer:
            assert await answer.read() == "It is this."

        assert answer.attempts == 1
        assert stage.proxy.streams == 2


async def test_an_idle_stream_that_the_proxy_dropped_does_not_count_against_it(
    autojump_clock: MockClock,
) -> None:
    async with scene(honest) as stage:
        async with stage.client.chat("scripted", QUESTION) as answer:
            await answer.read()
        stage.proxy.talks[0].stream.reset()

        async with stage.client.chat("scripted", QUESTION) as answer:
            assert await answer.read() == "It is this."

        assert answer.attempts == 1


# ---------------------------------------------------------------- refusals


async def test_a_refusal_names_its_reason_the_candidates_and_when_to_try_again(
    autojump_clock: MockClock,
) -> None:
    async def busy(talk: Talk) -> None:
        candidate = Candidate(talk.worker.peer, Reason.PRICE_ABOVE_LIMIT, asked=400, offered=520)
        await talk.refuse(
            Reason.NO_CAPACITY,
            "no capacity:\n\x1b[2Jall 3 slots are busy",
            candidates=(candidate,),
            retry_after_ms=1_500,
        )

    async with scene(busy) as stage:
        with pytest.raises(Refused) as raised:
            async with stage.client.chat("scripted", QUESTION):
                pytest.fail("there can be no answer")

        error = raised.value
        assert (error.code, error.retry_after, error.charged) == ("no-capacity", 1.5, 0)
        assert str(error) == "no capacity:  [2Jall 3 slots are busy"
        assert "busy" in error.hint
        (candidate,) = error.candidates
        assert candidate.endswith(": price-above-limit (asked=400 offered=520)")


async def test_a_worker_that_refuses_is_excluded_and_the_same_proxy_finds_another(
    autojump_clock: MockClock,
) -> None:
    other = paper_worker(NETWORK, now=now(), number=20)

    async def fickle(talk: Talk) -> None:
        if talk.ask.exclude:
            talk.worker = other
            return await honest(talk)
        await talk.quote()
        await talk.open()
        return await talk.refuse(Reason.ENGINE_FAILED)

    async with scene(fickle) as stage:
        async with stage.client.chat("scripted", QUESTION) as answer:
            await answer.read()

        asks = [talk.ask for talk in stage.proxy.talks]
        assert [ask.exclude for ask in asks] == [(), (stage.proxy.worker.peer,)]
        assert len({ask.exchange for ask in asks}) == 2
        assert answer.worker == other.peer
        assert (answer.cost, answer.attempts) == (126, 2)
        await stage.agreed()


async def test_a_worker_that_forgot_the_session_is_greeted_again_once(autojump_clock: MockClock) -> None:
    forgetful = False

    async def script(talk: Talk) -> None:
        if (
            not forgetful
            or not isinstance(talk.proxy.talks[-2].heard[-1], Part)
            or len(talk.proxy.talks) != 2
        ):
            return await honest(talk)
        await talk.quote()
        await talk.hear()
        return await talk.refuse(Reason.SESSION_UNKNOWN)

    async with scene(script) as stage:
        async with stage.client.chat("scripted", QUESTION) as answer:
            await answer.read()
        forgetful = True

        async with stage.client.chat("scripted", QUESTION) as answer:
            assert await answer.read() == "It is this."

        heard = [[type(message) for message in talk.heard] for talk in stage.proxy.talks]
        assert heard == [[Hello, Part], [Part], [Hello, Part]]
        assert stage.proxy.talks[2].ask.prefer == (stage.proxy.worker.peer,)
        assert answer.attempts == 1


async def test_a_worker_that_never_knows_a_session_is_not_greeted_for_ever(autojump_clock: MockClock) -> None:
    async def forgetful(talk: Talk) -> None:
        await talk.quote()
        await talk.open()
        await talk.refuse(Reason.SESSION_UNKNOWN)

    async with scene(forgetful) as stage:
        with pytest.raises(CocoonError):
            async with stage.client.chat("scripted", QUESTION):
                pytest.fail("there can be no answer")

        assert len(stage.proxy.talks) <= 5


async def test_a_worker_lost_before_its_first_piece_costs_nothing_and_another_is_asked(
    autojump_clock: MockClock,
) -> None:
    async def losing(talk: Talk) -> None:
        await talk.begin()
        await talk.refuse(Reason.WORKER_LOST)

    async with scene(losing, honest, commissions=(100, 500)) as stage:
        async with stage.client.chat("scripted", QUESTION, exclude=[]) as answer:
            await answer.read()

        assert answer.cost == 126
        assert stage.paying(stage.proxies[0]).held == 0


async def test_where_nobody_has_room_the_request_waits_as_long_as_it_is_told(
    autojump_clock: MockClock,
) -> None:
    async def busy(talk: Talk) -> None:
        if trio.current_time() > 3:
            return await honest(talk)
        return await talk.refuse(Reason.NO_CAPACITY, retry_after_ms=1_000)

    async with scene(busy) as stage:
        async with stage.client.chat("scripted", QUESTION) as answer:
            assert await answer.read() == "It is this."

        assert answer.first_token_seconds == pytest.approx(4)
        assert answer.attempts == 5


async def test_a_worker_that_was_busy_after_its_quote_is_asked_again_after_the_wait(
    autojump_clock: MockClock,
) -> None:
    async def taken(talk: Talk) -> None:
        if talk.ask.exclude:
            return await talk.refuse(Reason.EXCLUDED)
        if trio.current_time() > 1:
            return await honest(talk)
        await talk.quote()
        await talk.open()
        return await talk.refuse(Reason.NO_CAPACITY, retry_after_ms=1_500)

    async with scene(taken) as stage, stage.client.chat("scripted", QUESTION) as answer:
        assert await answer.read() == "It is this."


async def test_the_wait_for_room_is_bounded(autojump_clock: MockClock) -> None:
    async def busy(talk: Talk) -> None:
        await talk.refuse(Reason.NO_CAPACITY, retry_after_ms=1_000)

    async with scene(busy) as stage:
        with pytest.raises(Refused) as raised:
            async with stage.client.chat("scripted", QUESTION):
                pytest.fail("there can be no answer")

        assert raised.value.retry_after == 1
        assert trio.current_time() == pytest.approx(POLICY.wait_seconds)


async def test_no_more_quotes_are_asked_for_at_once_than_a_proxy_grants(autojump_clock: MockClock) -> None:
    unused = most = 0

    async def count(talk: Talk) -> None:
        nonlocal unused, most
        unused += 1
        most = max(most, unused)
        await trio.sleep(0.2)
        await talk.quote()
        await talk.hear()
        unused -= 1
        await trio.sleep(1)
        await talk.refuse(Reason.CHANNEL_UNKNOWN)

    async with scene(count) as stage:

        async def ask() -> None:
            with pytest.raises(Refused):
                async with stage.client.chat("scripted", QUESTION):
                    pytest.fail("there can be no answer")

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)

    assert most == UNCLAIMED_RESERVATIONS_MAX


async def test_everything_that_is_tried_is_bounded(autojump_clock: MockClock) -> None:
    async def busy(talk: Talk) -> None:
        await talk.refuse(Reason.NO_CAPACITY)

    async with scene(*[busy] * 9) as stage:
        with pytest.raises(Refused):
            async with stage.client.chat("scripted", QUESTION):
                pytest.fail("there can be no answer")

        assert sum(len(proxy.talks) for proxy in stage.proxies) == 4


async def test_a_proxy_that_failed_is_the_last_choice_for_a_while(autojump_clock: MockClock) -> None:
    async with scene(then(asked, reset), honest, commissions=(100, 500)) as stage:
        for _ in range(2):
            async with stage.client.chat("scripted", QUESTION) as answer:
                await answer.read()

        assert len(stage.proxies[0].talks) == 1
        assert len(stage.proxies[1].talks) == 2


async def test_a_settled_that_is_no_answer_to_an_ask_is_the_proxy_s_fault(autojump_clock: MockClock) -> None:
    async def confused(talk: Talk) -> None:
        await talk.quote()
        settlement = talk.deal.settle(talk.usage, answer_hash=bytes(32))
        await talk.say(Settled(talk.ask.exchange, settlement))
        await talk.hear()

    async with scene(confused) as stage:
        with pytest.raises(CocoonError):
            async with stage.client.chat("scripted", QUESTION):
                pytest.fail("there can be no answer")

        assert stage.paying().charged == 0
