"""What collecting and paying cost, as it is booked for a statement: by a real contract on a real chain."""

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import Refused
from cocoon_p2p.ledger import Cost
from cocoon_p2p.payments import contract
from cocoon_p2p.payments.chain import AccountSeen
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.treasury.rounds import ClaimPolicy
from cocoon_p2p.payments.wallet import Transfer
from cocoon_p2p.payments.wallet.booked import BookedJournal
from cocoon_p2p.payments.wallet.journal import NotPaid
from cocoon_p2p.payments.wallet.spending import Purse
from cocoon_p2p.payments.wallet.sweeping import GAS_KEPT, LEAST_SWEPT, SweepPolicy, surplus, sweep
from cocoon_p2p.testing.store import MemoryStore
from cocoon_p2p.units import NANO_PER_TON, Nano
from tests.payments.parties import PAYEE
from tests.payments.vault import GIVEN, PAYEE_KEY, PAYER_KEY, PAYOUT, pair, until
from tests.payments.wallets import OTHER, STRANGER, MemoryJournal, begun

CLAIMING = ClaimPolicy(above=Nano(100_000_000))


def costs(store: MemoryStore, what: str) -> list[Cost]:
    return [cost for cost in store.disk.costs.values() if cost.what == what]


async def test_what_a_worker_without_gas_is_paid_and_the_booked_cost_are_what_it_collected(
    autojump_clock: MockClock,
) -> None:
    async with pair(payee_key=None, claims=CLAIMING) as both:
        await both.fund()
        await both.exchange(1, 150_000_000)
        await until(lambda: both.town.estates[PAYEE.peer_id].disk.costs != {})
        await both.exchange(2, 120_000_000)
        await until(lambda: len(both.town.estates[PAYEE.peer_id].disk.costs) == 2)

        booked = costs(both.payee.store, "claim")
        assert both.receiving.backing.claimed == 270_000_000
        sent = both.town.sent_by(AccountId(both.receiving.channel))
        assert {payment.other for payment in sent} == {PAYOUT}
        came = sum(payment.amount for payment in sent)
        assert came + sum(cost.amount for cost in booked) == 270_000_000
        assert {cost.account for cost in booked} == {both.receiving.channel}
        assert both.town.audited() == ()


async def test_a_claim_through_the_wallet_is_booked_at_what_came_back_less_than_was_sent(
    autojump_clock: MockClock,
) -> None:
    # Too little for an external message, so its wallet bears the gas, and is paid itself.
    async with pair(payee_key=PAYEE_KEY, claims=ClaimPolicy(above=Nano(20_000_000))) as both:
        await both.fund()
        await both.exchange(1, 25_000_000)
        await until(lambda: costs(both.payee.store, "claim") != [])
        wallet = both.payee.treasury.purse
        assert wallet is not None

        (cost,) = costs(both.payee.store, "claim")

        (paid,) = both.town.estates[PAYEE.peer_id].journal.ends.values()
        assert not isinstance(paid, NotPaid)
        balance = both.town.balance(wallet.wallet.account)
        forward = 1_000_000
        left = GIVEN + 25_000_000 - cost.amount - paid.transaction.fees - balance
        assert 0 <= left < forward, "nothing but the way of the messages is not accounted for"


async def test_a_payment_s_fees_are_booked_before_the_journal_forgets_it(
    autojump_clock: MockClock,
) -> None:
    _, chain, _ = begun(key=PAYER_KEY)
    store, inner = MemoryStore(), MemoryJournal()
    purse = Purse(chain, PAYER_KEY, BookedJournal(inner, store))
    before = (await chain.account(purse.wallet.account)).balance

    paid = await purse.spend(7, [Transfer(STRANGER, Nano(NANO_PER_TON))])

    (cost,) = costs(store, "wallet")
    after = (await chain.account(purse.wallet.account)).balance
    assert cost.amount == paid.transaction.fees == before - after - NANO_PER_TON
    assert AccountId(cost.account) == purse.wallet.account
    assert await inner.pending() is None


