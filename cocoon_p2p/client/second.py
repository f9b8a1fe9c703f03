"""The second worker that is asked when a first token is late: when, whom, and for how much.

One request asks a second one once at most, and only before anything of its answer is there.
"""

import logging
from collections.abc import Iterable

import trio

from cocoon_p2p.client.bookings import Bookings
from cocoon_p2p.client.candidates import Candidates
from cocoon_p2p.client.choice import listed_cost
from cocoon_p2p.client.desk import Desk
from cocoon_p2p.client.hedging import expected_seconds, may_hedge
from cocoon_p2p.client.race import Racer
from cocoon_p2p.client.reception import Reception
from cocoon_p2p.client.request import Request
from cocoon_p2p.observability import short
from cocoon_p2p.protocols.ids import PEERS_MAX

log = logging.getLogger(__name__)


class Second:
    """Looks after one request's first token.

    Args:
        request: What is asked for.
        desk: What all requests share; it remembers how long first tokens took.
        reception: Says whether the application has left.
        candidates: Whom to ask.
        bookings: What may still be spent.
    """

    def __init__(
        self,
        request: Request,
        desk: Desk,
        reception: Reception,
        candidates: Candidates,
        bookings: Bookings,
    ) -> None:
        self.is_wanted = may_hedge(request, desk.policy)
        "Whether one may be asked still."

        self._request = request
        self._desk = desk
        self._reception = reception
        self._candidates = candidates
        self._bookings = bookings
        if self.is_wanted:
            desk.allowance = desk.allowance.asked(desk.policy.hedges_per_thousand)

    async def enter(self, first: Racer) -> Racer | None:
        """Wait until a first token is late, and let a second try enter the race; None if none is to.

        The first one's tie is lowered to what it can cost, so that both are within max cost and purse. A
        cancel leaves nothing.
        """
        desk = self._desk
        await first.begun.wait()
        with trio.move_on_after(desk.first_tokens.late_after(self._expected_seconds(first))):
            await first.yielded.wait()
        if first.yielded.is_set() or self._reception.is_left:
            return None
        if len(self._candidates.left_out()) >= PEERS_MAX:
            # There is no room to name the first worker: it could be the second one too.
            return None
        assert first.made is not None, "it has begun, and has not ended"
        assert first.terms is not None, "it has begun, and has not ended"
        bound = first.made.attempt.cost_max
        link, room = self._candidates.beside(self._request, first.link), self._bookings.left - bound
        cost = listed_cost(link.record, self._request)
        if cost is None or cost > room or (allowance := desk.allowance.hedged()) is None:
            return None
        desk.allowance, self.is_wanted = allowance, False
        self._bookings.reservation.lower(first.made.exchange, bound)
        log.info("a first token is late", extra={"exchange": short(first.made.exchange)})
        return first.race.enter(link, room, without=first.terms.worker)

    def decided(self, racers: Iterable[Racer]) -> None:
        """Note how long first tokens took, or were waited for; nobody else is asked any more."""
        desk, now = self._desk, trio.current_time()
        self.is_wanted = False
        for racer in racers:
            if racer.begun_at is not None:
                expected = self._expected_seconds(racer)
                desk.first_tokens = desk.first_tokens.after(expected, now - racer.begun_at)

    def _expected_seconds(self, racer: Racer) -> float:
        if racer.terms is None:
            return 0.0
        return expected_seconds(racer.terms.offer, self._request.prompt_tokens_bound, racer.latency_seconds)
