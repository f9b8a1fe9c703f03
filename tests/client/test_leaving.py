"""An application that has enough: the worker stops, what was delivered is paid, nothing more."""

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.client import Client
from cocoon_p2p.client.client import LEAVE_SECONDS
from cocoon_p2p.payments.settlement import PayingAccount
from cocoon_p2p.protocols.ids import Outcome, Reason
from cocoon_p2p.protocols.messages import Cancel, ExchangeId, Hello, Part, Signed
from cocoon_p2p.units import Nano
from tests.client.scene import NETWORK, POLICY, QUESTION, Script, Talk, now, scene


def endless(*, settles: bool = True) -> Script:
    """Answer a word each 0.1 s until a Cancel is heard."""

    async def script(talk: Talk) -> None:
        await talk.begin()
        async with trio.open_nursery() as nursery:

            async def words() -> None:
                while True:
                    await talk.chunk("word ")
                    await trio.sleep(0.1)

            nursery.start_soon(words)
            assert isinstance(await talk.hear(), Cancel)
            nursery.cancel_scope.cancel()
        if settles:
            await talk.settle(Outcome.CANCELLED, Reason.CANCELLED)
        else:
            await trio.sleep_forever()

    return script


async def test_leaving_the_block_stops_the_worker_and_pays_for_what_came(autojump_clock: MockClock) -> None:
    async with scene(endless()) as stage:
        async with stage.client.chat("scripted", QUESTION) as answer:
            async for _ in answer:
                if len(answer.text) >= 15:
                    break

        (talk,) = stage.proxy.talks
        assert talk.heard[-1] == Cancel(talk.ask.exchange, Reason.CANCELLED)
        assert answer.settlement is not None
        assert answer.settlement.outcome is Outcome.CANCELLED
        assert answer.cost == 42 + 21 * len(talk.chunks)
        assert trio.current_time() < 1
        await stage.agreed()


async def test_an_error_in_the_block_stops_the_paying_and_passes_on(autojump_clock: MockClock) -> None:
    async with scene(endless()) as stage:
        directory = stage.directory.of(stage.transport)
        with pytest.raises(ZeroDivisionError):
            async with (
                Client.open(
                    stage.transport, directory, stage.accounts, NETWORK, policy=POLICY, clock=now
                ) as client,
                client.chat("scripted", QUESTION),
            ):
                raise ZeroDivisionError

        assert stage.paying().held == 0
        await stage.agreed()


async def test_a_cancel_of_the_task_stops_the_worker_and_settles_before_it_goes_on(
    autojump_clock: MockClock,
) -> None:
    async with scene(endless()) as stage:
        with trio.move_on_after(0.55) as scope:
            async with stage.client.chat("scripted", QUESTION) as answer:
                await answer.read()

        assert scope.cancelled_caught
        assert answer.settlement is not None
        assert trio.current_time() < 1
        await stage.agreed()


async def test_a_cancel_of_the_whole_client_still_settles(autojump_clock: MockClock) -> None:
    async with scene(endless()) as stage:
        directory = stage.directory.of(stage.transport)
        with trio.move_on_after(0.55):
            async with (
                Client.open(
                    stage.transport, directory, stage.accounts, NETWORK, policy=POLICY, clock=now
                ) as client,
                client.chat("scripted", QUESTION) as answer,
            ):
                await answer.read()

        assert answer.settlement is not None
        await stage.agreed()


async def test_a_cancel_while_the_first_piece_is_awaited_stops_the_worker_too(
    autojump_clock: MockClock,
) -> None:
    async def thinking(talk: Talk) -> None:
        await talk.begin()
        assert isinstance(await talk.hear(), Cancel)
        await talk.settle(Outcome.CANCELLED, Reason.CANCELLED)

    async with scene(thinking) as stage:
        with trio.move_on_after(2):
            async with stage.client.chat("scripted", QUESTION):
                pytest.fail("there can be no answer")

        assert stage.paying().charged == 42
        await stage.agreed()


