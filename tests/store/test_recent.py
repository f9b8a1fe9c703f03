"""What is known of exchanges without asking a server, against the rows that are on its disk."""

from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.ledger import Change, EndedForgotten, ExchangeForgotten, ExchangeRow, Status
from cocoon_p2p.protocols.messages import ExchangeId
from cocoon_p2p.store.recent import RecentExchanges
from cocoon_p2p.testing.store import MemoryDisk
from tests.store.rows import PAYEE_END, PAYER_END, exchange, line

IDS = [exchange(number).exchange for number in range(5)]
ROW = exchange(1)

ends, ids = st.sampled_from([PAYER_END, PAYEE_END]), st.sampled_from(range(5))
changes: st.SearchStrategy[Change] = st.one_of(
    st.builds(
        lambda number, name, status, at: exchange(number, name=name, status=status, at=at),
        *(ids, ends, st.sampled_from(Status), st.integers(0, 9)),
    ),
    st.builds(lambda number, name: ExchangeForgotten(name, IDS[number]), ids, ends),
    st.builds(EndedForgotten, st.integers(0, 9)),
    st.just(line(0)),
)


def rows_of(disk: MemoryDisk, asked: ExchangeId) -> set[ExchangeRow]:
    return {row for (_, other), row in disk.exchanges.items() if other == asked}


@given(st.lists(changes, max_size=8), st.lists(st.tuples(changes, ids)), st.integers(1, 3), st.integers(0, 5))
def test_what_is_told_without_asking_is_what_the_server_would_tell(
    before: list[Change], after: list[tuple[Change, int]], kept_max: int, known_max: int
) -> None:
    disk = MemoryDisk()
    for change in before:
        disk.write(change)
    known = {exchange for _, exchange in disk.exchanges}
    recent = RecentExchanges(known, kept_max=kept_max, known_max=known_max)

    for change, number in after:
        disk.write(change)
        recent.landed(change)

        told = recent.find(IDS[number])
        if told is None:
            recent.keep(IDS[number], rows_of(disk, IDS[number]))
        else:
            assert set(told) == rows_of(disk, IDS[number])


@given(st.lists(changes, max_size=8), st.lists(st.tuples(changes, ids)), st.integers(1, 3))
def test_who_does_not_know_all_ids_tells_what_was_looked_up_before_as_it_stands_now(
    before: list[Change], after: list[tuple[Change, int]], kept_max: int
) -> None:
    disk, recent = MemoryDisk(), RecentExchanges(None, kept_max=kept_max)
    for change in before:
        disk.write(change)

    for change, number in after:
        disk.write(change)
        recent.landed(change)

        told = recent.find(IDS[number])
        if told is None:
            recent.keep(IDS[number], rows_of(disk, IDS[number]))
        else:
            assert set(told) == rows_of(disk, IDS[number])
        assert recent.find(IDS[number]) is not None


def test_who_does_not_know_all_ids_cannot_tell_that_an_exchange_is_new() -> None:
    assert RecentExchanges(None).find(IDS[1]) is None


def test_a_new_exchange_is_not_asked_for() -> None:
    assert RecentExchanges([IDS[0]]).find(IDS[1]) == ()


def test_an_exchange_of_a_moment_ago_is_not_asked_for() -> None:
    recent = RecentExchanges([])

    recent.landed(ROW)

    assert recent.find(ROW.exchange) == (ROW,)


def test_an_exchange_of_long_ago_is_asked_for_once() -> None:
    recent = RecentExchanges([ROW.exchange])
    assert recent.find(ROW.exchange) is None

    recent.keep(ROW.exchange, [ROW])

    assert recent.find(ROW.exchange) == (ROW,)


def test_beyond_so_many_exchanges_every_new_one_is_asked_for() -> None:
    recent = RecentExchanges([], known_max=2, kept_max=1)

    for number in range(3):
        recent.landed(exchange(number))

    assert recent.find(IDS[4]) is None
