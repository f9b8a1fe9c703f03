"""Purses over real parts on the memory network: what is charged, what stays reserved, and no nanoTON more."""

from contextlib import suppress
from functools import partial

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from cocoon_p2p.client import Budget, Client, Policy, Purses, PurseView, purses
from cocoon_p2p.errors import AnswerBroken, CocoonError, ConfigurationError, Refused
from cocoon_p2p.ledger import Note, Side, Status
from cocoon_p2p.protocols.ids import Kind, Outcome, Trust
from cocoon_p2p.testing.engine import ScriptedEngine, scripted_model
from cocoon_p2p.testing.overlay import open_overlay
from cocoon_p2p.testing.store import MemoryDisk, MemoryStore
from cocoon_p2p.units import Nano
from tests.client.scene import NETWORK, QUESTION, Talk, honest, now, scene
from tests.client.test_losses import answering, cut

PURSE = "key/1"
COST = 126
"(10 x 4 + 4 x 20) x 1.05: what the honest proxy of a scene bills."


def charged(disk: MemoryDisk) -> int:
    """Add up what the ledger's own rows say was charged to its payer."""
    rows = disk.exchanges.values()
    return sum(row.amount for row in rows if row.name.side is Side.PAYER and row.status is Status.ENDED)


def ties(disk: MemoryDisk) -> list[str]:
    return [key for key in disk.notes if key.startswith("purse-tie/")]


async def untied(disk: MemoryDisk) -> None:
    """Wait until all is settled."""
    with trio.fail_after(3600):
        while ties(disk):  # noqa: ASYNC110 (of the mock clock)
            await trio.sleep(1)


async def spent(client: Client, name: str = PURSE) -> tuple[int, int]:
    """Say what a purse has spent, and what it has reserved."""
    view = await client.purses.look(name)
    return view.spent, view.reserved


async def ask(client: Client, name: str = PURSE, max_cost: int = 50_000) -> None:
    async with client.chat("scripted", QUESTION, purse=name, max_cost=max_cost) as answer:
        await answer.read()


# ---------------------------------------------------------------- one request


async def test_a_request_is_paid_from_its_purse(autojump_clock: MockClock) -> None:
    async with scene(honest) as stage:
        budget = Budget(Nano(40_000))
        await stage.client.purses.allow(PURSE, budget)
        await ask(stage.client)

        assert await stage.client.purses.look(PURSE) == PurseView(
            PURSE, budget, Nano(COST), Nano(0), Nano(40_000 - COST), None, Nano(0), Nano(COST)
        )
        assert charged(stage.store.disk) == COST
        assert ties(stage.store.disk) == []


async def test_a_request_may_cost_no_more_than_is_left(autojump_clock: MockClock) -> None:
    async with scene(honest) as stage:
        await stage.client.purses.allow(PURSE, Budget(Nano(30_000)))
        await ask(stage.client)
        await ask(stage.client)

        assert [talk.ask.max_cost for talk in stage.proxy.talks] == [30_000, 30_000 - COST]


async def test_an_empty_purse_refuses_before_anybody_is_asked(autojump_clock: MockClock) -> None:
    async with scene(honest) as stage:
        await stage.client.purses.allow(PURSE, Budget(Nano(0)))
        with pytest.raises(Refused) as raised:
            await ask(stage.client)

        assert (raised.value.code, raised.value.retry_after) == ("over-budget", None)
        assert "top" in raised.value.hint
        assert stage.proxy.talks == []


async def test_an_empty_purse_says_when_it_is_filled_again(autojump_clock: MockClock) -> None:
    goes_on = trio.Event()

    async def waits(talk: Talk) -> None:
        await talk.begin()
        await goes_on.wait()
        await talk.chunk("It is.", 4, final=True)
        await talk.settle()

    async with scene(waits) as stage, trio.open_nursery() as nursery:
        await stage.client.purses.allow(PURSE, Budget(Nano(50_000), every_seconds=1000))
        nursery.start_soon(ask, stage.client)
        await trio.testing.wait_all_tasks_blocked()

        with pytest.raises(Refused) as raised:
            await ask(stage.client)
        wait = raised.value.retry_after
        goes_on.set()
        assert wait is not None
        assert wait == (await stage.client.purses.look(PURSE)).renews_in_seconds
        await trio.sleep(wait)
        assert (await stage.client.purses.look(PURSE)).left == 50_000


