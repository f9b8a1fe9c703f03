"""What goes wrong around a treasury: servers that lag, hang or lie, strangers, limits, and late news."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import Refused, Unavailable
from cocoon_p2p.identity import Identity
from cocoon_p2p.payments.chain import AccountSeen, Transaction
from cocoon_p2p.payments.contract import AccountId, deposit_for
from cocoon_p2p.payments.devchain import DevChain
from cocoon_p2p.payments.settlement import PayingAccount
from cocoon_p2p.payments.treasury.funding import FundingPolicy
from cocoon_p2p.payments.treasury.lookout import AT_ONCE_MAX, LOOK_SECONDS, NOTICE_SECONDS
from cocoon_p2p.payments.treasury.rounds import ClaimPolicy, Treasury
from cocoon_p2p.payments.wallet import WalletKey
from cocoon_p2p.payments.wallet.spending import Purse
from cocoon_p2p.payments.wallet.sweeping import SweepPolicy, sweep
from cocoon_p2p.testing.chain import LocalChain
from cocoon_p2p.units import NANO_PER_TON, Nano
from tests.payments.parties import PAYEE, PAYER
from tests.payments.vault import (
    CAPACITY,
    DELAY_SECONDS,
    GIVEN,
    PAYEE_KEY,
    PAYER_KEY,
    PAYOUT,
    Estate,
    Node,
    Town,
    meet,
    pair,
    town,
    until,
)
from tests.payments.wallets import NOW, STRANGER, Fuse, FusedChain, begun, crash

DAY = 24 * 3600.0
OTHERS = tuple(Identity.from_seed(bytes([number]) * 32) for number in range(100, 100 + AT_ONCE_MAX))


class OddChain(LocalChain):
    """A chain that one node sees in its own way.

    Attributes:
        hidden: Accounts of which it is told as it was when they were hidden.
        mute: Accounts of which nothing is told, ever.
        forgets_after: The logical time of the last transaction that it knows.
        looks: How often each account was looked at.
    """

    def __init__(self, devchain: DevChain) -> None:
        super().__init__(devchain)
        self.hidden: dict[AccountId, AccountSeen] = {}
        self.mute: set[AccountId] = set()
        self.forgets_after = 1 << 64
        self.looks: dict[AccountId, int] = {}

    async def hide(self, account: AccountId) -> None:
        self.hidden[account] = await self.account(account)

    async def account(self, account: AccountId) -> AccountSeen:
        self.looks[account] = self.looks.get(account, 0) + 1
        if account in self.mute:
            await trio.sleep_forever()
        seen = await super().account(account)
        return replace(self.hidden[account], at=seen.at) if account in self.hidden else seen

    async def transactions(self, account: AccountId, *, since_lt: int = 0) -> Sequence[Transaction]:
        past = await super().transactions(account, since_lt=since_lt)
        return [one for one in past if one.lt <= self.forgets_after]


async def offer_to_others(place: Town, payer: Node) -> list[PayingAccount]:
    """Have a payer offer channels to many who go away again."""
    accounts: list[PayingAccount] = []
    for other in OTHERS:
        place.estates[other.peer_id] = Estate()
        async with place.node(other, key=None, grant=Nano(100)):
            addresses = place.network.transports[other.peer_id].addresses
            await place.network.transports[PAYER.peer_id].dial(addresses)
            accounts.append(await payer.accounts.paying(other.peer_id, capacity=Nano(0)))
    return accounts


# ---------------------------------------------------------------- whose turn it is


async def test_contracts_that_no_server_tells_of_keep_no_other_waiting(autojump_clock: MockClock) -> None:
    async with town() as place:
        place.chain = odd = OddChain(place.devchain)
        async with place.node(PAYER, key=PAYER_KEY) as payer, place.node(PAYEE, key=None) as payee:
            for account in await offer_to_others(place, payer):
                odd.mute.add(AccountId(account.channel))
                payer.treasury.look_soon(account.channel)
            both = await meet(place, payer, payee)
            await trio.sleep(1)

            with trio.fail_after(3 * LOOK_SECONDS):
                await both.fund()


@pytest.mark.slow
async def test_while_a_chain_is_down_retries_do_not_multiply(autojump_clock: MockClock) -> None:
    async with pair() as both:
        await both.fund()
        counted = LookCounter(both.town.chain)
        both.payer.treasury._lookout.chain = counted
        both.town.chain.is_down = True

        await trio.sleep(2 * DAY)
        looks, counted.looks = counted.looks, 0
        both.town.chain.is_down = False
        await trio.sleep(DAY)

        # One every five minutes at most; afterwards one a round.
        assert looks <= 2 * DAY / 300 + 20
        assert counted.looks <= 30


class LookCounter(FusedChain):
    def __init__(self, chain: LocalChain) -> None:
        super().__init__(chain, Fuse(1 << 60, crash))
        self.looks = 0

    async def account(self, account: AccountId) -> AccountSeen:
        self.looks += 1
        return await super().account(account)


async def test_a_channel_that_is_asked_for_without_end_is_looked_at_by_one_task(
    autojump_clock: MockClock,
) -> None:
    async with pair() as both:
        await both.fund()
        both.town.chain.delay_seconds = 10
        counted = LookCounter(both.town.chain)
        both.payee.treasury._lookout.chain = counted

        for _ in range(1000):
            both.payee.treasury.look_soon(both.receiving.channel)
            await trio.sleep(0.1)

        assert counted.looks <= 11
        assert trio.lowlevel.current_statistics().tasks_living < 100


async def test_nothing_is_kept_of_strangers_that_were_looked_for(autojump_clock: MockClock) -> None:
    async with pair() as both:
        treasury = both.payee.treasury
        for number in range(100):
            await treasury.attend(type(both.paying.channel)(bytes([number]) * 32))
            treasury.look_soon(type(both.paying.channel)(bytes([number]) * 32))
        await trio.sleep(1)

        assert treasury._locks == {}
        assert treasury._due == {}
        assert treasury._failures == {}


# ---------------------------------------------------------------- deposits


@pytest.mark.slow
@pytest.mark.parametrize(
    "limits",
    [{"channels_max": 2}, {"deposits_max": Nano(2 * deposit_for(CAPACITY) + 100)}],
    ids=["channels", "deposits"],
)
async def test_channels_that_are_opened_at_once_stay_within_the_limits(
    limits: dict[str, int], autojump_clock: MockClock
) -> None:
    async with town() as place:
        place.chain.delay_seconds = 1
        policy = FundingPolicy(CAPACITY, open_after=Nano(0), **limits)  # type: ignore[arg-type]
        async with place.node(PAYER, key=PAYER_KEY, funding=policy) as payer:
            await offer_to_others(place, payer)
            await trio.sleep(DAY / 4)

            opened = [one for one in payer.accounts.payees() if one.backing.epoch]
            assert len(opened) == 2
            assert len(place.sent_by(payer.treasury.wallet or STRANGER)) == 2


async def test_nothing_is_put_into_a_channel_that_closes(autojump_clock: MockClock) -> None:
    async with pair() as both:
        await both.fund()
        await both.payer.treasury.start_close(both.paying)

        with pytest.raises(Refused) as caught:
            await both.payer.treasury.fund(both.paying, CAPACITY)

        assert caught.value.code == "draining"


@pytest.mark.slow
async def test_a_deposit_that_a_contract_sends_back_is_said_once_and_not_made_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The contract finds out, as both believe to be elsewhere.
    monkeypatch.setattr(Treasury, "global_id", -3)
    policy = FundingPolicy(CAPACITY, open_after=Nano(0))
    async with town() as place:
        async with (
            place.node(PAYER, key=PAYER_KEY, funding=policy) as payer,
            place.node(PAYEE, key=PAYEE_KEY) as payee,
        ):
            both = await meet(place, payer, payee)
            await trio.sleep(DAY)

            with pytest.raises(Refused, match="sent the deposit back"):
                await payer.treasury.fund(both.paying, CAPACITY)
            assert payer.treasury._failures == {}
        async with place.node(PAYER, key=PAYER_KEY, funding=policy) as payer:
            await trio.sleep(DAY)

            assert payer.treasury.wallet is not None
            assert len(place.sent_by(payer.treasury.wallet)) == 1
            assert place.balance(payer.treasury.wallet) > GIVEN - NANO_PER_TON // 20


async def test_a_top_up_that_comes_too_late_keeps_no_channel_from_its_end(autojump_clock: MockClock) -> None:
    async with town() as place, place.node(PAYEE, key=PAYEE_KEY) as payee:
        async with place.node(PAYER, key=PAYER_KEY) as payer:
            both = await meet(place, payer, payee)
            await both.fund()
            row = place.estates[PAYER.peer_id].disk.copy()
            await both.paying.close()
            await both.settled()
        # A ledger that knows of a payment on its way, and not yet of the end.
        paid = (0).to_bytes(8) + CAPACITY.to_bytes(8)
        place.estates[PAYER.peer_id].disk = row
        row.notes["funding/" + both.paying.channel.hex()] = paid
        async with place.node(PAYER, key=PAYER_KEY) as payer:
            (account,) = payer.accounts.payees()
            await until(lambda: account.backing.is_settled)

            assert trio.current_time() < 600
            assert row.notes.keys() == {"chain/seen"}


async def test_a_payee_whose_servers_are_behind_is_told_of_the_deposit_again(
    autojump_clock: MockClock,
) -> None:
    async with town() as place:
        usual = place.chain
        async with place.node(PAYER, key=PAYER_KEY) as payer:
            place.chain = odd = OddChain(place.devchain)
            async with place.node(PAYEE, key=PAYEE_KEY) as payee:
                place.chain = usual
                both = await meet(place, payer, payee)
                await odd.hide(AccountId(both.paying.channel))
                await payer.treasury.fund(both.paying, CAPACITY)
                await trio.sleep(20)
                assert both.paying.capacity == 0
                odd.hidden.clear()

                await until(lambda: both.paying.capacity >= CAPACITY)

                assert trio.current_time() < 60


# ---------------------------------------------------------------- sights


async def test_a_server_that_is_behind_an_earlier_life_shows_no_contract_as_gone(
    autojump_clock: MockClock,
) -> None:
    async with town() as place:
        async with place.node(PAYER, key=PAYER_KEY) as payer, place.node(PAYEE, key=PAYEE_KEY) as payee:
            both = await meet(place, payer, payee)
            await trio.sleep(1000)
            await both.fund()
        place.chain = LocalChain(DevChain(now=NOW))
        async with place.node(PAYER, key=PAYER_KEY) as payer:
            (account,) = payer.accounts.payees()
            await trio.sleep(60)
            assert not account.backing.is_settled

            with pytest.raises(Unavailable, match="behind"):
                await payer.treasury.attend(account.channel)


async def test_what_time_it_is_the_chain_says(autojump_clock: MockClock) -> None:
    async with pair() as both:
        await both.fund()
        both.town.pass_time(int(5 * DAY))
        assert both.payer.treasury.now() < NOW + DAY

        await both.payer.treasury.attend(both.paying.channel)
        await both.payee.treasury.attend(both.paying.channel)
        await both.paying.close()
        await both.settled()

        assert abs(both.payer.treasury.now() - both.town.devchain.now) < 60


async def test_the_last_notice_of_a_contract_is_waited_for(autojump_clock: MockClock) -> None:
    async with town() as place:
        usual = place.chain
        async with place.node(PAYER, key=PAYER_KEY) as payer:
            place.chain = odd = OddChain(place.devchain)
            async with place.node(PAYEE, key=PAYEE_KEY, claims=ClaimPolicy(above=Nano(200_000_000))) as payee:
                place.chain = usual
                both = await meet(place, payer, payee)
                await both.fund()
                await both.exchange(1, 300_000_000)
                await until(lambda: both.receiving.backing.claimed == 300_000_000)
                await both.exchange(2, 100_000_000)
                # Many looks that failed before say nothing about the notice.
                payee.treasury._failures[both.paying.channel] = 9
                odd.forgets_after = (await usual.account(AccountId(both.paying.channel))).last_lt + 10
                await both.paying.close()
                payee.treasury.look_soon(both.receiving.channel)
                await trio.sleep(NOTICE_SECONDS / 3)
                assert not both.receiving.backing.is_settled
                odd.forgets_after = 1 << 64

                await both.settled()

                assert both.receiving.backing.claimed == 400_000_000
                assert place.audited() == ()


# ---------------------------------------------------------------- ends


async def test_a_payee_hands_the_terms_in_whose_payer_is_gone(autojump_clock: MockClock) -> None:
    async with town() as place, place.node(PAYEE, key=PAYEE_KEY) as payee:
        async with place.node(PAYER, key=PAYER_KEY) as payer:
            both = await meet(place, payer, payee)
            await both.fund()
            await both.exchange(1, 300_000_000)
            place.chain.is_down = True
            await both.paying.close()
        place.chain.is_down = False
        began = trio.current_time()

        await until(lambda: both.receiving.backing.is_settled)

        assert trio.current_time() - began < 3600
        assert both.receiving.backing.claimed == 300_000_000


@pytest.mark.slow
@pytest.mark.parametrize("key", [None, PAYEE_KEY], ids=["no wallet", "wallet"])
async def test_a_payee_that_is_away_for_less_than_the_delay_loses_nothing(
    key: WalletKey | None, autojump_clock: MockClock
) -> None:
    async with town() as place:
        async with place.node(PAYER, key=PAYER_KEY) as payer:
            async with place.node(PAYEE, key=key) as payee:
                both = await meet(place, payer, payee)
                await both.fund()
                await both.exchange(1, 300_000_000)
            await payer.treasury.start_close(both.paying)
            await trio.sleep(DELAY_SECONDS - 600)
            async with place.node(PAYEE, key=key) as payee:
                (receiving,) = payee.accounts.payers()
                await until(lambda: receiving.backing.is_settled and both.paying.backing.is_settled)

        assert receiving.backing.claimed == both.paying.backing.claimed == 300_000_000
        assert place.audited() == ()


async def test_a_lone_close_that_was_begun_is_not_begun_again(autojump_clock: MockClock) -> None:
    async with pair() as both:
        await both.fund()
        await both.payer.treasury.start_close(both.paying)
        assert both.payer.treasury.wallet is not None
        sent = both.town.sent_by(both.payer.treasury.wallet)

        await both.payer.treasury.start_close(both.paying)

        assert both.town.sent_by(both.payer.treasury.wallet) == sent


async def test_who_has_another_wallet_by_now_cannot_close_alone(autojump_clock: MockClock) -> None:
    async with town() as place:
        async with place.node(PAYER, key=PAYER_KEY) as payer, place.node(PAYEE, key=None) as payee:
            await (await meet(place, payer, payee)).fund()
        async with place.node(PAYER, key=PAYEE_KEY) as payer:
            (account,) = payer.accounts.payees()

            with pytest.raises(Refused, match="another wallet"):
                await payer.treasury.start_close(account)


async def test_too_little_for_an_external_claim_is_no_failure_while_there_is_time(
    autojump_clock: MockClock,
) -> None:
    async with pair(payee_key=None, claims=ClaimPolicy(above=Nano(5_000_000))) as both:
        await both.fund()
        await both.exchange(1, 6_000_000)
        await trio.sleep(DAY)
        assert both.payee.treasury._failures == {}
        assert both.town.balance(PAYOUT) == 0

        await both.exchange(2, 60_000_000)
        await until(lambda: both.receiving.backing.claimed == 66_000_000)


# ---------------------------------------------------------------- the surplus


async def test_a_surplus_that_was_being_sent_is_not_sent_twice(autojump_clock: MockClock) -> None:
    _, chain, _ = begun(key=PAYER_KEY)
    estate, policy = Estate(), SweepPolicy(keep=Nano(NANO_PER_TON), least=Nano(1), to=STRANGER)
    chain.loses_messages = True
    # Sent, and on its way when the node was stopped.
    with trio.move_on_after(1):
        await sweep(chain, Purse(chain, PAYER_KEY, estate.journal), policy)
    assert estate.journal.kept is not None
    chain.loses_messages = False

    purse = Purse(chain, PAYER_KEY, estate.journal)
    await sweep(chain, purse, policy)

    assert (await chain.account(purse.wallet.account)).balance > NANO_PER_TON // 2
