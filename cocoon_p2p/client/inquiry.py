"""One request until it is answered: which proxy is asked, and what is done when one fails.

As long as nothing was delivered, another worker or proxy is tried; that costs nothing, or what
it may cost is taken off the max cost of the next try. An answer that breaks off later goes on with
another worker, right where it was (`continuation`); where that cannot be, it ends with an error
that says why.
"""

import logging

import trio

from cocoon_p2p.client.answer import Report
from cocoon_p2p.client.attempt import Attempt
from cocoon_p2p.client.bookings import Bookings
from cocoon_p2p.client.candidates import Candidates
from cocoon_p2p.client.continuation import Progress, obstacle, resumed
from cocoon_p2p.client.desk import Desk
from cocoon_p2p.client.ends import HINTS, more_telling, printable, refusal_error
from cocoon_p2p.client.link import Link
from cocoon_p2p.client.race import Race, Racer, Try
from cocoon_p2p.client.reception import Piece, Reception
from cocoon_p2p.client.request import Request
from cocoon_p2p.client.second import Second
from cocoon_p2p.client.trying import Trying
from cocoon_p2p.errors import (
    AnswerBroken,
    AttestationFailed,
    CocoonError,
    LocalProtocolError,
    Refused,
    RemoteProtocolError,
    Unavailable,
)
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.observability import short
from cocoon_p2p.protocols.contents import AnswerContent, FinishReason
from cocoon_p2p.protocols.exchange.client_events import Declined, Disputed, Dropped, End, Lost, Paid, Priced
from cocoon_p2p.protocols.ids import Outcome, Reason
from cocoon_p2p.protocols.messages import Usage
from cocoon_p2p.units import Nano

log = logging.getLogger(__name__)

PAUSE_MIN_SECONDS = 0.05
"However soon a proxy says that it may be asked again."

LOSER_SECONDS = 1.0
"How long an answer waits at its end for the bill of a try that lost; later ones are booked all the same."

_OF_THE_PROXY = (Reason.NO_CREDIT, Reason.CHANNEL_UNKNOWN, Reason.RATE_LIMITED, Reason.DRAINING)
"Refusals after a quote that another worker of the same proxy would only repeat."


