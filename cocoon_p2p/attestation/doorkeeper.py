"""Who a peer proves to be, before anything else is said to it: asks, examines, remembers.

    a direct connection     meet     a nonce is answered by the connection's own identity; then evidence
    a worker past a proxy   learn    the quote names record and statement; the proxy has the evidence
    both                    level    what is known of it by now, at once

Spec: protocols/evidence.md.
"""

from collections import OrderedDict
from collections.abc import Callable

import trio

from cocoon_p2p.attestation.appraising import Verifier
from cocoon_p2p.attestation.evidence import evidence_hash
from cocoon_p2p.attestation.showing import Showcase
from cocoon_p2p.attestation.verdict import Verdict, require
from cocoon_p2p.errors import AttestationFailed, RecordRejected, Refused, RemoteProtocolError, Unavailable
from cocoon_p2p.identity import NetworkId, PeerId, peer_id_text
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.network.transport import Transport
from cocoon_p2p.protocols.ids import EVIDENCE, FRAME_SIZE_MAX_BYTES, Role, Trust
from cocoon_p2p.protocols.messages import (
    EvidenceRefused,
    EvidenceShown,
    EvidenceWanted,
    Presence,
    PresenceShown,
    PresenceWanted,
    Record,
    Signed,
)
from cocoon_p2p.protocols.papers import check, paper_hash

ANSWER_SECONDS = 10.0
"How long a peer may take for one answer; a quote of the hardware is made beforehand."

NONCE_SIZE_BYTES = 32

KNOWN_MAX = 4_096
"Statements whose verdict is remembered by their hash."


class Doorkeeper:
    """Examines peers for one node.

    Args:
        verifier: Judges, under the node's policy.
        showcase: What this node shows: evidence that it has fetched can be had from it.
        transport: Where peers are asked.
        network: The network that all papers must be for.
        peer: Who we are ourselves.
        draw: Draws random bytes, for nonces.
    """

    def __init__(
        self,
        verifier: Verifier,
        showcase: Showcase,
        transport: Transport,
        network: NetworkId,
        peer: PeerId,
        draw: Callable[[int], bytes],
    ) -> None:
        self.verifier = verifier
        self._showcase = showcase
        self._transport = transport
        self._network = network
        self._peer = peer
        self._draw = draw
        self._known: OrderedDict[bytes, Verdict] = OrderedDict()

    def verdict(self, statement_hash: bytes, *, now: float) -> Verdict | None:
        """Recall what was found out about whoever uses these keys; None: nothing that still holds."""
        found = self._known.get(statement_hash)
        return found if found is not None and now < found.until else None

    def level(self, record: Record, *, now: float) -> Trust:
        """Say what is proven about the machine behind a record, as far as was found out: at once.

        Weights that the image did not measure are not what was proven to run.
        """
        found = self.verdict(record.statement_hash, now=now)
        if found is None or found.level is None:
            return Trust.OPEN
        measured = found.configuration
        if measured is not None and any(one.weights_hash != measured.weights_hash for one in record.models):
            return Trust.OPEN
        return found.level

    async def learn(self, record: Record, statement: Signed, *, via: PeerId) -> Verdict:
        """Find out about a worker that a proxy offers: its evidence comes from the proxy.

        Args:
            record: The worker's, verified together with `statement`.
            statement: Its key statement.
            via: Who is asked for the evidence.

        A cancel leaves nothing but, perhaps, a verdict.

        Raises:
            Unavailable: The proxy does not answer.
            Refused: It has no such evidence, or too many were examined lately.
            RemoteProtocolError: It shows something else.
        """
        peer, role = PeerId(record.peer), Role(record.role)
        known = self.verifier.recall(statement, record.evidence_hash, peer=peer, role=role)
        if known is None:
            shown = None if record.evidence_hash is None else await self.fetch(record.evidence_hash, of=via)
            known = await self.verifier.appraise(statement, shown, peer=peer, role=role, sender=via)
        return self._remember(statement, known)

    async def meet(self, peer: PeerId, role: Role) -> Verdict:
        """Find out who is at the other end of a connection.

        Raises:
            Unavailable: It does not answer.
            Refused: It shows nothing, or too many were examined lately.
            RemoteProtocolError: What it says was not said to us now, or by somebody else.
        """
        nonce = self._draw(NONCE_SIZE_BYTES)
        answer = await self._ask(peer, PresenceWanted(nonce))
        if not isinstance(answer, PresenceShown):
            raise RemoteProtocolError(f"not an answer to PresenceWanted: {type(answer).__name__}")
        presence = check(Presence, answer.presence, signer=peer, network=self._network)
        if (presence.nonce, presence.asker) != (nonce, self._peer):
            raise RecordRejected("presence: an answer to somebody else, or to another question")
        if presence.statement_hash != paper_hash(answer.statement):
            raise RecordRejected("presence: it names another key statement")
        hashed = presence.evidence_hash
        # Also where the verdict is remembered: others will ask us for the evidence.
        shown = None if hashed is None else await self.fetch(hashed, of=peer)
        known = self.verifier.recall(answer.statement, hashed, peer=peer, role=role)
        if known is None:
            known = await self.verifier.appraise(answer.statement, shown, peer=peer, role=role, sender=peer)
        return self._remember(answer.statement, known)

    async def admit(self, peer: PeerId, role: Role, asked: Trust) -> Verdict:
        """Meet a peer and let it in, or not.

        Raises:
            AttestationFailed: It proves less than `asked`, or could not be asked.
        """
        try:
            verdict = await self.meet(peer, role)
        except (Unavailable, Refused, RemoteProtocolError) as exc:
            if asked is Trust.OPEN:
                raise
            raise AttestationFailed(
                f"who is at the other end cannot be told (peer={peer_id_text(peer)}): {exc}",
                hint="ask for less trust, or deal with another peer",
            ) from exc
        require(verdict, asked)
        return verdict

    async def fetch(self, name: bytes, *, of: PeerId) -> bytes:
        """Get evidence by its hash, and show it to whoever asks for it.

        Raises:
            Unavailable: The peer does not answer.
            Refused: It does not have it.
            RemoteProtocolError: It shows something else.
        """
        if (found := self._showcase.find(name)) is not None:
            return found
        answer = await self._ask(of, EvidenceWanted(name))
        if not isinstance(answer, EvidenceShown):
            raise RemoteProtocolError(f"not an answer to EvidenceWanted: {type(answer).__name__}")
        if evidence_hash(answer.evidence) != name:
            raise RecordRejected("evidence: not what was asked for")
        self._showcase.add(answer.evidence)
        return answer.evidence

    async def _ask(self, peer: PeerId, question: object) -> object:
        answer: object = None
        stream = MessageStream(
            await self._transport.open_stream(peer, EVIDENCE), frame_size_max_bytes=FRAME_SIZE_MAX_BYTES
        )
        try:
            with trio.move_on_after(ANSWER_SECONDS):
                await stream.send(question)
                answer = await stream.receive()
        finally:
            stream.reset()
        if isinstance(answer, EvidenceRefused):
            raise Refused(f"the peer shows nothing: {answer.detail}", code=answer.reason.code)
        if answer is None:
            raise Unavailable(f"the peer did not say who it is within {ANSWER_SECONDS:.0f} seconds")
        return answer

    def _remember(self, statement: Signed, verdict: Verdict) -> Verdict:
        hashed = paper_hash(statement)
        self._known[hashed] = verdict
        self._known.move_to_end(hashed)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        return verdict
