"""Clients' streams: Asks are answered here, and what follows one goes to its relay.

    Ask --> limits --> seen before? --> channel --> scheduling --> Quoted, a relay takes over
                \\--> Refused, or the Settlement of old    \\--> waits for a slot (`waiting`)

Spec: protocols/exchange.md (Ask).
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypedDict

import trio

from cocoon_p2p.errors import Refused as RefusedError
from cocoon_p2p.errors import RemoteProtocolError
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.network.transport import Stream
from cocoon_p2p.payments.settlement import ReceivingAccount
from cocoon_p2p.protocols.ids import (
    FRAME_SIZE_MAX_BYTES,
    FRAME_SIZE_MAX_NEWCOMER_BYTES,
    SEALING_SESSION_SECONDS,
    UNCLAIMED_RESERVATIONS_MAX,
    Reason,
)
from cocoon_p2p.protocols.messages import (
    Ask,
    Cancel,
    ExchangeId,
    Heartbeat,
    Hello,
    Part,
    Quoted,
    Refused,
    Settled,
    shorten,
)
from cocoon_p2p.protocols.papers import decode_signed
from cocoon_p2p.proxy.admission import Waiting
from cocoon_p2p.proxy.agency import Agency
from cocoon_p2p.proxy.allowance import Allowance, Rate
from cocoon_p2p.proxy.contain import contain
from cocoon_p2p.proxy.link import Link
from cocoon_p2p.proxy.quotes import make_deal
from cocoon_p2p.proxy.relay import Relay
from cocoon_p2p.proxy.stopwatch import Lap
from cocoon_p2p.proxy.tab import Tab
from cocoon_p2p.proxy.waiting import WaitingRoom
from cocoon_p2p.scheduling import (
    RETRY_SECONDS,
    Choice,
    Decision,
    choose,
    expected_seconds,
    explain,
    pick,
    refuse,
)

log = logging.getLogger(__name__)

SWEEP_FROM = 1_024
"Clients that are known before the first look at who can be forgotten."

VISITS_MAX = 8
"Workers that a client was at last: a chat goes on at one of few."


@dataclass(slots=True)
class ClientStanding:
    """One client as this proxy knows it."""

    asks: Allowance
    streams: int = 0
    relays: list[Relay] = field(default_factory=list[Relay])
    visits: dict[PeerId, tuple[float, float]] = field(default_factory=dict[PeerId, tuple[float, float]])
    "Workers that it was at lately: what part of its last prompt was in the cache there, and when that was."

    @property
    def unclaimed(self) -> int:
        """How many slots wait for it to go on."""
        return sum(not relay.is_claimed for relay in self.relays)

    @property
    def is_gone(self) -> bool:
        return not (self.streams or self.relays)

    def was_at(self, worker: PeerId, lap: Lap, now: float) -> None:
        """Note that a worker knows this client's keys, and perhaps its last prompt."""
        if lap.cached_share is not None:
            self.visits.pop(worker, None)
            self.visits[worker] = lap.cached_share, now
            if len(self.visits) > VISITS_MAX:
                del self.visits[next(iter(self.visits))]

    def cached(self, now: float) -> dict[PeerId, float]:
        """Name the workers that still know it, and what part of its prompt each may have."""
        return {
            worker: share for worker, (share, at) in self.visits.items() if now - at < SEALING_SESSION_SECONDS
        }


class _Look(TypedDict):
    """How the workers are looked at: the arguments of `choose`, `pick` and `explain`."""

    commission_basis_points: int
    now: float
    date: float
    luck: int
    cached: Mapping[PeerId, float]


