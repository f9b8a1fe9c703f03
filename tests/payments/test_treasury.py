"""What a node does on the chain by itself: real contracts, wallets and blocks, on trio's clock."""

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import Refused
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.payments.contract import AccountId, capacity
from cocoon_p2p.payments.treasury.funding import FundingPolicy
from cocoon_p2p.payments.treasury.rounds import TELL_SECONDS, ClaimPolicy
from cocoon_p2p.payments.treasury.sight import CLAIM_COSTS, CLAIM_COSTS_SHARE
from cocoon_p2p.protocols.messages import ExchangeId
from cocoon_p2p.units import NANO_PER_TON, Nano
from tests.payments.parties import receipt
from tests.payments.vault import CAPACITY, DELAY_SECONDS, GIVEN, PAYOUT, pair, until

FEES_MAX = NANO_PER_TON // 10
"More than any of these stories costs."


async def test_a_channel_is_funded_and_both_sides_see_it(autojump_clock: MockClock) -> None:
    async with pair() as both:
        await both.fund()

        assert trio.current_time() < TELL_SECONDS
        assert CAPACITY <= both.paying.capacity == both.receiving.capacity
        assert both.paying.capacity == capacity(both.paying.backing.deposit)
        assert both.town.audited() == ()


async def test_a_closed_channel_pays_the_payee_and_gives_the_payer_the_rest(
    autojump_clock: MockClock,
) -> None:
    async with pair() as both:
        await both.fund()
        await both.exchange(1, 300_000_000)
        payee_wallet = both.payee.treasury.wallet
        payer_wallet = both.payer.treasury.wallet
        assert payee_wallet is not None
        assert payer_wallet is not None

        await both.paying.close()
        await both.settled()

        # Its storage costs the wallet a few nanoTON.
        assert GIVEN + 300_000_000 - 100 < both.town.balance(payee_wallet) <= GIVEN + 300_000_000
        assert GIVEN - 300_000_000 - FEES_MAX < both.town.balance(payer_wallet) < GIVEN - 300_000_000
        assert both.town.balance(AccountId(both.paying.channel)) == 0
        assert both.town.audited() == ()


async def test_without_a_deposit_only_the_grant_can_be_owed(autojump_clock: MockClock) -> None:
    async with pair(grant=Nano(1000)) as both:
        await both.exchange(1, 1000)

        with pytest.raises(Refused) as caught:
            await both.exchange(2, 1)

        assert caught.value.code == "no-credit"


async def test_a_channel_is_opened_by_itself_once_enough_was_earned_on_grant(
    autojump_clock: MockClock,
) -> None:
    policy = FundingPolicy(CAPACITY, open_after=Nano(500))
    async with pair(grant=Nano(1000), funding=policy) as both:
        await both.exchange(1, 499)
        await trio.sleep(100)
        assert not both.paying.backing.epoch

        await both.exchange(2, 1)
        await until(lambda: both.receiving.backing.epoch > 0)

        await both.exchange(3, 10_000)
        assert both.receiving.vouchered() >= 9_500


