"""The client against an honest proxy: answers, papers, money, and what is kept for the next time."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.client import Client
from cocoon_p2p.errors import ConfigurationError, Refused, Unavailable
from cocoon_p2p.protocols.ids import Kind, Outcome, Trust
from cocoon_p2p.protocols.messages import Hello, Part, Price
from cocoon_p2p.testing.memory import Fate, Write
from cocoon_p2p.units import Nano
from tests.client.scene import NETWORK, POLICY, QUESTION, Talk, honest, now, scene


async def test_an_answer_arrives_piece_by_piece_and_costs_what_both_sides_say(
    autojump_clock: MockClock,
) -> None:
    async with scene(honest) as stage:
        async with stage.client.chat("scripted", QUESTION) as answer:
            pieces = [piece async for piece in answer]

        assert [piece.text for piece in pieces] == ["It ", "is ", "this."]
        assert [piece.completion_tokens for piece in pieces] == [1, 2, 4]
        assert (answer.text, answer.finish) == ("It is this.", "stop")
        # (10 x 4 + 4 x 20) nanoTON for the worker, and 5 % for the proxy.
        assert answer.cost == 126
        await stage.agreed()


async def test_an_answer_names_who_gave_it_and_shows_the_papers(autojump_clock: MockClock) -> None:
    async with scene(honest) as stage:
        async with stage.client.chat("scripted", QUESTION) as answer:
            await answer.read()

        assert answer.proxy == stage.proxy.peer
        assert answer.worker == stage.proxy.worker.peer
        assert answer.trust is Trust.OPEN
        assert answer.model == stage.proxy.worker.offer
        assert answer.attempts == 1
        assert answer.settlement is not None
        assert answer.settlement.outcome is Outcome.COMPLETED
        assert answer.receipt is not None
        assert answer.receipt.usage == answer.usage
        assert answer.receipt.exchange == answer.exchange


async def test_the_words_of_question_and_answer_never_stand_open_on_the_wire(
    autojump_clock: MockClock,
) -> None:
    seen = bytearray()

    def spy(write: Write) -> tuple[Fate, float]:
        seen.extend(write.data)
        return Fate.DELIVER, 0.0

    async with scene(honest) as stage:
        stage.network.fault = spy
        async with stage.client.chat("scripted", QUESTION) as answer:
            await answer.read()

    assert b"scripted" in seen
    assert b"What is it" not in seen
    assert b"this." not in seen


async def test_the_first_token_s_time_is_measured_from_the_question(autojump_clock: MockClock) -> None:
    async def slow(talk: Talk) -> None:
        await talk.begin()
        await trio.sleep(2)
        await talk.chunk("It.", 1, final=True)
        await talk.settle()

    async with scene(slow) as stage, stage.client.chat("scripted", QUESTION) as answer:
        assert answer.first_token_seconds == pytest.approx(2)


async def test_what_stands_is_used_again_one_channel_one_stream_one_greeting(
    autojump_clock: MockClock,
) -> None:
    async with scene(honest) as stage:
        for _ in range(3):
            async with stage.client.chat("scripted", QUESTION) as answer:
                await answer.read()

        heard = [message for talk in stage.proxy.talks for message in talk.heard]
        assert stage.proxy.streams == 1
        assert [type(message) for message in heard] == [Hello, Part, Part, Part]
        assert len(stage.accounts.payees()) == 1
        assert stage.paying().charged == 3 * 126
        await stage.agreed()


async def test_the_proxy_that_is_asked_is_protected(autojump_clock: MockClock) -> None:
    async with scene(honest) as stage:
        assert not stage.transport.protected

        async with stage.client.chat("scripted", QUESTION) as answer:
            await answer.read()

        assert stage.transport.protected == {(stage.proxy.identity.peer_id, "proxy")}


async def test_a_session_near_its_end_is_replaced_by_a_new_greeting(autojump_clock: MockClock) -> None:
    async with scene(honest) as stage:
        for _ in range(2):
            async with stage.client.chat("scripted", QUESTION) as answer:
                await answer.read()
            await trio.sleep(880)

        heard = [message for talk in stage.proxy.talks for message in talk.heard]
        assert [type(message) for message in heard] == [Hello, Part, Hello, Part]


async def test_many_answers_at_once_share_one_channel(autojump_clock: MockClock) -> None:
    costs: list[int] = []

    async with scene(honest) as stage:

        async def ask() -> None:
            async with stage.client.chat("scripted", QUESTION) as answer:
                await answer.read()
            costs.append(answer.cost)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)

        assert costs == [126] * 20
        assert len(stage.accounts.payees()) == 1
        await stage.agreed()


async def test_wishes_arrive_at_the_worker(autojump_clock: MockClock) -> None:
    async with scene(honest) as stage:
        async with stage.client.chat(
            "scripted",
            [{"role": "system", "content": "Be short."}, *QUESTION],
            max_cost=40_000,
            completion_tokens_max=9,
            temperature=0.7,
            top_p=0.9,
            seed=5,
            stop=["\n"],
            ignore_eos=True,
        ) as answer:
            await answer.read()

        (talk,) = stage.proxy.talks
        assert talk.request is not None
        assert [turn.role for turn in talk.request.messages] == ["system", "user"]
        assert (talk.request.completion_tokens_max, talk.request.seed) == (9, 5)
        assert (talk.request.temperature_milli, talk.request.top_p_milli) == (700, 900)
        assert (talk.request.stop, talk.request.ignore_eos) == (("\n",), True)
        assert talk.ask.features == ("ignore-eos", "seed", "stop", "temperature")
        assert (talk.ask.max_cost, talk.ask.trust) == (40_000, Trust.OPEN)


async def test_a_bare_prompt_is_completed_without_a_template(autojump_clock: MockClock) -> None:
    async with scene(honest) as stage:
        async with stage.client.complete("scripted", "Once upon") as answer:
            await answer.read()

        (talk,) = stage.proxy.talks
        assert talk.request is not None
        assert (talk.request.kind, talk.request.prompt, talk.request.messages) == (
            Kind.COMPLETION,
            "Once upon",
            (),
        )


async def test_what_can_be_bought_is_listed_by_proxy_with_the_cheapest_first(
    autojump_clock: MockClock,
) -> None:
    async with scene(honest, honest, commissions=(900, 100)) as stage:
        offers = await stage.client.models()

        assert [offer.proxy for offer in offers] == [proxy.peer for proxy in reversed(stage.proxies)]
        assert [offer.commission_basis_points for offer in offers] == [100, 900]
        assert {offer.model.name for offer in offers} == {"scripted"}
        assert not any(offer.has_channel for offer in offers)


async def test_prices_are_asked_without_a_channel_and_the_cheapest_comes_first(
    autojump_clock: MockClock,
) -> None:
    async with scene(honest, honest, commissions=(900, 100)) as stage:
        quotes = await stage.client.quote("scripted", QUESTION, completion_tokens_max=10)

        assert [quote.proxy for quote in quotes] == [proxy.peer for proxy in reversed(stage.proxies)]
        assert [quote.worker for quote in quotes] == [proxy.worker.peer for proxy in reversed(stage.proxies)]
        # 128 + 24 + 4 + 11 prompt tokens at most, told as 256, at 4 nanoTON; 10 of the answer at 20.
        assert [quote.cost_max for quote in quotes] == [1236, 1334]
        assert stage.accounts.payees() == ()


async def test_the_cheaper_proxy_is_asked_first_and_then_the_one_with_a_channel(
    autojump_clock: MockClock,
) -> None:
    async with scene(honest, honest, commissions=(900, 100)) as stage:
        for _ in range(2):
            async with stage.client.chat("scripted", QUESTION) as answer:
                await answer.read()
            assert answer.proxy == stage.proxies[1].peer
        stage.publish(stage.proxies[0], sequence=2, commission_basis_points=0)
        await trio.sleep(POLICY.refresh_seconds + 1)

        async with stage.client.chat("scripted", QUESTION) as answer:
            await answer.read()

        assert answer.proxy == stage.proxies[1].peer


async def test_a_proxy_that_appears_after_the_question_still_answers_it(autojump_clock: MockClock) -> None:
    async with scene(honest, publish=False) as stage, trio.open_nursery() as nursery:

        async def appear() -> None:
            await trio.sleep(5)
            stage.publish(stage.proxy)

        nursery.start_soon(appear)
        async with stage.client.chat("scripted", QUESTION) as answer:
            assert await answer.read() == "It is this."


async def test_without_any_proxy_the_wait_for_one_is_bounded(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        began = trio.current_time()
        with pytest.raises(Unavailable, match="no proxy was found"):
            async with stage.client.chat("scripted", QUESTION):
                pytest.fail("nobody can have answered")

        assert trio.current_time() - began == pytest.approx(POLICY.first_view_seconds)


async def test_a_model_that_nobody_offers_is_refused_with_the_names_of_those_that_are(
    autojump_clock: MockClock,
) -> None:
    async with scene(honest) as stage:
        with pytest.raises(Refused, match="model=other") as raised:
            async with stage.client.chat("other", QUESTION):
                pytest.fail("nobody can have answered")

        assert raised.value.code == "unknown-model"
        assert "scripted" in raised.value.hint
        assert stage.proxy.talks == []


async def test_a_proxy_whose_commission_is_above_the_policy_is_never_asked(autojump_clock: MockClock) -> None:
    async with scene(honest, commissions=(2_001,)) as stage:
        with pytest.raises(Refused):
            async with stage.client.chat("scripted", QUESTION):
                pytest.fail("nobody can have answered")

        assert stage.proxy.talks == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.chat("scripted", []),
        lambda client: client.chat("scripted", [{"role": "user"}]),
        lambda client: client.chat("scripted", QUESTION, temperature=float("nan")),
        lambda client: client.chat("scripted", QUESTION, trust="total"),
        lambda client: client.chat("scripted", QUESTION, max_cost=0),
        lambda client: client.complete("x" * 100, "prompt"),
    ],
)
async def test_what_cannot_be_asked_is_said_before_anybody_is_asked(
    autojump_clock: MockClock, ask: Callable[[Any], Any]
) -> None:
    async with scene(honest) as stage:
        with pytest.raises(ConfigurationError):
            ask(stage.client)

        assert stage.proxy.streams == 0


async def test_the_application_s_own_errors_pass_bare_through_both_blocks(autojump_clock: MockClock) -> None:
    async with scene(honest) as stage:
        directory = stage.directory.of(stage.transport)
        with pytest.raises(ZeroDivisionError):
            async with (
                Client.open(
                    stage.transport, directory, stage.accounts, NETWORK, policy=POLICY, clock=now
                ) as client,
                client.chat("scripted", QUESTION),
            ):
                raise ZeroDivisionError


async def test_an_application_that_reads_slowly_holds_the_answer_back_and_loses_nothing(
    autojump_clock: MockClock,
) -> None:
    async def talkative(talk: Talk) -> None:
        await talk.begin()
        for number in range(80):
            await talk.chunk(f"{number:10}" * 1_000, 1, final=number == 79)
        await talk.settle()

    async with scene(talkative) as stage:
        async with stage.client.chat("scripted", QUESTION, completion_tokens_max=2_000) as answer:
            await trio.sleep(8)
            (talk,) = stage.proxy.talks
            held_back = len(talk.chunks)
            text = await answer.read()

        assert held_back < 80
        assert text == "".join(f"{number:10}" * 1_000 for number in range(80))
        await stage.agreed()


async def test_a_used_up_channel_is_closed_and_replaced(autojump_clock: MockClock) -> None:
    policy = replace(POLICY, channel_capacity=Nano(6_000), max_cost=Nano(3_000))
    async with scene(honest, policy=policy) as stage:
        for _ in range(45):
            async with stage.client.chat("scripted", QUESTION, completion_tokens_max=20) as answer:
                await answer.read()
            assert answer.cost == 126

        assert sum(account.charged() for account in stage.proxy.accounts.payers()) == 45 * 126
        assert len(stage.accounts.payees()) == 2


async def test_a_model_that_costs_nothing_moves_no_money(autojump_clock: MockClock) -> None:
    free = Price(prompt=0, cached=0, completion=0, reasoning=0)
    async with scene(honest, price=free) as stage:
        async with stage.client.chat("scripted", QUESTION) as answer:
            assert await answer.read() == "It is this."

        assert answer.cost == 0
        assert answer.settlement is not None
        assert (stage.paying().charged, stage.paying().vouchered, stage.paying().held) == (0, 0, 0)
