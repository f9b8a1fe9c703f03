import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.errors import Refused
from cocoon_p2p.identity import Identity, PeerId
from cocoon_p2p.protocols.ids import HELLOS_PER_SECOND, SESSIONS_MAX
from cocoon_p2p.sealing import Session, SessionTable
from tests.sealing.line import MAIN, NOW, secret

PROXY, OTHER = (Identity.from_seed(seed * 32).peer_id for seed in (b"a", b"b"))


def session(number: int, *, expires: float = NOW + 900) -> Session:
    return Session(number.to_bytes(16, "big"), expires=expires, root=secret("root"), network=MAIN)


def knows(table: SessionTable, proxy: PeerId, number: int, *, now: float = NOW) -> bool:
    try:
        table.find(proxy, number.to_bytes(16, "big"), now=now)
    except Refused as refused:
        return refused.code != "session-unknown"
    return True


def test_a_session_is_found_by_its_proxy_until_it_expires() -> None:
    table = SessionTable()
    kept = session(1)
    table.keep(PROXY, kept, now=NOW)

    assert table.find(PROXY, kept.id, now=NOW + 899) is kept
    assert not knows(table, PROXY, 1, now=NOW + 900)
    assert not knows(table, OTHER, 1)
    assert not knows(table, PROXY, 2)


def test_above_the_bound_the_session_used_longest_ago_is_forgotten() -> None:
    table = SessionTable()
    for number in range(SESSIONS_MAX):
        table.keep(PROXY, session(number), now=NOW)
    assert knows(table, PROXY, 0)

    table.keep(PROXY, session(SESSIONS_MAX), now=NOW)

    assert knows(table, PROXY, 0)
    assert not knows(table, PROXY, 1)
    assert knows(table, PROXY, SESSIONS_MAX)


def test_an_expired_session_gives_way_before_one_that_stands() -> None:
    table = SessionTable(sessions_max=2)
    table.keep(PROXY, session(1), now=NOW)
    table.keep(PROXY, session(2, expires=NOW + 1), now=NOW)

    table.keep(PROXY, session(3), now=NOW + 1)

    assert [knows(table, PROXY, number, now=NOW + 1) for number in (1, 2, 3)] == [True, False, True]


def test_one_proxy_crowds_out_only_itself() -> None:
    table = SessionTable(sessions_max=2)
    table.keep(OTHER, session(0), now=NOW)

    for number in range(1, 6):
        table.keep(PROXY, session(number), now=NOW)

    assert knows(table, OTHER, 0)


def test_a_proxy_that_will_not_come_back_is_forgotten_whole() -> None:
    table = SessionTable()
    table.keep(PROXY, session(1), now=NOW)

    table.forget(PROXY)
    table.forget(PROXY)

    assert not knows(table, PROXY, 1)


def test_ten_hellos_at_once_are_welcome_and_the_next_after_a_tenth_of_a_second() -> None:
    table = SessionTable()
    for _ in range(HELLOS_PER_SECOND):
        table.admit_hello(PROXY, now=NOW)

    with pytest.raises(Refused, match="rate limited: too many handshakes") as caught:
        table.admit_hello(PROXY, now=NOW)

    assert caught.value.code == "rate-limited"
    assert caught.value.retry_after == pytest.approx(0.1)
    table.admit_hello(OTHER, now=NOW)
    table.admit_hello(PROXY, now=NOW + 0.101)


def wait_for_hello(table: SessionTable, now: float) -> float:
    try:
        table.admit_hello(PROXY, now=now)
    except Refused as refused:
        return refused.retry_after or 0.0
    return 0.0


@pytest.mark.slow
@given(gaps=st.lists(st.floats(-1, 2, allow_nan=False), max_size=100))
def test_however_hellos_come_no_second_has_more_than_a_burst_and_a_rate(gaps: list[float]) -> None:
    table = SessionTable()
    now, admitted = 0.0, list[float]()

    for gap in gaps:
        now += gap
        waits = wait_for_hello(table, now)
        assert 0 <= waits <= 1 / HELLOS_PER_SECOND + 1e-9
        if not waits:
            admitted.append(now)

    forwards = sum(max(0.0, gap) for gap in gaps)
    assert len(admitted) <= HELLOS_PER_SECOND + forwards * HELLOS_PER_SECOND + 1
