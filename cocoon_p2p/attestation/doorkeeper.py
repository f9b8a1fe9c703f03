"""Who a peer proves to be, before anything else is said to it: asks, and has the verifier examine.

    a direct connection     meet     a nonce is answered by the connection's own identity; then evidence
    a worker that registers examine  the same, and what is examined is what it wants to be offered under
    a worker past a proxy   learn    the quote names record and statement; the proxy has the evidence
    all of them             proof    what is known by now, at once

Verdicts are the verifier's to remember. A new policy (`adopt`) is told to whoever watches, and every
verdict that is asked for afterwards is one under that policy.

Spec: protocols/evidence.md.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from cocoon_p2p.attestation.appraiser import Change
from cocoon_p2p.attestation.appraising import Verifier
from cocoon_p2p.attestation.evidence import evidence_hash
from cocoon_p2p.attestation.policy import Policy
from cocoon_p2p.attestation.showing import Showcase
from cocoon_p2p.attestation.turnstile import Turnstile
from cocoon_p2p.attestation.verdict import Proof, Verdict, require
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
        self._verifier = verifier
        self._showcase = showcase
        self._transport = transport
        self._network = network
        self._peer = peer
        self._draw = draw
        # What a peer sends can make us ask it for 192 KiB: that is counted before it is done. One look at
        # a peer counts once: a presence and its evidence that were counted each would, once the first ones
        # are used up, take turns at what is left, and no look would ever be finished.
        self._looks = Turnstile("looks at its evidence")
        self._asking: dict[bytes, _Turn] = {}
        self._watchers: list[Callable[[], None]] = []
        self._changed = trio.Event()

    # ------------------------------------------------------------ what is known

    @property
    def policy(self) -> Policy:
        return self._verifier.policy

    def proof(self, record: Record, statement: Signed) -> Proof:
        """Say what is known about the machine behind a record, verified together with its statement: at once.

        Weights that the image did not measure are not what was proven to run.
        """
        found = self._verifier.recall(
            statement, record.evidence_hash, peer=PeerId(record.peer), role=Role(record.role)
        )
        if found is None:
            return Proof(Trust.OPEN, why="" if record.evidence_hash else "its record names none")
        if found.level is None:
            return Proof(Trust.OPEN, found)
        measured = found.configuration
        if measured is not None and any(one.weights_hash != measured.weights_hash for one in record.models):
            return Proof(Trust.OPEN, found, "it offers weights that its image did not measure")
        return Proof(found.level, found)

    def seconds_left(self, verdict: Verdict) -> float:
        """Say how long a verdict still holds, under the policy of this moment."""
        return self._verifier.seconds_left(verdict)

    async def wait_lapsed(self, verdict: Verdict) -> None:
        """Return once a verdict holds no longer: its time is over, or the policy is another."""
        while (seconds := self.seconds_left(verdict)) > 0:
            with trio.move_on_after(seconds):
                await self._changed.wait()

    # ------------------------------------------------------------ a new policy

    def adopt(self, policy: Policy) -> tuple[Change, ...]:
        """Change the policy, and have all who watch draw the consequences before this returns.

        Returns:
            The verdicts that fell.

        Raises:
            LocalProtocolError: The policy is for another network, or of a lower epoch.
        """
        changes = self._verifier.adopt(policy)
        self._changed.set()
        self._changed = trio.Event()
        for watcher in self._watchers:
            watcher()
        return changes

    def watch(self, watcher: Callable[[], None]) -> None:
        """Have this called after each change of policy. It must not raise."""
        self._watchers.append(watcher)

    # ------------------------------------------------------------ finding out

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
        return await self._learn(record, statement, via=via, was_counted=False)

    async def meet(self, peer: PeerId, role: Role) -> Verdict:
        """Find out who is at the other end of a connection.

        Raises:
            Unavailable: It does not answer.
            Refused: It shows nothing, or too many were examined lately.
            RemoteProtocolError: What it says was not said to us now, or by somebody else.
        """
        self._looks.admit(peer, now=trio.current_time())
        presence, statement = await self._presence(peer)
        return await self._look_at(
            statement, presence.evidence_hash, peer=peer, role=role, via=peer, was_counted=True
        )

    async def examine(self, record: Record, statement: Signed) -> Verdict:
        """Find out who wants to be offered under a record, at the other end of a connection of ours.

        The record's own statement and evidence are looked at: what else its peer might show does not
        count, and may be newer by the time that it is asked. Raises as `meet`.
        """
        peer = PeerId(record.peer)
        self._looks.admit(peer, now=trio.current_time())
        await self._presence(peer)
        verdict = await self._learn(record, statement, via=peer, was_counted=True)
        if record.evidence_hash is not None:
            # Also where the verdict is remembered: others will ask us for the evidence.
            await self._fetch(record.evidence_hash, owner=peer, of=peer)
        return verdict

    async def admit(self, peer: PeerId, role: Role, asked: Trust) -> Verdict:
        """Meet a peer and let it in, or not. A cancel lets it in no more than a refusal does.

        Raises:
            AttestationFailed: It proves less than `asked`, or could not be asked.
        """
        try:
            verdict = await self.meet(peer, role)
        except (Unavailable, Refused, RemoteProtocolError) as exc:
            raise AttestationFailed(
                f"who is at the other end cannot be told (peer={peer_id_text(peer)}): {exc}",
                hint="ask for less trust, or deal with another peer",
                peer=peer,
            ) from exc
        require(verdict, asked)
        return verdict

    def evidence(self, name: bytes) -> bytes | None:
        """Give evidence that was fetched, by its hash; None if it was not, or is gone."""
        return self._showcase.find(name)

    def forget(self, peer: PeerId) -> None:
        """Forget a peer that is gone: its evidence, and its place on a platform that bears only so many."""
        self._showcase.forget(peer)
        if self.policy.peers_per_platform is not None:
            self._verifier.forget(peer)

    # ------------------------------------------------------------ questions

    async def _learn(self, record: Record, statement: Signed, *, via: PeerId, was_counted: bool) -> Verdict:
        peer, role = PeerId(record.peer), Role(record.role)
        return await self._look_at(
            statement, record.evidence_hash, peer=peer, role=role, via=via, was_counted=was_counted
        )

    async def _look_at(
        self,
        statement: Signed,
        hashed: bytes | None,
        *,
        peer: PeerId,
        role: Role,
        via: PeerId,
        was_counted: bool,
    ) -> Verdict:
        # A hundred requests that meet a worker for the first time examine it once.
        async with self._one_at_a_time(paper_hash(statement)):
            known = self._verifier.recall(statement, hashed, peer=peer, role=role)
            if known is not None:
                return known
            if hashed is not None and not was_counted and self._showcase.find(hashed) is None:
                self._looks.admit(via, now=trio.current_time())
            shown = None if hashed is None else await self._fetch(hashed, owner=peer, of=via)
            return await self._verifier.appraise(statement, shown, peer=peer, role=role, sender=via)

    async def _presence(self, peer: PeerId) -> tuple[Presence, Signed]:
        nonce = self._draw(NONCE_SIZE_BYTES)
        answer = await self._ask(peer, PresenceWanted(nonce))
        if not isinstance(answer, PresenceShown):
            raise RemoteProtocolError(f"not an answer to PresenceWanted: {type(answer).__name__}")
        presence = check(Presence, answer.presence, signer=peer, network=self._network)
        if (presence.nonce, presence.asker) != (nonce, self._peer):
            raise RecordRejected("presence: an answer to somebody else, or to another question")
        if presence.statement_hash != paper_hash(answer.statement):
            raise RecordRejected("presence: it names another key statement")
        return presence, answer.statement

    async def _fetch(self, name: bytes, *, owner: PeerId, of: PeerId) -> bytes:
        """Get evidence of `owner` by its hash, and show it to whoever asks for it. Raises as `learn`."""
        if (found := self._showcase.find(name)) is not None:
            return found
        answer = await self._ask(of, EvidenceWanted(name))
        if not isinstance(answer, EvidenceShown):
            raise RemoteProtocolError(f"not an answer to EvidenceWanted: {type(answer).__name__}")
        if evidence_hash(answer.evidence) != name:
            raise RecordRejected("evidence: not what was asked for")
        self._showcase.add(answer.evidence, owner=owner)
        return answer.evidence

    async def _ask(self, peer: PeerId, question: object) -> object:
        answer: object = None
        with trio.move_on_after(ANSWER_SECONDS):
            stream = MessageStream(
                await self._transport.open_stream(peer, EVIDENCE), frame_size_max_bytes=FRAME_SIZE_MAX_BYTES
            )
            try:
                await stream.send(question)
                answer = await stream.receive()
            finally:
                stream.reset()
        if isinstance(answer, EvidenceRefused):
            raise Refused(f"the peer shows nothing: {answer.detail}", code=answer.reason.code)
        if answer is None:
            raise Unavailable(f"the peer did not say who it is within {ANSWER_SECONDS:.0f} seconds")
        return answer

    @asynccontextmanager
    async def _one_at_a_time(self, key: bytes) -> AsyncIterator[None]:
        turn = self._asking.setdefault(key, _Turn())
        turn.waiting += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                del self._asking[key]


class _Turn:
    """Whoever looks at one statement now, and those who wait to see what comes of it."""

    def __init__(self) -> None:
        self.lock = trio.Lock()
        self.waiting = 0
