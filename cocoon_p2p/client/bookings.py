"""What one request's exchanges cost: booked, looked for, or disputed; in its report, with the papers."""

import logging
from dataclasses import replace
from functools import partial

from cocoon_p2p.client.answer import AnswerPart, Report
from cocoon_p2p.client.blame import hold_against, keep_evidence
from cocoon_p2p.client.desk import Desk
from cocoon_p2p.client.late import settle_late
from cocoon_p2p.client.noting import entry_of
from cocoon_p2p.client.purses import Reservation
from cocoon_p2p.client.race import Racer, Try
from cocoon_p2p.client.standing import PROVEN, SUSPECTED
from cocoon_p2p.errors import CocoonError, RemoteProtocolError, Unavailable
from cocoon_p2p.observability import short
from cocoon_p2p.protocols.exchange.bill import Bill
from cocoon_p2p.protocols.exchange.bundle import Bundle
from cocoon_p2p.protocols.exchange.client_events import Declined, Disputed, Dropped, End, Lost, Paid, Priced
from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.units import Nano

log = logging.getLogger(__name__)


class Bookings:
    """The money of one request. What is decided after an end is its `Inquiry`'s.

    Args:
        desk: What all requests share.
        report: What the application can see.
    """

    def __init__(self, desk: Desk, report: Report) -> None:
        self.reservation = Reservation(Nano(0))
        self._desk = desk
        self._report = report

    @property
    def left(self) -> int:
        """What may still be spent, in nanoTON: all that may be charged for what was tried is off it."""
        report = self._report
        return self.reservation.amount - report.charged - report.pending - report.disputed

    def lost(self, racer: Racer) -> None:
        """Note a try that is cancelled because another one is the answer: it is paid for what it did."""
        if racer.made is None:
            return
        if racer.terms is not None:
            self._report.part(racer.link.peer, racer.terms).has_lost = True
        if not racer.made.attempt.has_ended:
            self.runs_on(racer)
            # What it cannot cost is there for the rest, should the answer break off before this one ends.
            self.reservation.lower(racer.made.exchange, Nano(racer.pending))

    def runs_on(self, racer: Racer) -> None:
        """Count what a try may cost that nobody waits for, as long as it is under way."""
        if racer.made is None or racer.made.attempt.has_ended:
            return
        self._report.pending += racer.made.attempt.cost_max - racer.pending
        racer.pending = racer.made.attempt.cost_max

    def ended(self, racer: Racer) -> None:
        """Note that what such a try costs is known from here on, or booked as any other."""
        self._report.pending -= racer.pending
        racer.pending = 0

    async def book(self, made: Try, end: End) -> None:
        """Book an end as far as money and faults go.

        A cancel may leave a dispute on its way to disk.

        Raises:
            Unavailable: The ledger cannot be written.
        """
        if not isinstance(end, Lost) or not end.owed_max:
            self._note(made, end, end.bill if isinstance(end, Paid) else None)
        match end:
            case Paid():
                if end.reason is Reason.NO_CREDIT:
                    made.account.reopen()
                self._paid(made, end)
            case Declined(refusal):
                if refusal.reason is Reason.NO_CREDIT:
                    made.account.reopen()
                self._free(made)
            case Disputed():
                await self._dispute(made, end)
            case Lost(error):
                self._seek_settlement(made, end)
                if isinstance(error, RemoteProtocolError):
                    hold_against(self._desk.standings, made.attempt, error, proxy_by=SUSPECTED)
                    await keep_evidence(made.account, made.attempt, error)
            case Dropped() | Priced():
                self._free(made)

    def cut_off(self, made: Try) -> None:
        """Note a try that a cancel ended, or a ledger that cannot be written: its cost is not known here."""
        self._note(made, Lost(Unavailable("it was cut off"), made.attempt.terms, Nano(0), None), None)

    def _note(self, made: Try, end: End, bill: Bill | None) -> None:
        entry = entry_of(made, end, bill, date=self._desk.clock())
        if entry is not None:
            self._desk.journal.note(entry)

    def _free(self, made: Try) -> None:
        """Note that nothing is charged, where something might have been."""
        for part in self._report.parts:
            if part.exchange == made.exchange:
                part.is_open = False

    def _paid(self, made: Try, end: Paid) -> None:
        report, bill = self._report, end.bill
        assert made.attempt.terms is not None, "what was billed was agreed on"
        part = report.part(made.link.peer, made.attempt.terms)
        part.bill, part.bundle, part.is_open = bill, self._bundle(made, bill), False
        report.charged += bill.amount
        log.info(
            "exchange settled",
            extra={
                "exchange": short(made.exchange),
                "amount": bill.amount,
                "outcome": bill.settlement.outcome.name.lower(),
            },
        )

    async def _dispute(self, made: Try, end: Disputed) -> None:
        report, error = self._report, end.error
        report.dispute = error
        report.disputed += made.attempt.held
        report.part(made.link.peer, end.terms).is_open = False
        # The proxy has signed it, whoever else did.
        hold_against(self._desk.standings, made.attempt, error, proxy_by=PROVEN)
        papers = (end.settlement,) if end.meter is None else (end.settlement, end.meter)
        await made.account.dispute(str(error), end.terms.signed, *papers)

    def _seek_settlement(self, made: Try, lost: Lost) -> None:
        if not lost.owed_max:
            self._free(made)
            return
        assert lost.terms is not None, "nothing is owed without terms"
        part = self._report.part(made.link.peer, lost.terms)
        # What was on its way to us may have been worked for on credit that other exchanges had left. So an
        # honest proxy may have charged more than we held, and never more than it had credit for.
        most = max(lost.owed_max, min(made.attempt.cost_max, made.account.credit))
        lost = replace(lost, owed_max=most)
        self._report.pending += most
        self.reservation.lower(made.exchange, most)
        self._desk.nursery.start_soon(self._settle_late, made, lost, part)

    async def _settle_late(self, made: Try, lost: Lost, part: AnswerPart) -> None:
        try:
            error = await settle_late(
                made.link,
                made.account,
                made.exchange,
                lost,
                network=self._desk.network,
                report=self._report,
                part=part,
                prompt_tokens_max=made.attempt.prompt_tokens_max,
                prove=partial(self._bundle, made),
            )
            if error is not None:
                hold_against(self._desk.standings, made.attempt, error, proxy_by=PROVEN)
        except CocoonError as error:
            log.error("a lost exchange was not settled", extra={"error": str(error)})
        finally:
            # Its bill has come by now, unless the client is being closed.
            self._note(made, lost, part.bill)

    def _bundle(self, made: Try, bill: Bill) -> Bundle:
        terms, transcript = made.attempt.terms, made.attempt.transcript
        assert terms is not None, "what was billed was agreed on"
        assert transcript is not None, "a price question is not billed"
        return transcript.bundle(terms, bill, self._desk.evidence(terms))
