"""A stream of exchanges from one proxy: messages in, effects out, and a clock beside them.

    reader ---\\                          /---> writer (one write at a time)
    clock -----+--> step(state, event) --+
    work  ----/                          \\---> work: count, cover, generate, charge

All of it is one nursery. Nothing decides here: `protocols.exchange.worker` does.
"""

import logging
from collections import deque

import trio

from cocoon_p2p.errors import LocalProtocolError, Refused, RemoteProtocolError, SealBroken, Unavailable
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.observability import short
from cocoon_p2p.payments.settlement import ReceivingAccount
from cocoon_p2p.protocols.exchange.assignment import Standing
from cocoon_p2p.protocols.exchange.worker import step
from cocoon_p2p.protocols.exchange.worker_events import (
    Admit,
    AssignReceived,
    ChunkTaken,
    CountPrompt,
    Cover,
    Covered,
    Dismiss,
    Effect,
    Event,
    Greet,
    MessageReceived,
    OpenPart,
    PeerLost,
    Permit,
    ReceiptSaved,
    Report,
    RequestRejected,
    Reset,
    SaveReceipt,
    Send,
    SendChunk,
    SessionAccepted,
    StartEngine,
    StopWork,
    TimePassed,
)
from cocoon_p2p.protocols.exchange.worker_phases import Gone, Idle, State, next_wake, wants_step
from cocoon_p2p.protocols.ids import HEARTBEAT_SECONDS, TAKE_SECONDS, Reason
from cocoon_p2p.protocols.messages import Assign, ExchangeId, Hello, Signed
from cocoon_p2p.protocols.papers import decode_signed
from cocoon_p2p.units import Nano
from cocoon_p2p.worker.work import Work, Workshop

log = logging.getLogger(__name__)

UNSENT_MAX = 16
"Messages that wait to be written, above which nothing more is read. One exchange makes a few."

CLOSE_SECONDS = 1.0
"How long closing a stream may take when the worker is cancelled."

_NEVER = float("inf")


async def serve_exchanges(shop: Workshop, stream: MessageStream) -> None:
    """Serve one stream until the proxy is gone.

    A cancel ends a running exchange as failed: its receipt for the tokens delivered is still
    saved, and the proxy may ask for it later.
    """
    line = _Line(shop, stream)
    try:
        await line.run()
    finally:
        line.abandon()


