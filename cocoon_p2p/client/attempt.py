"""One try at one proxy: the shell that runs the client's machine on one stream.

It reads, opens seals, brings the time in and carries effects out. All decisions are
`protocols.exchange.client`'s.
"""

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import assert_never

import trio

from cocoon_p2p.client.hedging import cost_bound
from cocoon_p2p.client.reception import Reception
from cocoon_p2p.client.seals import Seals
from cocoon_p2p.client.transcript import Transcript
from cocoon_p2p.errors import MalformedMessage, Refused, RemoteProtocolError, SealBroken, Unavailable
from cocoon_p2p.identity import PeerId
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.observability import short
from cocoon_p2p.payments.settlement import PayingAccount
from cocoon_p2p.protocols.contents import AnswerContent
from cocoon_p2p.protocols.exchange.client import Order, begin, next_wake, prompt_tokens, step
from cocoon_p2p.protocols.exchange.client_events import (
    CancelWanted,
    Charge,
    ChunkOpened,
    Deliver,
    Effect,
    End,
    Event,
    Finish,
    HelloMade,
    Hold,
    HoldRefused,
    OpenSession,
    PeerLost,
    Received,
    Release,
    RequestSealed,
    Reset,
    SealRequest,
    Send,
    Woke,
)
from cocoon_p2p.protocols.exchange.delivery import Delivery
from cocoon_p2p.protocols.exchange.terms import Terms
from cocoon_p2p.protocols.ids import HEARTBEAT_SECONDS, RESERVATION_SECONDS
from cocoon_p2p.protocols.messages import Ask, Chunk, Hello, Part, Quoted, Signed, Usage
from cocoon_p2p.units import Nano

log = logging.getLogger(__name__)

HELD_UP_SECONDS = HEARTBEAT_SECONDS / 4
"Who wakes later than this after its time was not running: it cannot say that others were silent."

SEND_SECONDS = 20.0
"A proxy that does not take what we send for this long is lost."

LEARN_SECONDS = RESERVATION_SECONDS - 1.0
"How long a quote waits for what can be found out about its worker."

_NOTHING = object()


