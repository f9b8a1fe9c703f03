"""A user's own channel on a chain with real contracts: the user's wallet pays in, and gets the rest back."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import Refused, Unavailable
from cocoon_p2p.payments.chain import AccountSeen
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.treasury.funding import OPENING_COSTS
from cocoon_p2p.payments.wallet import Transfer
from cocoon_p2p.protocols.messages import Price
from cocoon_p2p.telegram.mini_app.orders import spell_order
from cocoon_p2p.telegram.mini_app.own_channel import NOTHING_PAID_IN, OwnChannel
from cocoon_p2p.testing.chain import LocalChain
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.testing.memory import MemoryNetwork
from cocoon_p2p.testing.overlay import PRICE
from cocoon_p2p.units import NANO_PER_TON, Nano
from tests.telegram.mini_app.scene import DELAY_SECONDS, GIVEN, UserWallet, World, open_world

CAPACITY = Nano(NANO_PER_TON)
FEES_MAX = 40_000_000
"Of two or three payments from a wallet that is deployed by the first, and of the contract's life."

HELLO = [{"role": "user", "content": "Hello"}]


@asynccontextmanager
async def at_home(world: World, wallet: UserWallet, user: int = 42) -> AsyncIterator[OwnChannel]:
    async with world.open_side(user, wallet.account) as side:
        yield OwnChannel(side)


async def pay(world: World, wallet: UserWallet, transfer: Transfer) -> None:
    order = spell_order(
        transfer,
        payer=wallet.account,
        global_id=world.chain.global_id,
        now=world.now(),
    )
    await wallet.send(order)


async def seen(channel: OwnChannel, holds: Callable[[OwnChannel], bool]) -> None:
    """Look until something holds, as a page does."""
    with trio.fail_after(3600):
        while not holds(channel):
            await trio.sleep(2.0)
            await channel.look()


async def buy(channel: OwnChannel) -> int:
    async with channel.chat("scripted", HELLO) as answer:
        assert await answer.read() == "Hello, world."
    return answer.cost


async def fund(world: World, wallet: UserWallet, channel: OwnChannel) -> None:
    left = channel.standing().left
    await pay(world, wallet, await channel.deposit(CAPACITY, "scripted"))
    await seen(channel, lambda one: one.standing().left > left and one.standing().is_taken)


async def test_a_users_wallet_pays_in_and_that_users_requests_are_paid_from_it(
    autojump_clock: MockClock,
) -> None:
    async with open_world() as world:
        wallet = world.wallet()
        async with at_home(world, wallet) as channel:
            before = channel.standing()
            with pytest.raises(Refused) as without:
                await buy(channel)

            await fund(world, wallet, channel)
            full = channel.standing()
            cost = await buy(channel)
            after = channel.standing()

    assert before == NOTHING_PAID_IN
    assert without.value.code == "no-credit"
    assert CAPACITY <= full.left <= CAPACITY + OPENING_COSTS
    assert cost > 0
    assert (after.spent, after.left) == (cost, full.left - cost)
    assert after.channel is not None


async def test_a_top_up_raises_what_is_left_without_a_second_contract(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        wallet = world.wallet()
        async with at_home(world, wallet) as channel:
            await fund(world, wallet, channel)
            first = channel.standing()
            await fund(world, wallet, channel)
            second = channel.standing()

    assert second.channel == first.channel
    assert 2 * CAPACITY <= second.left <= 2 * (CAPACITY + OPENING_COSTS)
    assert "stateInit" in wallet.sent[0]["messages"][0]
    assert "stateInit" not in wallet.sent[1]["messages"][0]


async def test_what_was_not_spent_comes_back_to_the_users_own_wallet(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        wallet = world.wallet()
        async with at_home(world, wallet) as channel:
            await fund(world, wallet, channel)
            cost = await buy(channel)

            await pay(world, wallet, await channel.close())
            await seen(channel, lambda one: one.standing() == NOTHING_PAID_IN)
            back = await wallet.balance()

    # All but the answer's cost and TON's own fees.
    assert GIVEN - cost - FEES_MAX < back < GIVEN - cost


async def test_who_has_closed_may_begin_again(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        wallet = world.wallet()
        async with at_home(world, wallet) as channel:
            await fund(world, wallet, channel)
            first = channel.standing().channel
            await pay(world, wallet, await channel.close())
            await seen(channel, lambda one: one.standing() == NOTHING_PAID_IN)
            await fund(world, wallet, channel)
            cost = await buy(channel)
            second = channel.standing()

    assert second.channel != first
    assert second.spent == cost


@pytest.mark.slow
async def test_the_users_wallet_closes_alone_when_the_proxy_is_gone(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        wallet = world.wallet()
        async with at_home(world, wallet) as channel:
            await fund(world, wallet, channel)
            world.lose_proxy()
            with pytest.raises(Unavailable):
                await channel.deposit(CAPACITY, "scripted")
            await pay(world, wallet, await channel.close_alone())
            await seen(channel, lambda one: one.standing().is_closing)
            with pytest.raises(Refused) as early:
                await channel.close_alone()
            with pytest.raises(Refused) as closing:
                await channel.deposit(CAPACITY, "scripted")
            await trio.sleep(DELAY_SECONDS + 60)
            await channel.look()

            await pay(world, wallet, await channel.close_alone())
            back = await wallet.balance()

    assert early.value.code == "early"
    assert early.value.retry_after is not None
    assert closing.value.code == "draining"
    assert GIVEN - FEES_MAX < back < GIVEN


@pytest.mark.slow
async def test_a_close_that_its_owner_does_not_finish_is_looked_at_seldom(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, account = 0, LocalChain.account

    async def counted(chain: LocalChain, of: AccountId) -> AccountSeen:
        nonlocal looks
        looks += of == contract
        return await account(chain, of)

    async with open_world() as world:
        wallet = world.wallet()
        async with at_home(world, wallet) as channel:
            await fund(world, wallet, channel)
            world.lose_proxy()
            start = await channel.close_alone()
            contract = start.to
            await pay(world, wallet, start)
            await seen(channel, lambda one: one.standing().is_closing)
            await trio.sleep(DELAY_SECONDS + 60)
            monkeypatch.setattr(LocalChain, "account", counted)
            await trio.sleep(DELAY_SECONDS)

    # Eight a delay by the payer's rounds, as many by the proxy's, and some in growing pauses.
    assert 0 < looks < 60


CHEAP = Price(prompt=1000, cached=500, completion=2000, reasoning=2000)


@asynccontextmanager
async def open_two_markets(first: ScriptedEngine, price: Price = PRICE) -> AsyncIterator[World]:
    """Stand a network up with one more proxy, which is known first."""
    async with MemoryNetwork() as links:
        world = World(links)
        async with world.market(first, "other-", price), world.market(ScriptedEngine()):
            yield world


async def test_nobody_is_asked_to_pay_a_proxy_that_does_not_sell_the_model(autojump_clock: MockClock) -> None:
    other = ScriptedEngine(models=[replace(ScriptedEngine().capabilities.models[0], name="other")])
    async with open_two_markets(other) as world:
        wallet = world.wallet()
        async with at_home(world, wallet) as channel:
            await fund(world, wallet, channel)
            cost = await buy(channel)

    assert cost > 0


async def test_a_side_that_was_opened_again_asks_the_proxy_that_has_the_money(
    autojump_clock: MockClock,
) -> None:
    async with open_world() as world:
        wallet = world.wallet()
        async with at_home(world, wallet) as channel:
            await fund(world, wallet, channel)
        async with (
            world.market(ScriptedEngine(), "other-", CHEAP),
            world.open_side(42, wallet.account) as side,
        ):
            with trio.fail_after(600):
                while len(await side.client.models()) < 2:  # noqa: ASYNC110  (each looks)
                    await trio.sleep(1.0)
            async with OwnChannel(side).chat("scripted", HELLO) as answer:
                await answer.read()
            accounts = side.accounts.payees()

    assert answer.attempts == 1
    assert len(accounts) == 1


async def test_a_side_that_was_closed_finds_its_users_money_again(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        wallet = world.wallet()
        async with at_home(world, wallet) as channel:
            await fund(world, wallet, channel)
            cost = await buy(channel)
        async with at_home(world, wallet) as channel:
            await seen(channel, lambda one: one.standing().is_taken)
            again = channel.standing()
            both = cost + await buy(channel)
            after = channel.standing()

    assert again.spent == cost
    assert after.spent == both
    assert after.left == again.left - (both - cost)


async def test_two_users_never_spend_each_others_money(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        rich, poor = world.wallet(b"R" * 32), world.wallet(b"S" * 32)
        async with at_home(world, rich, 1) as hers, at_home(world, poor, 2) as his:
            await fund(world, rich, hers)
            with pytest.raises(Refused) as refused:
                await buy(his)
            # The same wallet, shown by another Telegram user, is another channel.
            async with at_home(world, rich, 3) as other:
                await other.look()
                others = other.standing()
            left = hers.standing().left

    assert refused.value.code == "no-credit"
    assert others == NOTHING_PAID_IN
    assert left >= CAPACITY
