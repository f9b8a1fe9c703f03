"""A payer and a payee with their accounts, over a network in memory."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from cocoon_p2p.identity import Identity
from cocoon_p2p.ledger import Account, balances
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.payments.bank import Bank
from cocoon_p2p.payments.settlement import Accounts, PayingAccount, ReceivingAccount, open_accounts
from cocoon_p2p.protocols.ids import CHANNEL
from cocoon_p2p.protocols.messages import ExchangeId
from cocoon_p2p.testing.memory import MemoryNetwork
from cocoon_p2p.testing.store import MemoryDisk, MemoryStore
from cocoon_p2p.units import Nano
from tests.payments.parties import NETWORK, NOW, PAYEE, PAYER, receipt

CAPACITY = Nano(10_000)
GRANT = Nano(50)


class Dice:
    """Draws what nobody has drawn."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, size: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(size)


@dataclass
class Node:
    """One node as long as its block runs."""

    identity: Identity
    store: MemoryStore
    accounts: Accounts

    def wallet(self) -> int:
        """What has come into its wallet, less what left it."""
        replayed = balances(self.store.disk.lines.values())
        return sum(amount for (_, account), amount in replayed.items() if account is Account.WALLET)


class Scene:
    """The network, and what outlives a node's block: its disk."""

    def __init__(self, network: MemoryNetwork) -> None:
        self.network = network
        self.disks = {PAYER.peer_id: MemoryDisk(), PAYEE.peer_id: MemoryDisk()}
        self.dice = Dice()
        self.now = NOW

    @asynccontextmanager
    async def node(
        self, identity: Identity, *, grant: Nano = GRANT, bank: Bank | None = None
    ) -> AsyncIterator[Node]:
        transport = self.network.transport(identity)
        store = MemoryStore(self.disks[identity.peer_id])
        async with open_accounts(
            transport,
            identity,
            NETWORK,
            store,
            grant_policy=lambda _: grant,
            bank=bank,
            draw=self.dice,
            clock=lambda: self.now,
        ) as accounts:
            try:
                yield Node(identity, store, accounts)
            finally:
                self.network.crash(identity.peer_id)

    async def dial(self) -> None:
        payee = self.network.transports[PAYEE.peer_id]
        await self.network.transports[PAYER.peer_id].dial(payee.addresses)

    def cut(self) -> None:
        self.network.cut(PAYER.peer_id, PAYEE.peer_id)


@dataclass
class Pair:
    """Both ends of one channel that stands."""

    scene: Scene
    payer: Node
    payee: Node
    paying: PayingAccount
    receiving: ReceivingAccount

    async def exchange(self, exchange: ExchangeId, amount: int) -> None:
        """Let one exchange run its whole course."""
        self.paying.hold(exchange, Nano(amount))
        await self.paying.saved()
        await self.receiving.cover(exchange, Nano(amount))
        paper = receipt(exchange, amount)
        await self.receiving.charge(exchange, Nano(amount), paper)
        await self.paying.charge(exchange, Nano(amount), paper)


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    async with MemoryNetwork() as network:
        yield Scene(network)


async def connect(scene: Scene, payer: Node, payee: Node, *, capacity: Nano = CAPACITY) -> Pair:
    """Dial, and find or open the channel."""
    await scene.dial()
    paying = await payer.accounts.paying(PAYEE.peer_id, capacity=capacity)
    receiving = payee.accounts.receiving(paying.channel, PAYER.peer_id)
    return Pair(scene, payer, payee, paying, receiving)


@asynccontextmanager
async def pair(*, grant: Nano = GRANT, capacity: Nano = CAPACITY) -> AsyncIterator[Pair]:
    """Stand up both nodes with a channel between them."""
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(scene())
        payer = await stack.enter_async_context(stage.node(PAYER))
        payee = await stack.enter_async_context(stage.node(PAYEE, grant=grant))
        yield await connect(stage, payer, payee, capacity=capacity)


@asynccontextmanager
async def bare_stream(stage: Scene, identity: Identity, peer: Identity) -> AsyncIterator[MessageStream]:
    """Speak to a node's accounts without accounts of one's own."""
    transport = stage.network.transports.get(identity.peer_id) or stage.network.transport(identity)
    await transport.dial(stage.network.transports[peer.peer_id].addresses)
    stream = MessageStream(await transport.open_stream(peer.peer_id, CHANNEL))
    try:
        yield stream
    finally:
        stream.reset()
