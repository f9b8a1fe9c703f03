"""However a wallet's process is stopped, its network misbehaves, and another spends from it: each payment is
made once or never, what is said of it stays true, and no money is lost."""

from contextlib import suppress
from typing import Any

import hypothesis.strategies as st
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cocoon_p2p.errors import Refused, Unavailable
from cocoon_p2p.payments.boc import read_one
from cocoon_p2p.payments.chain import MessageRefused, Transaction
from cocoon_p2p.payments.devchain import AccountId as LocalAccountId
from cocoon_p2p.payments.devchain import DevChain, MessageRejected
from cocoon_p2p.payments.lite.transactions import read_transaction
from cocoon_p2p.payments.wallet import Transfer, comment, read_seqno, sign_request
from cocoon_p2p.payments.wallet.journal import Paid
from cocoon_p2p.payments.wallet.spending import PaymentLeftOut, Purse
from cocoon_p2p.testing.chain import LocalChain
from cocoon_p2p.units import NANO_PER_TON, Nano
from tests.payments.wallets import (
    KEY,
    OTHER,
    STRANGER,
    Crash,
    Fuse,
    FusedChain,
    FusedJournal,
    MemoryJournal,
    balance,
    begun,
    crash,
)

GIVEN = 10 * NANO_PER_TON
STOPS_AT = st.one_of(st.just(0), st.integers(1, 24))


class Unruly(LocalChain):
    """A network that carries messages out, loses them, or keeps them for later."""

    def __init__(self, devchain: DevChain) -> None:
        super().__init__(devchain)
        self.mode = "carry"
        self.kept: list[bytes] = []

    async def send(self, message: bytes) -> None:
        await self._reached()
        if self.mode == "keep":
            self.kept.append(message)
        elif self.mode == "carry":
            self.let_through(message)

    def let_through(self, message: bytes) -> None:
        try:
            self.chain.send(message)
        except MessageRejected as exc:
            raise MessageRefused("too late", exit_code=exc.exit_code) from exc


