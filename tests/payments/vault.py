"""Two nodes with wallets and treasuries, on a chain that needs no socket: real contracts, trio's clock."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import trio

from cocoon_p2p.identity import Identity
from cocoon_p2p.ledger import audit
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.payments.boc import read_one
from cocoon_p2p.payments.chain import Chain, Payment
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain import AccountId as LocalAccountId
from cocoon_p2p.payments.devchain import DevChain
from cocoon_p2p.payments.lite.transactions import read_transaction
from cocoon_p2p.payments.settlement import Accounts, PayingAccount, ReceivingAccount, open_accounts
from cocoon_p2p.payments.treasury.funding import FundingPolicy
from cocoon_p2p.payments.treasury.rounds import ClaimPolicy, Treasury
from cocoon_p2p.payments.wallet import Wallet, WalletKey
from cocoon_p2p.payments.wallet.journal import Journal
from cocoon_p2p.payments.wallet.spending import Purse
from cocoon_p2p.protocols.messages import ExchangeId
from cocoon_p2p.testing.chain import LocalChain
from cocoon_p2p.testing.memory import MemoryNetwork
from cocoon_p2p.testing.store import MemoryDisk, MemoryStore
from cocoon_p2p.units import NANO_PER_TON, Nano
from tests.payments.parties import NETWORK, PAYEE, PAYER, receipt
from tests.payments.wallets import NOW, Fuse, FusedChain, FusedJournal, MemoryJournal, balance

PAYER_KEY, PAYEE_KEY = WalletKey.from_seed(b"P" * 32), WalletKey.from_seed(b"Q" * 32)
PAYOUT = AccountId(b"\xee" * 32)
"Where a payee without a wallet is paid."

GIVEN = 10 * NANO_PER_TON
DELAY_SECONDS = 24 * 3600
CAPACITY = Nano(NANO_PER_TON)


def clock() -> float:
    return NOW + trio.current_time()


async def until(holds: Callable[[], bool]) -> None:
    """Let time pass until something holds; for a month at most."""
    pause = 1.0
    with trio.fail_after(30 * 24 * 3600):
        # On trio's clock, which jumps: what is waited for has no event of its own.
        while not holds():
            await trio.sleep(pause)
            pause = min(1.1 * pause, 60.0)


@dataclass
class Estate:
    """What outlives a node's process: its ledger and its wallet's journal."""

    disk: MemoryDisk = field(default_factory=MemoryDisk)
    journal: MemoryJournal = field(default_factory=MemoryJournal)


class Death(Fuse):
    """Kills a node before or after one of the calls that it makes to its journal and the chain."""

    def __init__(self, stop_at: int, store: MemoryStore) -> None:
        super().__init__(stop_at, store.died.set)

    async def moment(self) -> None:
        await super().moment()
        if self.has_blown:
            await trio.sleep_forever()


@dataclass
class Node:
    """One node as long as its block runs."""

    identity: Identity
    store: MemoryStore
    accounts: Accounts
    treasury: Treasury


class Town:
    """The chain, the network, and everybody's estates."""

    def __init__(self, network: MemoryNetwork) -> None:
        self.devchain = DevChain(now=NOW, clock=trio.current_time)
        self.chain = LocalChain(self.devchain)
        self.network = network
        self.estates = {PAYER.peer_id: Estate(), PAYEE.peer_id: Estate()}
        for key in (PAYER_KEY, PAYEE_KEY):
            self.devchain.give(Wallet(key.public_key, self.devchain.global_id).account, GIVEN)
        self._seeds = iter(range(1, 1000))

    @asynccontextmanager
    async def node(
        self,
        identity: Identity,
        *,
        key: WalletKey | None,
        grant: Nano = Nano(0),
        funding: FundingPolicy | None = None,
        claims: ClaimPolicy | None = None,
        payout: AccountId | None = None,
        store: MemoryStore | None = None,
        fuse: Fuse | None = None,
    ) -> AsyncIterator[Node]:
        """Run a node. Without a key it has no wallet, and is paid at `PAYOUT`."""
        estate = self.estates[identity.peer_id]
        transport = self.network.transport(identity)
        store = store or MemoryStore(estate.disk)
        chain: Chain = self.chain if fuse is None else FusedChain(self.chain, fuse)
        journal: Journal = estate.journal if fuse is None else FusedJournal(estate.journal, fuse)
        purse = None if key is None else Purse(chain, key, journal)
        treasury = Treasury(
            chain,
            store,
            payout=payout or (PAYOUT if purse is None else purse.wallet.account),
            purse=purse,
            funding=funding,
            claims=claims,
            close_delay_seconds=DELAY_SECONDS,
            clock=clock,
        )
        async with (
            open_accounts(
                transport,
                identity,
                NETWORK,
                store,
                grant_policy=lambda _: grant,
                bank=treasury,
                draw=lambda size: next(self._seeds).to_bytes(size),
                clock=clock,
            ) as accounts,
            open_service_nursery() as nursery,
        ):
            nursery.start_soon(treasury.run, accounts)
            try:
                yield Node(identity, store, accounts, treasury)
            finally:
                self.network.crash(identity.peer_id)

    async def dial(self) -> None:
        payee = self.network.transports[PAYEE.peer_id]
        await self.network.transports[PAYER.peer_id].dial(payee.addresses)

    def balance(self, account: AccountId) -> int:
        self.devchain.make_block()
        return balance(self.devchain, account)

    def sent_by(self, account: AccountId) -> list[Payment]:
        """List all that an account ever sent."""
        self.devchain.make_block()
        past = self.devchain.history.transactions(LocalAccountId(account), up_to_lt=1 << 64, count=1 << 64)
        done = [read_transaction(read_one(one.transaction.boc), account).transaction for one in past]
        return [payment for one in done for payment in one.sent]

    def pass_time(self, seconds: int) -> None:
        """Move the chain's clock on its own."""
        self.devchain.now += seconds

    def audited(self) -> tuple[str, ...]:
        """Name what does not add up in any ledger."""
        return tuple(
            fault
            for estate in self.estates.values()
            for fault in audit(estate.disk.channels.values(), estate.disk.lines.values())
        )