async def test_leaving_before_the_quote_asks_for_nothing_more(autojump_clock: MockClock) -> None:
    async def slow(talk: Talk) -> None:
        await trio.sleep(20)
        await talk.quote()

    async with scene(slow, slow) as stage:
        with trio.move_on_after(1):
            async with stage.client.chat("scripted", QUESTION):
                pytest.fail("there can be no answer")

        assert trio.current_time() == pytest.approx(1)
        assert sum(len(proxy.talks) for proxy in stage.proxies) == 1
        assert [account.held for account in stage.accounts.payees()] == [0]


async def test_leaving_while_no_proxy_is_known_takes_no_time(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        with trio.move_on_after(1):
            async with stage.client.chat("scripted", QUESTION):
                pytest.fail("there can be no answer")

        assert trio.current_time() == pytest.approx(1)


async def test_a_cancel_between_hello_and_accept_sends_no_word_of_the_request(
    autojump_clock: MockClock,
) -> None:
    async def deaf(talk: Talk) -> None:
        await talk.quote()
        await talk.hear()
        await talk.hear()

    async with scene(deaf) as stage:
        with trio.move_on_after(1):
            async with stage.client.chat("scripted", QUESTION):
                pytest.fail("there can be no answer")

        (talk,) = stage.proxy.talks
        assert [type(message) for message in talk.heard] == [Hello]
        assert stage.paying().held == 0


async def test_leaving_a_proxy_that_does_not_settle_is_bounded_and_the_money_stays_held(
    autojump_clock: MockClock,
) -> None:
    async with scene(endless(settles=False)) as stage:
        async with stage.client.chat("scripted", QUESTION) as answer:
            await anext(aiter(answer))

        assert trio.current_time() <= LEAVE_SECONDS
        assert answer.settlement is None
        assert stage.paying().held > 0


async def test_leaving_a_proxy_that_does_not_read_is_bounded(autojump_clock: MockClock) -> None:
    async def deaf(talk: Talk) -> None:
        await talk.begin()
        await talk.chunk("word ")
        stage.network.partition(talk.proxy.peer, talk.stream.peer)
        await trio.sleep_forever()

    async with scene(deaf) as stage:
        async with stage.client.chat("scripted", QUESTION) as answer:
            await anext(aiter(answer))

        assert trio.current_time() <= LEAVE_SECONDS


async def test_what_is_still_under_way_when_the_block_is_left_counts_until_it_is_booked(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    charge = PayingAccount.charge

    async def charge_slowly(
        account: PayingAccount, exchange: ExchangeId, amount: Nano, paper: Signed
    ) -> None:
        await trio.sleep(LEAVE_SECONDS + 5)
        await charge(account, exchange, amount, paper)

    monkeypatch.setattr(PayingAccount, "charge", charge_slowly)
    async with scene(endless()) as stage:
        asked = stage.client.chat("scripted", QUESTION)
        async with asked as answer:
            await anext(aiter(answer))

        assert stage.paying().charged == 0
        assert answer.cost <= asked.charged_max <= POLICY.max_cost
        await trio.sleep(10)
        assert asked.charged_max == answer.cost == stage.paying().charged > 0


async def test_leaving_after_the_last_piece_cancels_nothing(autojump_clock: MockClock) -> None:
    async def slow_to_bill(talk: Talk) -> None:
        await talk.begin()
        await talk.chunk("It.", final=True)
        await trio.sleep(2)
        await talk.settle()

    async with scene(slow_to_bill) as stage:
        async with stage.client.chat("scripted", QUESTION) as answer:
            await anext(aiter(answer))

        (talk,) = stage.proxy.talks
        assert [type(message) for message in talk.heard] == [Hello, Part]
        assert answer.settlement is not None
        assert answer.settlement.outcome is Outcome.COMPLETED
