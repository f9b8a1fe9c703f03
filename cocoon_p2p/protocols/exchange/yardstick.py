"""What the evidence in a bundle is worth by the reader's own policy, as of the time of the quote."""

from dataclasses import dataclass

from cocoon_p2p.attestation import VENDOR_ROOTS, Collateral, Policy, Roots, Verdict, examine, judge
from cocoon_p2p.errors import RecordRejected
from cocoon_p2p.identity import NetworkId, PeerId
from cocoon_p2p.protocols.ids import Role
from cocoon_p2p.protocols.messages import ModelOffer, Record, Signed


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What evidence is appraised by."""

    policy: Policy
    collateral: Collateral | None = None
    "Intel's lists for the platform, as they stood then."

    roots: Roots = VENDOR_ROOTS


def measure(
    record: Record, statement: Signed, evidence: bytes, yardstick: Yardstick, *, at: float
) -> Verdict:
    """Judge a worker's machine as the policy would have judged it at that time.

    Raises:
        LocalProtocolError: `at` is not a time.
    """
    found = examine(
        statement,
        evidence,
        network=NetworkId(record.network),
        peer=PeerId(record.peer),
        role=Role.WORKER,
        collateral=yardstick.collateral,
        now=at,
        roots=yardstick.roots,
    )
    return judge(found, yardstick.policy, now=at)


def describe(verdict: Verdict, offer: ModelOffer) -> str:
    """Say in words what was found of a machine that sold a model.

    Raises:
        RecordRejected: The policy does not pass it, or it had loaded something else.
    """
    if not verdict.has_passed or verdict.level is None:
        detail = f" ({verdict.detail})" if verdict.detail else ""
        raise RecordRejected(f"evidence: the policy does not pass it: {verdict.cause.code}{detail}")
    if verdict.configuration is not None and verdict.configuration.weights_hash != offer.weights_hash:
        raise RecordRejected("evidence: the machine measured other weights")
    level = verdict.level.name.lower().replace("_", "+")
    warning = ", INSECURE: a simulation" if verdict.is_insecure else ""
    return f"level {level} under the policy of epoch {verdict.policy_epoch}, as of then{warning}"
