"""A channel's whole life on the chain, with a node killed at every step of it: all are paid, and once.

A step is a write that has landed on the node's disk, or the moment before or after a call to its wallet's
journal or to the chain. The node comes back with what is on disk. However it was killed, both books add
up, two deposits were made, the payee has what was charged, and the payer the rest.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import LocalProtocolError, Refused, Unavailable
from cocoon_p2p.identity import Identity, PeerId
from cocoon_p2p.ledger import ChannelRow, Side
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain import DevChain
from cocoon_p2p.payments.settlement import PayingAccount
from cocoon_p2p.payments.treasury.funding import FundingPolicy
from cocoon_p2p.payments.treasury.rounds import ClaimPolicy
from cocoon_p2p.payments.wallet import Wallet, WalletKey
from cocoon_p2p.protocols.messages import ChannelId, ExchangeId, Signed
from cocoon_p2p.testing.chain import LocalChain
from cocoon_p2p.testing.store import MemoryStore
from cocoon_p2p.units import NANO_PER_TON, Nano
from tests.payments.parties import PAYEE, PAYER, receipt
from tests.payments.vault import (
    CAPACITY,
    GIVEN,
    PAYEE_KEY,
    PAYER_KEY,
    PAYOUT,
    Death,
    Node,
    Town,
    town,
    until,
)
from tests.payments.wallets import Fuse

BILLS = {ExchangeId(b"1" * 16): Nano(800_000_000), ExchangeId(b"2" * 16): Nano(300_000_000)}
"The first is worth a top-up."

OWED = sum(BILLS.values())
FUNDING = FundingPolicy(CAPACITY, open_after=Nano(0))
CLAIMS = ClaimPolicy(above=Nano(NANO_PER_TON // 2))
FEES_MAX = NANO_PER_TON // 5
"More than a life costs in which some steps are done twice."

HOUR = 3600.0
OUTAGE_SECONDS = 3 * HOUR
"Close terms lapse meanwhile, and what was signed for the wallet."


@dataclass
class Being:
    """Who comes back whenever it is killed. It is killed once, where it is told."""

    place: Town
    identity: Identity
    key: WalletKey | None
    write: int = 0
    "The write after which it is killed; 0: none."

    step: int = 0
    "The step at which it is killed, by calls to journal and chain; 0: none."

    outage: int = 0
    "The step at which the chain goes down for it, for `OUTAGE_SECONDS`; 0: none."

    node: Node | None = None
    was_hit: bool = False
    "Whether it was killed, or the chain went down for it."

    @asynccontextmanager
    async def life(self) -> AsyncIterator[Node]:
        is_first = not self.was_hit
        disk = self.place.estates[self.identity.peer_id].disk
        store = MemoryStore(disk, die_after=self.write or None if is_first else None)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                fuse: Fuse | None = None
                if is_first and self.step:
                    fuse = Death(self.step, store)
                elif is_first and self.outage:
                    fuse = Fuse(self.outage, lambda: nursery.start_soon(self._be_cut_off))
                nursery.start_soon(self._die, store, scope)
                async with self.place.node(
                    self.identity, key=self.key, funding=FUNDING, claims=CLAIMS, store=store, fuse=fuse
                ) as node:
                    self.node = node
                    yield node
                nursery.cancel_scope.cancel()
        self.node = None

    async def _die(self, store: MemoryStore, scope: trio.CancelScope) -> None:
        await store.died.wait()
        self.node, self.was_hit = None, True
        scope.cancel()

    async def _be_cut_off(self) -> None:
        self.was_hit = self.place.chain.is_down = True
        await trio.sleep(OUTAGE_SECONDS)
        self.place.chain.is_down = False


End = Callable[["Life"], Awaitable[None]]
"One try at bringing a channel to its end."


@dataclass
class Life:
    """One channel's life, from its offer until everybody is paid."""

    place: Town
    payer: Being
    payee: Being
    end: End
    channel: ChannelId | None = None
    lost: int = 0
    "How many messages the chain lost."

    async def run(self) -> None:
        with trio.fail_after(20 * 24 * HOUR):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._run_payee)
                while not self._is_over():
                    async with self.payer.life():
                        while not self._is_over():
                            with trio.move_on_after(2 * HOUR):
                                await self._try()
                    await trio.sleep(1)
                nursery.cancel_scope.cancel()

    async def _run_payee(self) -> None:
        while True:
            async with self.payee.life():
                await trio.sleep_forever()
            await trio.sleep(1)

    def _is_over(self) -> bool:
        rows = [row for estate in self.place.estates.values() for row in estate.disk.channels.values()]
        return len(rows) == 2 and all(row.is_settled for row in rows)

    async def _try(self) -> None:
        try:
            await self._live()
        except (Unavailable, Refused):
            await trio.sleep(1)

    async def _live(self) -> None:
        await self._dial()
        assert self.payer.node is not None
        accounts = self.payer.node.accounts
        standing = accounts.payees()
        if not standing and self._rows(PAYER.peer_id):
            # For the payer all is over; the payee has yet to see it.
            await trio.sleep(HOUR)
            return
        account = standing[0] if standing else await accounts.paying(PAYEE.peer_id, capacity=Nano(0))
        self.channel = account.channel
        for exchange, amount in BILLS.items():
            if account.phase is Phase.OPEN:
                await self._pay(account, exchange, amount)
        await self.end(self)
        await trio.sleep(5)

    async def _pay(self, account: PayingAccount, exchange: ExchangeId, amount: Nano) -> None:
        await until(lambda: not account.leftovers)
        await until(lambda: account.capacity >= account.charged + amount)
        try:
            account.hold(exchange, amount)
        except LocalProtocolError:
            return
        await account.saved()
        await account.charge(exchange, amount, await self._ask(account.channel, exchange))

    async def _ask(self, channel: ChannelId, exchange: ExchangeId) -> Signed:
        """The payee's role: it works once for each exchange."""
        while True:
            with trio.move_on_after(10):
                try:
                    await self._dial()
                    if (payee := self.payee.node) is not None:
                        return await _work(payee, channel, exchange)
                except (Refused, Unavailable):
                    pass
            await trio.sleep(0.5)

    async def _dial(self) -> None:
        payee = self.place.network.transports.get(PAYEE.peer_id)
        payer = self.place.network.transports.get(PAYER.peer_id)
        if payee is None or payer is None:
            raise Unavailable("somebody is down")
        await payer.dial(payee.addresses)

    # ------------------------------------------------------------ how it ended

    def check(self) -> None:
        """However it went: both books add up, two deposits were made, and everybody has what is theirs."""
        assert self.channel is not None
        assert self.place.audited() == ()
        assert self._deposits() == 2
        for peer, side in ((PAYER.peer_id, Side.PAYER), (PAYEE.peer_id, Side.PAYEE)):
            (row,) = self._rows(peer)
            assert (row.name.side, row.charged, row.claimed) == (side, OWED, OWED)
        assert self.place.estates[PAYER.peer_id].disk.notes.keys() <= {"chain/seen"}
        assert self.place.estates[PAYEE.peer_id].disk.notes.keys() <= {"chain/seen"}
        assert self.place.balance(AccountId(self.channel)) == 0
        payee = PAYOUT if self.payee.key is None else _account(self.place, PAYEE_KEY)
        before = 0 if self.payee.key is None else GIVEN
        assert OWED - FEES_MAX < self.place.balance(payee) - before <= OWED
        assert GIVEN - OWED - FEES_MAX < self.place.balance(_account(self.place, PAYER_KEY)) < GIVEN - OWED

    def _rows(self, peer: PeerId) -> Collection[ChannelRow]:
        return self.place.estates[peer].disk.channels.values()

    def _deposits(self) -> int:
        """Count what the wallet put into the contract, and not what it sent there to close it."""
        assert self.channel is not None
        past = self.place.sent_by(_account(self.place, PAYER_KEY))
        return sum(one.other == AccountId(self.channel) and one.amount > NANO_PER_TON // 2 for one in past)


async def _work(payee: Node, channel: ChannelId, exchange: ExchangeId) -> Signed:
    ended = payee.accounts.ended(exchange)
    paper = ended or receipt(exchange, BILLS[exchange])
    account = payee.accounts.receiving(channel, PAYER.peer_id)
    if ended is None:
        await account.cover(exchange, BILLS[exchange])
    # An exchange that has ended is only waited for: its paper may not overtake its charge.
    await account.charge(exchange, BILLS[exchange], paper)
    return paper


def _account(place: Town, key: WalletKey) -> AccountId:
    return Wallet(key.public_key, place.devchain.global_id).account


# ---------------------------------------------------------------- ends


async def payer_closes(life: Life) -> None:
    assert life.payer.node is not None
    (account,) = life.payer.node.accounts.payees()
    await account.close()


async def payee_closes(life: Life) -> None:
    if life.payee.node is not None:
        for account in life.payee.node.accounts.payers():
            await account.close()


async def payer_leaves(life: Life) -> None:
    assert life.payer.node is not None
    (account,) = life.payer.node.accounts.payees()
    if not account.backing.close_at and not account.backing.is_settled:
        await life.payer.node.treasury.start_close(account)
    await until(lambda: account.backing.is_settled)


# ---------------------------------------------------------------- the tests


class LosingChain(LocalChain):
    """It takes one of the messages that it is sent, and never carries it out."""

    def __init__(self, devchain: DevChain, loses: int) -> None:
        super().__init__(devchain)
        self._loses = loses
        self._message = b""
        self.lost = 0

    async def send(self, message: bytes) -> None:
        # One that is sent again, because it did not land, is lost again.
        if message not in self.sent and len(set(self.sent)) + 1 == self._loses:
            self.lost, self._message = 1, message
        self.loses_messages = message == self._message
        await super().send(message)


async def live(
    end: End, *, payee_key: WalletKey | None = PAYEE_KEY, loses: int = 0, **killed: dict[str, int]
) -> Life:
    """Run one life, with the payer or the payee hit somewhere, or a message to the chain lost."""
    async with town() as place:
        place.chain = chain = LosingChain(place.devchain, loses)
        payer = Being(place, PAYER, PAYER_KEY, **killed.get("payer", {}))
        payee = Being(place, PAYEE, payee_key, **killed.get("payee", {}))
        life = Life(place, payer, payee, end)
        await life.run()
        life.check()
        life.lost = chain.lost
    return life


FIRST = {("payer", "write"): 14, ("payer", "step"): 34, ("payer", "outage"): 34}
"Up to about there all lives are alike."


async def everywhere(end: End, who: str, how: str, *, payee_key: WalletKey | None = PAYEE_KEY) -> int:
    """Hit somebody at each point, until a life ends before it comes to that; say how many there are."""
    first = 1 if end is payer_closes else FIRST.get((who, how), 1)
    for number in range(first, 1000):
        try:
            life = await live(end, payee_key=payee_key, **{who: {how: number}})
        except BaseException as exc:
            exc.add_note(f"{who}: {how} {number}")
            raise
        being = life.payer if who == "payer" else life.payee
        if not being.was_hit:
            return number - 1
    raise AssertionError("a life has no end")


ENDS = {"payer closes": payer_closes, "payee closes": payee_closes, "payer leaves": payer_leaves}
END_NAMES = pytest.mark.parametrize(
    "end", ["payer closes", "payee closes", pytest.param("payer leaves", marks=pytest.mark.long)]
)
WHO = pytest.mark.parametrize("who", ["payer", "payee"])


@pytest.mark.slow
@pytest.mark.parametrize("how", ["write", "step", pytest.param("outage", marks=pytest.mark.long)])
@WHO
@END_NAMES
async def test_a_channel_ends_alike_wherever_somebody_is_killed_or_cut_off(
    end: str, who: str, how: str, autojump_clock: MockClock
) -> None:
    assert await everywhere(ENDS[end], who, how) >= 8


@pytest.mark.slow
@END_NAMES
async def test_a_payee_without_a_wallet_is_paid_all_the_same_wherever_it_is_killed(
    end: str, autojump_clock: MockClock
) -> None:
    assert await everywhere(ENDS[end], "payee", "step", payee_key=None) >= 4


@pytest.mark.slow
@END_NAMES
async def test_a_channel_ends_alike_whichever_message_the_chain_loses(
    end: str, autojump_clock: MockClock
) -> None:
    lost = sum([(await live(ENDS[end], loses=number)).lost for number in range(1, 8)])

    # Two deposits, what closes, and a claim where that comes first.
    assert lost >= 3
