"""Putting money into channels and closing them, as a node is asked to: real contracts, trio's clock."""

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import ConfigurationError, Refused, Unavailable
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.overview import ALL, ANY, ChannelView, Close, Deeds, Fund
from cocoon_p2p.overview.deeds import AGREE_SECONDS, CAPACITY_MAX
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.units import NANO_MAX
from tests.payments.parties import PAYEE, PAYER
from tests.payments.vault import (
    CAPACITY,
    DELAY_SECONDS,
    PAYEE_KEY,
    PAYER_KEY,
    Node,
    Pair,
    meet,
    pair,
    town,
    until,
)

FEES_MAX = 100_000_000


def deeds_of(node: Node) -> Deeds:
    return Deeds(node.store, node.accounts, node.treasury)


class Told(list[ChannelView]):
    """What a feed said."""

    async def say(self, view: ChannelView) -> None:
        await trio.lowlevel.checkpoint()
        self.append(view)


async def fund(both: Pair, to: str, capacity: int = CAPACITY) -> Told:
    told = Told()
    await deeds_of(both.payer).fund(Fund(to, capacity), told.say)
    return told


async def close(node: Node, request: Close) -> Told:
    told = Told()
    await deeds_of(node).close(request, told.say)
    return told


# ---------------------------------------------------------------- money in


async def test_a_payee_is_funded_by_its_peer_id_and_each_step_is_told(autojump_clock: MockClock) -> None:
    async with pair() as both:
        told = await fund(both, peer_id_text(PAYEE.peer_id))

        assert [view.deposit_nano > 0 for view in told] == [False, True, True]
        assert [view.capacity_nano >= CAPACITY for view in told] == [False, False, True]
        assert told[-1].channel == both.paying.channel.hex()
        assert told[-1].address is not None
        assert told[-1].address.startswith("kQ")


async def test_a_channel_is_topped_up_by_the_first_digits_of_its_id(autojump_clock: MockClock) -> None:
    async with pair() as both:
        await both.fund()

        told = await fund(both, both.paying.channel.hex()[:6])

        assert told[-1].capacity_nano >= 2 * CAPACITY


async def test_a_deposit_that_the_payee_does_not_see_in_time_is_told_of_all_the_same(
    autojump_clock: MockClock,
) -> None:
    async with pair() as both:
        both.town.network.crash(PAYEE.peer_id)

        told = await fund(both, both.paying.channel.hex())

        assert told[-1].deposit_nano > CAPACITY
        assert told[-1].capacity_nano == 0


@pytest.mark.parametrize("capacity", [0, -1, CAPACITY_MAX + 1, NANO_MAX + 1])
async def test_an_amount_that_cannot_be_is_wrong_usage(autojump_clock: MockClock, capacity: int) -> None:
    async with pair() as both:
        with pytest.raises(ConfigurationError, match="not an amount"):
            await fund(both, both.paying.channel.hex(), capacity)


async def test_more_than_the_wallet_has_is_refused_and_can_be_tried_again(
    autojump_clock: MockClock,
) -> None:
    async with pair() as both:
        with pytest.raises(Refused):
            await fund(both, both.paying.channel.hex(), CAPACITY_MAX)

        assert (await fund(both, both.paying.channel.hex()))[-1].capacity_nano >= CAPACITY


async def test_a_channel_that_closes_takes_no_money(autojump_clock: MockClock) -> None:
    async with pair() as both:
        await both.fund()
        await both.payer.treasury.start_close(both.paying)

        with pytest.raises(Refused, match="no more goes in"):
            await fund(both, both.paying.channel.hex())


async def test_who_is_paid_through_a_channel_cannot_fund_it(autojump_clock: MockClock) -> None:
    async with pair() as both:
        with pytest.raises(ConfigurationError, match="we do not pay through"):
            await deeds_of(both.payee).fund(Fund(both.paying.channel.hex(), CAPACITY), Told().say)


async def test_a_node_without_a_chain_says_so(autojump_clock: MockClock) -> None:
    async with pair() as both:
        deeds = Deeds(both.payer.store, both.payer.accounts, None)

        with pytest.raises(ConfigurationError, match="uses no chain"):
            await deeds.fund(Fund(both.paying.channel.hex(), CAPACITY), Told().say)


async def test_a_first_deposit_is_put_into_a_channel_once(autojump_clock: MockClock) -> None:
    async with pair() as both:
        first = Fund(peer_id_text(PAYEE.peer_id), CAPACITY, is_first=True)
        await deeds_of(both.payer).fund(first, Told().say)

        with pytest.raises(ConfigurationError, match="there is a channel"):
            await deeds_of(both.payer).fund(first, Told().say)

        assert both.paying.capacity < 2 * CAPACITY


