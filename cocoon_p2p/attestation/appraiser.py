"""Keeps verdicts, so that evidence is appraised once and not with every request.

A verdict holds until the first of: the statement's expiry, the collateral's, the policy's.
It is found again by the statement with its signature, the evidence's hash, and whom and what
it was for. A quote's hash names no machine (hundreds of its bits can change and it still
verifies), so machines are counted by their platform id. Refusals are remembered for a minute,
apart from the verdicts that passed, so that a flood of the one cannot push out the other.

Not a shell: no clock, no lock, no socket. `appraising.Verifier` is the shell around it.
"""

from collections import OrderedDict
from dataclasses import dataclass

from cocoon_p2p.attestation.examination import Findings
from cocoon_p2p.attestation.judgement import judge
from cocoon_p2p.attestation.policy import Policy
from cocoon_p2p.attestation.verdict import Cause, Verdict
from cocoon_p2p.errors import LocalProtocolError
from cocoon_p2p.identity import PeerId
from cocoon_p2p.protocols.ids import CLOCK_SKEW_SECONDS, Role
from cocoon_p2p.protocols.messages import Signed

VERDICTS_MAX = 1024
"Some 10 KB each at most, with the findings of eight GPUs."

REFUSALS_MAX = 256

_FETCHABLE = frozenset({Cause.COLLATERAL_MISSING, Cause.COLLATERAL_STALE})
"Refusals that newer collateral can undo: they are not the peer's, so they are not remembered."


@dataclass(frozen=True, slots=True)
class Shown:
    """What was appraised, for whom: the key under which a verdict is kept."""

    statement: Signed
    "With its signature: a false one over a true body must not find the true one's verdict."

    evidence_hash: bytes | None
    peer: PeerId
    role: Role


@dataclass(frozen=True, slots=True)
class Change:
    """A verdict that a new policy changed for the worse."""

    shown: Shown
    before: Verdict
    after: Verdict


@dataclass(frozen=True, slots=True)
class _Kept:
    findings: Findings
    verdict: Verdict


class Appraiser:
    """Judges findings under one policy at a time, and remembers what came of it."""

    __slots__ = ("_passed", "_policy", "_refusals_max", "_refused", "_verdicts_max")

    def __init__(
        self, policy: Policy, *, verdicts_max: int = VERDICTS_MAX, refusals_max: int = REFUSALS_MAX
    ) -> None:
        self._policy = policy
        self._verdicts_max = verdicts_max
        self._refusals_max = refusals_max
        self._passed: OrderedDict[Shown, _Kept] = OrderedDict()
        self._refused: OrderedDict[Shown, _Kept] = OrderedDict()

    @property
    def policy(self) -> Policy:
        return self._policy

    def recall(self, shown: Shown, *, now: float) -> Verdict | None:
        """Find the verdict that still holds at `now`, in seconds since the Unix epoch.

        A clock that went back before the verdict was made finds nothing.
        """
        for table in (self._passed, self._refused):
            kept = table.get(shown)
            if kept is None:
                continue
            if kept.verdict.since - CLOCK_SKEW_SECONDS <= now < kept.verdict.until:
                table.move_to_end(shown)
                return kept.verdict
            del table[shown]
        return None

    def appraise(self, shown: Shown, found: Findings, *, now: float) -> Verdict:
        """Judge findings and keep the verdict. `now` is in seconds since the Unix epoch."""
        verdict = judge(
            found,
            self._policy,
            now=now,
            neighbours=lambda platform: self._neighbours(platform, shown.peer, now=now),
        )
        self._passed.pop(shown, None)
        self._refused.pop(shown, None)
        if verdict.has_passed:
            _keep(self._passed, shown, _Kept(found, verdict), self._verdicts_max)
        elif verdict.cause not in _FETCHABLE:
            _keep(self._refused, shown, _Kept(found, verdict), self._refusals_max)
        return verdict

    def adopt(self, policy: Policy, *, now: float) -> tuple[Change, ...]:
        """Judge everything that passed anew, under another policy.

        Returns:
            What no longer passes, or passes at a lower level, each with its verdict before and
            after: sessions that rest on one of these must end, unless `after` still satisfies
            what they were asked for.

        Raises:
            LocalProtocolError: The policy is for another network, or of a lower epoch.
        """
        if policy.network != self._policy.network or policy.epoch < self._policy.epoch:
            raise LocalProtocolError(f"not a policy to follow (epoch={policy.epoch})")
        self._policy = policy
        self._refused.clear()
        before, self._passed = self._passed, OrderedDict()
        changes: list[Change] = []
        # The oldest first, so that a lower cap on a platform keeps those that were there first.
        for shown, kept in sorted(before.items(), key=lambda item: item[1].verdict.since):
            if kept.verdict.until <= now:
                continue
            after = self.appraise(shown, kept.findings, now=now)
            if (after.level or 0) < (kept.verdict.level or 0) or not after.has_passed:
                changes.append(Change(shown, kept.verdict, after))
        return tuple(changes)

    def forget(self, peer: PeerId) -> None:
        """Forget what is known of a peer that is gone: its place on its platform is free."""
        for table in (self._passed, self._refused):
            for shown in [shown for shown in table if shown.peer == peer]:
                del table[shown]

    def _neighbours(self, platform: bytes, peer: PeerId, *, now: float) -> int:
        """Count the other peers whose verdicts hold and rest on this platform."""
        return len(
            {
                shown.peer
                for shown, kept in self._passed.items()
                if kept.verdict.platform == platform and shown.peer != peer and now < kept.verdict.until
            }
        )


def _keep(table: "OrderedDict[Shown, _Kept]", shown: Shown, kept: _Kept, most: int) -> None:
    table[shown] = kept
    if len(table) > most:
        table.popitem(last=False)
