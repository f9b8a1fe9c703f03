"""The end of `/cocoon/evidence/1` that is asked: who we are, and evidence by its hash.

A node shows its own papers; a proxy also its workers' evidence, since a client cannot dial a worker
behind a router. What is shown is public, so anybody may ask, though not as often as he likes.

Spec: protocols/evidence.md.
"""

from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass

import trio

from cocoon_p2p.attestation.evidence import evidence_hash
from cocoon_p2p.attestation.turnstile import Turnstile
from cocoon_p2p.errors import MalformedMessage, Refused, RemoteProtocolError, Unavailable
from cocoon_p2p.identity import Identity, NetworkId, PeerId
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.network.transport import Stream
from cocoon_p2p.protocols.ids import FRAME_SIZE_MAX_NEWCOMER_BYTES, TAKE_SECONDS, Reason
from cocoon_p2p.protocols.messages import (
    EvidenceRefused,
    EvidenceShown,
    EvidenceWanted,
    Presence,
    PresenceShown,
    PresenceWanted,
    Signed,
)
from cocoon_p2p.protocols.papers import paper_hash, sign

QUESTIONS_MAX = 64
"On one stream; a client that meets a proxy asks once for each worker it is quoted."

STREAMS_PER_PEER_MAX = 4

QUESTIONS_AT_ONCE = 64
QUESTION_SECONDS = 0.1
"A peer may ask so many at once, then one in so many seconds: a presence costs us a signature."

QUESTIONS_TOTAL = 1_024
QUESTION_TOTAL_SECONDS = 0.001
"All peers together, since a peer id costs nothing."

EVIDENCES_PER_PEER = 2
"What a peer shows now, and what it showed before: quotes that name that are under way."

EVIDENCES_MAX_BYTES = 64 * 1024 * 1024
"Of all others together, 192 KiB each at most, 6 KiB as a rule; those not asked for longest go first."


@dataclass(frozen=True, slots=True)
class Shown:
    """What a node says of itself."""

    statement: Signed
    evidence: bytes | None = None
    "None: it has no hardware that proves anything."


@dataclass(frozen=True, slots=True)
class _Other:
    owner: PeerId
    evidence: bytes


class Showcase:
    """What a node has to show.

    Args:
        identity: Signs presences.
        network: The network that they are for.
        others_max_bytes: How much of others' evidence is kept.
    """

    def __init__(
        self, identity: Identity, network: NetworkId, *, others_max_bytes: int = EVIDENCES_MAX_BYTES
    ) -> None:
        self._identity = identity
        self._network = network
        self._own: Shown | None = None
        self._own_evidence: OrderedDict[bytes, bytes] = OrderedDict()
        self._others: OrderedDict[bytes, _Other] = OrderedDict()
        self._others_bytes = 0
        self._others_max_bytes = others_max_bytes
        self._names: dict[PeerId, list[bytes]] = {}
        self._streams: dict[PeerId, int] = {}
        self._turnstile = Turnstile(
            "questions",
            per_sender=QUESTIONS_AT_ONCE,
            per_sender_seconds=QUESTION_SECONDS,
            total=QUESTIONS_TOTAL,
            total_seconds=QUESTION_TOTAL_SECONDS,
        )

    def show(self, own: Shown) -> None:
        """Show this of ourselves from now on. Evidence for the statement before it can still be had."""
        self._own = own
        if own.evidence is not None:
            self._own_evidence[evidence_hash(own.evidence)] = own.evidence
            while len(self._own_evidence) > 2:
                self._own_evidence.popitem(last=False)

    def add(self, evidence: bytes, *, owner: PeerId) -> None:
        """Show somebody else's evidence too."""
        name = evidence_hash(evidence)
        if name in self._others:
            return
        self._others[name] = _Other(owner, evidence)
        self._others_bytes += len(evidence)
        names = self._names.setdefault(owner, [])
        names.append(name)
        if len(names) > EVIDENCES_PER_PEER:
            self._drop(names[0])
        while self._others_bytes > self._others_max_bytes:
            self._drop(next(iter(self._others)))

    def forget(self, owner: PeerId) -> None:
        """Show no more of somebody who is gone."""
        for name in tuple(self._names.get(owner, ())):
            self._drop(name)

    def _drop(self, name: bytes) -> None:
        other = self._others.pop(name)
        self._others_bytes -= len(other.evidence)
        names = self._names[other.owner]
        names.remove(name)
        if not names:
            del self._names[other.owner]

    def find(self, name: bytes) -> bytes | None:
        """Find evidence by its hash."""
        if (other := self._others.get(name)) is not None:
            self._others.move_to_end(name)
            return other.evidence
        return self._own_evidence.get(name)

    async def accept(self, stream: Stream) -> None:
        """Answer on one stream until the peer closes it (the transport's acceptor)."""
        messages = MessageStream(stream, frame_size_max_bytes=FRAME_SIZE_MAX_NEWCOMER_BYTES)
        peer, count = stream.peer, self._streams.get(stream.peer, 0)
        if count >= STREAMS_PER_PEER_MAX:
            messages.reset()
            return
        self._streams[peer] = count + 1
        try:
            with suppress(Unavailable, RemoteProtocolError, trio.TooSlowError):
                await self._answer_all(messages)
        finally:
            messages.reset()
            self._streams[peer] -= 1
            if not self._streams[peer]:
                del self._streams[peer]

    async def _answer_all(self, messages: MessageStream) -> None:
        for _ in range(QUESTIONS_MAX):
            with trio.fail_after(TAKE_SECONDS):
                question = await messages.receive()
                if question is None:
                    await messages.close()
                    return
                await messages.send(self._answer(question, messages.peer))

    def _answer(self, question: object, asker: PeerId) -> object:
        try:
            self._turnstile.admit(asker, now=trio.current_time())
        except Refused as exc:
            return EvidenceRefused(Reason.RATE_LIMITED, str(exc))
        match question:
            case PresenceWanted():
                return self._presence(question.nonce, asker)
            case EvidenceWanted():
                found = self.find(question.evidence_hash)
                return _UNKNOWN if found is None else EvidenceShown(found)
            case _:
                raise MalformedMessage(f"{type(question).__name__} is no question about evidence")

    def _presence(self, nonce: bytes, asker: PeerId) -> PresenceShown | EvidenceRefused:
        own = self._own
        if own is None:
            return EvidenceRefused(Reason.STALE, "there is nothing to show yet")
        hashed = None if own.evidence is None else evidence_hash(own.evidence)
        presence = Presence(nonce, asker, paper_hash(own.statement), hashed)
        return PresenceShown(sign(self._identity, self._network, presence), own.statement)


_UNKNOWN = EvidenceRefused(Reason.STALE, "no such evidence is here: ask for the newest record")