class Inquiry:
    """Gets one request answered. Run it once, in a task of its own.

    Args:
        request: What is asked for.
        desk: What all requests share.
        reception: Where pieces and the end go.
        report: What the application can see of it.
    """

    def __init__(self, request: Request, desk: Desk, reception: Reception, report: Report) -> None:
        self._request = request
        self._asked = request
        "What is asked for now: the request, or the rest of its answer."

        self._progress = Progress(request.content)
        self._broke: CocoonError | None = None
        "Why the answer broke off, if it did and has not come on since."

        self._failure: CocoonError | None = None
        "The most telling of the tries that failed since."

        self._desk = desk
        self._reception = reception
        self._report = report
        self._began_at = trio.current_time()
        self._deadline = self._began_at + request.timeout_seconds
        self._was_session_unknown = False
        self._tries_left = desk.policy.attempts_max
        self._wait_left = desk.policy.wait_seconds
        self._candidates = Candidates(request, desk, reception, self._deadline)
        self._bookings = Bookings(desk, report)
        self._trying = Trying(
            desk, reception, report, self._candidates, self._bookings, self._deliver, self._deadline
        )
        self._second = Second(request, desk, reception, self._candidates, self._bookings)
        self._race: Race | None = None
        "The newest try."

        self._hedged: Race | None = None
        "The one try in which two were asked, if there was one."

    async def run(self) -> None:
        """Pursue the request and end the reception, with an error if there is no whole answer.

        Raises nothing. A cancel ends the reception too; money that is held stays held until its
        settlement is had.
        """
        error: CocoonError | None = Unavailable("the client was closed")
        request, purses = self._request, self._desk.purses
        try:
            with purses.reserved(request.purse, request.max_cost) as self._bookings.reservation:
                error = await self._pursue()
                # So that the bill is whole, if whoever lost is quick to send its own.
                if self._hedged is not None:
                    with trio.move_on_after(LOSER_SECONDS):
                        await self._hedged.over()
        except CocoonError as exc:
            error = exc
        except Exception:
            log.exception("a request failed by a fault of ours")
            error = LocalProtocolError("the request failed by a fault of this library; its log says more")
        finally:
            if error is not None:
                error = self._told(self._for_want_of_money(error))
                error.charged = Nano(self._report.charged)
            self._reception.end(error)

    def runs_on(self) -> None:
        """Note that it is not waited for any more: what is under way may still be charged."""
        for racer in () if self._race is None else self._race.racers:
            self._bookings.runs_on(racer)

    def _for_want_of_money(self, error: CocoonError) -> CocoonError:
        """Name the purse as the reason where a price was above what was left in it."""
        purse, had = self._request.purse, self._bookings.reservation.amount
        is_short = purse is not None and 0 < had < self._request.max_cost
        if not is_short or error.code != Reason.PRICE_ABOVE_LIMIT.code:
            return error
        assert purse is not None
        return self._desk.purses.over_budget(purse)

    async def _pursue(self) -> CocoonError | None:
        while self._bookings.left > 0 and not self._reception.is_left:
            link = await self._next() if self._tries_left else None
            if link is None:
                if not await self._wait_for_room():
                    break
                continue
            self._tries_left -= 1
            self._report.attempts += 1
            error = await self._try(link)
            if error is None or self._reception.is_left:
                return None
            log.info("try failed", extra=self._facts(link, error))
            if error is not self._broke:
                self._failure = more_telling(self._failure, error)
        return self._failure or self._broke

    def _facts(self, link: Link, error: CocoonError) -> dict[str, object]:
        facts: dict[str, object] = {"proxy": peer_id_text(link.peer), "code": error.code}
        if self._race is not None and (made := (self._race.winner or self._race.racers[0]).made) is not None:
            facts["exchange"] = short(made.exchange)
        if not isinstance(error, Refused | AnswerBroken):
            # Those are told in a worker's words, and its engine's may quote the prompt.
            facts["error"] = str(error)
        return facts

    async def _wait_for_room(self) -> bool:
        """Wait in line at the next try, where somebody offers that.

        Else wait as long as the last refusal says, if it says so and there is time; then begin anew.
        """
        if self._candidates.line_up(self._wait_left):
            self._tries_left = max(1, self._tries_left)
            return True
        pause = None if self._failure is None else self._failure.retry_after
        if pause is None or pause > self._wait_left:
            return False
        pause = max(pause, PAUSE_MIN_SECONDS)
        self._wait_left -= pause
        with self._reception.until(self._deadline):
            await trio.sleep(pause)
        self._candidates.after_wait()
        self._tries_left = self._desk.policy.attempts_max
        return True

    async def _next(self) -> Link | None:
        if trio.current_time() >= self._deadline:
            raise self._out_of_time()
        return await self._candidates.next(self._asked)

    def _out_of_time(self) -> CocoonError:
        return AnswerBroken(
            f"the deadline has passed (timeout={self._request.timeout_seconds:g} seconds)",
            code=Reason.DEADLINE.code,
            hint=HINTS[Reason.DEADLINE],
        )

    # ------------------------------------------------------------ trying

    async def _try(self, link: Link) -> CocoonError | None:
        """Ask one proxy; where its first token is late, and that was wished for, a second worker too.

        Returns:
            None if the request is over; else why this try failed, and another may be made.

        Raises:
            CocoonError: The request has failed for good.
        """
        race = self._race = Race()
        first = race.enter(link, self._bookings.left)
        if not self._second.is_wanted:
            return await self._attend(first)
        self._desk.nursery.start_soon(self._run, first)
        if (second := await self._second.enter(first)) is not None:
            self._hedged = race
            self._report.attempts += 1
            self._desk.nursery.start_soon(self._run, second)
        counted = await race.decided()
        if counted.failure is not None:
            raise counted.failure
        return counted.error

    async def _run(self, racer: Racer) -> None:
        """Attend to a try in a task of its own: one that loses may outlive the request."""
        try:
            racer.error = await self._attend(racer)
        except Exception as error:  # noqa: BLE001 (raised where the race is waited for)
            racer.failure = error
        finally:
            racer.race.ended(racer)

    async def _attend(self, racer: Racer) -> CocoonError | None:
        """Run a try to its end and draw the consequences. Returns and raises as `_try` does."""
        try:
            end = await self._trying.run(racer, self._asked, self._progress)
        except (Unavailable, Refused, AttestationFailed) as error:
            self._candidates.avoid(racer.link)
            return error
        if end is None:
            return None if self._reception.is_left or racer.has_lost else self._out_of_time()
        assert racer.made is not None, "what has ended was made"
        self._bookings.ended(racer)
        await self._bookings.book(racer.made, end)
        if racer.has_lost:
            return None
        was_in_line = self._candidates.patience is not None
        if racer.made.attempt.terms is None and (was_in_line or isinstance(end, Declined)):
            self._wait_left -= trio.current_time() - racer.asked_at
        if racer.without is not None and isinstance(end, Declined | Dropped):
            # Whom to ask if the first one fails is as if nobody had been asked besides.
            return end.error if isinstance(end, Dropped) else refusal_error(end.refusal)
        return self._conclude(racer.made, end)

    def _deliver(self, racer: Racer, attempt: Attempt, content: AnswerContent, usage: Usage) -> None:
        if racer.has_lost:
            return
        report, progress = self._report, self._progress
        assert attempt.terms is not None, "what is delivered was agreed on"
        report.part(attempt.proxy, attempt.terms).usage = usage
        if racer.race.winner is None:
            self._won(racer)
        content = progress.take(content, usage, attempt.terms)
        self._broke = self._failure = None
        report.usage, report.finish = progress.usage, content.finish or report.finish
        if progress.is_stopped:
            attempt.cancel()
        self._put(Piece(content.text, progress.tokens, content.calls, content.logprobs, content.vectors))

    def _won(self, racer: Racer) -> None:
        """Let a try be the answer, and any other one go."""
        losers = racer.race.won_by(racer)
        self._report.proxy, self._report.proxy_verdict = racer.link.peer, racer.link.verdict
        for loser in losers:
            self._bookings.lost(loser)
        self._second.decided((racer, *losers))

    def _put(self, piece: Piece) -> None:
        # The last piece often only says that it is the last.
        if piece.size_bytes:
            if self._report.first_token_seconds is None:
                self._report.first_token_seconds = trio.current_time() - self._began_at
            self._reception.put(piece)

    # ------------------------------------------------------------ ends

    def _conclude(self, made: Try, end: End) -> CocoonError | None:
        """Draw the consequences of an end that is booked. Returns and raises as `_try` does."""
        match end:
            case Paid():
                return self._paid(made, end)
            case Declined(refusal):
                if refusal.wait_ms is not None:
                    self._candidates.invited(made.link.peer, refusal.wait_ms / 1000)
                return self._declined(made, refusal_error(refusal), refusal.reason)
            case Dropped(error):
                if isinstance(error, AttestationFailed) and error.peer is not None:
                    # The proxy may have a worker that proves more, and judge by another policy than we do.
                    self._candidates.exclude(PeerId(error.peer))
                # A channel that another request has just found used up is replaced for the next try.
                elif error is not None and error.code != Reason.DRAINING.code:
                    self._candidates.avoid(made.link, is_its_fault=False)
                return error
            case Disputed(error):
                self._candidates.avoid(made.link)
                return self._broken(made, error, because="its bill was not accepted")
            case Lost(error):
                self._candidates.avoid(made.link)
                return self._broken(made, error)
            case Priced():
                raise LocalProtocolError("a request that pays was answered with a price")

    def _paid(self, made: Try, end: Paid) -> CocoonError | None:
        outcome = end.bill.settlement.outcome
        if outcome is Outcome.COMPLETED or end.cancelled is Reason.CANCELLED:
            return None
        if end.cancelled is Reason.DEADLINE:
            raise self._out_of_time()
        reason = end.cancelled or end.reason or Reason.ENGINE_FAILED
        detail = printable(end.detail or "") or reason.code.replace("-", " ")
        assert made.attempt.terms is not None, "what was billed was agreed on"
        self._candidates.exclude(made.attempt.terms.worker, for_good=made.attempt.delivery.chunks > 0)
        error = AnswerBroken(detail, code=reason.code, hint=HINTS.get(reason, ""))
        # Cancelled is what had no money or no time left, and that no other worker brings.
        because = None if outcome is Outcome.FAILED else "it was cancelled"
        return self._broken(made, error, because)

    def _declined(self, made: Try, error: Refused, reason: Reason) -> CocoonError | None:
        terms = made.attempt.terms
        if reason is Reason.CANCELLED:
            return None
        if reason is Reason.SESSION_UNKNOWN and terms is not None and not self._was_session_unknown:
            # The worker was started anew. It is asked again, with a greeting.
            self._was_session_unknown = True
            made.link.forget_session(terms)
            self._candidates.greet_again(terms)
            self._tries_left += 1
            self._report.attempts -= 1
        elif terms is None or reason in _OF_THE_PROXY:
            self._candidates.avoid(made.link, is_its_fault=False)
        else:
            self._candidates.exclude(terms.worker)
        return error

    def _broken(self, made: Try, error: CocoonError, because: str | None = None) -> CocoonError | None:
        """Judge an answer that did not end as it should, by how much of it was delivered.

        Args:
            made: The try by which it came.
            error: Why it broke off.
            because: Why it cannot go on with another worker, where that is known.
        """
        delivery = made.attempt.delivery
        if delivery.is_complete or self._reception.is_left or self._progress.is_stopped:
            return None
        self._candidates.set_aside(made.link.peer, made.attempt.terms, error)
        if not delivery.chunks:
            return error
        self._broke = error
        self._put(Piece(self._progress.break_off(), self._progress.tokens))
        if because := because or obstacle(self._request.content):
            raise self._broken_off(because)
        if not self._progress.tokens_left:
            if isinstance(error, RemoteProtocolError):
                raise self._broken_off("it has all the tokens that it may have")
            # All that was asked for came; only that it was all was not said any more.
            self._report.finish = FinishReason.LENGTH
            return None
        self._go_on()
        log.info("an answer goes on elsewhere", extra={"exchange": short(made.exchange), "code": error.code})
        return error

    def _go_on(self) -> None:
        """Ask for the rest from now on.

        Raises:
            AnswerBroken: It cannot be asked for.
        """
        if self._progress.breaks > self._desk.policy.breaks_max:
            raise self._broken_off(f"it did so too often (times={self._progress.breaks})")
        rest = resumed(self._request, self._progress)
        if rest is None:
            raise self._broken_off("it is too long to be told again")
        self._asked = rest
        self._candidates.after_break()
        self._was_session_unknown = False
        self._tries_left = self._desk.policy.attempts_max

    def _told(self, error: CocoonError) -> CocoonError:
        """Say of an answer that broke off that it did, and why it did not go on."""
        if self._broke is None or isinstance(error, LocalProtocolError):
            return error
        if error is not self._broke:
            return self._broken_off(str(error))
        return self._broken_off("nobody else is known" if self._bookings.left > 0 else "no more may be spent")

    def _broken_off(self, because: str) -> AnswerBroken:
        broke, self._broke = self._broke, None
        assert broke is not None
        hint, pending = broke.hint, self._report.pending
        if pending:
            hint = f"up to {pending} nanoTON may still be charged once the proxy is back"
        text = f"the answer broke off: {broke}; it did not go on elsewhere: {because}"
        return AnswerBroken(text, code=broke.code, hint=hint)
