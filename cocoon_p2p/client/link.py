"""One proxy as this client knows it: the connection, the channel, spare streams, sealing sessions.

A link outlives requests. What it holds is worth keeping: a stream that stands saves a round
trip, a sealing session another one and the handshake.
"""

import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

import trio

from cocoon_p2p.attestation.doorkeeper import Doorkeeper
from cocoon_p2p.attestation.verdict import Verdict, require, trust_text
from cocoon_p2p.client.policy import Policy
from cocoon_p2p.errors import AttestationFailed, CocoonError, Unavailable
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.network.transport import Transport
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.payments.settlement import Accounts, PayingAccount
from cocoon_p2p.protocols.exchange.terms import Terms
from cocoon_p2p.protocols.ids import EXCHANGE, UNCLAIMED_RESERVATIONS_MAX, Role, Trust
from cocoon_p2p.protocols.messages import Record
from cocoon_p2p.sealing import Session
from cocoon_p2p.units import Nano

log = logging.getLogger(__name__)

STREAMS_MAX = 64
"Exchanges that run at once: what a proxy allows one client unless its operator says otherwise."

SPARE_STREAMS_MAX = 16
"Streams that are kept open between exchanges."

SESSIONS_MAX = 256
"Sealing sessions, one a worker; the least recently used is forgotten."

SESSION_MARGIN_SECONDS = 30.0
"A session this near its end is not used for another request."

AVOID_FIRST_SECONDS = 2.0
AVOID_LAST_SECONDS = 300.0
"A proxy that failed is the last choice for this long, doubling each time that it fails again."


