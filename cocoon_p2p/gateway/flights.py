"""Answers under way, and who waits for each.

When nobody waits any more an answer is ended at once: what is not made is not paid. There is one
exception. A client that hangs up just when its own time-out is up is about to try again; for as long as
that takes its answer goes on, and the next try finds it.

What was ended has cost something all the same. The next try (`repeats` says what that is) may spend what
is left of its max price and no more: all tries together stay below it.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from cocoon_p2p.errors import CocoonError
from cocoon_p2p.gateway.flow import KEPT_MAX_BYTES, Flow, Reader
from cocoon_p2p.gateway.refusals import FAULT, Refusal, RequestRefused, after_charges, refusal_of
from cocoon_p2p.gateway.repeats import Repeats, Ticket
from cocoon_p2p.web.faults import fault_facts

log = logging.getLogger(__name__)

ENDING = Refusal(503, "the gateway is ending", "ending", retry_after=1.0)
"Said to who still waits when it does."

BUSY = Refusal(503, "the gateway is busy", "busy", retry_after=1.0)

NOT_KEPT = Refusal(
    409, "this request was answered already, at a length that is not kept", "not-kept", must_not_retry=True
)


class Flight:
    """One answer under way."""

    def __init__(self, ticket: Ticket, *, spent_before: int) -> None:
        self.spent_before = spent_before
        "nanoTON that earlier tries have cost."

        self.charged = 0
        "nanoTON that this one has cost, as far as is known."

        self.exchange: str | None = None
        "The exchange that paid for it, once there is one."

        self.flow = Flow(is_kept=ticket.key is not None)
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self.awaited_until = 0.0
        "Until when it goes on although nobody waits, on trio's clock."

    @property
    def size_bytes(self) -> int:
        """What it holds."""
        return self.flow.size_bytes

    @property
    def spent(self) -> int:
        """What this and all earlier tries have cost, in nanoTON."""
        return self.spent_before + self.charged

    @property
    def is_readable(self) -> bool:
        """Whether there is an answer here from its beginning, or an error that cost something."""
        return not self.scope.cancel_called and not self.was_for_nothing and self.flow.is_whole

    @property
    def was_for_nothing(self) -> bool:
        """Whether it failed, and cost nothing: then trying again is what is wanted."""
        return self.flow.refusal is not None and not self.charged


Work = Callable[[Flight], Awaitable[None]]
"""Makes an answer: writes to the flight's flow, and says in `charged` what it has cost. Raises
`CocoonError` where there is none. A cancel stops the paying, and waits for the settlement."""


@dataclass(frozen=True, slots=True)
class Seat:
    """One request's share in an answer."""

    ticket: Ticket
    flight: Flight
    reader: Reader
    is_replay: bool
    since: float
    "On trio's clock."


class Flights:
    """All answers under way, and those that may be asked for again.

    Args:
        nursery: Where answers are made. What is started in it raises nothing.
        running_max: How many are made or settled at once; one more is refused.
    """

    def __init__(self, nursery: trio.Nursery, *, running_max: int) -> None:
        self._nursery = nursery
        self._running_max = running_max
        self._repeats: Repeats[Flight] = Repeats()
        self._running: set[Flight] = set()

    @property
    def running(self) -> int:
        """How many are being made, or settled."""
        return len(self._running)

    async def board(self, ticket: Ticket, work: Work) -> Seat:
        """Take a seat in the answer that a request means; it is made if there is none.

        A cancel leaves nothing.

        Raises:
            RequestRefused: The key stands for another request, or for what was too long to be kept; or
                too much is under way.
        """
        since, spent, found = trio.current_time(), 0, None
        try:
            while (found := self._repeats.find(ticket, now=trio.current_time())) is not None:
                if found.is_readable:
                    return Seat(ticket, found, found.flow.read(), True, since)
                has_failed = found.scope.cancel_called or found.was_for_nothing
                if ticket.key is not None and not has_failed:
                    raise RequestRefused(NOT_KEPT)
                spent = found.spent
                if found.ended.is_set():
                    break
                # What it has cost is known once it is settled. Meanwhile others may come for the same.
                await found.ended.wait()
                spent = found.spent
                if ticket.key is None:
                    break
            return self._begin(ticket, work, spent, since)
        except BaseException:
            if found is not None:
                # An answer without a key is found once. This try did not get that far; the next one may.
                self._repeats.leave(ticket, found, now=trio.current_time())
            raise

    def leave(self, seat: Seat, *, was_told: bool) -> None:
        """Give a seat up; nobody but who had it may do so, and once.

        Args:
            seat: As `board` gave it.
            was_told: Whether the client was told everything, or anything: then it has no reason to come back.
        """
        flight, now = seat.flight, trio.current_time()
        seat.reader.leave()
        if flight.flow.readers:
            return
        if not was_told or (flight.was_for_nothing and flight.spent_before):
            # Who was told of an error that cost nothing tries again, and earlier tries have cost something.
            self._repeats.leave(seat.ticket, flight, now=now)
        if flight.ended.is_set():
            return
        seconds = 0.0 if was_told else seat.ticket.comes_back_after(now - seat.since)
        if seconds:
            flight.awaited_until = now + seconds
            self._nursery.start_soon(self._await_return, flight, seconds)
        else:
            flight.scope.cancel()

    def end(self) -> None:
        """End all answers; who waits is told so."""
        for flight in tuple(self._running):
            flight.scope.cancel()

    def _begin(self, ticket: Ticket, work: Work, spent: int, since: float) -> Seat:
        if self.running >= self._running_max:
            raise RequestRefused(BUSY)
        flight = Flight(ticket, spent_before=spent)
        self._repeats.begin(ticket, flight)
        self._running.add(flight)
        reader = flight.flow.read()
        self._nursery.start_soon(self._make, ticket, flight, work)
        return Seat(ticket, flight, reader, False, since)

    async def _make(self, ticket: Ticket, flight: Flight, work: Work) -> None:
        refusal: Refusal | None = ENDING
        try:
            with flight.scope:
                refusal = await _made(flight, work)
        finally:
            if refusal is not None:
                refusal = after_charges(refusal, flight.charged)
            if flight.flow.size_bytes > KEPT_MAX_BYTES and not flight.flow.readers:
                flight.flow.clear()
            flight.flow.end(refusal)
            self._running.discard(flight)
            flight.ended.set()
            _note(ticket, flight)
            self._repeats.end(ticket, flight, now=trio.current_time())

    async def _await_return(self, flight: Flight, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await flight.ended.wait()
        if not flight.flow.readers and trio.current_time() >= flight.awaited_until:
            flight.scope.cancel()


def _note(ticket: Ticket, flight: Flight) -> None:
    refusal = flight.flow.refusal
    facts = {"exchange": flight.exchange, "charged": flight.charged, "key": ticket.caller or None}
    log.info("answer ended", extra=facts | {"code": None if refusal is None else refusal.code})


async def _made(flight: Flight, work: Work) -> Refusal | None:
    """Make the answer; give what went wrong, if something did."""
    try:
        await work(flight)
    except CocoonError as error:
        flight.charged = max(flight.charged, int(error.charged))
        return refusal_of(error)
    except Exception as error:  # noqa: BLE001 (a task ends here)
        # Its text may quote what was asked or answered.
        log.error("an answer failed by a fault of ours", extra=fault_facts(error))
        return FAULT
    return None
