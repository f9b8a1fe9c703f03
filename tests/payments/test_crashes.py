"""Settlement stopped after each effect in turn, and started again: the end must be the same.

An effect is a write that has landed on a disk, or a write on a stream. The roles are short:
the payer asks for an exchange until it has a paper and has booked it, the payee works once for
each id. Whatever dies, each exchange is charged once, on both sides alike.
"""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import LocalProtocolError, Refused, Unavailable
from cocoon_p2p.identity import Identity
from cocoon_p2p.ledger import Side, audit
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.payments.settlement import Accounts, open_accounts
from cocoon_p2p.protocols.messages import ChannelId, ExchangeId, Signed
from cocoon_p2p.testing.memory import Fate, MemoryNetwork, Write
from cocoon_p2p.testing.store import MemoryDisk, MemoryStore
from cocoon_p2p.units import Nano
from tests.payments.parties import NETWORK, NOW, PAYEE, PAYER, receipt

BILLS = {ExchangeId(bytes([number]) * 16): Nano(100 * number) for number in (1, 2, 3)}
OWED = sum(BILLS.values())


@dataclass
class Machine:
    """One node: who it is, and the disk that outlives it."""

    identity: Identity
    store: MemoryStore
    accounts: Accounts | None = None
    drawn: int = 0

    def draw(self, size: int) -> bytes:
        self.drawn += 1
        return self.drawn.to_bytes(size)

    @asynccontextmanager
    async def live(self, network: MemoryNetwork) -> AsyncIterator[Accounts]:
        """Run the node until the block ends or its machine dies."""
        transport = network.transport(self.identity)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.die, network, scope)
                async with open_accounts(
                    transport,
                    self.identity,
                    NETWORK,
                    self.store,
                    grant_policy=lambda _: Nano(50),
                    draw=self.draw,
                    clock=lambda: NOW,
                ) as accounts:
                    self.accounts = accounts
                    yield accounts
                nursery.cancel_scope.cancel()
        self.store = MemoryStore(self.store.disk)

    async def die(self, network: MemoryNetwork, scope: trio.CancelScope) -> None:
        await self.store.died.wait()
        self.accounts = None
        network.crash(self.identity.peer_id)
        scope.cancel()

    @property
    def disk(self) -> MemoryDisk:
        return self.store.disk


@dataclass
class World:
    network: MemoryNetwork
    payer: Machine
    payee: Machine

    async def run_payee(self) -> None:
        while True:
            async with self.payee.live(self.network):
                await trio.sleep_forever()
            await trio.sleep(0.5)

    async def run_payer(self) -> None:
        while not self.is_over():
            async with self.payer.live(self.network) as accounts:
                while not self.is_over():
                    try:
                        await self.pay(accounts)
                    except (Unavailable, Refused):
                        await trio.sleep(1)
                # A payee that was away has time to come back for the close terms.
                await trio.sleep(60)
            await trio.sleep(0.5)

    def is_over(self) -> bool:
        return any(row.phase == Phase.CLOSED for row in self.payer.disk.channels.values())

    async def pay(self, accounts: Accounts) -> None:
        """The payer's role: every exchange asked for and booked, then the channel closed."""
        await self.dial()
        if any(account.phase is not Phase.OPEN for account in accounts.payees()):
            # The account goes on with a close of a life before a crash by itself.
            await trio.sleep(1)
            return
        account = await accounts.paying(PAYEE.peer_id, capacity=Nano(10_000))
        if account.leftovers:
            # Exchanges of a life before a crash: the account asks how they ended.
            await trio.sleep(1)
            return
        for exchange, amount in BILLS.items():
            try:
                account.hold(exchange, amount)
            except LocalProtocolError:
                continue
            await account.saved()
            await account.charge(exchange, amount, await self.ask(account.channel, exchange))
        # It waits for a payee that is away, and somebody must dial.
        with trio.move_on_after(10):
            await account.close()

    async def dial(self) -> None:
        payee = self.network.transports.get(PAYEE.peer_id)
        if payee is None:
            raise Unavailable("the payee is down")
        await self.network.transports[PAYER.peer_id].dial(payee.addresses)

    async def ask(self, channel: ChannelId, exchange: ExchangeId) -> Signed:
        """The payee's role, as if called over an exchange stream, and called again until it answers."""
        while True:
            accounts = self.payee.accounts
            with trio.move_on_after(5):
                try:
                    await self.dial()
                    if accounts is not None:
                        return await self.work(accounts, channel, exchange)
                except (Refused, Unavailable):
                    # The payee forgot the channel; it will be offered again.
                    await trio.sleep(0.5)
            await trio.sleep(0.5)

    async def work(self, accounts: Accounts, channel: ChannelId, exchange: ExchangeId) -> Signed:
        ended = accounts.ended(exchange)
        paper = ended or receipt(exchange, BILLS[exchange])
        account = accounts.receiving(channel, PAYER.peer_id)
        if ended is None:
            await account.cover(exchange, BILLS[exchange])
        # An exchange that has ended is only waited for: its paper may not overtake its charge.
        await account.charge(exchange, BILLS[exchange], paper)
        return paper


async def play(
    *, payer_dies: int | None = None, payee_dies: int | None = None, reset_at: int | None = None
) -> World:
    """Let the whole story happen, with one blow at one point of it."""
    async with MemoryNetwork() as network:
        payer = Machine(PAYER, MemoryStore(die_after=payer_dies))
        payee = Machine(PAYEE, MemoryStore(die_after=payee_dies))
        world = World(network, payer, payee)

        def strike(write: Write) -> tuple[Fate, float]:
            return (Fate.RESET if write.number == reset_at else Fate.DELIVER), 0.0

        network.fault = strike
        with trio.fail_after(600):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.run_payee)
                await trio.sleep(0.1)
                await world.run_payer()
                nursery.cancel_scope.cancel()
        return world


def judge(world: World) -> None:
    for machine, side in (world.payer, Side.PAYER), (world.payee, Side.PAYEE):
        disk = machine.disk
        (row,) = disk.channels.values()
        assert (row.name.side, row.phase, row.charged) == (side, Phase.CLOSED, OWED)
        assert {key[1]: exchange.amount for key, exchange in disk.exchanges.items()} == BILLS
        assert audit([row], disk.lines.values()) == ()
        assert not disk.evidence
    (paid,), (earned,) = world.payer.disk.channels.values(), world.payee.disk.channels.values()
    assert OWED - 50 <= earned.vouchered <= paid.vouchered


async def test_undisturbed_every_exchange_is_charged_once_and_the_channel_closed(
    autojump_clock: MockClock,
) -> None:
    judge(await play())


@pytest.mark.slow
async def test_the_end_is_the_same_wherever_the_payer_dies(autojump_clock: MockClock) -> None:
    for number in itertools.count(1):
        world = await play(payer_dies=number)
        judge(world)
        if world.payer.store.landed < number and number > 20:
            return


@pytest.mark.slow
async def test_the_end_is_the_same_wherever_the_payee_dies(autojump_clock: MockClock) -> None:
    for number in itertools.count(1):
        world = await play(payee_dies=number)
        judge(world)
        if world.payee.store.landed < number and number > 20:
            return


@pytest.mark.slow
async def test_the_end_is_the_same_whichever_write_breaks_the_connection(autojump_clock: MockClock) -> None:
    undisturbed = await play()
    for number in range(undisturbed.network.writes):
        judge(await play(reset_at=number))
