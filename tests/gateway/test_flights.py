"""Who waits for an answer keeps it going; who comes again finds it; nothing is made for nobody."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
import trio.testing

from cocoon_p2p.errors import AnswerBroken, Unavailable
from cocoon_p2p.gateway.flights import Flight, Flights, Seat
from cocoon_p2p.gateway.refusals import RequestRefused
from cocoon_p2p.gateway.repeats import Ticket
from cocoon_p2p.units import Nano

BARE = Ticket(caller="", words=b"hello")
KEYED = replace(BARE, key="k")
FIRST = replace(BARE, tries=0, patience_seconds=10.0)
SECOND = replace(FIRST, tries=1)
PRICE_A_SECOND = 100


class Work:
    """Makes an answer of a word a second, each for a price; counts how often it was begun and finished."""

    def __init__(self, seconds: int, *, fails_with: Exception | None = None) -> None:
        self.begun = 0
        self.finished = 0
        self.spent_before: list[int] = []
        self._seconds = seconds
        self._fails_with = fails_with

    async def __call__(self, flight: Flight) -> None:
        self.begun += 1
        self.spent_before.append(flight.spent_before)
        for second in range(self._seconds):
            await trio.sleep(1)
            flight.charged += PRICE_A_SECOND
            if second == 0:
                flight.flow.begin([])
            flight.flow.write(b"word ")
        if self._fails_with is not None:
            raise self._fails_with
        self.finished += 1


@asynccontextmanager
async def _open() -> AsyncIterator[Flights]:
    async with trio.open_nursery() as nursery:
        yield Flights(nursery, running_max=2)
        nursery.cancel_scope.cancel()


async def _read(seat: Seat) -> bytes:
    pieces = b""
    while (piece := await seat.reader.take()) is not None:
        pieces += piece
    return pieces


Clock = trio.testing.MockClock


async def test_an_answer_that_nobody_waits_for_is_ended_at_once(autojump_clock: Clock) -> None:
    work = Work(5)
    async with _open() as flights:
        seat = await flights.board(BARE, work)
        await trio.sleep(2.5)

        flights.leave(seat, was_told=False)
        await trio.testing.wait_all_tasks_blocked()

        assert (work.finished, flights.running) == (0, 0)
        assert seat.flight.charged == 2 * PRICE_A_SECOND


async def test_two_with_one_key_share_one_answer_until_both_have_left(autojump_clock: Clock) -> None:
    work = Work(5)
    async with _open() as flights:
        one, two = await flights.board(KEYED, work), await flights.board(KEYED, work)
        await trio.sleep(1.5)
        flights.leave(one, was_told=False)

        assert await _read(two) == b"word " * 5
        assert (work.begun, work.finished) == (1, 1)


async def test_an_answer_that_has_ended_is_told_again_and_not_made_again(autojump_clock: Clock) -> None:
    work = Work(2)
    async with _open() as flights:
        seat = await flights.board(KEYED, work)
        assert await _read(seat) == b"word word "
        flights.leave(seat, was_told=True)

        again = await flights.board(KEYED, work)

        assert await _read(again) == b"word word "
        assert again.is_replay
        assert work.begun == 1


async def test_the_next_try_may_spend_what_a_cancelled_one_left(autojump_clock: Clock) -> None:
    work = Work(5)
    async with _open() as flights:
        seat = await flights.board(KEYED, work)
        await trio.sleep(2.5)
        flights.leave(seat, was_told=True)

        again = await flights.board(KEYED, work)
        await _read(again)

        assert work.spent_before == [0, 2 * PRICE_A_SECOND]
        assert again.flight.spent == 7 * PRICE_A_SECOND


@pytest.mark.parametrize("why", ["no worker", "busy", "cancelled"])
async def test_a_try_that_came_to_nothing_does_not_hide_what_those_before_it_have_cost(
    autojump_clock: Clock, why: str
) -> None:
    work, failing = Work(5), Work(0, fails_with=Unavailable("no worker"))
    async with _open() as flights:
        flights.leave(await _after(flights, FIRST, work, 2.5), was_told=False)
        match why:
            case "no worker":
                second = await flights.board(SECOND, failing)
                await _read(second)
                flights.leave(second, was_told=True)
            case "busy":
                await trio.sleep(1)
                others = [await flights.board(BARE, Work(9)) for _ in range(2)]
                with pytest.raises(RequestRefused):
                    await flights.board(SECOND, work)
                for other in others:
                    flights.leave(other, was_told=True)
                await trio.sleep(1)
            case _:
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await flights.board(SECOND, work)

        await _read(await flights.board(replace(FIRST, tries=2), work))

        assert work.spent_before == [0, 2 * PRICE_A_SECOND]


async def test_an_answer_lost_on_its_way_is_made_anew_for_what_is_left(autojump_clock: Clock) -> None:
    work = Work(2)
    async with _open() as flights:
        seat = await flights.board(FIRST, work)
        await _read(seat)
        flights.leave(seat, was_told=False)

        again = await flights.board(SECOND, work)

        assert await _read(again) == b"word word "
        assert work.spent_before == [0, 2 * PRICE_A_SECOND]


async def test_a_try_waits_until_it_is_known_what_a_cancelled_one_has_cost(autojump_clock: Clock) -> None:
    async def settles_slowly(flight: Flight) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)
            flight.charged = 70

    work = Work(1)
    async with _open() as flights:
        seat = await flights.board(KEYED, settles_slowly)
        await trio.sleep(1)
        flights.leave(seat, was_told=False)
        both: list[Seat] = []

        async def board() -> None:
            both.append(await flights.board(KEYED, work))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(board)
            nursery.start_soon(board)

        await _read(both[0])
        assert both[0].flight is both[1].flight
        assert work.spent_before == [70]


async def test_an_answer_goes_on_after_a_time_out_for_the_next_try(
    autojump_clock: Clock,
) -> None:
    work = Work(12)
    async with _open() as flights:
        seat = await flights.board(FIRST, work)
        await trio.sleep(10)
        flights.leave(seat, was_told=False)
        await trio.sleep(0.5)

        again = await flights.board(SECOND, work)

        assert await _read(again) == b"word " * 12
        assert (work.begun, work.finished) == (1, 1)


async def test_an_answer_that_ended_meanwhile_is_there_for_the_next_try(autojump_clock: Clock) -> None:
    work = Work(11)
    async with _open() as flights:
        seat = await flights.board(FIRST, work)
        await trio.sleep(10)
        flights.leave(seat, was_told=False)
        await trio.sleep(20)

        again = await flights.board(SECOND, work)

        assert await _read(again) == b"word " * 11
        assert work.begun == 1


async def test_who_does_not_come_back_is_waited_for_as_long_as_the_sdk_takes(
    autojump_clock: Clock,
) -> None:
    work = Work(100)
    async with _open() as flights:
        seat = await flights.board(FIRST, work)
        await trio.sleep(10)
        flights.leave(seat, was_told=False)

        await trio.sleep(2)

        assert (flights.running, work.finished) == (0, 0)


async def test_who_joined_and_left_too_is_waited_for_again(autojump_clock: Clock) -> None:
    work = Work(22)
    async with _open() as flights:
        flights.leave(await _after(flights, FIRST, work, 10), was_told=False)
        await trio.sleep(0.5)
        flights.leave(await _after(flights, SECOND, work, 10), was_told=False)
        await trio.sleep(1)

        again = await flights.board(replace(FIRST, tries=2), work)

        assert await _read(again) == b"word " * 22
        assert work.begun == 1


async def _after(flights: Flights, ticket: Ticket, work: Work, seconds: float) -> Seat:
    seat = await flights.board(ticket, work)
    await trio.sleep(seconds)
    return seat


async def test_an_error_that_cost_nothing_is_not_told_again(autojump_clock: Clock) -> None:
    work = Work(0, fails_with=Unavailable("no worker"))
    async with _open() as flights:
        for _ in range(2):
            seat = await flights.board(KEYED, work)
            await _read(seat)
            flights.leave(seat, was_told=True)

        assert work.begun == 2


async def test_an_error_that_has_cost_something_is_told_again(
    autojump_clock: Clock,
) -> None:
    work = Work(2, fails_with=AnswerBroken("the answer broke off", charged=Nano(200)))
    async with _open() as flights:
        for _ in range(2):
            seat = await flights.board(KEYED, work)
            await _read(seat)
            flights.leave(seat, was_told=True)
            refusal = seat.flight.flow.refusal
            assert refusal is not None
            assert (refusal.charged, refusal.must_not_retry) == (200, True)

        assert work.begun == 1


async def test_an_answer_too_long_to_be_kept_is_not_made_twice(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cocoon_p2p.gateway.flow.KEPT_MAX_BYTES", 4)
    work = Work(2)
    async with _open() as flights:
        seat = await flights.board(KEYED, work)
        await _read(seat)
        flights.leave(seat, was_told=True)

        with pytest.raises(RequestRefused) as caught:
            await flights.board(KEYED, work)
        assert caught.value.refusal.status == 409


async def test_a_fault_of_ours_is_an_answer_too_and_its_words_are_not_logged(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    work = Work(0, fails_with=ValueError("the secret prompt"))
    async with _open() as flights:
        seat = await flights.board(BARE, work)
        await _read(seat)

        refusal = seat.flight.flow.refusal
        assert refusal is not None
        assert (refusal.status, refusal.code) == (500, "fault")
        assert "secret" not in caplog.text


async def test_one_answer_too_many_is_told_to_come_again(autojump_clock: Clock) -> None:
    async with _open() as flights:
        for _ in range(2):
            await flights.board(BARE, Work(10))

        with pytest.raises(RequestRefused) as caught:
            await flights.board(BARE, Work(10))
        assert (caught.value.refusal.status, caught.value.refusal.code) == (503, "busy")


async def test_who_waits_when_all_ends_is_told_so(autojump_clock: Clock) -> None:
    async with _open() as flights:
        seat = await flights.board(BARE, Work(100))
        await trio.sleep(1.5)

        flights.end()
        await _read(seat)

        refusal = seat.flight.flow.refusal
        assert refusal is not None
        assert refusal.code == "ending"
