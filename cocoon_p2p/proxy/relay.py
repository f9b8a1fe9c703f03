"""One exchange between a client's link and a worker's: events in, effects out, and a clock beside them.

    client link --\\                          /--> client link
    worker link ---+--> step(state, event) --+---> worker link
    clock, credit /                           \\--> tab: cover, hold, charge

Nothing decides here: `protocols.exchange.proxy` does. What passes is sealed; it is never looked
into, kept or logged.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import assert_never

import trio

from cocoon_p2p.errors import Refused as RefusedError
from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.journal import Entry
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.observability import short
from cocoon_p2p.payments.settlement import ReceivingAccount
from cocoon_p2p.protocols.exchange.ending import ending
from cocoon_p2p.protocols.exchange.proxy import begin, step
from cocoon_p2p.protocols.exchange.proxy_events import (
    Charge,
    Charged,
    ClientLost,
    ClientSaid,
    Cover,
    Covered,
    Effect,
    Event,
    Hold,
    HoldRefused,
    LeaveClient,
    LeaveWorker,
    OpenWorker,
    Reckoning,
    Release,
    ToClient,
    ToWorker,
    Woke,
    WorkerLost,
    WorkerOpened,
    WorkerSaid,
    WorkerUnavailable,
)
from cocoon_p2p.protocols.exchange.proxy_state import (
    UNASSIGNED,
    WITH_WORKER,
    Phase,
    is_waiting_for_credit,
    next_wake,
)
from cocoon_p2p.protocols.exchange.relayed import NOTHING
from cocoon_p2p.protocols.ids import EXCHANGE, HEARTBEAT_SECONDS, Kind, Outcome, Reason
from cocoon_p2p.protocols.messages import Assign, ExchangeId, Part, Receipted, Refused, Signed
from cocoon_p2p.proxy.agency import Agency
from cocoon_p2p.proxy.contain import contain
from cocoon_p2p.proxy.link import Link
from cocoon_p2p.proxy.session import WorkerSession
from cocoon_p2p.proxy.stopwatch import Lap, Stopwatch
from cocoon_p2p.proxy.tab import Tab
from cocoon_p2p.scheduling import OURSELVES, RETRY_SECONDS, Fault, Witness

log = logging.getLogger(__name__)

_WORKERS_OWN = (Reason.DRAINING, Reason.CHANNEL_UNKNOWN, Reason.STALE, Reason.ALREADY_RUNNING)
"""Refusals that say something about the worker, not about the request: the next one would end alike, so it
rests; but an honest worker says so too. `rate limited` is not among them: it is about new sealing sessions,
and any client can bring it about."""


YIELD_SECONDS = 0.02
"How long credit is left to exchanges that wait for it: a small part of the time in half a window."


class Relay:
    """One exchange that runs. Listens to both links; owns neither.

    Args:
        agency: The proxy.
        client: Whose Ask it was.
        session: The worker that was chosen.
        tab: What was quoted, and the client's account.
        siblings: The client's exchanges, at any time: they share its credit.
        on_end: Called once, when the client has been told the end.
        asked: When the Ask came, if it has waited: its deadline runs from there.
        on_claim: Called once, when the client begins to use its quote.
    """

    def __init__(
        self,
        agency: Agency,
        client: Link,
        session: WorkerSession,
        tab: Tab,
        siblings: Sequence["Relay"],
        on_end: Callable[["Relay"], None],
        *,
        asked: float | None = None,
        on_claim: Callable[[], None] | None = None,
    ) -> None:
        self._agency = agency
        self._client = client
        self._session = session
        self._tab = tab
        self._siblings = siblings
        self._on_claim = on_claim
        self._on_end = on_end
        self._worker: Link | None = None
        self._stopwatch = Stopwatch()
        self._events: deque[Event] = deque()
        self._is_stepping = False
        self._reckoning: Reckoning | None = None
        self._is_worker_lost = False
        self._is_settled = False
        self._has_earned = False
        self._is_blameless = False
        "Whether a worker that goes away now may do so for a cause of ours, or of the client's."

        self._worker_wanted = trio.Event()
        self._due = trio.Event()
        self._sleep = trio.CancelScope()
        now = trio.current_time()
        self._asked_at = now if asked is None else asked
        self._exchange, effects = begin(tab.deal, now, asked=asked)
        session.reserve(self.exchange)
        for effect in effects:
            self._carry_out(effect)

    @property
    def exchange(self) -> ExchangeId:
        return self._tab.exchange

    @property
    def is_claimed(self) -> bool:
        """Whether the client has begun to use its quote."""
        return self._exchange.phase is not Phase.QUOTED

    @property
    def is_waiting(self) -> bool:
        """Whether something is held back until the client covers it."""
        return is_waiting_for_credit(self._exchange)

    @property
    def worker(self) -> PeerId:
        return self._session.peer

    @property
    def lap(self) -> Lap:
        """What the worker took, as far as it came."""
        return self._stopwatch.lap(self._session.standing.answer_seconds)

    @property
    def has_ended(self) -> bool:
        return self._exchange.phase is Phase.ENDED

    @property
    def has_earned(self) -> bool:
        """Whether the client was charged for it."""
        return self._has_earned

    def is_paid_through(self, account: ReceivingAccount) -> bool:
        """Whether this is the account that the client pays for the exchange with."""
        return self._tab.client is account

    def client_left(self) -> None:
        """End the exchange for the client, which says elsewhere that it has lost sight of it."""
        self._client.end("the client asks how it ended")

    async def run(self) -> None:
        """Carry the exchange to its end. A cancel settles for what was delivered, and saves it."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_clock)
                nursery.start_soon(self._watch_credit)
                nursery.start_soon(self._open_worker)
                await self._due.wait()
                await self._settle()
                nursery.cancel_scope.cancel()
        finally:
            if not self._is_settled:
                await self._abandon()

    # ------------------------------------------------------------ the links

    def wants(self, link: Link) -> bool:
        """Read a side only while the other side takes what comes, and the machine wants it."""
        if link is not self._client:
            return not self._client.is_full
        return self._exchange.listens_to_client and (self._worker is None or not self._worker.is_full)

    def hear(self, link: Link, message: object) -> None:
        now = trio.current_time()
        if link is self._client:
            self._feed(ClientSaid(message, now))
            return
        if isinstance(message, Refused):
            self._note_refusal(message, now)
        if isinstance(message, Refused | Receipted) and message.reason is Reason.NO_CREDIT:
            self._tab.renew_worker()
        self._stopwatch.heard(message, now)
        self._feed(WorkerSaid(message, now))

    def lose(self, link: Link, why: str) -> None:
        now = trio.current_time()
        if link is self._client:
            self._feed(ClientLost(now))
            if self._worker is not None:
                # It may have been waiting for the client to read.
                self._worker.poke()
        elif link is self._worker:
            self._is_blameless |= link.is_given_up
            log.info("worker lost in an exchange", extra=self._facts(why=why))
            self._feed(WorkerLost(why, now))

    def resume(self, link: Link) -> None:
        other = self._worker if link is self._client else self._client
        if other is not None:
            other.poke()

    # ------------------------------------------------------------ the machine

    def _feed(self, event: Event) -> None:
        """Step, and carry out what follows; what that reports at once is fed in its turn."""
        self._events.append(event)
        if self._is_stepping:
            return
        self._is_stepping = True
        before = self._exchange
        try:
            while self._events:
                self._exchange, effects = step(self._exchange, self._events.popleft())
                for effect in effects:
                    self._carry_out(effect)
        finally:
            self._is_stepping = False
        if self.is_waiting or self._client.is_full:
            self._stopwatch.held_up()
        # What we leave unread because the client does, the worker cannot send: it may take us for lost.
        self._is_blameless |= self._client.is_full
        after = self._exchange
        if after.listens_to_client and not before.listens_to_client:
            self._client.poke()
        self._sleep.deadline = min(self._sleep.deadline, next_wake(after))
        if self._on_claim is not None and before.phase is Phase.QUOTED and after.phase is not Phase.QUOTED:
            self._on_claim()
        if after.phase is Phase.ENDED and before.phase is not Phase.ENDED:
            self._due.set()
            self._has_come_to_an_end()

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case ToClient(message):
                self._client.send(message)
            case ToWorker(message):
                self._to_worker(message)
            case Cover(amount):
                self._tab.wanted = amount
                self._tab.cover()
                self._events.append(Covered(self._tab.accrued, trio.current_time()))
            case Hold(amount):
                try:
                    self._tab.hold(amount)
                except RefusedError as exc:
                    log.warning("channel to worker used up", extra=self._facts(why=str(exc)))
                    self._events.append(HoldRefused(trio.current_time()))
            case OpenWorker():
                self._worker_wanted.set()
            case LeaveWorker(is_stream_clean):
                self._leave(is_stream_clean=is_stream_clean)
            case LeaveClient():
                self._client.end("silent")
            case Charge(reckoning):
                self._reckoning = reckoning
                self._due.set()
            case Release():
                self._session.leave(self.exchange)
                if not self._is_worker_lost:
                    self._tab.release()
            case _:
                assert_never(effect)

    def _to_worker(self, message: object) -> None:
        assert self._worker is not None
        if isinstance(message, Assign):
            self._stopwatch.assigned(trio.current_time())
            self._session.assign(self.exchange)
        elif isinstance(message, Part) and message.final:
            self._stopwatch.given(trio.current_time())
        self._worker.send(message)

    # ------------------------------------------------------------ the worker

    async def _open_worker(self) -> None:
        await self._worker_wanted.wait()
        now = trio.current_time
        try:
            account = await self._agency.accounts.paying(
                self._session.peer, capacity=self._agency.policy.channel_capacity
            )
            link = await self._take_link()
        except (Unavailable, RefusedError) as exc:
            log.warning("worker cannot be had", extra=self._facts(why=str(exc)))
            if isinstance(exc, Unavailable):
                self._blame(Fault.LOST)
            else:
                self._session.rest(now() + self._agency.policy.lost_rest_seconds)
            self._feed(WorkerUnavailable(str(exc), now()))
            return
        self._tab.worker = account
        self._worker = link
        if self.has_ended:
            # The client left in this very moment: nothing was said on the stream, and nobody waits for it.
            self._leave(is_stream_clean=True)
            return
        self._feed(WorkerOpened(account.channel, now()))

    async def _take_link(self) -> Link:
        """Take a stream that the last exchange left clean, or open one."""
        if (link := self._session.spare.take()) is not None:
            link.listener = self
            return link
        stream = await self._agency.transport.open_stream(self._session.peer, EXCHANGE)
        link = Link(MessageStream(stream), self)
        self._agency.nursery.start_soon(contain, "worker's stream", link.run)
        return link

    def _leave(self, *, is_stream_clean: bool) -> None:
        self._session.leave(self.exchange)
        link, self._worker = self._worker, None
        if link is None:
            return
        if is_stream_clean:
            self._session.spare.keep(link)
            return
        self._is_worker_lost = True
        if link.is_at_fault:
            self._blame(Fault.RULES_BROKEN)
        elif not self._is_blameless:
            self._blame(Fault.LOST)
        link.end("left")

    def _note_refusal(self, refusal: Refused, now: float) -> None:
        if refusal.newest_record is not None:
            self._agency.workers.take_newest(self._session, refusal.newest_record)
        if refusal.reason is Reason.NO_CAPACITY:
            self._session.rest(now + RETRY_SECONDS)
        elif refusal.reason is Reason.ENGINE_FAILED:
            self._blame(Fault.FAILED)
        elif refusal.reason in _WORKERS_OWN:
            self._session.rest(now + self._agency.policy.lost_rest_seconds)

    def _blame(self, fault: Fault) -> None:
        """Hold it against the worker, and let it rest."""
        policy = self._agency.policy
        rest = policy.broken_rest_seconds if fault is Fault.RULES_BROKEN else policy.lost_rest_seconds
        self._session.failed(fault, trio.current_time(), rest_seconds=rest, by=self._witness)

    @property
    def _has_answer(self) -> bool:
        """Whether anything was made: an engine that ends each answer at once keeps no word."""
        usage, kind = self._exchange.passed.usage, self._tab.deal.ask.kind
        return usage.completion + usage.reasoning > 0 or kind in (Kind.EMBEDDING, Kind.TRANSCRIPTION)

    @property
    def _witness(self) -> Witness:
        # A stream from ourselves is a question of our own (`canary.inside`).
        peer = self._client.peer
        return OURSELVES if peer == self._agency.identity.peer_id else Witness(peer)

    # ------------------------------------------------------------ time and credit

    async def _watch_clock(self) -> None:
        while True:
            due = next_wake(self._exchange)
            with trio.CancelScope(deadline=due) as self._sleep:
                await trio.sleep_forever()
            if trio.current_time() > self._sleep.deadline + HEARTBEAT_SECONDS / 4:
                # This process was held up itself: what the peers said meanwhile comes first.
                await trio.sleep(HEARTBEAT_SECONDS / 4)
            now = trio.current_time()
            if next_wake(self._exchange) <= now:
                is_worker_read = self._worker is None or self._worker.is_reading
                self._feed(Woke(now, self._client.is_reading, is_worker_read))

    async def _watch_credit(self) -> None:
        account = self._tab.client
        while True:
            changed = account.credit_changed
            if not self.is_waiting and any(relay.is_waiting for relay in self._siblings):
                # They wait for what this one would only keep ahead.
                await trio.sleep(YIELD_SECONDS)
            if self._tab.cover():
                self._feed(Covered(self._tab.accrued, trio.current_time()))
            await changed.wait()

    # ------------------------------------------------------------ the end

    async def _settle(self) -> None:
        """Write down what the exchange came to, also while a cancel is under way."""
        with trio.CancelScope(shield=True):
            if self._reckoning is not None:
                settlement = await self._charge(self._reckoning)
                self._is_settled = True
                self._has_earned = self._reckoning.client_amount > 0
                self._feed(Charged(settlement, trio.current_time()))
            elif self._is_worker_lost:
                await self._tab.release_lost()
        self._is_settled = True

    async def _charge(self, reckoning: Reckoning) -> Signed:
        if reckoning.receipt is not None and reckoning.outcome is Outcome.FAILED:
            if self._exchange.reason is not Reason.PROXY_LOST:
                self._blame(Fault.FAILED)
        elif reckoning.outcome is Outcome.COMPLETED and self._has_answer:
            self._session.kept_its_word(trio.current_time(), self._witness)
        self._session.measured(self.lap, self._tab.deal.offer, trio.current_time(), self._witness)
        agency = self._agency
        settlement = await self._tab.charge(reckoning, identity=agency.identity, network=agency.network)
        facts = self._facts(
            outcome=reckoning.outcome.name.lower(),
            worker_amount=reckoning.worker_amount,
            client_amount=reckoning.client_amount,
        )
        log.info("exchange settled", extra=facts)
        return settlement

    async def _abandon(self) -> None:
        """End at once, because the proxy does or something broke: what was delivered is owed."""
        now = trio.current_time()
        self._is_blameless = True
        if self._exchange.phase in WITH_WORKER:
            self._feed(WorkerLost("the proxy ends", now))
        elif self._exchange.phase in UNASSIGNED:
            self._feed(ClientLost(now))
        try:
            await self._settle()
        finally:
            self._leave(is_stream_clean=False)
            if not self.has_ended:
                # It could not be written down. The client learns how it ended when it asks again.
                self._client.end("the exchange could not be settled")
                self._has_come_to_an_end()

    def _has_come_to_an_end(self) -> None:
        if self._exchange.is_greeted or self._exchange.parts:
            # A quote that nobody used is no exchange.
            self._agency.journal.note(self._entry())
        self._on_end(self)

    def _entry(self) -> Entry:
        """Say what became of it. What a question of our own is charged for stays in our pocket."""
        agency, ask, owed = self._agency, self._tab.deal.ask, self._reckoning if self._is_settled else None
        seconds, first = trio.current_time() - self._asked_at, self._stopwatch.first_token_at
        usage = NOTHING if owed is None else owed.usage
        income = 0 if owed is None or self._witness is OURSELVES else owed.client_amount
        return Entry(
            exchange=self.exchange,
            role="proxy",
            model=ask.model,
            outcome=ending(None if owed is None else owed.outcome, self._exchange.reason),
            began_at=agency.now() - seconds,
            seconds=seconds,
            first_token_seconds=None if first is None else first - self._asked_at,
            prompt_tokens=usage.prompt + usage.cached,
            completion_tokens=usage.completion + usage.reasoning,
            income=income,
            expense=0 if owed is None else owed.worker_amount,
            peer=self.worker,
            continues=ask.continues,
        )

    def _facts(self, **facts: object) -> dict[str, object]:
        return {"exchange": short(self.exchange), "worker": peer_id_text(self._session.peer), **facts}