@dataclass
class Pair:
    """Both ends of one channel."""

    town: Town
    payer: Node
    payee: Node
    paying: PayingAccount
    receiving: ReceivingAccount

    async def exchange(self, number: int, amount: int) -> None:
        """Let one exchange run its whole course."""
        exchange = ExchangeId(bytes([number]) * 16)
        self.paying.hold(exchange, Nano(amount))
        await self.paying.saved()
        await self.receiving.cover(exchange, Nano(amount))
        paper = receipt(exchange, amount)
        await self.receiving.charge(exchange, Nano(amount), paper)
        await self.paying.charge(exchange, Nano(amount), paper)

    async def fund(self, capacity: Nano = CAPACITY) -> None:
        """Open the contract or top it up, and wait until the payee takes it."""
        before = self.paying.capacity
        await self.payer.treasury.fund(self.paying, capacity)
        await until(lambda: self.paying.capacity > before)

    async def settled(self) -> None:
        """Wait until both sides have seen that the contract is gone."""
        await until(lambda: self.paying.backing.is_settled and self.receiving.backing.is_settled)


@asynccontextmanager
async def town() -> AsyncIterator[Town]:
    async with MemoryNetwork() as network:
        yield Town(network)


async def meet(place: Town, payer: Node, payee: Node) -> Pair:
    await place.dial()
    paying = await payer.accounts.paying(PAYEE.peer_id, capacity=Nano(0))
    receiving = payee.accounts.receiving(paying.channel, PAYER.peer_id)
    return Pair(place, payer, payee, paying, receiving)


@asynccontextmanager
async def pair(
    *,
    payee_key: WalletKey | None = PAYEE_KEY,
    grant: Nano = Nano(0),
    funding: FundingPolicy | None = None,
    claims: ClaimPolicy | None = None,
) -> AsyncIterator[Pair]:
    """Stand up both nodes, with a channel between them that has no deposit yet."""
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(town())
        payer = await stack.enter_async_context(place.node(PAYER, key=PAYER_KEY, funding=funding))
        payee = await stack.enter_async_context(place.node(PAYEE, key=payee_key, grant=grant, claims=claims))
        yield await meet(place, payer, payee)