class Attempt:
    """One exchange, from its Ask to its end. Run it once.

    Args:
        order: What is wanted, from whom.
        stream: To ask on; the attempt resets it, or leaves it ready for the next Ask.
        reception: Says whether the application keeps up, and whether it has left.
        deliver: Takes each piece of the answer; returns at once.
        clock: Seconds since the Unix epoch.
        claimed: Called once, when the quote is being used, or there will be none.
        learn: Finds out about the worker of a quote, before the quote is judged.
        seals: Of the request; None for a price question.
        account: To pay through; None for a price question.
    """

    def __init__(
        self,
        order: Order,
        *,
        stream: MessageStream,
        reception: Reception,
        deliver: "Callable[[Attempt, AnswerContent, Usage], None]",
        clock: Callable[[], float],
        claimed: Callable[[], None] | None = None,
        learn: Callable[[Signed], Awaitable[None]] | None = None,
        seals: Seals | None = None,
        account: PayingAccount | None = None,
    ) -> None:
        self.heard_at: float | None = None
        "When the proxy first answered, on trio's clock."

        self.asked_at = trio.current_time()
        self.first_token_at: float | None = None
        "When a chunk first counted any, on the same clock; None: none did yet."

        self.was_quote_used = False
        "Whether anything was said beyond the Ask."

        self._order = order
        self._stream = stream
        self._reception = reception
        self._deliver = deliver
        self._clock = clock
        self._seals = seals
        self.transcript = None if seals is None else Transcript(order, seals)
        "What proves the bill later; None for a price question."

        self._paying = account
        self._exchange, self._first = begin(order, trio.current_time())
        self._is_unwanted = False
        self._waiting: trio.CancelScope | None = None
        "The wait that a cancel of ours cuts short."

        self._was_leave_told = False
        self._end: End | None = None
        self._was_reset = False
        self._claimed: Callable[[], None] | None = claimed
        self._learn = learn

    @property
    def has_ended(self) -> bool:
        """Whether it is known how it ended."""
        return self._end is not None

    @property
    def has_ended_cleanly(self) -> bool:
        """Whether the stream can be used for another exchange."""
        return self._end is not None and not self._was_reset

    @property
    def terms(self) -> Terms | None:
        """What was agreed on, once it was."""
        return self._exchange.terms

    @property
    def delivery(self) -> Delivery:
        """What was delivered."""
        return self._exchange.delivery

    @property
    def held(self) -> Nano:
        """What was covered for it."""
        return Nano(self._exchange.held)

    @property
    def cost_max(self) -> Nano:
        """What it can cost at most, on its terms; nothing before something is held for it."""
        if self.terms is None or not self.held:
            return Nano(0)
        return cost_bound(self._order.ask, self.terms, self._order.rules.window_tokens_max)

    @property
    def ask(self) -> Ask:
        """What was asked."""
        return self._order.ask

    @property
    def proxy(self) -> PeerId:
        """Who is asked."""
        return self._order.proxy

    @property
    def prompt_tokens_max(self) -> int | None:
        """How many tokens the prompt can have, as far as the client knows; None before there are terms."""
        return None if self.terms is None else prompt_tokens(self._order, self.terms).most

    def cancel(self) -> None:
        """Have the worker stop: what it still says is not wanted. The exchange ends with its settlement."""
        self._is_unwanted = True
        if self._waiting is not None and not self._was_leave_told:
            self._waiting.cancel()

    async def run(self) -> End:
        """Run the exchange to its end.

        A cancel resets the stream; what is held for the exchange stays held until its settlement
        is had by its id.
        """
        try:
            await self._carry_out(self._first)
            while (end := self._end) is None:
                await self._feed(await self._next())
        finally:
            self._claim()
            if self._seals is not None:
                self._seals.close()
            if self._end is None:
                self._stream.reset()
        return end

    # ------------------------------------------------------------ events

    async def _next(self) -> Event:
        """Wait for whatever comes first: a message, the application's leaving, the time."""
        wake = next_wake(self._exchange)
        assert wake is not None, "the exchange has not ended"
        if self._is_over and not self._was_leave_told:
            return self._leave()
        if self._reception.is_full:
            with self._wait_until(wake) as self._waiting:
                await self._reception.room()
            return Woke(trio.current_time(), is_listening=False)
        try:
            message = await self._receive(wake)
        except (Unavailable, MalformedMessage) as error:
            return PeerLost(error)
        if message is _NOTHING:
            return Woke(trio.current_time())
        if message is None:
            return PeerLost(Unavailable("the proxy closed the stream"))
        if isinstance(message, Quoted) and self._learn is not None and not self._is_over:
            # Longer than a heartbeat, which nobody waits for yet; not as long as the slot is held for us.
            with self._wait_until(trio.current_time() + LEARN_SECONDS) as self._waiting:
                await self._learn(message.quote)
        if isinstance(message, Quoted) and self._is_over and not self._was_leave_told:
            # Nobody wants it any more: who takes it would pay for a prompt.
            return self._leave()
        return self._read(message)

    @property
    def _is_over(self) -> bool:
        """Whether nobody wants the answer any more."""
        return self._reception.is_left or self._is_unwanted

    def _leave(self) -> CancelWanted:
        self._was_leave_told = True
        return CancelWanted(trio.current_time())

    async def _receive(self, wake: float) -> object:
        """Wait for a message until then: `_NOTHING` if none came, None if the stream ended."""
        if self._stream.has_message:
            # It came along with the one before: there is no wait to bound.
            return await self._stream.receive()
        message: object = _NOTHING
        with self._wait_until(wake) as self._waiting:
            message = await self._stream.receive()
        if message is _NOTHING and trio.current_time() > wake + HELD_UP_SECONDS:
            # This process was held up itself: what the proxy said meanwhile comes first.
            with trio.move_on_after(HELD_UP_SECONDS):
                message = await self._stream.receive()
        return message

    def _wait_until(self, wake: float) -> AbstractContextManager[trio.CancelScope]:
        # Once the machine knows that the application has left, its waits run their own time.
        return trio.CancelScope(deadline=wake) if self._was_leave_told else self._reception.until(wake)

    def _read(self, message: object) -> Event:
        now = trio.current_time()
        if self.heard_at is None:
            self.heard_at = now
        if not isinstance(message, Chunk) or self._seals is None or not self._seals.is_sealed:
            credit = None if self._paying is None else self._paying.credit
            return Received(message, now, self._clock(), credit)
        if self.first_token_at is None and message.usage.completion + message.usage.reasoning:
            self.first_token_at = now
        try:
            return ChunkOpened(message, self._seals.open(message), now)
        except RemoteProtocolError as error:
            return PeerLost(error)

    async def _feed(self, event: Event) -> None:
        before = self._exchange.phase
        try:
            self._exchange, effects = step(self._exchange, event)
        except RemoteProtocolError as error:
            facts = {"exchange": short(self.ask.exchange), "phase": before.name.lower(), "error": str(error)}
            log.warning("a peer broke the rules", extra=facts)
            self._exchange, effects = step(self._exchange, PeerLost(error))
        else:
            if self.transcript is not None and isinstance(event, ChunkOpened):
                self.transcript.add(event.chunk)
        await self._carry_out(effects)

    # ------------------------------------------------------------ effects

    async def _carry_out(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            if self._end is not None:
                return
            result = await self._act(effect)
            if result is not None:
                await self._feed(result)

    async def _act(self, effect: Effect) -> Event | None:
        exchange = self._order.ask.exchange
        match effect:
            case Send(messages):
                return await self._send(messages)
            case SealRequest(terms):
                return self._seal(terms)
            case OpenSession():
                return self._open_session(effect)
            case Hold(amount):
                return self._hold(amount)
            case Release():
                self._account().release(exchange)
            case Charge(bill):
                await self._account().charge(exchange, bill.amount, bill.signed)
            case Deliver(content, usage):
                self._deliver(self, content, usage)
            case Reset():
                self._was_reset = True
                self._stream.reset()
            case Finish(end):
                self._end = end
            case _:
                assert_never(effect)
        return None

    def _account(self) -> PayingAccount:
        assert self._paying is not None, "a price question moves no money"
        return self._paying

    async def _send(self, messages: tuple[object, ...]) -> Event | None:
        for message in messages:
            with trio.move_on_after(SEND_SECONDS) as scope:
                try:
                    await self._stream.send(message)
                except Unavailable as error:
                    return PeerLost(error)
            if scope.cancelled_caught:
                return PeerLost(Unavailable(f"the proxy does not read (for={SEND_SECONDS:.0f} seconds)"))
            if isinstance(message, Hello | Part):
                self.was_quote_used = True
                self._claim()
        return None

    def _claim(self) -> None:
        if self._claimed is not None:
            self._claimed()
            self._claimed = None

    # ------------------------------------------------------------ seals and money

    def _seal(self, terms: Terms) -> Event:
        assert self._seals is not None, "nobody is told a price question's words"
        parts = self._seals.seal(terms)
        if parts is None:
            return HelloMade(self._seals.greet(terms), trio.current_time())
        return RequestSealed(parts, trio.current_time())

    def _open_session(self, effect: OpenSession) -> Event:
        assert self._seals is not None
        try:
            parts = self._seals.finish(effect.terms, effect.accept, effect.signature)
        except SealBroken as error:
            return PeerLost(error)
        return RequestSealed(parts, trio.current_time())

    def _hold(self, amount: Nano) -> Event | None:
        try:
            self._account().hold(self._order.ask.exchange, amount)
        except Refused as error:
            return HoldRefused(error, trio.current_time())
        return None