class Spendings(RuleBasedStateMachine):
    """What `spend` and `settle` said is compared with what the wallet did, by what each payment says."""

    def __init__(self) -> None:
        super().__init__()
        self.devchain, _, self.wallet = begun(given=GIVEN)
        self.chain = Unruly(self.devchain)
        self.journal = MemoryJournal()
        self.purse = Purse(self.chain, KEY, self.journal)
        self.asked: list[int] = []
        self.foreign: list[bytes] = []

    # ------------------------------------------------ what happens

    @rule(
        amount=st.integers(1, 3 * NANO_PER_TON), stop_at=STOPS_AT, is_kill=st.booleans(), again=st.booleans()
    )
    def spend(self, amount: int, stop_at: int, is_kill: bool, again: bool) -> None:
        pending = self.journal.kept
        if again and pending is not None:
            self._run(self._spend, pending.number, pending.transfers, stop_at, is_kill)
            return
        number = len(self.asked)
        self.asked.append(number)
        transfer = Transfer(STRANGER, Nano(amount), comment(f"number {number}"))
        self._run(self._spend, number, (transfer,), stop_at, is_kill)

    @rule(stop_at=STOPS_AT, is_kill=st.booleans())
    def settle(self, stop_at: int, is_kill: bool) -> None:
        self._run(self._settle, stop_at, is_kill)

    @rule(mode=st.sampled_from(["carry", "lose", "keep"]))
    def change_the_network(self, mode: str) -> None:
        self.chain.mode = mode

    @precondition(lambda self: self.chain.kept)
    @rule(data=st.data())
    def let_a_kept_message_through(self, data: st.DataObject) -> None:
        self._let_through(data.draw(st.sampled_from(self.chain.kept)))

    @rule(seconds=st.integers(1, 300))
    def wait(self, seconds: int) -> None:
        self.devchain.now += seconds

    @rule(amount=st.integers(1, NANO_PER_TON))
    def sign_elsewhere(self, amount: int) -> None:
        """Another process with the same key signs with what it believes is the next seqno."""
        account = self.devchain.account(LocalAccountId(self.wallet.account))
        signed = sign_request(
            KEY,
            self.wallet,
            [Transfer(OTHER, Nano(amount))],
            seqno=read_seqno(self.wallet, account.code, account.data),
            valid_until=self.devchain.now + 100,
            deploy=account.code is None,
        )
        self.foreign.append(signed.message)

    @precondition(lambda self: self.foreign)
    @rule()
    def send_what_was_signed_elsewhere(self) -> None:
        self._let_through(self.foreign.pop())

    @rule(amount=st.integers(1, NANO_PER_TON))
    def receive(self, amount: int) -> None:
        self.devchain.give(LocalAccountId(self.wallet.account), amount)

    # ------------------------------------------------ what must hold

    @invariant()
    def each_payment_is_made_once_or_never_as_was_said(self) -> None:
        made = self._made()
        for number in self.asked:
            times = made.count(number)
            assert times <= 1
            end = self.journal.ends.get(number)
            if self.journal.kept is None or self.journal.kept.number != number:
                assert times == (isinstance(end, Paid) and not end.left_out)

    @invariant()
    def no_money_is_lost(self) -> None:
        done = self._transactions()
        came = sum(one.received.amount for one in done if one.received)
        went = sum(payment.amount for one in done for payment in one.sent)
        fees = sum(one.fees for one in done)
        assert balance(self.devchain, self.wallet.account) == came - went - fees

    def teardown(self) -> None:
        self.chain.mode = "carry"
        self._run(self._settle, 0, True)
        assert self.journal.kept is None
        for message in (*self.chain.kept, *self.chain.sent):
            self._let_through(message)
        self.each_payment_is_made_once_or_never_as_was_said()

    # ------------------------------------------------ how

    def _run(self, what: Any, *arguments: object) -> None:
        trio.run(self._timed, what, *arguments, clock=trio.testing.MockClock(autojump_threshold=0))

    async def _timed(self, what: Any, *arguments: object) -> None:
        """Do something while the chain's time runs with trio's."""

        async def run_time() -> None:
            while True:
                await trio.sleep(1)
                self.devchain.now += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_time)
            await what(*arguments)
            nursery.cancel_scope.cancel()

    async def _spend(self, number: int, transfers: tuple[Transfer, ...], stop_at: int, is_kill: bool) -> None:
        with trio.CancelScope() as scope:
            purse = self._stopped_purse(stop_at, is_kill, scope)
            try:
                paid = await purse.spend(number, transfers)
                assert self.journal.ends[number] == paid
            except (PaymentLeftOut, Refused, Unavailable, Crash):
                pass

    async def _settle(self, stop_at: int, is_kill: bool) -> None:
        with trio.CancelScope() as scope:
            purse = self._stopped_purse(stop_at, is_kill, scope)
            try:
                end = await purse.settle()
                assert end is None or self.journal.ends[end.number] == end
            except (Unavailable, Crash):
                pass

    def _stopped_purse(self, stop_at: int, is_kill: bool, scope: trio.CancelScope) -> Purse:
        fuse = Fuse(stop_at, crash if is_kill else scope.cancel)
        return Purse(FusedChain(self.chain, fuse), KEY, FusedJournal(self.journal, fuse))

    def _let_through(self, message: bytes) -> None:
        with suppress(MessageRefused):
            self.chain.let_through(message)

    def _transactions(self) -> list[Transaction]:
        self.devchain.make_block()
        account = self.wallet.account
        past = self.devchain.history.transactions(LocalAccountId(account), up_to_lt=1 << 64, count=1 << 64)
        return [read_transaction(read_one(one.transaction.boc), account).transaction for one in past]

    def _made(self) -> list[int]:
        """Give the numbers of the payments that the wallet has made, by what they say."""
        said = {read_one(comment(f"number {number}")).hash: number for number in self.asked}
        bodies = [read_one(payment.body).hash for one in self._transactions() for payment in one.sent]
        return [said[body] for body in bodies if body in said]


Spendings.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestSpendings = pytest.mark.slow(Spendings.TestCase)
