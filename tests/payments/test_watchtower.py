"""A watcher with nothing but vouchers, while the payee is away: real contracts, trio's clock."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.payments.chain import MessageRefused
from cocoon_p2p.payments.contract import ExitCode
from cocoon_p2p.payments.settlement import PayingAccount
from cocoon_p2p.payments.treasury.sight import Gone
from cocoon_p2p.payments.treasury.watched import Watched
from cocoon_p2p.payments.treasury.watchtower import (
    AGAIN_LAST_SECONDS,
    GONE_SECONDS,
    Claimed,
    Event,
    Failed,
    Looked,
    NotRead,
    WatchPolicy,
    Watchtower,
    interval,
)
from cocoon_p2p.units import Nano
from tests.payments.parties import PAYEE, PAYER
from tests.payments.vault import DELAY_SECONDS, PAYER_KEY, PAYOUT, Node, Town, meet, town, until

T = TypeVar("T")

QUARTER = DELAY_SECONDS / 4
OWED = 100_000_000
FEES_MAX = 5_000_000
"An external claim costs some 0.003 TON."


class Source:
    """A file of vouchers, for tests."""

    def __init__(self, *vouchers: Watched) -> None:
        self.vouchers: Iterable[Watched] | None = vouchers
        self.is_broken = False

    async def read(self) -> Iterable[Watched] | None:
        await trio.lowlevel.checkpoint()
        if self.is_broken:
            raise ConfigurationError("line 1: not a voucher")
        return self.vouchers


@dataclass
class Left:
    """A channel on which something is owed, and whose payee is gone."""

    town: Town
    payer: Node
    paying: PayingAccount
    vouchers: tuple[Watched, ...]
    "Oldest first."

    async def leave(self) -> None:
        """Begin to close alone."""
        await self.payer.treasury.start_close(self.paying)

    async def finish(self) -> None:
        """Let the delay pass on the chain's clock, and finish."""
        self.town.pass_time(DELAY_SECONDS + 1)
        await self.payer.treasury.attend(self.paying.channel)
        assert self.paying.backing.is_settled

    @property
    def payout(self) -> int:
        return self.town.balance(PAYOUT)


@asynccontextmanager
async def left(*amounts: int) -> AsyncIterator[Left]:
    async with town() as place, place.node(PAYER, key=PAYER_KEY) as payer:
        vouchers: list[Watched] = []
        async with place.node(PAYEE, key=None) as payee:
            both = await meet(place, payer, payee)
            await both.fund()
            for number, amount in enumerate(amounts, 1):
                await both.exchange(number, amount)
                voucher, deployment = both.receiving.voucher(), both.receiving.deployment
                assert voucher is not None
                assert deployment is not None
                vouchers.append(Watched(deployment, voucher))
        yield Left(place, payer, both.paying, tuple(vouchers))


class Watch:
    """A watchtower, and what it told."""

    def __init__(self, at: Left, source: Source | None = None, policy: WatchPolicy | None = None) -> None:
        self.events: list[Event] = []
        self.source = source or Source(*at.vouchers)
        self.tower = Watchtower(at.town.chain, self.source.read, policy or WatchPolicy(), self.events.append)

    def told(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.tower.run)
            yield
            nursery.cancel_scope.cancel()


# ---------------------------------------------------------------- when it claims


@pytest.mark.slow
async def test_a_payee_that_stays_away_loses_nothing_when_the_payer_closes_alone(
    autojump_clock: MockClock,
) -> None:
    async with left(OWED) as at:
        watch = Watch(at)
        async with watch.running():
            await at.leave()
            await until(lambda: bool(watch.told(Claimed)))
            await at.finish()

        assert [event.amount for event in watch.told(Claimed)] == [OWED]
        assert OWED - FEES_MAX < at.payout < OWED
        assert at.paying.backing.claimed == OWED


async def test_without_a_watcher_it_would_be_lost(autojump_clock: MockClock) -> None:
    async with left(OWED) as at:
        await at.leave()
        await at.finish()

        assert at.payout == 0


@pytest.mark.slow
async def test_nothing_is_claimed_before_the_payer_leaves(autojump_clock: MockClock) -> None:
    async with left(OWED) as at:
        watch = Watch(at)
        async with watch.running():
            await trio.sleep(DELAY_SECONDS / 4)

        assert watch.told(Claimed) == []
        assert {event.due for event in watch.told(Looked)} == {OWED}
        assert at.payout == 0


@pytest.mark.parametrize(("above", "is_claimed"), [(OWED, True), (OWED + 1, False)])
async def test_what_is_due_is_claimed_once_it_reaches_what_was_named(
    autojump_clock: MockClock, above: int, is_claimed: bool
) -> None:
    async with left(OWED) as at:
        watch = Watch(at, policy=WatchPolicy(above=Nano(above)))

        assert await watch.tower.once()

        assert (at.payout > 0) is is_claimed


@pytest.mark.slow
async def test_a_channel_is_looked_at_more_often_than_a_quarter_of_its_close_delay(
    autojump_clock: MockClock,
) -> None:
    async with left(OWED) as at:
        watch = Watch(at, policy=WatchPolicy(every_seconds=1e9))
        assert interval(at.vouchers[0], WatchPolicy(every_seconds=1e9)) < QUARTER
        async with watch.running():
            await trio.sleep(DELAY_SECONDS)

        assert len(watch.told(Looked)) > 4


