"""Statements: whatever was booked, their sums are the ledger's, and their lines say what it was for."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from cocoon_p2p.control import serve_control
from cocoon_p2p.control.asking import follow
from cocoon_p2p.identity import Identity, peer_id_text
from cocoon_p2p.ledger import (
    DAY_SECONDS,
    Account,
    Change,
    ChannelName,
    ChannelRow,
    Cost,
    Delivery,
    Line,
    Side,
    balances,
)
from cocoon_p2p.overview import STATEMENT, MakeStatement, StatementLine, reckon, statement_from, statement_in
from cocoon_p2p.overview.statement import draw_up, total
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.protocols.messages import ChannelId, ExchangeId
from cocoon_p2p.store import open_store
from cocoon_p2p.testing.overlay import EPOCH, open_overlay
from cocoon_p2p.testing.store import MemoryStore
from cocoon_p2p.units import Nano

PEER = Identity.from_seed(bytes(32)).peer_id
NAMES = [ChannelName(side, ChannelId(bytes([number]) * 32)) for number in range(2) for side in Side]
ROWS = [ChannelRow(name=name, peer=PEER, offer=b"", seed=None, phase=Phase.OPEN) for name in NAMES[:3]]
EXCHANGES = [ExchangeId(bytes([number]) * 16) for number in range(3)]
END = 5 * DAY_SECONDS

names, times = st.sampled_from(NAMES), st.integers(0, END - 1)
amounts = st.integers(0, 10**15).map(Nano)
accounts = st.sampled_from(Account)
# The books begin no line of FEES: what the chain took is never given back.
arrows = st.tuples(accounts, accounts).filter(lambda pair: pair[0] is not Account.FEES)
lines = arrows.flatmap(
    lambda pair: st.builds(
        Line,
        *(names, st.integers(0, 9), st.just(pair[0]), st.just(pair[1]), amounts),
        *(st.none() | st.sampled_from(EXCHANGES), times),
    )
)
tokens = st.integers(0, 1000)
deliveries = st.builds(
    Delivery,
    *(names, st.sampled_from(EXCHANGES), st.sampled_from(["", "=m", "é"]), tokens, tokens, tokens, tokens),
    *(amounts, times),
)
costs = st.builds(
    Cost,
    st.sampled_from([b"w", b"c"]),
    st.integers(0, 3),
    st.sampled_from(["wallet", "claim"]),
    amounts,
    times,
)
booked = st.lists(lines | deliveries | costs, max_size=30)


async def stated(
    changes: Sequence[Change], since: int, until: int
) -> tuple[MemoryStore, list[StatementLine]]:
    store = MemoryStore()
    await store.submit(*changes).wait()
    return store, draw_up(await store.turnover(since, until), ROWS)


@pytest.mark.slow
@settings(max_examples=30)
@given(booked, times, times)
def test_its_sums_are_the_ledger_s_whatever_was_booked_and_whenever(
    changes: list[Change], since: int, until: int
) -> None:
    store, statement = trio.run(stated, changes, since, until)

    within = [line for line in store.disk.lines.values() if since <= line.at < until]
    replayed = balances(within)

    def of(account: Account) -> int:
        return sum(amount for (_, one), amount in replayed.items() if one is account)

    spent = sum(cost.amount for cost in store.disk.costs.values() if since <= cost.at < until)
    sums = total(statement)
    assert sums.income_nano == -of(Account.INCOME)
    assert sums.expense_nano == of(Account.EXPENSE)
    assert sums.fees_nano == of(Account.FEES) + spent
    counted = [each for each in store.disk.deliveries.values() if since <= each.at < until]
    assert sum(line.exchanges for line in statement) == len(counted)
    assert sum(line.completion_tokens for line in statement) == sum(each.completion for each in counted)


@pytest.mark.slow
@settings(max_examples=10)
@given(booked, times)
def test_what_is_stated_by_parts_is_what_is_stated_as_a_whole(changes: list[Change], day: int) -> None:
    cut = day // DAY_SECONDS * DAY_SECONDS
    _, whole = trio.run(stated, changes, 0, END)
    _, before = trio.run(stated, changes, 0, cut)
    _, after = trio.run(stated, changes, cut, END)

    assert before + after == whole


@pytest.mark.slow
@settings(max_examples=10)
@given(booked)
def test_it_agrees_with_what_earnings_say(changes: list[Change]) -> None:
    store, statement = trio.run(stated, changes, 0, END)

    earned = reckon(store.disk.lines.values(), ROWS, 0)

    assert total(statement).income_nano == earned.total.income_nano
    assert total(statement).expense_nano == earned.total.expense_nano


# ---------------------------------------------------------------- a whole network's


async def test_a_network_s_statements_say_what_was_sold_to_whom_and_what_the_proxy_kept(
    autojump_clock: MockClock,
) -> None:
    async with open_overlay() as overlay:
        async with overlay.client.chat("scripted", [{"role": "user", "content": "hello"}]) as answer:
            await answer.read()
        paid, _, earned = overlay.paid()
        usage = answer.usage
        peer = {name: peer_id_text(node.identity.peer_id) for name, node in overlay.nodes.items()}
        told: dict[str, list[StatementLine]] = {}
        for name, node in overlay.nodes.items():
            turnovers = await MemoryStore(node.disk).turnover(0, int(EPOCH) + DAY_SECONDS)
            told[name] = draw_up(turnovers, node.disk.channels.values())

    assert usage is not None
    counted = {
        "prompt_tokens": usage.prompt,
        "cached_tokens": usage.cached,
        "completion_tokens": usage.completion,
        "reasoning_tokens": usage.reasoning,
    }

    def line(kind: str, other: str, **figures: int) -> StatementLine:
        named = {"day": "2027-01-15", "kind": kind, "model": "scripted", "peer": peer[other]}
        return StatementLine(**named, exchanges=1, **counted, **figures)  # type: ignore[arg-type]

    commission = paid - earned
    assert told["worker-1"] == [line("sold", "proxy", income_nano=earned)]
    assert told["client"] == [line("bought", "proxy", expense_nano=paid, commission_nano=commission)]
    assert told["proxy"] == [
        line("bought", "worker-1", expense_nano=earned),
        line("sold", "client", income_nano=paid, commission_nano=commission),
    ]


# ---------------------------------------------------------------- from a file, and from a running node

CHANGES = (
    ROWS[0],
    Line(NAMES[0], 0, Account.OWED, Account.EXPENSE, Nano(7), EXCHANGES[0], 10),
    Delivery(NAMES[0], EXCHANGES[0], "m", 1, 2, 3, 4, Nano(1), 10),
    Line(NAMES[0], 1, Account.DEPOSIT, Account.FEES, Nano(5), None, 11),
    Cost(b"w" * 32, 9, "wallet", Nano(3), DAY_SECONDS),
)
STATED = [
    StatementLine(
        day="1970-01-01",
        kind="bought",
        model="m",
        peer=peer_id_text(PEER),
        exchanges=1,
        prompt_tokens=1,
        cached_tokens=2,
        completion_tokens=3,
        reasoning_tokens=4,
        expense_nano=7,
        commission_nano=1,
    ),
    StatementLine(day="1970-01-01", kind="storage", model="", peer=peer_id_text(PEER), fees_nano=5),
    StatementLine(day="1970-01-02", kind="wallet", model="", peer="", fees_nano=3),
]


async def test_a_running_node_and_its_file_say_the_same(tmp_path: Path, nursery: trio.Nursery) -> None:
    ledger, socket = tmp_path / "ledger.db", tmp_path / "control.sock"
    async with open_store(ledger) as store:
        await store.submit(*CHANGES).wait()
        await nursery.start(serve_control, socket, [statement_from(store)])
        ask: Callable[[], list[StatementLine]] = lambda: list(  # noqa: E731
            follow(socket, STATEMENT, MakeStatement(0, END))
        )
        told = await trio.to_thread.run_sync(ask)
        beside = await trio.to_thread.run_sync(statement_in, ledger, 0, END)

    assert told == beside == statement_in(ledger, 0, END) == STATED
    assert statement_in(ledger, 0, DAY_SECONDS) == STATED[:2]
    assert statement_in(ledger, DAY_SECONDS, END) == STATED[2:]


async def test_a_ledger_of_before_is_read_without_what_it_lacks_and_gets_it_when_it_is_opened(
    tmp_path: Path,
) -> None:
    ledger = tmp_path / "ledger.db"
    async with open_store(ledger) as store:
        await store.submit(*CHANGES[:2]).wait()
    with closing(sqlite3.connect(ledger)) as old:
        old.executescript("drop table deliveries; drop table costs;")

    before = statement_in(ledger, 0, END)
    untouched = tables_of(ledger)
    async with open_store(ledger) as store:
        await store.submit(*CHANGES[2:]).wait()

    assert [(line.model, line.exchanges, line.expense_nano) for line in before] == [("", 0, 7)]
    assert {"deliveries", "costs"}.isdisjoint(untouched)
    assert statement_in(ledger, 0, END) == STATED


def tables_of(ledger: Path) -> set[str]:
    with closing(sqlite3.connect(ledger)) as connection:
        return {name for (name,) in connection.execute("select name from sqlite_master")}


@pytest.mark.parametrize("span", [(0, 0), (5, 4), (-(2**62), -1)])
async def test_an_empty_span_has_an_empty_statement(tmp_path: Path, span: tuple[int, int]) -> None:
    async with open_store(tmp_path / "ledger.db") as store:
        await store.submit(*CHANGES).wait()

    assert statement_in(tmp_path / "ledger.db", *span) == []