async def test_a_price_above_what_is_left_is_the_purses_fault_and_not_the_requests(
    autojump_clock: MockClock,
) -> None:
    async with open_overlay() as overlay:
        await overlay.client.purses.allow(PURSE, Budget(Nano(5)))
        with pytest.raises(Refused) as raised:
            await ask(overlay.client, max_cost=10**9)
        assert raised.value.code == "over-budget"

        with pytest.raises(Refused) as raised:
            await ask(overlay.client, max_cost=5)
        assert raised.value.code == "price-above-limit"


async def test_a_quote_reserves_nothing_and_knows_what_is_left(autojump_clock: MockClock) -> None:
    async with scene(honest) as stage:
        await stage.client.purses.allow(PURSE, Budget(Nano(5_000)))
        (quote,) = await stage.client.quote("scripted", QUESTION, purse=PURSE)

        assert quote.cost_max <= 5_000
        assert await spent(stage.client) == (0, 0)


async def test_embeddings_are_paid_from_their_purse(autojump_clock: MockClock) -> None:
    model = scripted_model("vectors", features=(), kind=Kind.EMBEDDING)
    async with open_overlay(engines=[ScriptedEngine(models=[model])]) as overlay:
        made = await overlay.client.embed("vectors", ["one", "two"], purse=PURSE)

        assert await spent(overlay.client) == (made.cost, 0)
        assert made.cost > 0


@pytest.mark.parametrize("name", ["", "a" * 65, "line\nend", "nul\0", 7, "\ud800"])
async def test_a_name_that_no_purse_has_is_refused(name: str, autojump_clock: MockClock) -> None:
    async with scene(honest) as stage:
        with pytest.raises(ConfigurationError, match="purse"):
            await ask(stage.client, name)
        with pytest.raises(ConfigurationError, match="purse"):
            await stage.client.purses.look(name)
        assert stage.proxy.talks == []


async def test_purses_are_listed_by_the_beginning_of_their_names(autojump_clock: MockClock) -> None:
    async with scene(honest) as stage:
        for name in ("key/2", "telegram/1/2", "key/1"):
            await stage.client.purses.allow(name, Budget(Nano(1)))

        assert [view.name for view in await stage.client.purses.list("key/")] == ["key/1", "key/2"]
        assert len(await stage.client.purses.list()) == 3


async def test_a_payment_that_is_told_twice_tops_up_once_also_in_another_life(
    autojump_clock: MockClock,
) -> None:
    async with scene(honest) as stage:
        ours = stage.client.purses
        await ours.allow(PURSE, Budget(Nano(0)))
        await ours.allow("key/2", Budget(Nano(0)))
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(partial(ours.top_up, PURSE, Nano(5), once="payment 1"))
        assert (await ours.top_up(PURSE, Nano(5), once="payment 2")).left == 10
        assert (await ours.top_up("key/2", Nano(5), once="payment 1")).left == 5

        another_life = Purses(MemoryStore(stage.store.disk), now)
        await another_life.load()
        assert (await another_life.top_up(PURSE, Nano(5), once="payment 1")).left == 10


async def test_a_payment_that_is_told_again_is_heard_also_where_the_budget_is_gone(
    autojump_clock: MockClock,
) -> None:
    async with scene(honest) as stage:
        ours = stage.client.purses
        await ours.allow(PURSE, Budget(Nano(0)))
        await ours.top_up(PURSE, Nano(5), once="payment 1")
        await ours.allow(PURSE, None)

        assert (await ours.top_up(PURSE, Nano(5), once="payment 1")).credit == 5
        with pytest.raises(ConfigurationError, match="no budget"):
            await ours.top_up(PURSE, Nano(5), once="payment 2")
        await ours.allow(PURSE, Budget(Nano(0)))
        assert (await ours.top_up(PURSE, Nano(5), once="payment 2")).credit == 10


async def test_there_is_an_end_to_how_many_purses_are_remembered(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purses, "PURSES_MAX", 2)
    async with scene(honest) as stage:
        for name in ("1", "2"):
            await stage.client.purses.allow(name, Budget(Nano(1)))
        with pytest.raises(Refused, match="too many purses"):
            await ask(stage.client, "3")
        await stage.client.purses.allow("2", None)
        await ask(stage.client, "3")


# ---------------------------------------------------------------- what goes wrong


async def test_a_try_that_broke_is_paid_from_the_purse_beside_the_one_that_answers(
    autojump_clock: MockClock,
) -> None:
    async def breaks(talk: Talk) -> None:
        await talk.begin()
        await cut(talk)
        talk.is_silent = True
        await talk.charge(talk.settlement(Outcome.CANCELLED), Outcome.CANCELLED)

    async with scene(breaks, honest, commissions=(100, 500)) as stage:
        await stage.client.purses.allow(PURSE, Budget(Nano(20_000)))
        await ask(stage.client)

        first, second = stage.proxies[0].talks[0].ask, stage.proxies[1].talks[0].ask
        assert (first.max_cost, second.max_cost < 20_000) == (20_000, True)
        await untied(stage.store.disk)
        assert await spent(stage.client) == (charged(stage.store.disk), 0)
        assert charged(stage.store.disk) > COST