async def test_a_first_deposit_that_was_interrupted_is_found_and_not_put_in_again(
    autojump_clock: MockClock,
) -> None:
    async with pair() as both:
        first = Fund(peer_id_text(PAYEE.peer_id), CAPACITY, is_first=True)
        both.town.chain.delay_seconds = 1
        with trio.move_on_after(7.5) as hung_up:
            await deeds_of(both.payer).fund(first, Told().say)
        assert hung_up.cancelled_caught
        assert both.town.chain.sent

        with pytest.raises(ConfigurationError, match="there is a channel"):
            await deeds_of(both.payer).fund(first, Told().say)

        assert both.paying.backing.deposit < 2 * CAPACITY


async def test_a_node_that_does_not_choose_whom_to_pay_is_to_be_told(autojump_clock: MockClock) -> None:
    async with pair() as both:
        with pytest.raises(ConfigurationError, match="does not choose"):
            await fund(both, ANY)


# ---------------------------------------------------------------- closing


async def test_before_anything_is_signed_for_a_close_the_payee_is_connected_to(
    autojump_clock: MockClock,
) -> None:
    async def fail(_payee: PeerId) -> None:
        await trio.lowlevel.checkpoint()
        raise Unavailable("no road leads there")

    async with pair() as both:
        await both.fund()
        both.town.network.crash(PAYEE.peer_id)
        await until(lambda: not both.paying.is_connected)
        deeds = deeds_of(both.payer)
        deeds.connect = fail

        with pytest.raises(Unavailable, match="no road leads there") as caught:
            await deeds.close(Close(both.paying.channel.hex()), Told().say)

        assert "close alone" in caught.value.hint
        assert (both.paying.phase, both.paying.terms_until) == (Phase.OPEN, None)


async def test_a_payee_that_does_not_answer_a_close_is_not_waited_for_without_end(
    autojump_clock: MockClock,
) -> None:
    async with pair() as both:
        await both.fund()
        both.town.network.crash(PAYEE.peer_id)

        with pytest.raises(Unavailable, match="has not agreed"):
            await close(both.payer, Close(both.paying.channel.hex()))

        assert trio.current_time() < AGREE_SECONDS + 10


async def test_a_close_is_told_of_when_it_is_agreed_and_when_everybody_was_paid(
    autojump_clock: MockClock,
) -> None:
    async with pair() as both:
        await both.fund()
        await both.exchange(1, 300_000_000)

        told = await close(both.payer, Close(both.paying.channel.hex(), wait="settled"))

        assert [(view.phase, view.is_settled) for view in told] == [("closed", False), ("closed", True)]
        assert told[-1].claimed_nano == 300_000_000


async def test_a_payee_closes_too(autojump_clock: MockClock) -> None:
    async with pair() as both:
        await both.fund()
        await both.exchange(1, 300_000_000)

        told = await close(both.payee, Close(ALL, wait="settled"))

        assert told[-1].is_settled
        assert both.receiving.backing.claimed == 300_000_000


async def test_closing_a_settled_channel_again_tells_how_it_ended(autojump_clock: MockClock) -> None:
    async with pair() as both:
        await both.fund()
        await close(both.payer, Close(ALL, wait="settled"))
        # Its terms lapse, and the account is forgotten.
        await trio.sleep(3 * 3600)
        assert both.payer.accounts.payees() == ()

        (view,) = await close(both.payer, Close(both.paying.channel.hex()[:4], wait="settled"))

        assert view.is_settled
        assert await close(both.payer, Close(ALL)) == []


async def test_a_payer_whose_payee_is_gone_begins_alone_and_finishes_when_it_asks_again(
    autojump_clock: MockClock,
) -> None:
    async with pair() as both:
        await both.fund()
        await both.exchange(1, 100_000_000)
        both.town.network.crash(PAYEE.peer_id)
        request = Close(both.paying.channel.hex(), alone=True)

        (begun,) = await close(both.payer, request)
        assert begun.close_at > both.payer.treasury.now() + DELAY_SECONDS - 60
        assert not begun.is_settled
        both.town.pass_time(DELAY_SECONDS + 1)
        await both.payer.treasury.attend(both.paying.channel)
        (done,) = await close(both.payer, request)

        assert done.is_settled
        assert done.deposit_nano - done.claimed_nano >= CAPACITY - 100_000_000