@dataclass(slots=True)
class Borrowed:
    """A stream on loan from its link."""

    stream: MessageStream
    was_spare: bool
    "It stood idle before, and may have been dropped by the proxy."

    is_claimed: bool = False
    "No quote on it waits to be used."


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why the last try to connect came to nothing."""

    at: float
    asked: Trust
    error: CocoonError

    def is_shared(self, asked: Trust, began: float) -> bool:
        """Whether it is the failure of one who began to wait then, too."""
        return self.at > began and (self.asked is asked or isinstance(self.error, Unavailable))


class Link:
    """What this client has with one proxy.

    Args:
        record: The proxy's newest, verified.
        transport: Where the client speaks.
        accounts: Its accounts.
        policy: Its rules.
        clock: Seconds since the Unix epoch.
        nursery: Where a used-up channel is closed in the background.
        doorkeeper: Has the proxy prove what the policy asks of proxies.
    """

    def __init__(
        self,
        record: Record,
        *,
        transport: Transport,
        accounts: Accounts,
        policy: Policy,
        clock: Callable[[], float],
        nursery: trio.Nursery,
        doorkeeper: Doorkeeper | None = None,
    ) -> None:
        self.record = record
        self.peer = PeerId(record.peer)
        self.latency_seconds: float | None = None
        "From an Ask to its Quoted, smoothed."

        self.is_distrusted = False
        "It sent what no honest proxy sends: not chosen again."

        self._transport = transport
        self._accounts = accounts
        self._policy = policy
        self._clock = clock
        self._nursery = nursery
        self._doorkeeper = doorkeeper
        self._account: PayingAccount | None = None
        self.verdict: Verdict | None = None
        "What the proxy proved when it was last asked."

        self.trusts: dict[str, Trust] = {}
        "What the worker proved that was last quoted here for a model."

        self._failure: _Failure | None = None
        self._connecting = trio.Lock()
        self._streams = trio.Semaphore(STREAMS_MAX)
        # Held from an Ask until its quote is used: a proxy grants one client no more at once.
        self._asking = trio.Semaphore(UNCLAIMED_RESERVATIONS_MAX)
        self._spare: deque[MessageStream] = deque()
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()
        self._avoid_seconds = 0.0
        self._avoid_until = 0.0

    # ------------------------------------------------------------ how it stands

    @property
    def has_channel(self) -> bool:
        """Whether we pay through it already."""
        return self._account is not None and self._account.phase is Phase.OPEN

    def is_avoided(self, now: float) -> bool:
        """Whether it failed lately. `now` is on trio's clock."""
        return now < self._avoid_until

    def failed(self, now: float) -> None:
        """Choose others first for a while."""
        self._avoid_seconds = min(max(self._avoid_seconds * 2, AVOID_FIRST_SECONDS), AVOID_LAST_SECONDS)
        self._avoid_until = now + self._avoid_seconds

    def quoted(self, terms: Terms) -> None:
        """Note what was proven by whom we were quoted."""
        offered = {model.name for model in self.record.models}
        kept = {name: trust for name, trust in self.trusts.items() if name in offered}
        self.trusts = {**kept, terms.offer.name: terms.trust}

    def answered(self, latency_seconds: float) -> None:
        """Note that it does what it should, and how soon it quoted."""
        known = self.latency_seconds
        self.latency_seconds = latency_seconds if known is None else 0.8 * known + 0.2 * latency_seconds
        self._avoid_seconds = self._avoid_until = 0.0

    # ------------------------------------------------------------ connection and channel

    async def connect(self, trust: Trust | None = None) -> None:
        """Connect, if there is no connection, and have the proxy prove what is asked of proxies.

        Those who wait for another's try share its failure: a proxy that hangs holds up all of them
        once, and not one after another.

        Args:
            trust: What a request asks of workers; None: what the policy does.

        Raises:
            Unavailable: It does not answer, or somebody else does.
            AttestationFailed: It proves too little; the connection stays, and nothing is said on it.
        """
        asked, began = self._asked(self._policy.trust if trust is None else trust), trio.current_time()
        async with self._connecting:
            if (failure := self._failure) is not None and failure.is_shared(asked, began):
                raise failure.error
            try:
                await self._reach()
                await self._examine(asked)
            except (Unavailable, AttestationFailed) as error:
                self._failure = _Failure(trio.current_time(), asked, error)
                raise

    async def reach(self) -> None:
        """Connect, if there is no connection, to settle what is owed: nothing new may be said.

        Raises:
            Unavailable: It does not answer, or somebody else does.
        """
        async with self._connecting:
            await self._reach()

    def _asked(self, trust: Trust) -> Trust:
        if self._policy.proxy_trust is not None:
            return self._policy.proxy_trust
        if self._doorkeeper is not None and not self._doorkeeper.policy.are_proxies_attested:
            return Trust.OPEN
        # A proxy computes nothing, so nobody asks it for a GPU.
        return min(trust, Trust.TDX)

    async def _examine(self, asked: Trust) -> None:
        if asked is Trust.OPEN:
            return
        if self._doorkeeper is None:
            raise AttestationFailed(f"proxies must prove {trust_text(asked)}, and nothing here can tell")
        if self.verdict is None or not self._doorkeeper.seconds_left(self.verdict):
            self.verdict = None
            with trio.move_on_after(self._policy.connect_seconds):
                self.verdict = await self._doorkeeper.admit(self.peer, Role.PROXY, asked)
        if self.verdict is None:
            raise AttestationFailed(
                f"the proxy does not say in time who it is (peer={peer_id_text(self.peer)})", peer=self.peer
            )
        require(self.verdict, asked)

    async def _reach(self) -> None:
        if not self._transport.is_connected(self.peer):
            await self._dial()

    async def _dial(self) -> None:
        self._drop_spare()
        self.verdict = None
        with trio.move_on_after(self._policy.connect_seconds):
            peer = await self._transport.dial(self.record.addresses)
            if peer != self.peer:
                raise Unavailable(f"another peer answers for the proxy (peer={peer_id_text(peer)})")
            self._transport.protect(peer, "proxy")
            return
        raise Unavailable(f"the proxy does not answer (peer={peer_id_text(self.peer)})")

    async def pay_through(self, need: Nano) -> PayingAccount:
        """Give the account to pay this proxy through, on an open channel with room; connected before.

        Args:
            need: What must fit into the channel. One with less room is closed in the background
                and replaced; `Policy.channel_capacity` bounds what can be asked for.

        Raises:
            Unavailable: The proxy does not take up the channel in time.
            Refused: It does not want the channel, or payments to it were stopped.
        """
        # A quarter: a request whose max cost is as large as a channel must not wear out one each time.
        need = min(need, Nano(self._policy.channel_capacity // 4))
        with trio.move_on_after(self._policy.connect_seconds):
            account = await self._accounts.paying(self.peer, capacity=self._policy.channel_capacity)
            # What is only held comes back when the exchanges that hold it have ended. A channel with a
            # contract is topped up instead; what it lacks now is said where it is held.
            if account.deployment is None and account.room + account.held < need:
                log.info("channel used up", extra={"proxy": peer_id_text(self.peer), "room": account.room})
                self._nursery.start_soon(_close, account)
                while account.phase is Phase.OPEN:
                    await trio.lowlevel.checkpoint()
                account = await self._accounts.paying(self.peer, capacity=self._policy.channel_capacity)
            self._account = account
            return account
        raise Unavailable(f"the proxy does not take up a channel (peer={peer_id_text(self.peer)})")

    # ------------------------------------------------------------ streams

    async def borrow(self) -> Borrowed:
        """Give a stream to ask on, once there is one to be had. Give it back when its exchange ended.

        Raises:
            Unavailable: The connection is lost, or the proxy does not speak the protocol.
        """
        await self._streams.acquire()
        try:
            await self._asking.acquire()
            try:
                return await self._take()
            except BaseException:
                self._asking.release()
                raise
        except BaseException:
            self._streams.release()
            raise

    async def _take(self) -> Borrowed:
        if not self._transport.is_connected(self.peer):
            self._drop_spare()
        while self._spare:
            spare = self._spare.pop()
            if not spare.is_superseded:
                return Borrowed(spare, was_spare=True)
            spare.reset()
        return Borrowed(
            MessageStream(await self._transport.open_stream(self.peer, EXCHANGE)), was_spare=False
        )

    def claim(self, borrowed: Borrowed) -> None:
        """Note that the quote on this stream is being used: another may be asked for."""
        if not borrowed.is_claimed:
            borrowed.is_claimed = True
            self._asking.release()

    def give_back(self, borrowed: Borrowed, *, is_clean: bool) -> None:
        """Keep a stream whose exchange ended cleanly for the next one; reset any other."""
        self.claim(borrowed)
        self._streams.release()
        if not is_clean or borrowed.stream.is_superseded:
            borrowed.stream.reset()
            return
        self._spare.append(borrowed.stream)
        if len(self._spare) > SPARE_STREAMS_MAX:
            self._spare.popleft().reset()

    def close(self) -> None:
        """Give up the spare streams, and the place that is kept for the connection."""
        self._drop_spare()
        self._transport.unprotect(self.peer, "proxy")

    def _drop_spare(self) -> None:
        while self._spare:
            self._spare.pop().reset()

    # ------------------------------------------------------------ sealing sessions

    def session(self, terms: Terms) -> Session | None:
        """Give the sealing session that stands with a worker, under the keys that it states now."""
        session = self._sessions.get(terms.statement_hash)
        if session is None or session.expires < self._clock() + SESSION_MARGIN_SECONDS:
            return None
        self._sessions.move_to_end(terms.statement_hash)
        return session

    def keep_session(self, terms: Terms, session: Session) -> None:
        """Keep a new session for the worker's next requests."""
        self._sessions[terms.statement_hash] = session
        self._sessions.move_to_end(terms.statement_hash)
        if len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)

    def forget_sessions(self) -> None:
        """Drop all: the workers' keys are to be judged anew. What runs in one runs on."""
        self._sessions.clear()

    def forget_session(self, terms: Terms) -> None:
        """Drop a session that the worker does not know any more."""
        self._sessions.pop(terms.statement_hash, None)


async def _close(account: PayingAccount) -> None:
    try:
        await account.close()
    except CocoonError as error:
        log.warning("channel not closed", extra={"proxy": peer_id_text(account.payee), "error": str(error)})
