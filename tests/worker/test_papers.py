"""A worker's papers: signed in time, honoured for as long as they say."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.protocols.ids import RECORD_LIFETIME_MAX_SECONDS, STATEMENT_LIFETIME_MAX_SECONDS, Role
from cocoon_p2p.records import check_pair, check_record
from cocoon_p2p.testing.engine import scripted_model
from cocoon_p2p.worker.papers import LOOK_SECONDS, RECORDS_MAX, Papers
from tests.worker.scene import EPOCH, NETWORK, PRICE, WORKER, Dice

HOUR = RECORD_LIFETIME_MAX_SECONDS


class Clock:
    def __init__(self) -> None:
        self.now = float(EPOCH)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def papers(clock: Clock) -> Papers:
    return Papers(WORKER, NETWORK, [scripted_model()], {"scripted": PRICE}, now=clock, draw=Dice())


def test_what_it_signs_is_what_others_accept(papers: Papers) -> None:
    record = check_record(papers.record, network=NETWORK, now=EPOCH, role=Role.WORKER, peer=WORKER.peer_id)

    statement = check_pair(record, papers.statement, network=NETWORK, now=EPOCH, role=Role.WORKER)

    assert record.addresses == ()
    assert record.models[0].price == PRICE
    assert record.models[0].demo
    assert statement.identity_key == WORKER.public_key


def test_a_model_without_a_price_is_a_mistake_of_the_operator(papers: Papers) -> None:
    with pytest.raises(ConfigurationError, match="no price for scripted"):
        papers.set_prices({"other": PRICE})
    with pytest.raises(ConfigurationError, match="no price for scripted"):
        Papers(WORKER, NETWORK, [scripted_model()], {}, now=lambda: 0, draw=Dice())


def test_an_older_record_holds_until_it_expires(papers: Papers, clock: Clock) -> None:
    first = papers.record
    clock.now += HOUR / 2
    papers.set_prices({"scripted": replace(PRICE, prompt=5)})

    assert papers.records() == (first, papers.record)
    clock.now += HOUR / 2
    assert papers.records() == (papers.record,)


def test_sequences_ascend_within_a_life_and_across_a_restart(papers: Papers, clock: Clock) -> None:
    sequences = [papers.sequence]
    for _ in range(3):
        papers.renew()
        sequences.append(papers.sequence)
    clock.now += 1
    restarted = Papers(WORKER, NETWORK, [scripted_model()], {"scripted": PRICE}, now=clock, draw=Dice())
    sequences.append(restarted.sequence)

    assert sequences == sorted(set(sequences))


def test_a_statement_is_renewed_at_half_life_and_the_old_key_kept_until_it_expires(
    papers: Papers, clock: Clock
) -> None:
    first = papers.statement
    clock.now += STATEMENT_LIFETIME_MAX_SECONDS / 2 - 1
    papers.renew()
    assert papers.statement == first

    clock.now += 1
    papers.renew()
    second = papers.statement
    assert second != first
    assert [key.statement for key in papers.sealing_keys()] == [second, first]

    clock.now += STATEMENT_LIFETIME_MAX_SECONDS / 2
    assert [key.statement for key in papers.sealing_keys()] == [second]


def test_no_record_outlives_its_statement(papers: Papers, clock: Clock) -> None:
    for _ in range(60):
        record = check_record(papers.record, network=NETWORK, now=clock.now, role=Role.WORKER)
        statement = check_pair(record, papers.statement, network=NETWORK, now=clock.now, role=Role.WORKER)
        assert record.expires <= statement.expires
        clock.now += HOUR / 2
        papers.renew()


def test_prices_that_change_all_the_time_do_not_pile_up_records(papers: Papers) -> None:
    for prompt in range(2 * RECORDS_MAX):
        papers.set_prices({"scripted": replace(PRICE, prompt=prompt)})

    assert len(papers.records()) == RECORDS_MAX


def test_no_secret_shows_where_papers_are_printed(papers: Papers) -> None:
    (key,) = papers.sealing_keys()

    assert key.secret.hex() not in repr(key)
    assert repr(key.secret) not in repr(key)


@pytest.mark.parametrize("jump_seconds", [2 * HOUR, -2 * HOUR, 30 * HOUR, -30 * HOUR])
async def test_papers_hold_again_soon_after_the_clock_has_jumped(
    papers: Papers, clock: Clock, autojump_clock: MockClock, jump_seconds: float
) -> None:
    before = papers.sequence
    async with trio.open_nursery() as nursery:
        nursery.start_soon(papers.keep_fresh)
        await trio.sleep(1)

        clock.now += jump_seconds
        await trio.sleep(LOOK_SECONDS)

        record = check_record(papers.record, network=NETWORK, now=clock.now, role=Role.WORKER)
        check_pair(record, papers.statement, network=NETWORK, now=clock.now, role=Role.WORKER)
        assert record.sequence > before
        nursery.cancel_scope.cancel()