async def test_a_channel_that_runs_dry_is_topped_up_before_it_does(autojump_clock: MockClock) -> None:
    policy = FundingPolicy(CAPACITY, open_after=Nano(0))
    async with pair(grant=Nano(1000), funding=policy) as both:
        await until(lambda: both.paying.capacity >= CAPACITY)
        await both.exchange(1, CAPACITY * 4 // 5)
        await until(lambda: both.paying.capacity >= 2 * CAPACITY)

        assert both.paying.capacity < 3 * CAPACITY
        assert both.town.audited() == ()


async def test_a_payee_without_a_wallet_claims_what_is_worth_it(autojump_clock: MockClock) -> None:
    async with pair(payee_key=None, claims=ClaimPolicy(above=Nano(200_000_000))) as both:
        await both.fund()
        await both.exchange(1, 150_000_000)
        await trio.sleep(100)
        assert both.town.balance(PAYOUT) == 0

        await both.exchange(2, 50_000_000)
        with trio.fail_after(60):
            await until(lambda: both.receiving.backing.claimed > 0)

        assert both.receiving.backing.claimed == 200_000_000
        assert 200_000_000 - FEES_MAX < both.town.balance(PAYOUT) < 200_000_000
        assert both.town.audited() == ()


@pytest.mark.slow
async def test_what_is_due_is_collected_after_a_while_if_it_is_worth_its_fees(
    autojump_clock: MockClock,
) -> None:
    async with pair(claims=ClaimPolicy(after_seconds=3 * 24 * 3600)) as both:
        await both.fund()
        await both.exchange(1, CLAIM_COSTS * CLAIM_COSTS_SHARE - 1)
        await trio.sleep(3 * 24 * 3600 + 2 * DELAY_SECONDS)
        assert both.receiving.backing.claimed == 0

        await both.exchange(2, 1)
        await trio.sleep(3 * 24 * 3600 + 2 * DELAY_SECONDS)

        assert both.receiving.backing.claimed == CLAIM_COSTS * CLAIM_COSTS_SHARE
        assert both.town.audited() == ()


async def test_before_it_goes_away_a_payee_claims_what_is_worth_it_and_no_channel_closes(
    autojump_clock: MockClock,
) -> None:
    async with pair(claims=ClaimPolicy(leaving_above=Nano(100_000_000))) as both:
        await both.fund()
        await both.exchange(1, 99_999_999)
        await both.payee.treasury.leave()
        assert both.receiving.backing.claimed == 0

        await both.exchange(2, 1)
        await both.payee.treasury.leave()

        assert both.receiving.backing.claimed == 100_000_000
        assert both.paying.phase is Phase.OPEN
        assert both.town.audited() == ()


async def test_who_does_not_want_it_claims_nothing_for_going_away(autojump_clock: MockClock) -> None:
    async with pair() as both:
        await both.fund()
        await both.exchange(1, 900_000_000)

        await both.payee.treasury.leave()

        assert both.receiving.backing.claimed == 0


async def test_a_payee_claims_when_the_payer_leaves(autojump_clock: MockClock) -> None:
    async with pair(payee_key=None) as both:
        await both.fund()
        await both.exchange(1, 100_000_000)
        await both.payer.treasury.start_close(both.paying)
        assert both.paying.phase is Phase.DRAINING

        await both.settled()

        assert both.receiving.backing.claimed == 100_000_000
        assert 100_000_000 - FEES_MAX < both.town.balance(PAYOUT) < 100_000_000
        assert both.town.audited() == ()


async def test_a_payer_whose_payee_is_gone_gets_its_deposit_back_after_the_delay(
    autojump_clock: MockClock,
) -> None:
    async with pair() as both:
        await both.fund()
        await both.exchange(1, 100_000_000)
        both.town.network.crash(both.payee.identity.peer_id)
        wallet = both.payer.treasury.wallet
        assert wallet is not None
        before = both.town.balance(wallet)

        await both.payer.treasury.start_close(both.paying)
        await until(lambda: both.paying.backing.is_settled)

        assert trio.current_time() > DELAY_SECONDS
        assert both.town.balance(wallet) > before + CAPACITY - 100_000_000 - FEES_MAX


async def test_a_claim_leaves_the_payer_what_it_has_only_covered_ahead(autojump_clock: MockClock) -> None:
    async with pair(claims=ClaimPolicy(above=Nano(100_000_000))) as both:
        await both.fund()
        await both.exchange(1, 200_000_000)
        # A window ahead of an exchange that comes to nothing.
        window = ExchangeId(b"w" * 16)
        both.paying.hold(window, Nano(150_000_000))
        await until(lambda: both.receiving.vouchered() == 350_000_000)
        both.paying.release(window)
        await until(lambda: both.receiving.backing.claimed > 0)
        await both.paying.close()
        await both.settled()

        assert both.paying.backing.claimed == both.receiving.backing.claimed == 200_000_000
        assert both.town.audited() == ()


async def test_once_the_payer_leaves_what_is_owed_is_collected_even_if_more_was_promised(
    autojump_clock: MockClock,
) -> None:
    async with pair() as both:
        await both.fund()
        window = ExchangeId(b"w" * 16)
        both.paying.hold(window, Nano(150_000_000))
        await until(lambda: both.receiving.vouchered() == 150_000_000)
        paper = receipt(window, 100_000_000)
        await both.receiving.charge(window, Nano(100_000_000), paper)
        await both.paying.charge(window, Nano(100_000_000), paper)
        await both.payer.treasury.start_close(both.paying)
        await both.settled()

        assert both.receiving.backing.claimed == 150_000_000
