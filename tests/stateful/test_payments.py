"""Two honest ends of one channel over a network that loses, and machines that crash.

The accounts, their machines, their pages in the ledger and the words they speak are the real
ones; the test decides when a disk takes what was handed over, when a message arrives, when the
connection breaks and when a process dies.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cocoon_p2p.errors import Refused, Unavailable
from cocoon_p2p.identity import Identity, network_id
from cocoon_p2p.ledger import Account, ChannelRow, Side, Written, audit, balances
from cocoon_p2p.payments import payee_stream, payer_stream
from cocoon_p2p.payments.bank import Bank
from cocoon_p2p.payments.books import Page, backing_of, name_of, restore_payee, restore_payer
from cocoon_p2p.payments.channel import Phase, channel_of, make_offer
from cocoon_p2p.payments.events import CloseRequested, VoucherDue, VoucherReceived, VoucherSaved
from cocoon_p2p.payments.outbox import Outbox
from cocoon_p2p.payments.party import Party, Role
from cocoon_p2p.payments.payee import opened
from cocoon_p2p.payments.payer import Payer
from cocoon_p2p.payments.paying import Leftover, PayingAccount, Question
from cocoon_p2p.payments.receiving import ReceivingAccount
from cocoon_p2p.protocols.ids import Outcome
from cocoon_p2p.protocols.messages import (
    ChannelOffer,
    ExchangeId,
    OpenChannel,
    PaperWanted,
    Receipt,
    Signed,
    Usage,
    Voucher,
)
from cocoon_p2p.protocols.papers import decode_signed, encode_signed, sign
from cocoon_p2p.protocols.schema import decode_paper
from cocoon_p2p.testing.memory import MemoryNetwork
from cocoon_p2p.testing.store import MemoryDisk, MemoryStore
from cocoon_p2p.units import Nano

NETWORK = network_id("test")
PAYER, PAYEE = Identity.from_seed(b"\x01" * 32), Identity.from_seed(b"\x02" * 32)
SEED = b"\x03" * 32
CAPACITY = Nano(1000)
GRANT = Nano(60)
NOW = 1_000_000.0
LIMITS = st.integers(1, 300).map(Nano)
PARTS = st.integers(0, 100)


def receipt(exchange: ExchangeId, amount: int) -> Signed:
    nothing = Usage(0, 0, 0, 0)
    paper = Receipt(
        exchange, bytes(32), "m", bytes(32), "e", nothing, amount, bytes(32), 0, 0, Outcome.COMPLETED
    )
    return sign(PAYEE, NETWORK, paper)


def run(function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    return trio.run(partial(function, *args))


def begin_only(coroutine: Any) -> None:
    """Run a call up to its first wait, and give up waiting: what was handed over stays so."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()


class Line:
    """A `MessageStream` for the few messages of an introduction."""

    def __init__(self, answers: deque[object]) -> None:
        self.answers = answers
        self.sent: list[object] = []

    async def send(self, *messages: object) -> None:
        self.sent.extend(messages)

    async def receive(self) -> object | None:
        return self.answers.popleft() if self.answers else None


@dataclass
class Exchange:
    """What the roles know of one exchange."""

    limit: Nano
    "The most that it may cost, by the ask."

    is_alive: bool = True
    "Whether its own stream stands."

    payee_runs: bool = True
    accrued: int = 0
    metered: int = 0
    "What its last Meter came to, where that stood in for a receipt: a receipt cannot come to less."

    bill: tuple[Nano, Signed, Written] | None = None
    "Amount, paper, and the payee's write that it must not overtake."


