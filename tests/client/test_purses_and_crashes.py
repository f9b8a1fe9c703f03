"""Purses of a machine that dies: whatever was settled, by whom and when, is counted, and counted once."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.client import Budget, Client, Policy, Purses
from cocoon_p2p.client.purses import open_purses, purses_of
from cocoon_p2p.errors import CocoonError
from cocoon_p2p.identity import PeerId, network_id
from cocoon_p2p.ledger import (
    ChannelName,
    EndedForgotten,
    ExchangeForgotten,
    ExchangeRow,
    Side,
    Status,
    Store,
)
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.payments.party import Beside
from cocoon_p2p.payments.payer_stream import settle
from cocoon_p2p.payments.settlement import Accounts, open_accounts
from cocoon_p2p.protocols.ids import Trust
from cocoon_p2p.protocols.messages import ChannelId, ExchangeId, Paper, Receipt, Signed
from cocoon_p2p.protocols.papers import sign
from cocoon_p2p.protocols.schema import decode_paper
from cocoon_p2p.store import open_store
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.testing.memory import MemoryTransport
from cocoon_p2p.testing.overlay import Draw, MemoryNode, Overlay, date, open_overlay
from cocoon_p2p.testing.store import MemoryDisk, MemoryStore
from cocoon_p2p.units import Nano
from tests.client.scene import EPOCH, QUESTION
from tests.client.test_purses import PURSE, ask, charged, spent, ties, untied
from tests.payments.parties import receipt


@dataclass
class Buyer:
    """A client on an overlay that can die, and live again over its disk."""

    overlay: Overlay
    node: MemoryNode = field(default_factory=lambda: MemoryNode.named("buyer"))
    lives: int = 0

    @property
    def disk(self) -> MemoryDisk:
        return self.node.disk

    @asynccontextmanager
    async def accounts(
        self, store: MemoryStore, beside: Callable[[Store], Awaitable[Beside]] | None = None
    ) -> AsyncIterator[tuple[Accounts, MemoryTransport]]:
        """Open its accounts until the block ends or the machine dies."""
        network, self.lives = self.overlay.network, self.lives + 1
        transport = network.transport(self.node.identity, listen=False)
        with trio.CancelScope() as scope:
            async with (
                trio.open_nursery() as nursery,
                open_accounts(
                    transport,
                    self.node.identity,
                    network_id("memory"),
                    store,
                    grant_policy=lambda _: Nano(0),
                    beside=beside,
                    draw=Draw(f"accounts {self.lives}"),
                    clock=date,
                ) as accounts,
            ):

                async def die() -> None:
                    await store.died.wait()
                    network.crash(self.node.identity.peer_id)
                    scope.cancel()

                nursery.start_soon(die)
                yield accounts, transport
                nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def live(self, *, die_after: int | None = None) -> AsyncIterator[Client]:
        """Open its client likewise."""
        store = MemoryStore(self.disk, die_after=die_after)
        async with (
            self.accounts(store) as (accounts, transport),
            Client.open(
                transport,
                self.overlay._parts.directory.of(transport),
                accounts,
                network_id("memory"),
                policy=Policy(trust=Trust.OPEN, max_cost=Nano(10**9)),
                clock=date,
                draw=Draw(f"client {self.lives}"),
            ) as client,
        ):
            yield client

    async def meet(self, transport: MemoryTransport) -> None:
        """Connect to the proxy, so that it can be asked how exchanges ended."""
        await transport.dial(self.overlay.network.transports[self.proxy].addresses)

    @property
    def proxy(self) -> PeerId:
        return self.overlay.nodes["proxy"].identity.peer_id


BUDGET = Nano(10**9)


async def buy(client: Client, purse: str, wishes: int) -> None:
    """Ask for three things at once; whoever is refused has had bad luck."""
    async with trio.open_nursery() as nursery:
        for _ in range(wishes):
            nursery.start_soon(ask_quietly, client, purse)


async def ask_quietly(client: Client, purse: str) -> None:
    with suppress(CocoonError):
        await ask(client, purse, 4 * 10**8)


@pytest.mark.parametrize("die_after", range(4, 60, 4))
async def test_a_machine_that_dies_after_any_write_has_charged_its_purses_what_its_ledger_was(
    die_after: int, autojump_clock: MockClock
) -> None:
    async with open_overlay(delay_seconds=(0.001, 0.02)) as overlay:
        buyer = Buyer(overlay)
        async with buyer.live(die_after=die_after) as client:
            for name in ("one", "two"):
                await client.purses.allow(name, Budget(BUDGET))
            for name in ("one", "two"):
                await buy(client, name, 3)

        async with buyer.live() as client:
            for view in await client.purses.list():
                assert view.spent + view.reserved <= BUDGET
            await client.connect(buyer.proxy)
            await untied(buyer.disk)

            views = await client.purses.list()
            assert sum(view.total for view in views) == charged(buyer.disk)
            assert all(view.reserved == 0 for view in views)
            assert not [row for row in buyer.disk.exchanges.values() if row.status is not Status.ENDED]


async def test_what_was_settled_while_no_client_was_there_is_counted_once_there_is_one(
    autojump_clock: MockClock,
) -> None:
    async with open_overlay(delay_seconds=(0.001, 0.02)) as overlay:
        buyer = Buyer(overlay)
        await die_while_answered(buyer)
        (tie,) = ties(buyer.disk)

        async with buyer.accounts(MemoryStore(buyer.disk)) as (_, transport):
            await buyer.meet(transport)
            with trio.fail_after(600):
                while not charged(buyer.disk):  # noqa: ASYNC110 (of the mock clock)
                    await trio.sleep(1)
        assert tie in buyer.disk.notes

        async with buyer.live() as client:
            assert await spent(client) == (charged(buyer.disk), 0)
            await untied(buyer.disk)
        async with buyer.live() as client:
            assert await spent(client) == (charged(buyer.disk), 0)


async def test_what_was_charged_is_found_in_the_books_where_its_row_was_dropped_by_age(
    autojump_clock: MockClock,
) -> None:
    async with open_overlay(delay_seconds=(0.001, 0.02)) as overlay:
        buyer = Buyer(overlay)
        await die_while_answered(buyer)
        async with buyer.accounts(MemoryStore(buyer.disk)) as (_, transport):
            await buyer.meet(transport)
            with trio.fail_after(600):
                while not charged(buyer.disk):  # noqa: ASYNC110 (of the mock clock)
                    await trio.sleep(1)
        cost = charged(buyer.disk)
        buyer.disk.write(EndedForgotten(2**62))
        assert charged(buyer.disk) == 0

        async with buyer.live() as client:
            assert await spent(client) == (cost, 0)


async def die_while_answered(buyer: Buyer, *costs: Nano) -> None:
    """Die once answers have begun, so that only the proxy knows how they end."""
    async with buyer.live() as client, AsyncExitStack() as stack:
        for max_cost in costs or (Nano(10**9),):
            asking = client.chat("scripted", QUESTION, purse=PURSE, max_cost=max_cost)
            await anext(await stack.enter_async_context(asking))
        # What this life still writes goes to a disk that nobody reads.
        buyer.node.disk = buyer.disk.copy()
        buyer.overlay.network.crash(buyer.node.identity.peer_id)


@pytest.mark.parametrize("beyond", [0, 1])
async def test_a_bill_above_what_a_request_could_cost_is_not_paid_after_a_crash_either(
    beyond: int, autojump_clock: MockClock
) -> None:
    limit = Nano(400_000)
    slow = ScriptedEngine(delay_seconds=3.0)
    async with open_overlay(engines=[slow], delay_seconds=(0.001, 0.02)) as overlay:
        buyer = Buyer(overlay)
        # Another answer that runs: what is vouchered for it would cover the bill.
        await die_while_answered(buyer, limit, Nano(10**9))
        # The payee may be back before there is a client.
        async with buyer.accounts(MemoryStore(buyer.disk), partial(open_purses, clock=date)) as (accounts, _):
            followed = purses_of(accounts, date)
            (account,) = accounts.payees()
            (exchange,) = [one for one in account.leftovers if followed.limit(one) == limit]
            assert account.credit > limit + beyond

            paper = Paper(exchange, bill(overlay, exchange, limit + beyond), None)
            settle(account, account._party, account.leftovers[exchange], paper)

            stopped = Phase.STOPPED if beyond else Phase.OPEN
            assert account.phase is stopped
            assert (await followed.look(PURSE)).spent == (0 if beyond else limit)


def bill(overlay: Overlay, exchange: ExchangeId, amount: int) -> Signed:
    """Have the proxy sign any bill."""
    paper = decode_paper(Receipt, receipt(exchange, amount).body)
    return sign(overlay.nodes["proxy"].identity, network_id("memory"), paper)


@pytest.mark.slow
async def test_purses_are_the_same_in_a_ledger_that_is_opened_again(tmp_path: Path) -> None:
    exchange, name = ExchangeId(b"\x01" * 16), ChannelName(Side.PAYER, ChannelId(b"\x02" * 32))
    row = ExchangeRow(name, exchange, Status.RUNNING, Nano(0), Nano(5), Nano(0), None, 1)
    async with open_store(tmp_path / "ledger.db") as store:
        kept = Purses(store, lambda: EPOCH)
        await kept.load()
        await kept.allow(PURSE, Budget(Nano(100), 1000))
        await kept.top_up(PURSE, Nano(7))
        with kept.reserved(PURSE, Nano(60)) as reservation:
            reservation.tie(exchange, reservation.amount)
            store.submit(row, *kept.beside([row]))
            await store.submit().wait()
        before = await kept.look(PURSE)

    async with open_store(tmp_path / "ledger.db") as store:
        kept = Purses(store, lambda: EPOCH)
        await kept.load()
        assert await kept.look(PURSE) == before
        assert (before.reserved, before.left) == (60, 47)
        ended = replace(row, status=Status.ENDED, amount=Nano(44))
        # Its own books take it, as an account that nobody follows does.
        await store.submit(ended).wait()

    async with open_store(tmp_path / "ledger.db") as store:
        kept = Purses(store, lambda: EPOCH)
        await kept.load()
        view = await kept.look(PURSE)
        assert (view.spent, view.reserved, view.left, view.total) == (44, 0, 63, 44)
        assert await store.notes("purse-tie/") == {}


@pytest.mark.parametrize(
    "name",
    [
        ChannelName(Side.PAYEE, ChannelId(b"\x02" * 32)),
        ChannelName(Side.PAYER, ChannelId(b"\x03" * 32)),
    ],
    ids=["one that we are paid for", "one of another channel"],
)
async def test_an_exchange_of_the_same_id_elsewhere_is_not_the_purse_s(name: ChannelName) -> None:
    exchange, ours = ExchangeId(b"\x01" * 16), ChannelName(Side.PAYER, ChannelId(b"\x02" * 32))
    row = ExchangeRow(ours, exchange, Status.RUNNING, Nano(0), Nano(5), Nano(0), None, 1)
    kept = Purses(MemoryStore(), lambda: EPOCH)
    await kept.load()
    await kept.allow(PURSE, Budget(Nano(100)))
    with kept.reserved(PURSE, Nano(60)) as reservation:
        reservation.tie(exchange, reservation.amount)
        kept.beside([row])
        other = replace(row, name=name, status=Status.ENDED, amount=Nano(44))

        assert kept.beside([other, ExchangeForgotten(name, exchange)]) == ()

        view = await kept.look(PURSE)
        assert (view.spent, view.reserved) == (0, 60)
        kept.beside([replace(row, status=Status.ENDED, amount=Nano(7))])
    view = await kept.look(PURSE)
    assert (view.spent, view.reserved) == (7, 0)
