"""The whole of an appraisal, with the world around it: clock, lists, threads.

What a client or a proxy holds: one `Verifier`. It answers from memory in microseconds; else it
counts who asks, finds Intel's lists, examines in a thread, judges, and remembers.
"""

import time
from collections.abc import Callable
from functools import partial

import trio

from cocoon_p2p.attestation.appraiser import Appraiser, Change, Shown
from cocoon_p2p.attestation.collateral import Collateral, Platform
from cocoon_p2p.attestation.evidence import decode_evidence, evidence_hash
from cocoon_p2p.attestation.examination import Findings, examine
from cocoon_p2p.attestation.policy import Policy
from cocoon_p2p.attestation.quote import claimed_platform
from cocoon_p2p.attestation.roots import VENDOR_ROOTS, Roots
from cocoon_p2p.attestation.shelf import CollateralShelf
from cocoon_p2p.attestation.turnstile import Turnstile
from cocoon_p2p.attestation.verdict import Cause, Verdict
from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.identity import PeerId
from cocoon_p2p.protocols.ids import Role
from cocoon_p2p.protocols.messages import Signed

EXAMINATIONS_MAX = 2
"At once: each takes a core for its while."

_UNDER_OTHER_LISTS = frozenset({Cause.COLLATERAL_MISSING, Cause.COLLATERAL_STALE, Cause.QUOTE_INVALID})
"Findings that other lists may change."


class Verifier:
    """Appraises peers for one node."""

    def __init__(
        self,
        policy: Policy,
        shelf: CollateralShelf,
        *,
        clock: Callable[[], float] = time.time,
        roots: Roots = VENDOR_ROOTS,
    ) -> None:
        self._appraiser = Appraiser(policy)
        self._shelf = shelf
        self._turnstile = Turnstile()
        self._clock = clock
        self._roots = roots
        self._places = trio.CapacityLimiter(EXAMINATIONS_MAX)

    @property
    def policy(self) -> Policy:
        return self._appraiser.policy

    def seconds_left(self, verdict: Verdict) -> float:
        """Say how long a verdict still holds; not at all if it was made under another policy."""
        of_policy = (verdict.policy_epoch, verdict.policy_digest)
        if of_policy != (self.policy.epoch, self.policy.digest):
            return 0.0
        return max(0.0, verdict.until - self._clock())

    def recall(
        self, statement: Signed, evidence_hash: bytes | None, *, peer: PeerId, role: Role
    ) -> Verdict | None:
        """Give the verdict that still holds, by the hash of the evidence: before it is even fetched."""
        return self._appraiser.recall(Shown(statement, evidence_hash, peer, role), now=self._clock())

    async def appraise(
        self, statement: Signed, evidence: bytes | None, *, peer: PeerId, role: Role, sender: PeerId
    ) -> Verdict:
        """Appraise a peer by what it, or anybody for it, has shown.

        Args:
            statement: Its key statement.
            evidence: Its evidence; None where it shows none. That it is what the peer's record
                names by hash is for the caller to see.
            peer: Whom we deal with, and what it must be: `role`.
            role: See above.
            sender: Who gave us this, and is counted for the work.

        Returns:
            The verdict. Whether its level is enough is `verdict.require`'s question. A cancel
            leaves nothing but, perhaps, newer lists on the shelf.

        Raises:
            Refused: `rate-limited`: this sender, or all together, asked for too much. Nothing was done.
        """
        shown = Shown(statement, None if evidence is None else evidence_hash(evidence), peer, role)
        if (known := self._appraiser.recall(shown, now=self._clock())) is not None:
            return known
        self._turnstile.admit(sender, now=self._clock())
        found = await self._examine(shown, evidence)
        return self._appraiser.appraise(shown, found, now=self._clock())

    def adopt(self, policy: Policy) -> tuple[Change, ...]:
        """Change the policy. Gives the verdicts that fell: end the sessions that rest on them.

        Raises:
            LocalProtocolError: The policy is for another network, or of a lower epoch.
        """
        return self._appraiser.adopt(policy, now=self._clock())

    def forget(self, peer: PeerId) -> None:
        """Forget a peer that is gone; its place on its platform is free."""
        self._appraiser.forget(peer)

    async def _examine(self, shown: Shown, evidence: bytes | None) -> Findings:
        """Examine under the shelf's lists and, where those do not settle it, under each source's."""
        quote, platform = _quote_of(evidence, self.policy)
        kept = None if platform is None else await self._shelf.get(platform)
        found = await self._examine_under(kept, shown, evidence)
        # What does not verify under lists that have verified others, and are current, is false.
        is_current = kept is not None and self._clock() < kept.expires
        if platform is None or self._is_settled(found, is_proof=is_current):
            return found
        for source in self._shelf.sources:
            fetched = await self._shelf.fetch(source, platform, quote)
            if fetched is not None:
                found = await self._examine_under(fetched, shown, evidence)
                # What does not verify under new lists may be the lists' fault.
                if self._is_settled(found, is_proof=False):
                    break
        return found

    def _is_settled(self, found: Findings, *, is_proof: bool) -> bool:
        """Say whether other lists could not change the findings for the better."""
        if found.td is not None:
            return found.td.evaluation_number >= self.policy.evaluation_minimum
        return is_proof or (found.fault is not None and found.fault.cause not in _UNDER_OTHER_LISTS)

    async def _examine_under(
        self, collateral: Collateral | None, shown: Shown, evidence: bytes | None
    ) -> Findings:
        found = await trio.to_thread.run_sync(
            partial(
                examine,
                shown.statement,
                evidence,
                network=self.policy.network,
                peer=shown.peer,
                role=shown.role,
                collateral=collateral,
                now=self._clock(),
                roots=self._roots,
            ),
            limiter=self._places,
        )
        if found.td is not None and collateral is not None:
            await self._shelf.keep(collateral)
        return found


def _quote_of(evidence: bytes | None, policy: Policy) -> tuple[bytes, Platform | None]:
    """Give a quote and its kind of platform, where there is one that the policy would look at."""
    try:
        shown = None if evidence is None else decode_evidence(evidence)
    except MalformedMessage:
        return b"", None
    if shown is None or shown.quote is None or shown.type not in policy.accept:
        return b"", None
    return shown.quote, claimed_platform(shown.quote)