class _Line:
    """One stream, its state, and the work of the exchange that runs on it."""

    def __init__(self, shop: Workshop, stream: MessageStream) -> None:
        self._shop = shop
        self._stream = stream
        self._proxy: PeerId = stream.peer
        self._state: State = Idle()
        self._work: Work | None = None
        self._account: ReceivingAccount | None = None
        "The newest Assign's: what its exchange is paid through, if it is admitted."

        self._events: deque[Event] = deque()
        self._is_stepping = False
        self._unsent: deque[object] = deque()
        self._filled = trio.Event()
        self._emptied = trio.Event()
        self._chunk_of: Work | None = None
        self._last_words = 0
        "Exchanges that have ended, and whose end stands in `_unsent`."

        self._sleeps_until = _NEVER
        self._woken = trio.Event()
        self._room = trio.Event()
        self._gone = trio.Event()
        self._nursery: trio.Nursery

    async def run(self) -> None:
        """Serve until the proxy is gone, or until cancelled."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._write)
            self._nursery.start_soon(self._watch_clock)
            is_broken = False
            try:
                is_broken = await self._read()
            finally:
                if is_broken or not isinstance(self._state, Idle):
                    self._feed(PeerLost(trio.current_time()))
                else:
                    await self._close()
            await self._gone.wait()
            self._nursery.cancel_scope.cancel()

    async def _close(self) -> None:
        """Leave between two exchanges: a reset could overtake the last receipt."""
        self._gone.set()
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._stream.close()

    def abandon(self) -> None:
        """Let go of an exchange that could not end as it should."""
        self._shop.slots.parted(self._last_words)
        if self._work is not None:
            self._work.dismiss(Reason.PROXY_LOST)

    # ------------------------------------------------------------ the machine

    def _feed(self, event: Event) -> None:
        """Step, and carry out what follows; what that reports at once is fed in its turn."""
        self._events.append(event)
        if self._is_stepping:
            return
        self._is_stepping = True
        try:
            while self._events:
                self._state, effects = step(self._state, self._events.popleft())
                for effect in effects:
                    self._carry_out(effect)
        finally:
            self._is_stepping = False
            self._events.clear()
        self._notify()

    def _notify(self) -> None:
        due = next_wake(self._state)
        if due is not None and due < self._sleeps_until:
            self._woken.set()
        if wants_step(self._state):
            self._room.set()
        if isinstance(self._state, Gone):
            self._gone.set()

    def _report(self, work: Work, report: Report | ReceiptSaved) -> None:
        """Feed what a task of an exchange says, unless that exchange is over."""
        if work is self._work:
            self._feed(report)

    def _carry_out(self, effect: Effect) -> None:
        work = self._work
        match effect:
            case Send(message):
                self._send(message)
            case Admit(job):
                assert self._account is not None
                self._work = Work(self._shop, self._proxy, job, self._account)
            case Greet(hello):
                self._events.append(self._greet(hello))
            case Reset():
                self._stream.reset()
            case _ if work is None:
                raise LocalProtocolError(f"{type(effect).__name__} without an exchange")
            case OpenPart(part):
                if (report := work.open_part(part)) is not None:
                    self._events.append(report)
            case CountPrompt():
                self._nursery.start_soon(self._count, work)
            case Cover(amounts):
                covered = next((amount for amount in reversed(amounts) if work.is_covered(amount)), None)
                if covered is not None:
                    self._events.append(Covered(covered, trio.current_time()))
                else:
                    self._nursery.start_soon(self._cover, work, amounts[0])
            case Permit(amount):
                work.permit(amount)
            case StartEngine(completion_tokens_max):
                self._nursery.start_soon(self._generate, work, completion_tokens_max)
            case StopWork():
                work.stop()
            case SendChunk(draft):
                self._chunk_of = work
                self._send(work.seal(draft))
            case SaveReceipt():
                self._nursery.start_soon(self._save, work, effect)
            case Dismiss(reason):
                self._work = None
                work.dismiss(reason)
                if self._unsent:
                    self._last_words += 1
                    self._shop.slots.part()

    # ------------------------------------------------------------ the work

    async def _count(self, work: Work) -> None:
        with work.task():
            self._report(work, await work.count())

    async def _cover(self, work: Work, amount: Nano) -> None:
        with work.task():
            # Without credit nothing is reported: the machine bounds the wait.
            if await work.cover(amount):
                self._report(work, Covered(amount, trio.current_time()))

    async def _generate(self, work: Work, completion_tokens_max: int) -> None:
        with work.task():
            await work.generate(
                completion_tokens_max, lambda report: self._report(work, report), self._wait_for_room
            )

    async def _wait_for_room(self) -> None:
        while not wants_step(self._state):
            self._room = trio.Event()
            await self._room.wait()

    async def _save(self, work: Work, save: SaveReceipt) -> None:
        receipt = await work.charge(save)
        self._report(work, ReceiptSaved(receipt, trio.current_time()))

    def _greet(self, hello: Hello) -> Report:
        now = trio.current_time()
        try:
            return SessionAccepted(self._shop.seals.greet(self._proxy, hello), now)
        except Refused as exc:
            return RequestRejected(Reason.RATE_LIMITED, str(exc), now)
        except SealBroken as exc:
            return RequestRejected(Reason.SEAL_BROKEN, f"seal broken: {exc}", now)

    # ------------------------------------------------------------ reading

    async def _read(self) -> bool:
        """Hear the proxy until it has no more to say.

        Returns:
            Whether the stream broke, or had to be broken off.
        """
        while True:
            try:
                message = await self._stream.receive()
                if message is None:
                    return False
                self._feed(self._event_of(message))
            except Unavailable:
                return True
            except RemoteProtocolError as exc:
                facts = {"proxy": peer_id_text(self._proxy), "fault": str(exc)}
                if self._work is not None:
                    facts["exchange"] = short(self._work.job.exchange)
                log.warning("proxy broke the protocol", extra=facts)
                return True
            while len(self._unsent) > UNSENT_MAX:
                self._emptied = trio.Event()
                await self._emptied.wait()

    def _event_of(self, message: object) -> Event:
        now = trio.current_time()
        if isinstance(message, Assign):
            return AssignReceived(message, self._standing(message), now)
        return MessageReceived(message, now)

    def _standing(self, assign: Assign) -> Standing:
        shop = self._shop
        try:
            account = shop.accounts.receiving(assign.channel, self._proxy)
        except Refused:
            account = None
        self._account = account
        return Standing(
            network=shop.network,
            proxy=self._proxy,
            records=shop.papers.records(),
            slots_free=shop.slots.free,
            is_draining=shop.slots.is_draining,
            is_channel_known=account is not None,
            is_running=shop.slots.runs((assign.channel, assign.exchange)),
            receipt=None if account is None else _receipt(account, assign.exchange),
        )

    # ------------------------------------------------------------ writing

    def _send(self, message: object) -> None:
        self._unsent.append(message)
        self._filled.set()

    async def _write(self) -> None:
        while True:
            while not self._unsent:
                self._filled = trio.Event()
                await self._filled.wait()
            messages, work, last_words = tuple(self._unsent), self._chunk_of, self._last_words
            self._unsent.clear()
            self._chunk_of, self._last_words = None, 0
            self._emptied.set()
            try:
                with trio.fail_after(TAKE_SECONDS):
                    await self._stream.send(*messages)
            except (Unavailable, trio.TooSlowError):
                self._feed(PeerLost(trio.current_time()))
                return
            finally:
                self._shop.slots.parted(last_words)
            if work is not None:
                self._report(work, ChunkTaken(trio.current_time()))

    # ------------------------------------------------------------ time

    async def _watch_clock(self) -> None:
        while True:
            due = next_wake(self._state)
            self._sleeps_until = _NEVER if due is None else due
            self._woken = trio.Event()
            with trio.move_on_at(self._sleeps_until):
                await self._woken.wait()
            if trio.current_time() > self._sleeps_until + HEARTBEAT_SECONDS / 4:
                # This process was held up itself: what the proxy said meanwhile comes first.
                await trio.sleep(HEARTBEAT_SECONDS / 4)
            now = trio.current_time()
            due = next_wake(self._state)
            if due is not None and due <= now:
                self._feed(TimePassed(now))


def _receipt(account: ReceivingAccount, exchange: ExchangeId) -> Signed | None:
    row = account.ended(exchange)
    return None if row is None or row.paper is None else decode_signed(row.paper)