@pytest.mark.long
async def test_waiting_for_a_close_alone_ends_soon_after_the_delay(autojump_clock: MockClock) -> None:
    async with pair() as both:
        await both.fund()
        both.town.network.crash(PAYEE.peer_id)

        told = await close(both.payer, Close(both.paying.channel.hex(), alone=True, wait="settled"))

        assert told[-1].is_settled
        assert DELAY_SECONDS < trio.current_time() < DELAY_SECONDS + 120


@pytest.mark.long
async def test_who_waits_for_a_close_alone_bears_a_chain_that_is_away_meanwhile(
    autojump_clock: MockClock,
) -> None:
    async with pair() as both, trio.open_nursery() as nursery:
        await both.fund()
        both.town.network.crash(PAYEE.peer_id)
        nursery.start_soon(close, both.payer, Close(ALL, alone=True, wait="settled"))
        await until(lambda: both.paying.backing.close_at > 0)

        both.town.chain.is_down = True
        await trio.sleep(DELAY_SECONDS)
        both.town.chain.is_down = False


async def test_only_who_pays_can_close_alone(autojump_clock: MockClock) -> None:
    async with pair() as both:
        await both.fund()

        with pytest.raises(ConfigurationError, match="only who pays"):
            await close(both.payee, Close(both.paying.channel.hex(), alone=True))


async def test_a_channel_that_nobody_funded_closes_without_the_chain(autojump_clock: MockClock) -> None:
    async with pair() as both:
        (settled,) = await close(both.payer, Close(both.paying.channel.hex(), wait="settled"))

        assert settled.is_settled
        await until(lambda: both.receiving.backing.is_settled)
        assert both.town.audited() == ()


async def test_after_a_restart_nothing_begins_on_a_channel_that_is_being_left(
    autojump_clock: MockClock,
) -> None:
    async with town() as place, place.node(PAYEE, key=PAYEE_KEY) as payee:
        async with place.node(PAYER, key=PAYER_KEY) as payer:
            both = await meet(place, payer, payee)
            await both.fund()
            left = both.paying.channel
            await close(payer, Close(left.hex(), alone=True))
        async with place.node(PAYER, key=PAYER_KEY) as payer:
            await place.dial()
            account = await payer.accounts.paying(PAYEE.peer_id, capacity=CAPACITY)

            assert account.channel != left
            await deeds_of(payer).fund(Fund(account.channel.hex(), CAPACITY), Told().say)
            assert account.capacity >= CAPACITY


async def test_nothing_is_taken_back_from_a_channel_that_nobody_funded(autojump_clock: MockClock) -> None:
    async with pair() as both:
        with pytest.raises(Refused, match="nothing to take back"):
            await close(both.payer, Close(both.paying.channel.hex(), alone=True, wait="settled"))


async def test_of_several_channels_one_that_fails_keeps_none_of_the_others(
    autojump_clock: MockClock,
) -> None:
    async with pair() as both:
        await both.fund()
        await both.paying.dispute("they lie")
        told = Told()

        with pytest.raises(Refused, match="stopped"):
            await deeds_of(both.payer).close(Close(ALL), told.say)

        assert both.paying.phase is Phase.STOPPED


async def test_a_close_alone_while_the_chain_is_down_says_so(autojump_clock: MockClock) -> None:
    async with pair() as both:
        await both.fund()
        both.town.chain.is_down = True

        with pytest.raises(Unavailable, match="cannot be reached"):
            await close(both.payer, Close(both.paying.channel.hex(), alone=True))


@pytest.mark.slow
async def test_hanging_up_leaves_a_close_to_be_gone_on_with(autojump_clock: MockClock) -> None:
    async with pair() as both:
        await both.fund()
        with trio.move_on_after(1):
            await close(both.payer, Close(both.paying.channel.hex(), alone=True, wait="settled"))
        assert not both.paying.backing.is_settled

        await until(lambda: both.paying.backing.is_settled)


async def test_a_payment_under_way_when_the_asker_hung_up_is_not_made_twice(
    autojump_clock: MockClock,
) -> None:
    async with pair() as both:
        both.town.chain.delay_seconds = 1
        with trio.move_on_after(4.5) as hung_up:
            await fund(both, both.paying.channel.hex())
        assert hung_up.cancelled_caught
        await both.payer.treasury.attend(both.paying.channel)

        told = await fund(both, both.paying.channel.hex())

        assert 2 * CAPACITY <= told[-1].capacity_nano < 3 * CAPACITY
