"""The workers that stand with this proxy, and the session streams on which they do.

    worker --Register--> checked --> Registered ... Load, each second and on change ... Drain

Spec: protocols/session.md.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import trio

from cocoon_p2p.attestation.proving import Proving
from cocoon_p2p.attestation.verdict import NO_PROOF, Proof, require_proof
from cocoon_p2p.errors import (
    AttestationFailed,
    MalformedMessage,
    RecordRejected,
    Refused,
    RemoteProtocolError,
    Unavailable,
)
from cocoon_p2p.identity import NetworkId, PeerId, peer_id_text
from cocoon_p2p.ledger import Store
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.network.transport import Stream, Transport
from cocoon_p2p.protocols.ids import (
    CHANCES_SECONDS,
    FRAME_SIZE_MAX_NEWCOMER_BYTES,
    HEARTBEAT_SECONDS,
    Reason,
    Role,
)
from cocoon_p2p.protocols.messages import (
    Drain,
    KeyStatement,
    Load,
    Record,
    Register,
    Registered,
    SessionRefused,
    Signed,
    shorten,
)
from cocoon_p2p.proxy.chances import LookingBack
from cocoon_p2p.proxy.policy import ProxyPolicy
from cocoon_p2p.proxy.remembering import Remembering
from cocoon_p2p.proxy.session import WorkerSession
from cocoon_p2p.records import check_pair, check_record
from cocoon_p2p.scheduling import STALE_SECONDS, Roster, WorkerStanding

log = logging.getLogger(__name__)

REGISTER_SECONDS = 10.0
"How long a worker may take for its first Register, and to read an answer."

EXAMINE_SECONDS = 45.0
"How long finding out who a worker is may take, Intel's lists from slow mirrors included."


class Workers:
    """Every worker that stands with us, by peer.

    Attributes:
        roster: The same as the scheduler sees them.
        looking_back: What became of their chances.
    """

    def __init__(
        self,
        network: NetworkId,
        policy: ProxyPolicy,
        now: Callable[[], float],
        transport: Transport,
        proving: Proving | None = None,
        store: Store | None = None,
    ) -> None:
        self._network = network
        self._transport = transport
        self._policy = policy
        self._now = now
        self._proving = proving
        self._sessions: dict[PeerId, WorkerSession] = {}
        self._remembering = Remembering(store, now)
        self.roster = Roster()
        self.looking_back = LookingBack(self.roster)
        self._changed = trio.Event()
        self._tell_room: Callable[[PeerId], None] = _tell_nobody
        self.is_draining = False
        if proving is not None:
            proving.doorkeeper.watch(self.judge_again)

    def __iter__(self) -> Iterator[WorkerSession]:
        return iter(tuple(self._sessions.values()))

    def __getitem__(self, peer: PeerId) -> WorkerSession:
        return self._sessions[peer]

    @property
    def changed(self) -> trio.Event:
        """Set when what is offered may have changed; ask for it again after each wait."""
        return self._changed

    def tell_room(self, listener: Callable[[PeerId], None]) -> None:
        """Call this, from now on, with each worker that has come to have room."""
        self._tell_room = listener

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # ------------------------------------------------------------ sessions

    async def accept(self, stream: Stream) -> None:
        """Keep one worker's session (the transport's acceptor)."""
        messages = MessageStream(stream, frame_size_max_bytes=FRAME_SIZE_MAX_NEWCOMER_BYTES)
        if (reason := self._reason_against(stream.peer)) is not None:
            await _refuse(messages, reason, f"{reason.code.replace('-', ' ')}: try another proxy")
            return
        try:
            await self._serve(messages)
        except RemoteProtocolError as exc:
            log.info("worker refused", extra={"worker": peer_id_text(stream.peer), "fault": str(exc)})
            await _refuse(messages, Reason.MALFORMED, str(exc))
        except AttestationFailed as exc:
            log.info("worker refused", extra={"worker": peer_id_text(stream.peer), "fault": str(exc)})
            await _refuse(messages, Reason.TRUST_BELOW_REQUEST, str(exc))
        except Refused as exc:
            log.info("worker not examined", extra={"worker": peer_id_text(stream.peer), "why": str(exc)})
            await _refuse(messages, Reason.RATE_LIMITED, str(exc))
        except (Unavailable, trio.TooSlowError) as exc:
            log.info("worker lost", extra={"worker": peer_id_text(stream.peer), "why": str(exc)})
            messages.reset()

    async def _serve(self, messages: MessageStream) -> None:
        """Take a worker in and listen to it, which always ends by raising."""
        with trio.fail_after(REGISTER_SECONDS):
            register = await messages.receive()
            if not isinstance(register, Register):
                raise MalformedMessage("a session begins with Register")
        await self._examine(messages.peer, register)
        session = self._register(messages, register)
        try:
            with session.scope:
                with trio.fail_after(REGISTER_SECONDS):
                    await session.tell(Registered(session.sequence))
                await self._listen(session, messages)
        finally:
            self._forget(session)
        self._require(session.peer, Register(session.record, session.statement))
        raise Unavailable("another session of the worker has taken its place")

    def _reason_against(self, peer: PeerId) -> Reason | None:
        if self.is_draining:
            return Reason.DRAINING
        is_full = peer not in self._sessions and len(self._sessions) >= self._policy.workers_max
        return Reason.NO_CAPACITY if is_full else None

    async def _examine(self, peer: PeerId, register: Register, *, was_met: bool = False) -> None:
        """Have a worker prove what it says it can prove, and all that we ask of workers.

        Args:
            peer: Who is at the other end.
            register: What it wants to be offered under.
            was_met: It was examined on this very session; what is remembered is enough.

        Raises:
            AttestationFailed: It proves less than we ask.
            Unavailable, Refused, RemoteProtocolError, trio.TooSlowError: Who it is cannot be told.
        """
        if self._proving is None:
            return
        record, doorkeeper = self._read(peer, register)[0], self._proving.doorkeeper
        is_known = was_met and doorkeeper.proof(record, register.statement).verdict is not None
        if record.evidence_hash is not None and not is_known:
            with trio.fail_after(EXAMINE_SECONDS):
                await doorkeeper.examine(record, register.statement)
        self._require(peer, register)

    def _require(self, peer: PeerId, register: Register) -> None:
        """Raise `AttestationFailed` if less is proven under a record than we ask of workers."""
        if self._proving is not None:
            proof = self._proof(self._read(peer, register)[0], register.statement)
            require_proof(proof, self._proving.asked_of_workers, peer=peer, role=Role.WORKER)

    def judge_again(self) -> None:
        """Look at all that stand with the policy of this moment. Who no longer passes is told to go."""
        for session in self:
            register = Register(session.record, session.statement)
            try:
                self._require(session.peer, register)
                record, standing = self._check(session.peer, register)
            except (AttestationFailed, RemoteProtocolError):
                session.scope.cancel()
            else:
                session.renew(register, standing, record)
        self._change()

    def _register(self, messages: MessageStream, message: Register) -> WorkerSession:
        peer = messages.peer
        record, standing = self._check(peer, message)
        session = WorkerSession(messages, message, self._recall(standing), record, self._restand)
        if (known := self._sessions.get(peer)) is not None:
            # The worker came back before we knew that it was gone.
            known.end()
            known.scope.cancel()
        self._sessions[peer] = session
        self._restand(session)
        self._transport.protect(peer, "worker")
        self._change()
        models = [offer.name for offer in record.models]
        log.info("worker registered", extra={"worker": peer_id_text(peer), "models": models})
        return session

    def _restand(self, session: WorkerSession) -> None:
        """Let the scheduler know; what happens to a session that another has replaced is no matter of its."""
        if self._sessions.get(session.peer) is session:
            had_room = session.peer in self.roster and self.roster[session.peer].has_room
            self.roster.put(session.standing, trio.current_time())
            if session.standing.has_room and not had_room:
                self._tell_room(session.peer)

    def _recall(self, standing: WorkerStanding) -> WorkerStanding:
        """Give a worker that comes back what was known of it."""
        session = self._sessions.get(standing.peer)
        if session is None:
            return self._remembering.recall(standing, self._standings())
        before = session.standing
        return replace(
            standing,
            paces=before.paces,
            odds=before.odds,
            answer_seconds=before.answer_seconds,
            rests_until=before.rests_until,
            rests_for=before.rests_for,
        )

    def _standings(self) -> list[WorkerStanding]:
        return [session.standing for session in self._sessions.values()]

    async def load_known(self) -> None:
        """Read what was known of workers before the last restart. Call it before one can come."""
        await self._remembering.load()

    async def keep_known(self) -> None:
        """Keep what is known of workers over a restart. A cancel writes it down once more."""
        await self._remembering.keep(self._standings)

    def _read(self, peer: PeerId, register: Register) -> tuple[Record, KeyStatement]:
        date, network = self._now(), self._network
        record = check_record(register.record, network=network, now=date, role=Role.WORKER, peer=peer)
        return record, check_pair(record, register.statement, network=network, now=date, role=Role.WORKER)

    def _check(self, peer: PeerId, register: Register) -> tuple[Record, WorkerStanding]:
        record, statement = self._read(peer, register)
        proof = self._proof(record, register.statement)
        standing = WorkerStanding(
            peer=peer,
            offers=record.models,
            trust=proof.level,
            trust_until=float("inf") if proof.verdict is None else proof.verdict.until,
            platform=b"" if proof.verdict is None else proof.verdict.platform,
            slots_free=0,
            is_draining=False,
            heard=trio.current_time(),
            expires=min(record.expires, statement.expires),
        )
        return record, standing

    def _proof(self, record: Record, statement: Signed) -> Proof:
        return NO_PROOF if self._proving is None else self._proving.doorkeeper.proof(record, statement)

    async def _listen(self, session: WorkerSession, messages: MessageStream) -> None:
        while not session.is_over:
            message = await _receive(messages)
            match message:
                case Load():
                    if session.take_load(message, trio.current_time()):
                        self._change()
                    await self._tell_chances(session)
                case Register():
                    await self._renew(session, message)
                case Drain():
                    session.drain()
                    self._change()
                case None:
                    raise Unavailable("it closed the session")
                case _:
                    raise RemoteProtocolError(f"{type(message).__name__} is not for a session")

    async def _tell_chances(self, session: WorkerSession) -> None:
        """Tell a worker now and then what became of its chances."""
        now = trio.current_time()
        if now < session.chances_at + CHANCES_SECONDS:
            return
        session.chances_at = now
        with trio.fail_after(REGISTER_SECONDS):
            await session.tell(Registered(session.sequence, self.looking_back.chances(session.standing, now)))

    async def _renew(self, session: WorkerSession, register: Register) -> None:
        await self._examine(session.peer, register, was_met=True)
        record, standing = self._check(session.peer, register)
        if record.sequence > session.sequence:
            session.renew(register, standing, record)
            self._change()
        with trio.fail_after(REGISTER_SECONDS):
            await session.tell(Registered(session.sequence))

    async def drain(self) -> None:
        """Assign nothing new, take no worker in, and tell those that stand."""
        self.is_draining = True
        for session in self:
            with trio.move_on_after(REGISTER_SECONDS), suppress(Unavailable):
                await session.tell(Drain("the proxy is going away"))

    def take_newest(self, session: WorkerSession, record: Signed) -> None:
        """Take the newest record out of a worker's refusal, if it is one."""
        register = Register(record, session.statement)
        try:
            read, standing = self._check(session.peer, register)
            self._require(session.peer, register)
        except (RecordRejected, MalformedMessage, AttestationFailed):
            # It has a new statement too, perhaps: then it will register again by itself.
            return
        if read.sequence > session.sequence:
            session.renew(register, standing, read)
            self._change()

    def _forget(self, session: WorkerSession) -> None:
        session.end()
        if self._sessions.get(session.peer) is session:
            del self._sessions[session.peer]
            self.roster.drop(session.peer)
            self.looking_back.forget(session.peer)
            self._remembering.remember(session.standing)
            self._transport.unprotect(session.peer, "worker")
            if self._proving is not None:
                self._proving.doorkeeper.forget(session.peer)
            self._change()


def _tell_nobody(_worker: PeerId) -> None:
    """Nobody waits for a slot."""


async def _receive(messages: MessageStream) -> object | None:
    """Wait for the next message, as long as a worker may be silent."""
    # The second, short wait is for us: a process that was held up hears first what has come meanwhile.
    for seconds in (STALE_SECONDS, HEARTBEAT_SECONDS / 4):
        with trio.move_on_after(seconds):
            return await messages.receive()
    raise Unavailable(f"silent for {STALE_SECONDS:.0f} s")


async def _refuse(messages: MessageStream, reason: Reason, detail: str) -> None:
    """Tell a worker why not, if it listens."""
    with trio.move_on_after(REGISTER_SECONDS), suppress(Unavailable):
        await messages.send(SessionRefused(reason, shorten(detail)))
        await messages.close()
