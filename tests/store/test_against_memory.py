"""A ledger on a disk against one in memory, which says in the fewest lines what a store promises."""

import tempfile
from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TypeAlias

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.ledger import (
    Account,
    Change,
    ChannelName,
    Cost,
    Delivery,
    EndedForgotten,
    ExchangeForgotten,
    ExchangeRow,
    Line,
    Side,
    Status,
    Store,
    Turnover,
)
from cocoon_p2p.protocols.messages import ChannelId, ExchangeId
from cocoon_p2p.store import open_store
from cocoon_p2p.testing.postgres import PostgresServer
from cocoon_p2p.testing.store import MemoryStore
from cocoon_p2p.units import NANO_MAX, Nano
from tests.store.rows import Place, channel

NAMES = [ChannelName(side, ChannelId(bytes([which]) * 32)) for side in Side for which in (1, 2)]
EXCHANGES = [ExchangeId(bytes([which]) * 16) for which in range(3)]

names, exchange_ids = st.sampled_from(NAMES), st.sampled_from(EXCHANGES)
amounts = st.sampled_from([0, 1, 7, NANO_MAX]).map(Nano)
# What a database adds up must fit a column; no supply of TON comes near that.
summed = st.sampled_from([0, 1, 7, 10**15]).map(Nano)
papers = st.none() | st.binary(max_size=8)
times = st.sampled_from([0, 1, 2, 5, 86_399, 86_400, 86_401])


@dataclass(frozen=True)
class Wait:
    """Let what was handed over reach the disk."""


@dataclass(frozen=True)
class Reopen:
    """Close the ledger and open it again."""


changes: st.SearchStrategy[Change] = st.one_of(
    st.builds(
        lambda name, vouchered, state: replace(channel(name, vouchered=vouchered), state=state),
        names,
        amounts,
        papers,
    ),
    st.builds(
        ExchangeRow, names, exchange_ids, st.sampled_from(Status), amounts, amounts, amounts, papers, times
    ),
    st.builds(ExchangeForgotten, names, exchange_ids),
    st.builds(EndedForgotten, times),
    st.builds(
        Line,
        names,
        st.integers(0, 3),
        st.sampled_from(Account),
        st.sampled_from(Account),
        summed,
        st.none() | exchange_ids,
        times,
    ),
    st.builds(
        Delivery,
        *(names, exchange_ids, st.sampled_from(["", "a", "é"]), *[st.integers(0, 3)] * 4, summed, times),
    ),
    st.builds(
        Cost,
        *(st.sampled_from([b"w", b"c"]), times, st.sampled_from(["wallet", "claim"]), summed, times),
    ),
)
Actions: TypeAlias = list[list[Change] | Wait | Reopen]
actions = st.lists(st.lists(changes, max_size=4) | st.builds(Wait) | st.builds(Reopen), max_size=12)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(actions)
def test_a_ledger_in_a_file_holds_what_the_ledger_in_memory_holds(actions: Actions) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trio.run(compare, actions, Path(folder) / "ledger.db")


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(actions=actions)
def test_a_ledger_on_a_server_holds_what_the_ledger_in_memory_holds(
    server: PostgresServer, actions: Actions
) -> None:
    trio.run(compare, actions, server.new_ledger())


async def compare(actions: Actions, place: Place) -> None:
    model, rest = MemoryStore(), list(actions)
    while True:
        async with open_store(place) as store:
            while rest and not isinstance(action := rest[0], Reopen):
                rest.pop(0)
                if isinstance(action, list):
                    store.submit(*action)
                    model.submit(*action)
                # Forgetting is in no hurry: it counts once it is on disk.
                if isinstance(action, Wait) or any(isinstance(change, EndedForgotten) for change in action):
                    await store.submit().wait()
                assert look_ups(store) == look_ups(model)
            assert await contents(store) == await contents(model)
        if not rest:
            return
        rest.pop(0)


def look_ups(store: Store) -> list[object]:
    return [store.exchange(name, exchange) for name in NAMES for exchange in EXCHANGES]


async def contents(store: Store) -> list[object]:
    unsettled = sorted(
        await store.unsettled(), key=lambda row: (row.name.channel, row.name.side, row.exchange)
    )
    lines = sorted(await store.lines(), key=lambda line: (line.name.channel, line.name.side, line.number))
    spans = [added(await store.turnover(since, until)) for since, until in ((0, 200_000), (1, 86_400))]
    return [set(await store.channels()), unsettled, lines, spans]


def added(turnovers: Iterable[Turnover]) -> dict[tuple[object, ...], list[int]]:
    """Put what belongs together into one, as whoever reads a turnover does."""
    sums: dict[tuple[object, ...], list[int]] = {}
    for name, day, label, *figures in map(astuple, turnovers):
        known = sums.setdefault((name, day, label), [0] * len(figures))
        sums[name, day, label] = [one + more for one, more in zip(known, figures, strict=True)]
    return {named: figures for named, figures in sums.items() if any(figures)}