class Clients:
    """Every client that speaks with us, and every exchange that runs."""

    def __init__(self, agency: Agency) -> None:
        policy = agency.policy
        self._agency = agency
        self._rate = Rate(policy.asks_per_second, policy.asks_burst)
        self._standings: dict[PeerId, ClientStanding] = {}
        self._sweep_at = SWEEP_FROM
        self._running: dict[ExchangeId, Relay] = {}
        self._ended = trio.Event()
        self._is_draining = False
        self.waiting_room = WaitingRoom(agency, self._choose_for, self._begin_waiting)

    @property
    def running(self) -> int:
        """How many exchanges run, unused quotes included."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many Asks wait for a slot."""
        return len(self.waiting_room)

    def drain(self) -> None:
        """Take nothing new, and send elsewhere who waits."""
        self._is_draining = True
        self.waiting_room.drain()

    def runs(self, exchange: ExchangeId) -> bool:
        """Say whether an exchange runs, or is being settled."""
        return exchange in self._running

    def left(self, exchange: ExchangeId, account: ReceivingAccount) -> None:
        """Note that the client that pays for an exchange through this account has lost sight of it."""
        relay = self._running[exchange]
        if relay.is_paid_through(account):
            relay.client_left()

    async def wait_idle(self) -> None:
        """Return once nothing runs."""
        while self._running:
            self._ended = trio.Event()
            await self._ended.wait()

    async def accept(self, stream: Stream) -> None:
        """Serve one stream of a client's exchanges (the transport's acceptor)."""
        standing = self._standing(stream.peer)
        if standing.streams >= self._agency.policy.streams_per_client_max:
            log.warning("stream refused", extra={"client": peer_id_text(stream.peer)})
            stream.reset()
            return
        standing.streams += 1
        try:
            await ClientStream(self, standing, stream).run()
        finally:
            standing.streams -= 1

    def _standing(self, peer: PeerId) -> ClientStanding:
        now = trio.current_time()
        if len(self._standings) >= self._sweep_at:
            self._standings = {
                known: standing
                for known, standing in self._standings.items()
                if not (standing.is_gone and standing.asks.is_whole(self._rate, now))
            }
            self._sweep_at = max(SWEEP_FROM, 2 * len(self._standings))
        standing = self._standings.get(peer)
        if standing is None:
            standing = self._standings[peer] = ClientStanding(Allowance.whole(self._rate, now))
        return standing

    # ------------------------------------------------------------ Asks

    def answer(self, ask: Ask, stream: "ClientStream") -> object | None:
        """Answer an Ask: give the one message to send, or None where a relay has taken over."""
        try:
            return self._answer(ask, stream)
        except RefusedError as exc:
            log.debug("ask refused", extra={"client": peer_id_text(stream.link.peer), "reason": exc.code})
            return _message_of(ask, exc)

    def _answer(self, ask: Ask, stream: "ClientStream") -> object | None:
        agency, account = self._agency, None
        self._check_limits(ask, stream.standing)
        if ask.channel is not None:
            account = agency.accounts.receiving(ask.channel, stream.link.peer)
            if account.charged() or (account.deployment is not None and account.capacity):
                # It has paid, or its deposit was seen on the chain: its connection is worth keeping.
                agency.transport.protect(stream.link.peer, "payer")
            if (settled := self._settled(ask.exchange, account)) is not None:
                return settled
            self._check_standing(stream.standing)
        # Who waits has come before.
        self.waiting_room.serve()
        look = self._look(stream.standing)
        choice = choose(ask, agency.workers.roster, **look)
        if account is not None:
            agency.workers.looking_back.look(ask, choice, **look)
        if choice.worker is not None:
            return self._begin(ask, stream, choice, account)
        refusal = refuse(ask, choice.left_out, choice.left_out_more)
        if refusal.reason is not Reason.NO_CAPACITY or account is None:
            return refusal
        return self.waiting_room.enter(ask, stream, refusal)

    def _look(self, standing: ClientStanding | None) -> _Look:
        """Look at the workers as they are at this moment for a client."""
        agency, now = self._agency, trio.current_time()
        return _Look(
            commission_basis_points=agency.policy.commission_basis_points,
            now=now,
            date=agency.now(),
            luck=int.from_bytes(agency.draw(8)),
            cached={} if standing is None else standing.cached(now),
        )

    def explain(self, ask: Ask, client: PeerId | None) -> Decision:
        """Say which worker an Ask would get now, and why."""
        standing = None if client is None else self._standings.get(client)
        return explain(ask, self._agency.workers.roster, **self._look(standing))

    # ------------------------------------------------------------ those who wait

    def _choose_for(self, waiting: "Waiting[ClientStream]") -> Choice | None:
        """Find a worker for an Ask that waits, if its client may have a quote."""
        standing = waiting.visitor.standing
        if self._reason_against(standing) is not None:
            return None
        return pick(waiting.ask, self._agency.workers.roster, **self._look(standing))

    def _begin_waiting(self, waiting: "Waiting[ClientStream]", choice: Choice) -> None:
        ask, stream = waiting.ask, waiting.visitor
        assert ask.channel is not None, "a price question does not wait"
        try:
            # It may have begun to close meanwhile.
            account = self._agency.accounts.receiving(ask.channel, stream.link.peer)
            if (settled := self._settled(ask.exchange, account)) is not None:
                stream.link.send(settled)
                return
        except RefusedError as exc:
            stream.link.send(_message_of(ask, exc))
            return
        self._begin(ask, stream, choice, account, waiting)

    # ------------------------------------------------------------ exchanges

    def _begin(
        self,
        ask: Ask,
        stream: "ClientStream",
        choice: Choice,
        account: ReceivingAccount | None,
        waited: "Waiting[ClientStream] | None" = None,
    ) -> Quoted | None:
        agency, worker, offer, now = self._agency, choice.worker, choice.offer, trio.current_time()
        assert worker is not None, "somebody was chosen"
        assert offer is not None, "it offers the model"
        session = agency.workers[worker.peer]
        deal = make_deal(
            ask,
            session,
            offer,
            identity=agency.identity,
            network=agency.network,
            policy=agency.policy,
            grant=agency.policy.grant(stream.link.peer) if account is None else account.grant,
            date=agency.now(),
        )
        if account is None:
            return Quoted(ask.exchange, deal.quote)

        def end(relay: Relay) -> None:
            # Who has waited had to ask twice.
            self._end(relay, stream, asks=1 if waited is None else 2)
            held = trio.current_time() - now
            # What was given up at once says nothing of how long a slot is taken.
            measured = forecast if relay.has_earned else None
            admission.ended(ask.model, forecast=measured, held=held, now=now + held, waited=waited)

        admission, forecast = self.waiting_room.admission, expected_seconds(ask, worker, offer, now)
        admission.began(ask.model)
        siblings = stream.standing.relays
        relay = Relay(
            agency,
            stream.link,
            session,
            Tab(deal, account),
            siblings,
            end,
            asked=None if waited is None else waited.since,
            on_claim=partial(self.waiting_room.look_again, stream.link.peer),
        )
        self._running[ask.exchange] = relay
        siblings.append(relay)
        stream.link.listener = relay
        # A slot is held for it: whole requests may come.
        stream.link.allow(FRAME_SIZE_MAX_BYTES)
        agency.nursery.start_soon(contain, "exchange", relay.run)
        return None

    def _end(self, relay: Relay, stream: "ClientStream", asks: int) -> None:
        del self._running[relay.exchange]
        standing = stream.standing
        standing.relays.remove(relay)
        standing.was_at(relay.worker, relay.lap, trio.current_time())
        if relay.has_earned:
            # The limit is for who only asks: a gateway buys as often as it likes.
            standing.asks = standing.asks.give_back(self._rate, trio.current_time(), asks)
        stream.take_back(relay.exchange)
        self._ended.set()

    # ------------------------------------------------------------ what is refused at once

    def _check_limits(self, ask: Ask, standing: ClientStanding) -> None:
        standing.asks, may_ask = standing.asks.take(self._rate, trio.current_time())
        if not may_ask:
            rate = self._rate.per_second
            raise _no(
                Reason.RATE_LIMITED, f"a client may ask {rate:g} times a second without buying", 1 / rate
            )
        if self._is_draining:
            raise _no(Reason.DRAINING, "this proxy takes nothing new")
        if ask.exchange in self._running or ask.exchange in self.waiting_room:
            raise _no(Reason.ALREADY_RUNNING, "an exchange has one id, an id one exchange")
        if ask.deadline_ms == 0:
            raise _no(Reason.DEADLINE, "no time was left on arrival")

    def _check_standing(self, standing: ClientStanding) -> None:
        if (refused := self._reason_against(standing)) is not None:
            raise refused

    def _reason_against(self, standing: ClientStanding) -> RefusedError | None:
        """Say why a client may not have another quote now."""
        if standing.unclaimed >= UNCLAIMED_RESERVATIONS_MAX:
            detail = f"{UNCLAIMED_RESERVATIONS_MAX} quotes are not used yet"
            return _no(Reason.RATE_LIMITED, detail, RETRY_SECONDS)
        if len(self._running) >= self._agency.policy.exchanges_max:
            return _no(Reason.NO_CAPACITY, "this proxy is full", RETRY_SECONDS)
        return None

    def _settled(self, exchange: ExchangeId, account: ReceivingAccount) -> Settled | None:
        """Find the Settlement of an exchange that has ended: it is never charged twice."""
        row = account.ended(exchange)
        if row is not None and row.paper is not None:
            return Settled(exchange, decode_signed(row.paper))
        if self._agency.accounts.ended(exchange) is not None:
            # Somebody else's, or through another channel: what it cost is no business of this one.
            raise _no(Reason.ALREADY_RUNNING, "the id was used before")
        return None