async def test_an_exchange_that_broke_stays_reserved_until_it_is_settled(autojump_clock: MockClock) -> None:
    settles = trio.Event()

    async def lost(talk: Talk) -> None:
        await answering(talk)
        await cut(talk)
        talk.is_silent = True
        await settles.wait()
        await talk.charge(talk.settlement(Outcome.CANCELLED), Outcome.CANCELLED)

    async with scene(lost) as stage:
        with pytest.raises(AnswerBroken):
            await ask(stage.client)

        (tie,) = ties(stage.store.disk)
        assert await spent(stage.client) == (0, stage.paying().held)
        another_life = Purses(MemoryStore(stage.store.disk.copy()), now)
        await another_life.load()
        assert (await another_life.look(PURSE)).reserved == stage.paying().held
        settles.set()
        await untied(stage.store.disk)
        assert await spent(stage.client) == (84, 0)
        assert charged(stage.store.disk) == 84
        assert tie not in stage.store.disk.notes


async def test_a_bill_that_is_disputed_costs_the_purse_nothing(autojump_clock: MockClock) -> None:
    async def lies(talk: Talk) -> None:
        await talk.begin()
        await talk.chunk("It is.", 3, final=True)
        await talk.settle(worker_amount=10**6)

    async with scene(lies) as stage:
        async with stage.client.chat("scripted", QUESTION, purse=PURSE) as answer:
            with pytest.raises(CocoonError):
                await answer.read()
                assert answer.dispute is not None
                raise answer.dispute

        assert await spent(stage.client) == (0, 0)
        assert ties(stage.store.disk) == []


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.05, 0.12, 0.21, 0.33, 0.5, 0.8])
async def test_a_cancel_at_any_time_leaves_the_purse_with_what_the_ledger_has(
    seconds: float, autojump_clock: MockClock
) -> None:
    async with open_overlay(delay_seconds=(0.001, 0.05)) as overlay:
        with trio.move_on_after(seconds):
            await ask(overlay.client, max_cost=10**9)
        disk = overlay.nodes["client"].disk
        await untied(disk)

        assert await spent(overlay.client) == (charged(disk), 0)


async def test_two_clients_of_one_ledger_share_its_purses(autojump_clock: MockClock) -> None:
    async with scene(honest) as stage:
        directory = stage.directory.of(stage.transport)
        await stage.client.purses.allow(PURSE, Budget(Nano(100_000)))
        policy = Policy(trust=Trust.OPEN)
        async with Client.open(
            stage.transport, directory, stage.accounts, NETWORK, policy=policy, clock=now
        ) as other:
            await ask(other)
            await ask(stage.client)

            assert await spent(other) == await spent(stage.client) == (2 * COST, 0)


async def test_however_many_requests_run_at_once_no_purse_is_overspent(autojump_clock: MockClock) -> None:
    engines = [ScriptedEngine(slots=3), ScriptedEngine(slots=3)]
    async with open_overlay(engines=engines, delay_seconds=(0.001, 0.05)) as overlay:
        budgets = {"one": 30_000_000, "two": 65_000_000, "three": 0}
        for name, limit in budgets.items():
            await overlay.client.purses.allow(name, Budget(Nano(limit)))

        async def buy_one(name: str, number: int) -> None:
            with suppress(CocoonError), trio.move_on_after(60 if number % 5 else 0.3):
                async with overlay.client.chat(
                    "scripted", QUESTION, purse=name, max_cost=12_000_000 + number * 100_000
                ) as answer:
                    await answer.read()

        async with trio.open_nursery() as nursery:
            for number in range(45):
                nursery.start_soon(buy_one, tuple(budgets)[number % 3], number)
        disk = overlay.nodes["client"].disk
        await untied(disk)

        views = {view.name: view for view in await overlay.client.purses.list()}
        assert sum(view.total for view in views.values()) == charged(disk) > 0
        for name, limit in budgets.items():
            assert views[name].spent <= limit
            assert views[name].reserved == 0


async def test_a_note_that_cannot_be_read_is_not_taken_for_an_empty_purse(autojump_clock: MockClock) -> None:
    disk = MemoryDisk()
    disk.write(Note("purse/key/1", b"\xff"))
    with pytest.raises(ConfigurationError, match="purse/key/1"):
        await Purses(MemoryStore(disk), now).load()