class Payments(RuleBasedStateMachine):
    """However vouchers arrive, what is saved never shrinks and never exceeds capacity."""

    payer: PayingAccount
    payee: ReceivingAccount | None
    capacity: int = CAPACITY
    scale: int = 1
    "What an exchange costs is so many times more."

    @property
    def now(self) -> float:
        return NOW

    @property
    def banks(self) -> tuple[Bank | None, Bank | None]:
        """The payer's and the payee's."""
        return None, None

    def offer(self, channel_key: bytes) -> ChannelOffer:
        return make_offer(
            NETWORK, PAYER.peer_id, PAYEE.peer_id, channel_key, capacity=CAPACITY, salt=bytes(16)
        )

    @initialize()
    def open(self) -> None:
        network = MemoryNetwork()
        self.payer_store = MemoryStore(lands_by_itself=False)
        self.payee_store = MemoryStore(lands_by_itself=False)
        self.transports = network.transport(PAYER), network.transport(PAYEE)
        channel_key = Identity.from_seed(SEED).public_key
        offer = self.offer(channel_key)
        self.channel = channel_of(offer)
        name = name_of(self.channel, Side.PAYER)
        signed = encode_signed(sign(PAYER, NETWORK, offer))
        row = ChannelRow(name, PAYEE.peer_id, signed, SEED, Phase.OPEN, deposit=self.channel.agreed)
        page = Page(row, self.channel)
        self.payer_store.submit(*page.open(int(NOW)))
        payer = Payer(self.channel, backing=backing_of(row))
        self.payer = PayingAccount(self.payer_party, payer, page, ())
        self.payee = None
        self.exchanges: dict[ExchangeId, Exchange] = {}
        self.asked: dict[ExchangeId, Question] = {}
        self.to_payee: deque[object] = deque()
        self.to_payer: deque[object] = deque()
        self.landing: list[tuple[Written, Nano]] = []
        self.saved_before = self.sent_by_payer = 0
        self.land_payer()
        self.connect()

    @property
    def payer_party(self) -> Party:
        clock, bank = (lambda: self.now), self.banks[0]
        return Party(self.transports[0], PAYER, NETWORK, self.payer_store, clock, bank=bank)

    @property
    def payee_party(self) -> Party:
        role, clock, bank = Role(self.settle_broken), (lambda: self.now), self.banks[1]
        return Party(self.transports[1], PAYEE, NETWORK, self.payee_store, clock, role, bank)

    async def settle_broken(self, account: ReceivingAccount, wanted: PaperWanted) -> bool:
        """Settle by what the payer shows, as a worker does; a receipt of ours stands for its Meter."""
        if self.exchanges[wanted.exchange].payee_runs:
            return True
        if wanted.meter is None:
            return False
        row, amount = account.ended(wanted.exchange), Nano(decode_paper(Receipt, wanted.meter.body).amount)
        if row is None and account.phase in (Phase.OPEN, Phase.DRAINING):
            covered = Nano(min(amount, max(account.credit, 0)))
            await account.charge(wanted.exchange, covered, receipt(wanted.exchange, covered))
        elif row is not None and row.amount > amount and account.phase is not Phase.CLOSED:
            await account.lower(wanted.exchange, amount, wanted.meter)
        return False

    # -------------------------------------------------------- the network

    @property
    def is_connected(self) -> bool:
        return self.payer.is_connected

    @precondition(lambda self: not self.is_connected)
    @rule(is_answer_lost=st.booleans())
    def connect(self, is_answer_lost: bool = False) -> None:
        opening = OpenChannel(decode_signed(self.payer.offer), self.payer.state)
        self.payee = self.payee or self.admit(opening)
        self.payee.outbox = Outbox()
        line = Line(deque())
        run(payee_stream.introduce, self.payee, self.payee_party, line, opening, GRANT)
        line.sent.extend(run(self.payee.outbox.take))
        self.settle_landed()
        if is_answer_lost:
            self.payee.is_connected = False
            return
        answers = deque(line.sent)
        try:
            run(payer_stream.introduce, self.payer, self.payer_party, Line(answers))
        except Unavailable:
            self.payee.is_connected = False
            return
        self.to_payer.extend(answers)

    def admit(self, opening: OpenChannel) -> ReceivingAccount:
        name = name_of(self.channel, Side.PAYEE)
        row = ChannelRow(name, PAYER.peer_id, encode_signed(opening.offer), None, Phase.OPEN)
        return ReceivingAccount(self.payee_party, opened(self.channel, Nano(0)), Page(row, self.channel))

    @precondition(lambda self: self.is_connected and self.exchanges)
    @rule()
    def disconnect(self) -> None:
        self.to_payee.clear()
        self.to_payer.clear()
        self.payer.is_connected = False
        if self.payee is not None:
            self.payee.is_connected = False
        for exchange in self.exchanges:
            self.break_exchange(exchange)

    @precondition(lambda self: self.is_connected)
    @rule()
    def payer_writes(self) -> None:
        self.payer.apply(VoucherDue())
        messages = run(self.payer.outbox.take)
        self.to_payee.extend(messages)
        totals = [message.total for message in messages if isinstance(message, Voucher)]
        self.sent_by_payer = max([self.sent_by_payer, *totals])

    @precondition(lambda self: self.is_connected)
    @rule()
    def payer_signs_and_waits_for_its_disk(self) -> None:
        self.payer.apply(VoucherDue())

    @precondition(lambda self: self.is_connected and self.payee is not None)
    @rule()
    def payee_writes(self) -> None:
        assert self.payee is not None
        self.to_payer.extend(run(self.payee.outbox.take))
        self.settle_landed()

    @precondition(lambda self: self.to_payee)
    @rule()
    def payee_hears(self) -> None:
        assert self.payee is not None
        message = self.to_payee.popleft()
        if isinstance(message, Voucher):
            written = self.payee.apply(VoucherReceived(message))
            if written is not None:
                self.landing.append((written, Nano(message.total)))
        else:
            run(payee_stream.hear, self.payee, self.payee_party, message)

    @precondition(lambda self: self.to_payer)
    @rule()
    def payer_hears(self) -> None:
        payer_stream.hear(self.payer, self.payer_party, self.to_payer.popleft())
        for exchange, question in tuple(self.asked.items()):
            if question.answered.is_set():
                del self.asked[exchange]
                is_known = question.refusal is None or question.refusal.reason.code == "unknown-exchange"
                leftover = self.payer.leftovers.get(exchange)
                if is_known and leftover is not None and leftover.question == question.wanted:
                    payer_stream.settle(self.payer, self.payer_party, leftover, question.paper)

    # -------------------------------------------------------- disks and crashes

    @precondition(lambda self: self.exchanges)
    @rule()
    def land_payer(self) -> None:
        run(self.payer_store.submit().wait)

    @precondition(lambda self: self.exchanges)
    @rule()
    def land_payee(self) -> None:
        run(self.payee_store.submit().wait)
        self.settle_landed()

    def settle_landed(self) -> None:
        for written, total in self.landing:
            if written.done and self.payee is not None:  # type: ignore[attr-defined]
                self.payee.apply(VoucherSaved(total))
        self.landing = [item for item in self.landing if not item[0].done]  # type: ignore[attr-defined]

    @precondition(lambda self: len(self.exchanges) > 1)
    @rule()
    def payer_crashes(self) -> None:
        self.restart_payer(self.payer_store.disk)

    def restart_payer(self, disk: MemoryDisk) -> None:
        if self.is_connected:
            self.disconnect()
        self.payer_store = MemoryStore(disk, lands_by_itself=False)
        self.asked.clear()
        row = disk.channels[name_of(self.channel, Side.PAYER)]
        unsettled = run(self.payer_store.unsettled)
        self.payer = PayingAccount(
            self.payer_party, restore_payer(row, unsettled), Page(row, self.channel), unsettled
        )
        for exchange in self.exchanges:
            self.break_exchange(exchange)

    @precondition(lambda self: len(self.exchanges) > 1)
    @rule()
    def payee_crashes(self) -> None:
        self.restart_payee(self.payee_store.disk)

    def restart_payee(self, disk: MemoryDisk) -> None:
        if self.is_connected:
            self.disconnect()
        self.payee_store = MemoryStore(disk, lands_by_itself=False)
        self.landing.clear()
        row = disk.channels.get(name_of(self.channel, Side.PAYEE))
        self.payee = None
        if row is not None:
            page = Page(row, self.channel)
            self.payee = ReceivingAccount(self.payee_party, restore_payee(row, GRANT), page)
        for exchange in self.exchanges.values():
            exchange.payee_runs = False
        for key in self.exchanges:
            self.break_exchange(key)

    # -------------------------------------------------------- the roles

    @precondition(lambda self: self.is_connected and len(self.exchanges) < 12)
    @rule(limit=LIMITS, held=PARTS, worked=PARTS)
    def an_exchange_begins(self, limit: Nano, held: int, worked: int) -> None:
        exchange = ExchangeId(len(self.exchanges).to_bytes(16))
        limit = Nano(limit * self.scale)
        try:
            self.payer.hold(exchange, Nano(limit * held // 100 + 1))
        except Refused:
            return
        # What `saved` is for: the payee hears of an exchange only once our ledger knows it.
        self.land_payer()
        self.exchanges[exchange] = Exchange(limit)
        self.work(exchange, worked)

    @precondition(lambda self: self.is_connected and len(self.exchanges) < 12)
    @rule(limit=LIMITS, worked=PARTS)
    def an_exchange_ends_well(self, limit: Nano, worked: int) -> None:
        before = len(self.exchanges)
        self.an_exchange_begins(limit, 100, 0)
        if len(self.exchanges) > before:
            key = ExchangeId(before.to_bytes(16))
            self.exchange_words()
            self.work(key, worked)
            self.end(key, 100)
            self.land_payee()
            if key in self.bills():
                self.pay(key)

    def alive(self) -> list[ExchangeId]:
        return [key for key, exchange in self.exchanges.items() if exchange.is_alive]

    @precondition(lambda self: self.alive())
    @rule(data=st.data(), part=PARTS)
    def the_payer_holds_more(self, data: st.DataObject, part: int) -> None:
        key = data.draw(st.sampled_from(self.alive()))
        if key in self.payer.unsettled():
            try:
                self.payer.hold(key, Nano(self.exchanges[key].limit * part // 100 + 1))
            except Refused:
                return

    @precondition(lambda self: self.alive())
    @rule(data=st.data(), part=PARTS)
    def the_payee_works(self, data: st.DataObject, part: int) -> None:
        self.work(data.draw(st.sampled_from(self.alive())), part)

    def work(self, key: ExchangeId, part: int) -> None:
        assert self.payee is not None
        exchange = self.exchanges[key]
        accrued = Nano(exchange.limit * part // 100)
        if not exchange.payee_runs or accrued < exchange.accrued:
            return
        try:
            if self.payee.covered(key, accrued):
                exchange.accrued = accrued
        except Refused:
            return

    @precondition(lambda self: any(exchange.payee_runs for exchange in self.exchanges.values()))
    @rule(data=st.data(), part=PARTS)
    def the_payee_ends_one(self, data: st.DataObject, part: int) -> None:
        running = [key for key, exchange in self.exchanges.items() if exchange.payee_runs]
        self.end(data.draw(st.sampled_from(running)), part)

    def end(self, key: ExchangeId, part: int) -> None:
        exchange = self.exchanges[key]
        exchange.payee_runs = False
        assert self.payee is not None
        if self.payee.phase not in (Phase.OPEN, Phase.DRAINING) and not self.payee.accrued:
            # Nothing had accrued when the payee began to close: it refuses the exchange.
            if exchange.is_alive:
                exchange.is_alive = False
                self.payer.release(key)
            return
        amount = Nano(max(exchange.metered, exchange.accrued * part // 100))
        paper = receipt(key, amount)
        begin_only(self.payee.charge(key, amount, paper))
        exchange.bill = amount, paper, self.payee_store.submit()

    @precondition(lambda self: self.bills())
    @rule(data=st.data())
    def a_bill_arrives(self, data: st.DataObject) -> None:
        self.pay(data.draw(st.sampled_from(self.bills())))

    def bills(self) -> list[ExchangeId]:
        return [
            key
            for key, exchange in self.exchanges.items()
            if exchange.is_alive and exchange.bill is not None and exchange.bill[2].done  # type: ignore[attr-defined]
        ]

    def pay(self, key: ExchangeId) -> None:
        exchange = self.exchanges[key]
        assert exchange.bill is not None
        amount, paper, _ = exchange.bill
        exchange.is_alive = False
        begin_only(self.payer.charge(key, amount, paper))

    def break_exchange(self, key: ExchangeId) -> None:
        """An exchange's stream is lost: the payer cannot know how it ended."""
        exchange = self.exchanges[key]
        if exchange.is_alive:
            exchange.is_alive = False
            if key in self.payer.unsettled():
                self.payer.leftovers.setdefault(key, Leftover(PaperWanted(key), None, int(NOW)))

    @precondition(lambda self: self.broken())
    @rule(data=st.data(), part=PARTS)
    def the_payer_settles_by_the_meter(self, data: st.DataObject, part: int) -> None:
        key = data.draw(st.sampled_from(self.broken()))
        exchange = self.exchanges[key]
        owed = exchange.accrued if exchange.bill is None else exchange.bill[0]
        seen = exchange.metered = Nano(owed * part // 100)
        begin_only(self.payer.break_off(key, seen, receipt(key, seen), receipt(key, seen)))

    def broken(self) -> list[ExchangeId]:
        """Name exchanges that broke with the payer's process alive, and are not charged."""
        return [
            key
            for key, leftover in self.payer.leftovers.items()
            if leftover.amount is None
            and self.payer.phase in (Phase.OPEN, Phase.DRAINING)
            and key not in self.asked
        ]

    @precondition(lambda self: self.is_connected and self.payer.leftovers)
    @rule()
    def the_payer_asks_how_they_ended(self) -> None:
        for key, leftover in self.payer.leftovers.items():
            if key not in self.payer.questions:
                self.asked[key] = self.payer.questions[key] = Question(leftover.question)
                self.payer.send(leftover.question)

    @precondition(lambda self: len(self.exchanges) > 4)
    @rule(is_payer=st.booleans())
    def somebody_wants_to_close(self, is_payer: bool) -> None:
        if is_payer:
            self.payer.apply(CloseRequested(self.now))
        elif self.payee is not None:
            self.payee.apply(CloseRequested(self.now))

    # -------------------------------------------------------- what always holds

    @invariant()
    def what_is_vouchered_never_shrinks_and_never_exceeds_capacity(self) -> None:
        assert self.saved_before <= self.saved_by_payee <= self.capacity
        self.saved_before = self.saved_by_payee

    @property
    def saved_by_payee(self) -> int:
        row = self.payee_store.disk.channels.get(name_of(self.channel, Side.PAYEE))
        return 0 if row is None else row.vouchered

    @invariant()
    def credit_counts_only_what_is_on_disk_or_was_paid(self) -> None:
        """What the chain has paid, by a voucher that an older ledger forgot, need not be remembered here."""
        if self.payee is not None:
            assert self.payee.vouchered() <= max(self.saved_by_payee, self.payee.backing.claimed)

    @invariant()
    def a_voucher_is_on_the_payers_disk_before_the_payee_has_it(self) -> None:
        row = self.payer_store.disk.channels[name_of(self.channel, Side.PAYER)]
        assert self.saved_by_payee <= self.sent_by_payer <= row.vouchered

    @invariant()
    def nothing_is_delivered_beyond_credit(self) -> None:
        if self.payee is not None:
            assert self.payee.charged() + self.payee.accrued <= self.payee.vouchered() + GRANT

    @invariant()
    def two_honest_ends_never_stop(self) -> None:
        assert self.payer.phase is not Phase.STOPPED

    def teardown(self) -> None:
        if not hasattr(self, "payer"):
            return
        self.quiesce()
        assert self.payee is not None
        assert self.payer.charged == self.payee.charged() == self.billed()
        assert self.payer.held == self.payee.accrued == 0
        self.audit_both()
        if self.payer.phase is not Phase.OPEN or self.payee.phase is not Phase.OPEN:
            self.close_both()

    def billed(self) -> int:
        """Add up what the payee has on disk."""
        return sum(row.amount for row in self.payee_store.disk.exchanges.values())

    def quiesce(self) -> None:
        """Let everything that is under way arrive, and every question be answered."""
        for key, exchange in self.exchanges.items():
            if exchange.payee_runs:
                self.end(key, 100)
        for _ in range(4):
            if not self.is_connected:
                self.connect()
            self.land_payer()
            self.land_payee()
            for key in self.bills():
                self.pay(key)
            self.the_payer_asks_how_they_ended()
            self.exchange_words()

    def exchange_words(self) -> None:
        self.payer_writes()
        while self.to_payee:
            self.payee_hears()
        self.land_payee()
        self.payee_writes()
        while self.to_payer:
            self.payer_hears()

    def wallet(self, store: MemoryStore) -> int:
        """What the channel has moved, by one end's books."""
        replayed = balances(run(store.lines))
        return sum(amount for (_, account), amount in replayed.items() if account is Account.WALLET)

    def close_both(self) -> None:
        assert self.payee is not None
        for _ in range(3):
            self.payer.apply(CloseRequested(self.now))
            self.payee.apply(CloseRequested(self.now))
            self.exchange_words()
        assert self.payer.phase is self.payee.phase is Phase.CLOSED
        assert self.wallet(self.payer_store) == -self.wallet(self.payee_store)
        self.audit_both()

    def audit_both(self) -> None:
        for store in (self.payer_store, self.payee_store):
            assert audit(run(store.channels), run(store.lines)) == ()


Payments.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestPayments = pytest.mark.slow(Payments.TestCase)