async def test_a_payment_whose_end_is_told_twice_is_booked_once(autojump_clock: MockClock) -> None:
    _, chain, _ = begun(key=PAYER_KEY)
    store, inner = MemoryStore(), MemoryJournal()
    journal = BookedJournal(inner, store)
    paid = await Purse(chain, PAYER_KEY, journal).spend(7, [Transfer(STRANGER, Nano(NANO_PER_TON))])

    await journal.done(7, paid)

    assert len(costs(store, "wallet")) == 1


async def test_a_ledger_that_cannot_be_written_leaves_the_payment_to_be_found(
    autojump_clock: MockClock,
) -> None:
    _, chain, _ = begun(key=PAYER_KEY)
    inner = MemoryJournal()
    failing = BookedJournal(inner, MemoryStore(fail_after=0))

    with pytest.raises(Exception, match="the disk is full"):
        await Purse(chain, PAYER_KEY, failing).spend(7, [Transfer(STRANGER, Nano(NANO_PER_TON))])
    store = MemoryStore()
    await Purse(chain, PAYER_KEY, BookedJournal(inner, store)).settle()

    assert len(costs(store, "wallet")) == 1


# ---------------------------------------------------------------- the surplus


def policy(keep: int, least: int = 0) -> SweepPolicy:
    return SweepPolicy(keep=Nano(keep), least=Nano(least), to=STRANGER)


@pytest.mark.parametrize(
    ("kept", "least", "balance", "sent"),
    [
        (NANO_PER_TON, 0, NANO_PER_TON + LEAST_SWEPT, LEAST_SWEPT),
        (NANO_PER_TON, 0, NANO_PER_TON + LEAST_SWEPT - 1, 0),
        (NANO_PER_TON, 2 * LEAST_SWEPT, NANO_PER_TON + 2 * LEAST_SWEPT - 1, 0),
        (0, 0, GAS_KEPT + LEAST_SWEPT, LEAST_SWEPT),
        (0, 0, GAS_KEPT + LEAST_SWEPT - 1, 0),
        (NANO_PER_TON, 0, 0, 0),
    ],
)
def test_what_is_sent_on_is_worth_its_transfer_and_leaves_gas(
    kept: int, least: int, balance: int, sent: int
) -> None:
    assert surplus(policy(kept, least), Nano(balance)) == sent


async def test_who_keeps_nothing_is_swept_all_the_same(autojump_clock: MockClock) -> None:
    _, chain, _ = begun(key=PAYER_KEY)
    purse = Purse(chain, PAYER_KEY, MemoryJournal())
    before = (await chain.account(purse.wallet.account)).balance

    with trio.fail_after(600):
        sent = await sweep(chain, purse, policy(0))

    left = (await chain.account(purse.wallet.account)).balance
    assert sent == before - GAS_KEPT
    assert GAS_KEPT - 10_000_000 < left < GAS_KEPT


async def test_a_deposit_that_takes_the_surplus_first_leaves_what_is_kept(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, chain, _ = begun(key=PAYER_KEY)
    purse = Purse(chain, PAYER_KEY, MemoryJournal())
    look, deposit = chain.account, [Transfer(OTHER, Nano(4 * NANO_PER_TON))]

    async def looked_at_before_a_deposit(account: AccountId) -> AccountSeen:
        seen = await look(account)
        with monkeypatch.context() as now:
            now.setattr(chain, "account", look)
            await purse.spend(1, deposit)
        monkeypatch.undo()
        return seen

    monkeypatch.setattr(chain, "account", looked_at_before_a_deposit)
    with pytest.raises(Refused, match="too little"):
        await sweep(chain, purse, policy(5 * NANO_PER_TON))

    assert (await look(purse.wallet.account)).balance > 5 * NANO_PER_TON


async def test_who_keeps_nothing_can_still_claim_through_its_wallet(autojump_clock: MockClock) -> None:
    _, chain, _ = begun(key=PAYER_KEY)
    purse = Purse(chain, PAYER_KEY, MemoryJournal())
    await sweep(chain, purse, policy(0))
    body = contract.claim(Nano(NANO_PER_TON), b"s" * 64)

    await purse.spend(1, [Transfer(OTHER, contract.ATTACHED_MIN, body, is_bounceable=True)])
