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
from cocoon_p2p.errors import MalformedMessage, RemoteProtocolError, Unavailable
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

EVIDENCES_MAX = 1_024
"192 KiB each at most, 6 KiB as a rule."

EVIDENCES_MAX_BYTES = 64 * 1024 * 1024
"All together; the least recently asked for are forgotten, and fetched from their workers again."


@dataclass(frozen=True, slots=True)
class Shown:
    """What a node says of itself."""

    statement: Signed
    evidence: bytes | None = None
    "None: it has no hardware that proves anything."


class Showcase:
    """What a node has to show."""

    def __init__(self, identity: Identity, network: NetworkId) -> None:
        self._identity = identity
        self._network = network
        self._own: Shown | None = None
        self._own_evidence: OrderedDict[bytes, bytes] = OrderedDict()
        self._others: OrderedDict[bytes, bytes] = OrderedDict()
        self._others_bytes = 0
        self._streams: dict[PeerId, int] = {}

    def show(self, own: Shown) -> None:
        """Show this of ourselves from now on. Evidence for the statement before it can still be had."""
        self._own = own
        if own.evidence is not None:
            self._own_evidence[evidence_hash(own.evidence)] = own.evidence
            while len(self._own_evidence) > 2:
                self._own_evidence.popitem(last=False)

    def add(self, evidence: bytes) -> None:
        """Show somebody else's evidence too."""
        name = evidence_hash(evidence)
        if name not in self._others:
            self._others[name] = evidence
            self._others_bytes += len(evidence)
        self._others.move_to_end(name)
        while len(self._others) > EVIDENCES_MAX or self._others_bytes > EVIDENCES_MAX_BYTES:
            _, dropped = self._others.popitem(last=False)
            self._others_bytes -= len(dropped)

    def find(self, name: bytes) -> bytes | None:
        """Find evidence by its hash."""
        if name in self._others:
            self._others.move_to_end(name)
        return self._own_evidence.get(name) or self._others.get(name)

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
