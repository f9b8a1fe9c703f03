"""One try at one proxy: connect, pay, ask, and run the exchange to its end."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import trio

from cocoon_p2p.client.answer import Report
from cocoon_p2p.client.attempt import Attempt
from cocoon_p2p.client.bookings import Bookings
from cocoon_p2p.client.candidates import Candidates
from cocoon_p2p.client.continuation import Progress
from cocoon_p2p.client.desk import Desk
from cocoon_p2p.client.link import Borrowed
from cocoon_p2p.client.race import Racer, Try
from cocoon_p2p.client.reception import Reception
from cocoon_p2p.client.request import Request, build_ask
from cocoon_p2p.client.seals import Seals
from cocoon_p2p.payments.settlement import PayingAccount
from cocoon_p2p.protocols.contents import AnswerContent
from cocoon_p2p.protocols.exchange.client_events import End, Lost
from cocoon_p2p.protocols.ids import EXCHANGE_ID_SIZE_BYTES
from cocoon_p2p.protocols.messages import ExchangeId, Usage
from cocoon_p2p.units import Nano

Deliver = Callable[[Racer, Attempt, AnswerContent, Usage], None]
"Takes each piece that a try delivers; returns at once."


class Trying:
    """Runs the tries of one request.

    Args:
        desk: What all requests share.
        reception: Says whether the application keeps up, and whether it has left.
        report: What the application can see.
        candidates: Which workers are left out.
        bookings: What each try may cost is tied there.
        deliver: Where pieces go.
        deadline: On trio's clock.
    """

    def __init__(
        self,
        desk: Desk,
        reception: Reception,
        report: Report,
        candidates: Candidates,
        bookings: Bookings,
        deliver: Deliver,
        deadline: float,
    ) -> None:
        self._desk = desk
        self._reception = reception
        self._report = report
        self._candidates = candidates
        self._bookings = bookings
        self._deliver = deliver
        self._deadline = deadline

    async def run(self, racer: Racer, asked: Request, progress: Progress) -> End | None:
        """Run a try to the end of its exchange, whose facts are in `racer.made`.

        Returns:
            How it ended; None if it was given up, or was out of time, before anybody was asked.

        A cancel resets the stream; what is held stays held until its settlement is had.

        Raises:
            Unavailable, Refused, AttestationFailed: Nobody could be asked.
        """
        link = racer.link
        with self._reception.until(self._deadline) as racer.connecting:
            await link.connect(asked.trust)
            account = await link.pay_through(Nano(racer.max_cost))
            borrowed = await link.borrow()
        if racer.connecting.cancelled_caught:
            return None
        if racer.has_lost:
            link.give_back(borrowed, is_clean=True)
            return None
        is_clean, racer.asked_at = False, trio.current_time()
        made: Try | None = None
        try:
            racer.made = made = self._make(racer, asked, progress, account, borrowed)
            attempt = made.attempt
            if racer.without is None:
                self._report.proxy, self._report.proxy_verdict = link.peer, link.verdict
            end = await attempt.run()
            is_clean = attempt.has_ended_cleanly
            self._bookings.reservation.untie(made.exchange)
        finally:
            link.give_back(borrowed, is_clean=is_clean)
            if made is not None and not made.attempt.has_ended:
                self._bookings.cut_off(made)
        if attempt.terms is not None:
            link.quoted(attempt.terms)
        if attempt.heard_at is not None:
            link.answered(racer.latency_seconds)
        elif borrowed.was_spare and isinstance(end, Lost):
            # The proxy had dropped the idle stream: that says nothing about the proxy.
            link.close()
            return await self.run(racer, asked, progress)
        return end

    def _make(
        self, racer: Racer, asked: Request, progress: Progress, account: PayingAccount, borrowed: Borrowed
    ) -> Try:
        desk, link = self._desk, racer.link
        left_out = self._candidates.left_out()
        ask = build_ask(
            asked,
            exchange=ExchangeId(desk.draw(EXCHANGE_ID_SIZE_BYTES)),
            max_cost=racer.max_cost,
            seconds_left=self._deadline - trio.current_time(),
            channel=account.channel,
            prefer=self._candidates.prefer,
            exclude=left_out if racer.without is None else left_out | {racer.without},
            continues=progress.exchange,
            wait_seconds=self._candidates.patience if racer.without is None else None,
        )
        if ask.wait_ms is not None:
            # A proxy gives who waits no more quotes than it may have: others may ask meanwhile.
            link.claim(borrowed)
        self._bookings.reservation.tie(ask.exchange, Nano(ask.max_cost))
        order = desk.order(asked, ask, link.record, self._deadline, like=progress.origin)
        if racer.without is not None:
            # Who comes second must not give a shorter answer than who came first would have.
            order = replace(order, rules=replace(order.rules, is_whole=True))
        attempt = Attempt(
            order,
            stream=borrowed.stream,
            reception=self._reception,
            deliver=partial(self._deliver, racer),
            clock=desk.clock,
            claimed=partial(_claim, racer, borrowed),
            learn=partial(desk.learn, via=link.peer, asked=asked.trust),
            seals=Seals(order, asked.content, link=link, clock=desk.clock, draw=desk.draw),
            account=account,
        )
        return Try(link, account, attempt, ask.exchange, racer.beside)


def _claim(racer: Racer, borrowed: Borrowed) -> None:
    racer.link.claim(borrowed)
    racer.begin()