class ClientStream:
    """One stream of one client. Between two exchanges it hears the client itself.

    Attributes:
        link: The stream.
        standing: The client that speaks on it.
        heard: When a client that waits for a slot last said anything.
    """

    def __init__(self, clients: Clients, standing: ClientStanding, stream: Stream) -> None:
        messages = MessageStream(stream, frame_size_max_bytes=FRAME_SIZE_MAX_NEWCOMER_BYTES)
        self.link = Link(messages, self)
        self.standing = standing
        self.heard = 0.0
        self._clients = clients
        self._last: ExchangeId | None = None
        self._is_waiting = False

    async def run(self) -> None:
        """Serve the stream to its end. An exchange that still runs goes on, to be stopped and settled."""
        await self.link.run()

    def waits(self, is_waiting: bool) -> None:
        """Learn that the last Ask waits for a slot, or does not any more."""
        self._is_waiting = is_waiting

    def take_back(self, exchange: ExchangeId) -> None:
        """Listen again: this exchange has ended."""
        self._last = exchange
        self.link.listener = self
        self.link.poke()

    def wants(self, link: Link) -> bool:
        """Read on, unless answers are left unread."""
        return not link.is_full

    def hear(self, link: Link, message: object) -> None:
        """Take an Ask, or drop what crossed the end of the last exchange on its way."""
        self.heard = trio.current_time()
        match message:
            case Heartbeat() if self._is_waiting and message.exchange == self._last:
                pass
            case Cancel() if self._is_waiting and message.exchange == self._last:
                self._clients.waiting_room.leave(message.exchange)
                link.send(Refused(message.exchange, Reason.CANCELLED, "cancelled: by the client", (), 0))
            case _ if self._is_waiting:
                raise RemoteProtocolError(f"{type(message).__name__} from a client that waits for its quote")
            case Ask():
                self._last = message.exchange
                answer = self._clients.answer(message, self)
                if answer is not None:
                    link.send(answer)
            case Hello() | Part() | Heartbeat() | Cancel() if message.exchange == self._last:
                pass
            case _:
                raise RemoteProtocolError(f"{type(message).__name__} with no exchange on the stream")

    def lose(self, link: Link, why: str) -> None:
        """Note a stream that broke; nothing runs on it."""
        if self._is_waiting:
            assert self._last is not None, "it has asked"
            self._clients.waiting_room.leave(self._last)
        if link.is_at_fault:
            log.info("client broke the rules", extra={"client": peer_id_text(link.peer), "fault": why})

    def resume(self, link: Link) -> None:
        """Read on: answers are read."""
        link.poke()


def _no(reason: Reason, detail: str, retry_after: float | None = None) -> RefusedError:
    text = f"{reason.code.replace('-', ' ')}: {detail}"
    return RefusedError(text, code=reason.code, retry_after=retry_after)


def _message_of(ask: Ask, error: RefusedError) -> Refused:
    reason = Reason[error.code.upper().replace("-", "_")]
    retry = None if error.retry_after is None else int(error.retry_after * 1000)
    return Refused(ask.exchange, reason, shorten(str(error)), (), 0, retry_after_ms=retry)