async def test_the_best_voucher_is_claimed_in_whatever_order_they_come(autojump_clock: MockClock) -> None:
    async with left(OWED, OWED) as at:
        watch = Watch(at, Source(*reversed(at.vouchers)), WatchPolicy(above=Nano(1)))

        assert await watch.tower.once()

        assert [event.amount for event in watch.told(Claimed)] == [2 * OWED]


async def test_a_voucher_that_comes_while_the_payer_leaves_is_claimed_as_well(
    autojump_clock: MockClock,
) -> None:
    async with left(OWED, OWED) as at:
        source = Source(at.vouchers[0])
        watch = Watch(at, source)
        async with watch.running():
            await at.leave()
            await until(lambda: len(watch.told(Claimed)) == 1)
            source.vouchers = at.vouchers
            await until(lambda: len(watch.told(Claimed)) == 2)

        assert 2 * (OWED - FEES_MAX) < at.payout < 2 * OWED


# ---------------------------------------------------------------- what goes wrong


async def test_a_file_that_cannot_be_read_leaves_what_is_known(autojump_clock: MockClock) -> None:
    async with left(OWED) as at:
        watch = Watch(at)
        async with watch.running():
            await until(lambda: bool(watch.told(Looked)))
            watch.source.is_broken = True
            await at.leave()
            await until(lambda: bool(watch.told(Claimed)))

        assert watch.told(NotRead)
        assert at.payout > 0


async def test_a_voucher_that_vanishes_from_the_file_is_not_forgotten(autojump_clock: MockClock) -> None:
    async with left(OWED) as at:
        watch = Watch(at)
        async with watch.running():
            await until(lambda: bool(watch.told(Looked)))
            watch.source.vouchers = ()
            await at.leave()
            await until(lambda: bool(watch.told(Claimed)))

        assert at.payout > 0


@pytest.mark.slow
@pytest.mark.parametrize("how", ["is_down", "is_silent"])
async def test_a_chain_that_cannot_be_reached_for_most_of_the_delay_costs_nothing(
    autojump_clock: MockClock, how: str
) -> None:
    async with left(OWED) as at:
        await at.leave()
        watch = Watch(at)
        async with watch.running():
            setattr(at.town.chain, how, True)
            await trio.sleep(DELAY_SECONDS * 0.9)
            assert watch.told(Failed)
            setattr(at.town.chain, how, False)
            await until(lambda: bool(watch.told(Claimed)))

        assert at.payout > 0


async def test_once_says_when_the_chain_could_not_be_reached(autojump_clock: MockClock) -> None:
    async with left(OWED) as at:
        at.town.chain.is_down = True
        watch = Watch(at)

        assert not await watch.tower.once()
        assert isinstance(watch.told(Failed)[0].error, Unavailable)


async def test_a_claim_that_is_taken_and_lost_is_made_again(autojump_clock: MockClock) -> None:
    async with left(OWED) as at:
        await at.leave()
        at.town.chain.loses_messages = True
        watch = Watch(at)
        async with watch.running():
            await until(lambda: bool(watch.told(Failed)))
            at.town.chain.loses_messages = False
            await until(lambda: bool(watch.told(Claimed)))

        assert at.payout > 0


async def test_too_little_for_its_own_gas_is_told_and_not_tried_all_the_time(
    autojump_clock: MockClock,
) -> None:
    async with left(10_000_000) as at:
        await at.leave()
        watch = Watch(at)
        async with watch.running():
            await trio.sleep(600)

        errors = [event.error for event in watch.told(Failed)]
        assert [error.exit_code for error in errors if isinstance(error, MessageRefused)] == [
            ExitCode.FLOOR
        ] * len(errors)
        assert 1 <= len(errors) <= 600 / AGAIN_LAST_SECONDS + 1


@pytest.mark.slow
async def test_two_watchers_claim_once(autojump_clock: MockClock) -> None:
    async with left(OWED) as at:
        await at.leave()
        one, other = Watch(at), Watch(at)
        async with one.running(), other.running():
            await until(lambda: bool(one.told(Claimed) or other.told(Claimed)))
            await trio.sleep(DELAY_SECONDS / 8 + 60)

        assert [event.amount for event in (*one.told(Claimed), *other.told(Claimed))] == [OWED]


async def test_a_contract_that_is_gone_is_looked_at_for_an_hour_and_then_no_more(
    autojump_clock: MockClock,
) -> None:
    async with left(OWED) as at:
        await at.leave()
        await at.finish()
        watch = Watch(at, policy=WatchPolicy(every_seconds=600))
        async with watch.running():
            await trio.sleep(10 * GONE_SECONDS)

        assert {type(event.sight) for event in watch.told(Looked)} == {Gone}
        assert GONE_SECONDS / 600 <= len(watch.told(Looked)) <= GONE_SECONDS / 600 + 2
        assert at.payout == 0


async def test_a_voucher_for_another_life_of_the_contract_is_never_sent(autojump_clock: MockClock) -> None:
    async with left(OWED) as at:
        (watched,) = at.vouchers
        older = replace(watched, voucher=replace(watched.voucher, epoch=watched.voucher.epoch - 1))
        await at.leave()
        sent = len(at.town.chain.sent)
        watch = Watch(at, Source(older))
        async with watch.running():
            await trio.sleep(600)

        assert len(at.town.chain.sent) == sent
