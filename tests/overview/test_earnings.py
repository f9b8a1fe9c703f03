"""What came in and what went out, against a reckoning that is slow and plain."""

import random
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from cocoon_p2p.identity import Identity, peer_id_text
from cocoon_p2p.ledger import Account, ChannelName, ChannelRow, Line, Side, balances
from cocoon_p2p.overview import Earnings, SumEarnings, earnings, earnings_of, reckon
from cocoon_p2p.overview.earnings import DAY_SECONDS, Sums
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.protocols.messages import ChannelId
from cocoon_p2p.testing.overlay import open_overlay
from cocoon_p2p.units import NANO_MAX, Nano

PEERS = [Identity.from_seed(bytes([number]) * 32).peer_id for number in range(3)]
NAMES = [ChannelName(side, ChannelId(bytes([number]) * 32)) for number in range(4) for side in Side]
# Two channels with the first peer; the last channel's row is lost.
OF = {name: PEERS[max(name.channel[0] - 1, 0)] for name in NAMES if name.channel[0] < 3}

ROWS = [ChannelRow(name=name, peer=peer, offer=b"", seed=None, phase=Phase.OPEN) for name, peer in OF.items()]

times = st.integers(0, 4 * DAY_SECONDS)
lines = st.lists(
    st.builds(
        Line,
        st.sampled_from(NAMES),
        st.integers(0, 1000),
        st.sampled_from(Account),
        st.sampled_from(Account),
        st.integers(0, NANO_MAX).map(Nano),
        st.none(),
        times,
    ),
    max_size=40,
)


def naive(chosen: Sequence[Line]) -> Sums:
    replayed = balances(chosen)
    income = -sum(amount for (_, account), amount in replayed.items() if account is Account.INCOME)
    expense = sum(amount for (_, account), amount in replayed.items() if account is Account.EXPENSE)
    return Sums(income, expense, income - expense)


@given(lines, times)
def test_the_sums_are_what_a_replay_of_the_span_gives(booked: list[Line], since: int) -> None:
    seen = reckon(booked, ROWS, since)

    chosen = [line for line in booked if line.at >= since]
    assert seen.total == naive(chosen)
    for peer in PEERS:
        of_peer = naive([line for line in chosen if OF.get(line.name) == peer])
        assert seen.peers.get(peer_id_text(peer), Sums()) == of_peer
    lost = naive([line for line in chosen if line.name not in OF])
    assert seen.peers.get("unknown", Sums()) == lost
    for day in range(5):
        of_day = naive([line for line in chosen if line.at // DAY_SECONDS == day])
        assert seen.days.get(f"1970-01-0{day + 1}", Sums()) == of_day


@settings(max_examples=50)
@given(lines, times, st.randoms(use_true_random=False))
def test_the_order_of_lines_does_not_matter_and_days_come_in_theirs(
    booked: list[Line], since: int, draw: random.Random
) -> None:
    mixed = draw.sample(booked, len(booked))

    first, second = reckon(booked, ROWS, since), reckon(mixed, ROWS, since)

    assert first == second
    assert list(first.peers) == list(second.peers)
    assert list(first.days) == sorted(first.days)
    gains = [sums.difference_nano for sums in first.peers.values()]
    assert gains == sorted(gains, reverse=True)


def test_books_without_a_line_give_nothing() -> None:
    assert reckon((), (), 0).total == Sums(0, 0, 0)
    assert reckon((), (), 0).peers == reckon((), (), 0).days == {}


def paying_us(number: int, **fields: Any) -> ChannelRow:
    name = ChannelName(Side.PAYEE, ChannelId(bytes([number]) * 32))
    row = ChannelRow(name=name, peer=PEERS[0], offer=b"", seed=None, phase=Phase.OPEN, epoch=1)
    return replace(row, **fields)


@pytest.mark.parametrize(
    ("fields", "uncollected"),
    [
        ({"vouchered": 90, "charged": 70, "claimed": 40}, 50),
        ({"vouchered": 90, "charged": 70, "claimed": 40, "phase": Phase.CLOSED}, 30),
        ({"vouchered": 90, "charged": 70, "claimed": 80, "phase": Phase.CLOSED}, 0),
        ({"vouchered": 90, "charged": 70, "claimed": 70, "phase": Phase.CLOSED, "is_settled": True}, 0),
        ({"vouchered": 90, "charged": 70, "epoch": 0}, 0),
    ],
)
def test_what_is_not_collected_yet_is_what_contracts_still_owe(
    fields: dict[str, Any], uncollected: int
) -> None:
    assert reckon((), [paying_us(7, **fields)], 0).uncollected_nano == uncollected


def test_what_contracts_paid_in_the_span_is_summed_and_nothing_else() -> None:
    backed, unbacked = paying_us(7), paying_us(8, epoch=0)
    payer = replace(backed, name=ChannelName(Side.PAYER, backed.name.channel))

    def line(row: ChannelRow, source: Account, amount: int, at: int) -> Line:
        return Line(row.name, 0, source, Account.WALLET, Nano(amount), None, at)

    booked = [
        line(backed, Account.VOUCHERS, 1, 9),
        line(backed, Account.VOUCHERS, 2, 10),
        line(backed, Account.OWED, 4, 11),
        line(unbacked, Account.OWED, 8, 11),
        line(payer, Account.DEPOSIT, 16, 11),
        Line(backed.name, 0, Account.OWED, Account.VOUCHERS, Nano(32), None, 11),
    ]

    assert reckon(booked, [backed, unbacked, payer], 10).collected_nano == 6


async def test_a_proxy_s_difference_is_its_commission(autojump_clock: MockClock) -> None:
    async with open_overlay() as overlay:
        async with overlay.client.chat("scripted", [{"role": "user", "content": "hello"}]) as answer:
            await answer.read()
        paid, _, earned = overlay.paid()
        assert answer.settlement is not None

        disk = overlay.nodes["proxy"].disk
        seen = reckon(disk.lines.values(), disk.channels.values(), 0)

    assert seen.total == Sums(paid, earned, answer.settlement.commission)
    assert seen.peers[peer_id_text(overlay.nodes["client"].identity.peer_id)] == Sums(paid, 0, paid)
    assert list(seen.days) == ["2027-01-15"]


async def test_many_who_ask_at_once_take_one_thread_and_those_who_give_up_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    go_on = threading.Event()
    reading: list[int] = []

    def read(_ledger: Path, since: int) -> Earnings:
        reading.append(since)
        go_on.wait(5)
        return Earnings(since, Sums(), {}, {}, collected_nano=0, uncollected_nano=0)

    monkeypatch.setattr(earnings, "earnings_in", read)
    answer = earnings_of(tmp_path)
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as given_up:
            given_up.start_soon(answer, SumEarnings(1))
            await trio.testing.wait_all_tasks_blocked()
            given_up.cancel_scope.cancel()
        for since in range(2, 5):
            nursery.start_soon(answer, SumEarnings(since))
        await trio.testing.wait_all_tasks_blocked()
        asked_at_once = list(reading)
        go_on.set()

    assert asked_at_once in ([], [1])
    assert sorted(reading) == [1, 2, 3, 4]
