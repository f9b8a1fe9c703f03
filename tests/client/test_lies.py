"""Proxies and workers that lie: each lie is found, named, and not paid for."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import AnswerBroken, CocoonError
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.protocols import messages
from cocoon_p2p.protocols.ids import Outcome, Reason, Trust
from cocoon_p2p.protocols.messages import Hello, Usage
from cocoon_p2p.testing.papers import PRICE, paper_identity, paper_worker
from tests.client.scene import NETWORK, POLICY, PROMPT, QUESTION, Script, Talk, honest, now, scene


async def whole(talk: Talk) -> None:
    """An honest answer up to the bill."""
    await talk.begin()
    await talk.chunk("It ")
    await talk.chunk("is.", final=True)


# ---------------------------------------------------------------- before anything is said


def quoting(**changes: Any) -> Script:
    async def script(talk: Talk) -> None:
        await talk.quote(**changes)
        await talk.hear()

    return script


STRANGER = paper_identity(7)


@pytest.mark.parametrize(
    ("script", "code", "says"),
    [
        (quoting(ask_hash=bytes(32)), "record-rejected", "another question"),
        (quoting(exchange=bytes(16)), "record-rejected", "another question"),
        (quoting(price=replace(PRICE, completion=1)), "record-rejected", "another price"),
        (quoting(commission_basis_points=501), "price-above-limit", "limit=500 asked=501"),
        (quoting(proxy=STRANGER), "record-rejected", "signature"),
        (quoting(reserved=False), "record-rejected", "reserved"),
    ],
)
async def test_a_quote_that_lies_costs_nothing_and_hears_not_a_word(
    script: Script, code: str, says: str, autojump_clock: MockClock
) -> None:
    async with scene(script) as stage:
        with pytest.raises(CocoonError, match=says) as raised:
            async with stage.client.chat("scripted", QUESTION):
                pytest.fail("there can be no answer")

        assert raised.value.code == code
        assert raised.value.charged == 0
        assert stage.proxy.talks[0].heard == []
        assert (stage.paying().charged, stage.paying().held) == (0, 0)


async def test_a_worker_that_was_excluded_is_not_taken_from_a_proxy_that_offers_it_all_the_same(
    autojump_clock: MockClock,
) -> None:
    async with scene(honest) as stage:
        with pytest.raises(CocoonError, match="excluded"):
            async with stage.client.chat("scripted", QUESTION, exclude=[stage.proxy.worker.peer]):
                pytest.fail("there can be no answer")


async def test_trust_is_this_client_s_own_appraisal(autojump_clock: MockClock) -> None:
    async with scene(honest, policy=replace(POLICY, proxy_trust=Trust.OPEN)) as stage:
        with pytest.raises(CocoonError, match="proven=open asked=tdx") as raised:
            async with stage.client.chat("scripted", QUESTION, trust=Trust.TDX):
                pytest.fail("there can be no answer")

        assert raised.value.code == "attestation-failed"


async def test_another_worker_than_the_quoted_one_cannot_take_the_request(autojump_clock: MockClock) -> None:
    async def swapped(talk: Talk) -> None:
        await talk.quote()
        hello = await talk.hear()
        assert isinstance(hello, Hello)
        await talk.greet(hello, identity=STRANGER)
        await talk.hear()

    async with scene(swapped) as stage:
        with pytest.raises(CocoonError, match="accept") as raised:
            async with stage.client.chat("scripted", QUESTION):
                pytest.fail("there can be no answer")

        assert raised.value.code == "seal-broken"
        assert [type(message) for message in stage.proxy.talks[0].heard] == [Hello]
        assert (stage.paying().charged, stage.paying().held) == (0, 0)


# ---------------------------------------------------------------- while it answers

Lie = Callable[[Talk], Awaitable[None]]


async def alter(talk: Talk) -> None:
    chunk = talk.make_chunk("is.")
    await talk.say(replace(chunk, sealed=chunk.sealed[:-1] + bytes([chunk.sealed[-1] ^ 1])))


async def replay(talk: Talk) -> None:
    await talk.say(talk.chunks[0])


async def renumber(talk: Talk) -> None:
    await talk.say(replace(talk.chunks[0], number=1))


async def skip(talk: Talk) -> None:
    talk.make_chunk("is ")
    await talk.say(talk.make_chunk("this."))


async def hide_the_end(talk: Talk) -> None:
    chunk = talk.make_chunk("is ", final=True)
    await talk.say(replace(chunk, final=False))


async def end_early(talk: Talk) -> None:
    await talk.say(replace(talk.make_chunk("is "), final=True))


async def inflate(talk: Talk) -> None:
    await talk.say(talk.make_chunk("is ", usage=replace(talk.usage, completion=9)))


async def count_down(talk: Talk) -> None:
    await talk.say(talk.make_chunk("is ", -1))


async def count_beyond_the_limit(talk: Talk) -> None:
    await talk.say(talk.make_chunk("is ", 10_000))


async def grow_the_prompt(talk: Talk) -> None:
    talk.usage = replace(talk.usage, prompt=50)
    await talk.say(talk.make_chunk("is "))


async def forge_a_meter(talk: Talk) -> None:
    await talk.say(talk.make_chunk("is ", meter_signature=bytes(64)))


async def meter_twice(talk: Talk) -> None:
    await talk.say(messages.PromptMetered(talk.ask.exchange, PROMPT))


async def quote_twice(talk: Talk) -> None:
    await talk.quote()


async def refuse_after_a_chunk(talk: Talk) -> None:
    await talk.refuse(Reason.NO_CAPACITY)


async def speak_of_another_exchange(talk: Talk) -> None:
    await talk.say(messages.Heartbeat(messages.ExchangeId(bytes(16)), 1))


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (alter, "seal-broken"),
        (replay, "seal-broken"),
        (renumber, "seal-broken"),
        (skip, "seal-broken"),
        (hide_the_end, "seal-broken"),
        (end_early, "seal-broken"),
        (inflate, "seal-broken"),
        (count_down, "miscounted"),
        (count_beyond_the_limit, "miscounted"),
        (grow_the_prompt, "miscounted"),
        (forge_a_meter, "record-rejected"),
        (meter_twice, "remote-protocol-error"),
        (quote_twice, "remote-protocol-error"),
        (refuse_after_a_chunk, "remote-protocol-error"),
        (speak_of_another_exchange, "remote-protocol-error"),
    ],
)
async def test_an_answer_that_is_tampered_with_ends_there_with_what_was_good_of_it(
    lie: Lie, code: str, autojump_clock: MockClock
) -> None:
    async def script(talk: Talk) -> None:
        await talk.begin()
        await talk.chunk("It ", 2)
        await lie(talk)
        await talk.hear()

    async with scene(script) as stage:
        with pytest.raises(AnswerBroken) as raised:
            async with stage.client.chat("scripted", QUESTION) as answer:
                await answer.read()

        assert (raised.value.code, raised.value.text) == (code, "It ")
        assert raised.value.charged == 0
        assert "may still be charged" in raised.value.hint


@pytest.mark.parametrize(
    "usage",
    [Usage(prompt=10_000, cached=0, completion=0, reasoning=0), replace(PROMPT, completion=1)],
)
async def test_a_prompt_that_cannot_be_that_long_is_not_paid_for(
    usage: Usage, autojump_clock: MockClock
) -> None:
    async def script(talk: Talk) -> None:
        await talk.quote()
        await talk.open()
        await talk.say(messages.PromptMetered(talk.ask.exchange, usage))
        await talk.hear()

    async with scene(script) as stage:
        with pytest.raises(CocoonError, match="prompt metered"):
            async with stage.client.chat("scripted", QUESTION):
                pytest.fail("there can be no answer")

        await trio.sleep(5)
        assert (stage.paying().charged, stage.paying().held) == (0, 0)


# ---------------------------------------------------------------- at the bill


def billing(**changes: Any) -> Lie:
    async def lie(talk: Talk) -> None:
        await talk.settle(**changes)

    return lie


async def forge_a_receipt(talk: Talk) -> None:
    other = replace(talk.deal, worker=paper_worker(NETWORK, now=now(), number=9))
    await talk.settle(receipt=other.receipt(talk.usage, answer_hash=talk.answer_hash))


async def bill_more_tokens(talk: Talk) -> None:
    talk.usage = replace(talk.usage, completion=talk.usage.completion + 10)
    await talk.settle()


async def bill_another_answer(talk: Talk) -> None:
    await talk.settle(answer_hash=bytes(32))


async def sign_as_another(talk: Talk) -> None:
    forged = replace(talk.deal, proxy=STRANGER).settle(talk.usage, answer_hash=talk.answer_hash)
    await talk.say(messages.Settled(talk.ask.exchange, forged))


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        (billing(worker_amount=81), "wrong amount"),
        (billing(commission=5), "wrong amount"),
        (billing(exchange=bytes(16)), "another exchange"),
        (billing(quote_hash=bytes(32)), "another exchange"),
        (billing(receipt=None), "without a receipt"),
        (billing(outcome=Outcome.CANCELLED), "cancelled, but not by us"),
        (forge_a_receipt, "receipt: the signature"),
        (bill_more_tokens, "not what was delivered"),
        (bill_another_answer, "another answer"),
        (sign_as_another, "settlement: the signature"),
    ],
)
async def test_a_bill_that_lies_is_disputed_and_ends_the_paying_but_not_the_answer(
    lie: Lie, says: str, autojump_clock: MockClock
) -> None:
    async def script(talk: Talk) -> None:
        await whole(talk)
        await lie(talk)

    async with scene(script) as stage:
        async with stage.client.chat("scripted", QUESTION) as answer:
            assert await answer.read() == "It is."

        assert answer.dispute is not None
        assert says in str(answer.dispute)
        assert (answer.cost, answer.settlement) == (0, None)
        assert stage.paying().charged == 0
        assert stage.paying().phase is Phase.STOPPED
        evidence = [paper for kept in stage.store.disk.evidence for paper in kept.papers]
        assert len(evidence) >= 2


async def test_a_proxy_whose_bill_lied_is_not_used_again(autojump_clock: MockClock) -> None:
    async def liar(talk: Talk) -> None:
        await whole(talk)
        await talk.settle(worker_amount=1_000)

    async with scene(liar, honest, commissions=(100, 500)) as stage:
        for _ in range(2):
            async with stage.client.chat("scripted", QUESTION) as answer:
                await answer.read()

        assert answer.proxy == stage.proxies[1].peer
        assert len(stage.proxies[0].talks) == 1


async def test_a_worker_that_breaks_off_is_paid_for_its_tokens_and_not_for_the_prompt(
    autojump_clock: MockClock,
) -> None:
    async def failing(talk: Talk) -> None:
        await talk.begin()
        await talk.chunk("It ", 2)
        await talk.settle(Outcome.FAILED, Reason.ENGINE_FAILED)

    async with scene(failing) as stage:
        with pytest.raises(AnswerBroken) as raised:
            async with stage.client.chat("scripted", QUESTION) as answer:
                await answer.read()

        assert (raised.value.code, raised.value.text, raised.value.charged) == ("engine-failed", "It ", 42)
        await stage.agreed()
