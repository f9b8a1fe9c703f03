"""Many requests on several purses, and machines that crash: against what the ledger's rows say.

The purses, the payer's account with its machine and its pages are the real ones; the test decides what
each try comes to, when the disk takes what was handed over, what the time is, and when the process dies.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cocoon_p2p.client import Budget, Purses
from cocoon_p2p.client.purses import Reservation
from cocoon_p2p.errors import Refused
from cocoon_p2p.ledger import Change, ChannelName, ChannelRow, ExchangeRow, Side, Status
from cocoon_p2p.payments.bank import Bank
from cocoon_p2p.payments.books import Page, name_of, restore_payer
from cocoon_p2p.payments.channel import Phase, channel_of, make_offer
from cocoon_p2p.payments.events import ExchangeCharged, ExchangeRecovered
from cocoon_p2p.payments.party import Party
from cocoon_p2p.payments.paying import PayingAccount
from cocoon_p2p.protocols.messages import ExchangeId
from cocoon_p2p.protocols.papers import encode_signed, sign
from cocoon_p2p.testing.memory import MemoryNetwork
from cocoon_p2p.testing.store import MemoryDisk, MemoryStore
from cocoon_p2p.units import Nano
from tests.payments.parties import CHANNEL_KEY, NETWORK, PAYEE, PAYER, receipt

NAMES: tuple[str, ...] = ("one", "two", "three")
EVERY = 1000
EPOCH = 1_800_000.0
PARTS = st.integers(0, 100)
HOLDS = st.sampled_from((True, True, False))
OFFER = make_offer(
    NETWORK, PAYER.peer_id, PAYEE.peer_id, CHANNEL_KEY.public_key, capacity=Nano(10**9), salt=bytes(16)
)
PAPER = receipt(ExchangeId(bytes(16)), 1)
"Of no exchange in particular: the account takes it as its role has judged it."


class Store(MemoryStore):
    """A ledger that keeps what was handed over, to be landed as far as the test says."""

    def __init__(self, disk: MemoryDisk) -> None:
        super().__init__(disk, lands_by_itself=False)
        self.handed: list[Any] = []

    def submit(self, *changes: Change) -> Any:
        self.handed.append(super().submit(*changes))
        return self.handed[-1]

    @property
    def rows(self) -> dict[tuple[ChannelName, ExchangeId], ExchangeRow]:
        """Every exchange, as it will be once all has landed."""
        return self._view.exchanges


@dataclass
class Asking:
    """One request that runs, as its inquiry goes about it."""

    purse: str
    reservation: Reservation
    block: AbstractContextManager[Reservation]
    charged: int = 0
    pending: int = 0
    tries: dict[ExchangeId, int] = field(default_factory=dict[ExchangeId, int])
    "Under way, one at most; and what it can cost by its ask."

    @property
    def max_cost(self) -> int:
        return self.reservation.amount - self.charged - self.pending


class Spending(RuleBasedStateMachine):
    """Never is more charged than a purse was allowed, and what it has spent is what its rows say."""

    def __init__(self) -> None:
        super().__init__()
        self.now = EPOCH
        self.drawn = 0
        self.owners: dict[ExchangeId, str] = {}
        "Whose purse each exchange is to be paid from."

        self.limits: dict[str, int] = {}
        self.topped_up = dict.fromkeys(NAMES, 0)
        self.lost: dict[ExchangeId, tuple[int, Asking | None]] = {}
        "What may still be owed for exchanges whose end we do not know, and whose request they were."

        self.asking: list[Asking] = []

    @initialize()
    def begin(self) -> None:
        disk = MemoryDisk()
        channel = channel_of(OFFER)
        offer = encode_signed(sign(PAYER, NETWORK, OFFER))
        disk.write(
            ChannelRow(
                name_of(channel, Side.PAYER),
                PAYEE.peer_id,
                offer,
                CHANNEL_KEY.seed,
                Phase.OPEN,
                deposit=Nano(10**9),
            )
        )
        self.live(disk)
        for name in NAMES[:2]:
            self.allow(name, 300)

    def live(self, disk: MemoryDisk, *, settled: int = 0) -> None:
        """Stand everything up from a disk, as the process does when it starts.

        Args:
            disk: What outlived the last life.
            settled: How many exchanges the payee settles before anybody follows.
        """
        self.store = Store(disk)
        (channel,) = disk.channels.values()
        unsettled = [one for one in disk.exchanges.values() if one.status is not Status.ENDED]
        transport = MemoryNetwork().transport(PAYER)
        bank: Bank | None = None
        party = Party(transport, PAYER, NETWORK, self.store, lambda: self.now, bank=bank)
        page = Page(channel, channel_of(OFFER))
        self.account = PayingAccount(party, restore_payer(channel, unsettled), page, unsettled)
        self.purses = Purses(self.store, lambda: self.now)
        for row in unsettled[:settled]:
            self.account.apply(ExchangeRecovered(row.exchange, row.held, row.held, PAPER))
        party.role.beside = self.purses
        trio.run(self.purses.load)

    # ------------------------------------------------------------ the owner

    @rule(name=st.sampled_from(NAMES[:2]), limit=st.integers(0, 600))
    def allow(self, name: str, limit: int) -> None:
        """The first purse has windows, the second has none, the third is only counted. Limits only rise."""
        limit = max(limit, self.limits.get(name, 0))
        every = EVERY if name == NAMES[0] else None
        trio.run(self.purses.allow, name, Budget(Nano(limit), every))
        self.limits[name] = limit

    @rule(name=st.sampled_from(NAMES[:2]), amount=st.integers(1, 100))
    def top_up(self, name: str, amount: int) -> None:
        trio.run(self.purses.top_up, name, Nano(amount))
        self.topped_up[name] += amount

    @rule(seconds=st.integers(-3 * EVERY, 2 * EVERY))
    def pass_time(self, seconds: int) -> None:
        self.now = max(0.0, self.now + seconds)

    # ------------------------------------------------------------ requests

    @rule(name=st.sampled_from(NAMES), wanted=st.integers(1, 250), part=PARTS, holds=HOLDS)
    def ask(self, name: str, wanted: int, part: int, holds: bool) -> None:
        block = self.purses.reserved(name, Nano(wanted))
        try:
            reservation = block.__enter__()
        except Refused:
            assert self.purses.get(name).left == 0
            return
        self.asking.append(Asking(name, reservation, block))
        self.attempt(self.asking[-1], part, holds)

    @precondition(lambda self: any(not one.tries and one.max_cost > 0 for one in self.asking))
    @rule(which=st.integers(0, 99), part=PARTS)
    def ask_another(self, which: int, part: int) -> None:
        idle = [one for one in self.asking if not one.tries and one.max_cost > 0]
        self.attempt(idle[which % len(idle)], part, holds=True)

    def attempt(self, one: Asking, part: int, holds: bool) -> None:
        self.drawn += 1
        exchange = ExchangeId(self.drawn.to_bytes(16))
        one.reservation.tie(exchange, Nano(one.max_cost))
        self.owners[exchange] = one.purse
        if holds:
            self.account.hold(exchange, Nano(max(1, one.max_cost * part // 100)))
            one.tries[exchange] = one.max_cost
        else:
            # It was refused before anything was held.
            one.reservation.untie(exchange)

    def tried(self, which: int) -> tuple[Asking, ExchangeId, int]:
        trying = [one for one in self.asking if one.tries]
        one = trying[which % len(trying)]
        return one, *one.tries.popitem()

    @precondition(lambda self: any(one.tries for one in self.asking))
    @rule(which=st.integers(0, 99), part=PARTS)
    def charge(self, which: int, part: int) -> None:
        one, exchange, most = self.tried(which)
        amount = most * part // 100
        if amount:
            self.account.apply(ExchangeCharged(exchange, Nano(amount), PAPER))
        else:
            self.account.release(exchange)
        one.reservation.untie(exchange)
        one.charged += amount

    @precondition(lambda self: any(one.tries for one in self.asking))
    @rule(which=st.integers(0, 99))
    def dispute(self, which: int) -> None:
        one, exchange, _ = self.tried(which)
        self.account.release(exchange)
        one.reservation.untie(exchange)

    @precondition(lambda self: any(one.tries for one in self.asking))
    @rule(which=st.integers(0, 99), part=st.integers(1, 100))
    def lose(self, which: int, part: int) -> None:
        one, exchange, most = self.tried(which)
        owed = max(1, most * part // 100)
        one.reservation.untie(exchange)
        one.pending += owed
        one.reservation.lower(exchange, Nano(owed))
        self.lost[exchange] = owed, one

    @precondition(lambda self: self.lost)
    @rule(which=st.integers(0, 99), part=PARTS)
    def settle_late(self, which: int, part: int) -> None:
        exchange = sorted(self.lost)[which % len(self.lost)]
        owed, one = self.lost.pop(exchange)
        amount = Nano(owed * part // 100)
        if one is None:
            limit = self.purses.limit(exchange)
            assert limit == owed
            self.account.apply(ExchangeRecovered(exchange, amount, limit, PAPER))
            return
        if amount:
            self.account.apply(ExchangeCharged(exchange, amount, PAPER))
        else:
            self.account.release(exchange)
        one.pending -= owed
        one.charged += amount

    @precondition(lambda self: self.asking)
    @rule(which=st.integers(0, 99))
    def leave(self, which: int) -> None:
        """The request ends, perhaps by a cancel in the middle of a try."""
        one = self.asking.pop(which % len(self.asking))
        for exchange in one.tries:
            limit = self.purses.limit(exchange)
            assert limit is not None
            self.lost[exchange] = limit, None
        one.block.__exit__(None, None, None)

    # ------------------------------------------------------------ crashes

    @precondition(lambda self: len(self.store.handed) > 12)
    @rule(back=st.sampled_from((0, 0, 1, 2, 3, 5, 8)), settled=st.integers(0, 2))
    def crash(self, back: int, settled: int) -> None:
        """Die with the newest writes lost, and begin anew from the disk."""
        if self.store.handed:
            self.store.land(self.store.handed[max(0, len(self.store.handed) - 1 - back)])
        disk = self.store.disk.copy()
        known, self.lost = {exchange: owed for exchange, (owed, _) in self.lost.items()}, {}
        self.asking.clear()
        self.live(disk, settled=settled)
        for key, row in self.store.rows.items():
            if row.status is not Status.ENDED:
                limit = self.purses.limit(key[1])
                assert limit is not None, "what runs is tied"
                assert back or limit == known.get(key[1], limit)
                self.lost[key[1]] = limit, None
        for name in NAMES[:2]:
            # What the owner had said last may be among what was lost.
            purse = self.purses.get(name)
            self.limits[name] = 0 if purse.budget is None else purse.budget.limit
            self.topped_up[name] = purse.credit

    # ------------------------------------------------------------ what always holds

    @invariant()
    def what_was_spent_is_what_the_rows_say(self) -> None:
        for name in NAMES:
            rows = [row for row in self.store.rows.values() if self.owners[row.exchange] == name]
            assert self.purses.get(name).total == sum(row.amount for row in rows)

    @invariant()
    def nothing_is_reserved_but_for_what_runs_and_what_is_lost(self) -> None:
        for name in NAMES:
            running = sum(one.max_cost for one in self.asking if one.purse == name)
            running += sum(owed for exchange, (owed, _) in self.lost.items() if self.owners[exchange] == name)
            assert self.purses.get(name).reserved == running

    @invariant()
    def no_purse_has_less_than_it_has_reserved(self) -> None:
        for name in NAMES[:2]:
            purse = self.purses.get(name)
            assert purse.reserved <= purse.left_of_limit + purse.credit
            assert purse.credit <= self.topped_up[name]
            assert 0 <= purse.drawn <= purse.spent <= purse.total
            assert purse.spent - purse.drawn <= self.limits[name]


TestSpending = Spending.TestCase
TestSpending.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
