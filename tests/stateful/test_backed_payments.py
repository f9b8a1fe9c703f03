"""Two honest ends of a channel with a real contract behind it, on the local chain.

As `test_payments`, and on the chain anything happens at any time: deposits, claims by anybody, hours
that storage is paid for, the payer's leaving, agreed terms that are handed in or lapse. Either end looks
when it likes; only a payee is never away for a whole close delay once the payer leaves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from cocoon_p2p.ledger import Account, balances
from cocoon_p2p.payments.channel import Backing, Phase, contract_salt, make_backed_offer
from cocoon_p2p.payments.close_terms import payee_key
from cocoon_p2p.payments.contract import AccountId, Deployment, claimable
from cocoon_p2p.payments.devchain import LOCAL_GLOBAL_ID
from cocoon_p2p.payments.events import BackingSeen, ChannelSettled, CloseRequested, TermsLapsed
from cocoon_p2p.payments.paying import PayingAccount
from cocoon_p2p.payments.receiving import ReceivingAccount
from cocoon_p2p.protocols.messages import ChannelId, ChannelOffer, CloseTerms
from cocoon_p2p.testing.store import MemoryStore
from cocoon_p2p.units import NANO_PER_TON, Nano
from tests.payments.contract.scene import ATTACHED, Scene, Step
from tests.payments.parties import WALLETS
from tests.stateful.test_old_ledgers import OldLedgers
from tests.stateful.test_payments import GRANT, LIMITS, NETWORK, PARTS, PAYEE, PAYER, Payments, run

DELAY = 24 * 3600
DEPOSIT = NANO_PER_TON // 10
HOURS = st.sampled_from((60, 1800, 4000, 12 * 3600))
WHO = st.booleans()
COSTS = st.lists(st.tuples(LIMITS, PARTS), min_size=3, max_size=8)
"Exchanges that end well before anything else happens."


@dataclass
class Clockwork:
    """A bank that only knows the time."""

    world: "BackedPayments"
    wallet: AccountId | None = WALLETS[0]
    payout: AccountId | None = WALLETS[1]
    global_id: int = LOCAL_GLOBAL_ID
    close_delay_seconds: int = DELAY

    def now(self) -> float:
        return self.world.now

    def look_soon(self, channel: ChannelId) -> None: ...

    def moved(self, channel: ChannelId, *, room: Nano) -> None: ...


class BackedPayments(Payments):
    """Whatever happens on the chain, nobody is paid twice, and the payee is paid what it charged."""

    scale = 100_000
    contract: Scene

    @property
    def now(self) -> float:
        return float(self.contract.chain.now)

    @property
    def banks(self) -> tuple[Clockwork, Clockwork]:
        return Clockwork(self), Clockwork(self)

    def offer(self, channel_key: bytes) -> ChannelOffer:
        deployment = Deployment(
            global_id=LOCAL_GLOBAL_ID,
            payer=WALLETS[0],
            payee=WALLETS[1],
            payer_key=channel_key,
            payee_key=payee_key(PAYEE.seed)[0],
            close_delay_seconds=DELAY,
            salt=contract_salt(NETWORK, PAYER.peer_id, PAYEE.peer_id, channel_key),
        )
        self.contract = Scene(**{name: getattr(deployment, name) for name in Deployment.__slots__})
        return make_backed_offer(NETWORK, PAYER.peer_id, PAYEE.peer_id, deployment)

    @initialize(is_funded=st.sampled_from((True, True, True, False)), costs=COSTS)
    def open(self, is_funded: bool = True, costs: Sequence[tuple[Nano, int]] = ()) -> None:
        self.capacity = self.storage = 0
        self.total: int | None = None
        "What the contract paid all told, once it is gone."

        self.charged_then = 0
        "What the payee had charged when it went."

        super().open()
        if is_funded:
            self.somebody_puts_money_in()
            self.an_end_looks(is_payer=True)
            self.an_end_looks(is_payer=False)
            self.exchange_words()
        for limit, worked in costs:
            self.an_exchange_ends_well(limit=limit, worked=worked)

    # -------------------------------------------------------- the chain

    @property
    def is_open(self) -> bool:
        return self.contract.is_active and self.contract.state.epoch != 0

    @property
    def phase_of_payee(self) -> Phase | None:
        return None if self.payee is None else self.payee.phase

    def seen(self) -> Backing:
        state = self.contract.state
        deposit = Nano(self.contract.balance() + state.claimed)
        return Backing(state.epoch, deposit, state.claimed, state.close_at)

    def told(self, step: Step, *, total: int | None = None) -> None:
        """Keep count of what a message did to the contract."""
        self.storage += step.storage_fee
        if step.done and total is not None:
            self.total = total
            self.charged_then = 0 if self.payee is None else self.payee.charged()

    @precondition(lambda self: self.total is None and (self.exchanges or not self.is_open))
    @rule()
    def somebody_puts_money_in(self) -> None:
        step = self.contract.top_up(DEPOSIT) if self.is_open else self.contract.deploy(DEPOSIT)
        assert step.done
        self.told(step)
        self.capacity = max(self.capacity, claimable(self.seen().deposit))

    @precondition(lambda self: self.exchanges or not self.payer.capacity)
    @rule(is_payer=WHO)
    def an_end_looks(self, is_payer: bool) -> None:
        account = self.payer if is_payer else self.payee
        if account is not None:
            self.look(account)

    def look(self, account: PayingAccount | ReceivingAccount) -> None:
        if self.is_open:
            account.apply(BackingSeen(self.seen()))
            account.apply(TermsLapsed(self.now))
        elif self.total is not None and account.backing.epoch:
            account.apply(ChannelSettled(Nano(self.total)))

    @precondition(lambda self: self.is_open and self.saved_by_payee > self.contract.state.claimed)
    @rule()
    def somebody_claims(self) -> None:
        """The payee, or whoever got hold of its newest voucher."""
        voucher, seen = None if self.payee is None else self.payee.voucher(), self.seen()
        if voucher is None or min(voucher.total, claimable(seen.deposit)) <= seen.claimed:
            return
        step = self.contract.claim(voucher.total, voucher.signature)
        self.told(step)
        # Storage may have eaten what was left.
        assert step.done or self.contract.balance() < 2 * step.storage_fee + 50_000_000

    @precondition(lambda self: len(self.exchanges) > 3)
    @rule(seconds=HOURS)
    def time_passes(self, seconds: int) -> None:
        self.payee_is_not_away_for(seconds)
        self.contract.chain.now += seconds

    def payee_is_not_away_for(self, seconds: int) -> None:
        """Let the payee notice that the payer leaves, before it is too late."""
        is_leaving = self.is_open and 0 < self.contract.state.close_at <= self.now + seconds
        if not is_leaving or self.payee is None:
            return
        self.look(self.payee)
        self.exchange_words()
        # It holds on to agreed terms only where these lapse in time; then it would claim.
        if self.payee.phase is not Phase.CLOSED:
            self.somebody_claims()
            self.look(self.payee)

    @precondition(lambda self: len(self.exchanges) > 2 and self.is_open and not self.contract.state.close_at)
    @rule()
    def the_payer_leaves(self) -> None:
        self.told(self.contract.start_close(WALLETS[0]))

    @precondition(lambda self: self.is_open and self.contract.state.close_at)
    @rule()
    def somebody_ends_it(self) -> None:
        state = self.contract.state
        step = self.contract.finish_close()
        assert step.done == (0 < state.close_at <= self.now)
        self.told(step, total=state.claimed)

    @precondition(lambda self: self.is_open and Phase.CLOSED in (self.payer.phase, self.phase_of_payee))
    @rule(is_payer=WHO)
    def terms_are_handed_in(self, is_payer: bool) -> None:
        account = self.payer if is_payer else self.payee
        terms = None if account is None else self.terms_of(account)
        body = None if account is None else account.close_body()
        if body is None or terms is None:
            return
        claimed = self.contract.state.claimed
        step = self.contract.tell(ATTACHED, body)
        assert step.done == (self.now <= terms.valid_until and terms.total >= claimed)
        self.told(step, total=terms.total)
        if step.done:
            assert step.to(WALLETS[1]) == terms.total - claimed

    @precondition(lambda self: self.is_open and self.is_connected and len(self.exchanges) > 3)
    @rule(is_claimed=WHO, is_payer=WHO, is_handed_in=WHO, is_seen=WHO)
    def they_close_together(
        self, is_claimed: bool, is_payer: bool, is_handed_in: bool, is_seen: bool
    ) -> None:
        if is_claimed:
            self.somebody_claims()
            self.an_end_looks(is_payer)
            self.an_end_looks(not is_payer)
        self.somebody_wants_to_close(is_payer)
        self.exchange_words()
        if is_handed_in and Phase.CLOSED in (self.payer.phase, self.phase_of_payee):
            self.terms_are_handed_in(is_payer)
        else:
            self.time_passes(3601)
        if is_seen:
            self.an_end_looks(is_payer)

    @precondition(lambda self: self.is_open and len(self.exchanges) > 4)
    @rule(is_seen=WHO, is_reconnected=WHO)
    def the_payer_leaves_and_takes_the_rest(self, is_seen: bool, is_reconnected: bool) -> None:
        if not self.contract.state.close_at:
            self.the_payer_leaves()
        for _ in range(3):
            self.time_passes(DELAY // 3 + 1)
            if is_seen:
                self.an_end_looks(is_payer=True)
            if is_reconnected and self.is_connected:
                self.exchange_words()
        self.somebody_ends_it()

    def terms_of(self, account: PayingAccount | ReceivingAccount) -> CloseTerms | None:
        return (account._payer if isinstance(account, PayingAccount) else account._payee).terms

    # -------------------------------------------------------- what always holds

    @invariant()
    def what_is_vouchered_never_shrinks_and_never_exceeds_capacity(self) -> None:
        saved = self.saved_by_payee
        assert self.saved_before <= saved <= self.capacity
        self.saved_before = saved

    @invariant()
    def whatever_is_vouchered_the_contract_pays(self) -> None:
        if self.is_open:
            assert self.saved_by_payee <= claimable(Nano(self.seen().deposit - self.contract.storage_due()))

    @invariant()
    def a_voucher_is_on_the_payers_disk_before_the_payee_has_it(self) -> None:
        if self.payer.backing.claimed <= self.sent_by_payer:
            super().a_voucher_is_on_the_payers_disk_before_the_payee_has_it()

    @invariant()
    def nothing_is_delivered_beyond_credit(self) -> None:
        if self.payee is not None and not self.payee.backing.is_settled:
            super().nothing_is_delivered_beyond_credit()

    @invariant()
    def the_contract_pays_what_was_charged(self) -> None:
        if self.total is not None:
            assert self.charged_then <= self.total + GRANT

    # -------------------------------------------------------- the end

    def teardown(self) -> None:
        if not hasattr(self, "payer") or not hasattr(self, "contract"):
            return
        was_gone = self.total is not None
        self.quiesce()
        self.audit_both()
        if not was_gone:
            assert self.payee is not None
            assert self.payer.charged == self.payee.charged() == self.billed()
            assert self.payer.held == self.payee.accrued == 0
        self.settle_everything()
        self.count_everything()

    def settle_everything(self) -> None:
        """Close together; that takes more than one try where something is in the way."""
        assert self.payee is not None
        for _ in range(4):
            for account in (self.payer, self.payee):
                self.look(account)
            if self.payer.backing.is_settled and self.payee.backing.is_settled:
                return
            if not self.is_connected:
                self.connect()
            self.exchange_words()
            self.payer.apply(CloseRequested(self.now))
            self.exchange_words()
            if self.is_open:
                self.terms_are_handed_in(is_payer=True)
            if self.is_open:
                self.contract.chain.now += 3601
        self.close_alone()

    def close_alone(self) -> None:
        if self.is_open and not self.contract.state.close_at:
            self.the_payer_leaves()
        if self.is_open:
            self.payee_is_not_away_for(DELAY)
            self.contract.chain.now += DELAY
            self.somebody_ends_it()
        assert self.payee is not None
        for account in (self.payer, self.payee):
            self.look(account)

    def count_everything(self) -> None:
        """Compare both books with each other and with what the contract paid."""
        self.audit_both()
        assert self.payee is not None
        assert self.payer.backing.is_settled
        assert self.payee.backing.is_settled
        paid = self.total or 0
        self.the_contract_pays_what_was_charged()
        assert not self.is_open
        assert self.wallet(self.payee_store) == paid
        assert -self.wallet(self.payer_store) == paid + self.fees(self.payer_store)

    def fees(self, store: MemoryStore) -> int:
        replayed = balances(run(store.lines))
        return sum(amount for (_, account), amount in replayed.items() if account is Account.FEES)


class OldBackedLedgers(OldLedgers, BackedPayments):
    """However old a ledger is, the contract pays nobody twice, and books stay books."""

    @initialize(is_funded=st.just(True), costs=COSTS)
    def open(self, is_funded: bool = True, costs: Sequence[tuple[Nano, int]] = ()) -> None:
        BackedPayments.open(self, is_funded, costs)
        self.backup = None
        self.is_payers = self.is_restored = False

    def whatever_is_vouchered_the_contract_pays(self) -> None: ...

    @invariant()
    def the_contract_pays_what_was_charged(self) -> None:
        if not self.is_restored:
            super().the_contract_pays_what_was_charged()

    def teardown(self) -> None:
        if not hasattr(self, "payer") or not hasattr(self, "contract"):
            return
        if not self.is_restored:
            BackedPayments.teardown(self)
            return
        self.quiesce()
        self.audit_both()


BackedPayments.TestCase.settings = settings(max_examples=70, stateful_step_count=40, deadline=None)
OldBackedLedgers.TestCase.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
TestBackedPayments = pytest.mark.slow(BackedPayments.TestCase)
TestOldBackedLedgers = pytest.mark.slow(OldBackedLedgers.TestCase)
