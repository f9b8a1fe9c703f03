"""What an appraisal comes to: a level of trust, what was proven, and why not more.

Every cause belongs to one gate, and gates are passed in order, so a verdict says at which
gate whose evidence failed. Beside it stands a vector of six claims, each affirmed, unknown
or refuted: what nobody looked at is unknown, and is shown as unknown.

Words: RFC 9334 (attestation result).
"""

from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum

from cocoon_p2p.attestation.configuration import MeasuredConfiguration
from cocoon_p2p.errors import AttestationFailed
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.protocols.ids import Role, Trust


class Tri(IntEnum):
    """How a claim stands."""

    REFUTED = -1
    UNKNOWN = 0
    AFFIRMED = 1


class Gate(IntEnum):
    """Where an appraisal can end, in the order of the gates."""

    STATEMENT = 1
    PEER = 2
    FRESHNESS = 3
    POLICY = 4
    TYPE = 5
    QUOTE = 6
    TCB = 7
    ATTRIBUTES = 8
    IMAGE = 9
    KEYS = 10
    CONFIGURATION = 11
    PLATFORM = 12
    GPU = 13
    NONE = 14
    "All were passed."


class Cause(Enum):
    """Why an appraisal came to its end: a stable word for programs, and its gate."""

    STATEMENT_INVALID = ("statement-invalid", Gate.STATEMENT)
    OTHER_PEER = ("other-peer", Gate.PEER)
    OTHER_ROLE = ("other-role", Gate.PEER)
    NOT_YET_VALID = ("not-yet-valid", Gate.FRESHNESS)
    EXPIRED = ("expired", Gate.FRESHNESS)
    POLICY_EXPIRED = ("policy-expired", Gate.POLICY)
    NO_EVIDENCE = ("no-evidence", Gate.TYPE)
    EVIDENCE_MALFORMED = ("evidence-malformed", Gate.TYPE)
    TYPE_NOT_ACCEPTED = ("type-not-accepted", Gate.TYPE)
    WRONG_KIND = ("wrong-kind-of-quote", Gate.QUOTE)
    COLLATERAL_MISSING = ("collateral-missing", Gate.QUOTE)
    COLLATERAL_STALE = ("collateral-stale", Gate.QUOTE)
    QUOTE_INVALID = ("quote-invalid", Gate.QUOTE)
    TCB_STATUS = ("tcb-status", Gate.TCB)
    ADVISORY = ("advisory", Gate.TCB)
    EVALUATION_TOO_OLD = ("evaluation-too-old", Gate.TCB)
    DEBUG = ("debug", Gate.ATTRIBUTES)
    ATTRIBUTES = ("attributes", Gate.ATTRIBUTES)
    NO_IMAGE_LISTED = ("no-image-listed", Gate.IMAGE)
    IMAGE_NOT_LISTED = ("image-not-listed", Gate.IMAGE)
    LOG_DOES_NOT_REPLAY = ("log-does-not-replay", Gate.IMAGE)
    EVENT_NOT_ALLOWED = ("event-not-allowed", Gate.IMAGE)
    KEYS_NOT_BOUND = ("keys-not-bound", Gate.KEYS)
    CONFIGURATION_MISSING = ("configuration-missing", Gate.CONFIGURATION)
    CONFIGURATION_NOT_BOUND = ("configuration-not-bound", Gate.CONFIGURATION)
    UPSTREAM_OUTSIDE = ("upstream-outside", Gate.CONFIGURATION)
    LOG_LEVEL = ("log-level", Gate.CONFIGURATION)
    PLATFORM_DENIED = ("platform-denied", Gate.PLATFORM)
    PLATFORM_NOT_LISTED = ("platform-not-listed", Gate.PLATFORM)
    PLATFORM_FULL = ("platform-full", Gate.PLATFORM)
    GPU_MISSING = ("gpu-missing", Gate.GPU)
    GPU_INVALID = ("gpu-invalid", Gate.GPU)
    GPU_NOT_LISTED = ("gpu-not-listed", Gate.GPU)
    GPU_DENIED = ("gpu-denied", Gate.GPU)
    PASSED = ("passed", Gate.NONE)

    def __init__(self, code: str, gate: Gate) -> None:
        self.code = code
        self.gate = gate


@dataclass(frozen=True, slots=True)
class Fault:
    """A cause with its facts."""

    cause: Cause
    detail: str = ""
    "For people, bounded; it may quote a peer."


class Claim(StrEnum):
    """What a vector speaks about."""

    HARDWARE = "hardware"
    TCB = "tcb"
    IMAGE = "image"
    KEYS = "keys"
    GPU = "gpu"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True)
class Vector:
    """What was proven, claim by claim."""

    hardware: Tri = Tri.UNKNOWN
    "A genuine TDX machine signed it."

    tcb: Tri = Tri.UNKNOWN
    "Its microcode and firmware are as new as the policy asks."

    image: Tri = Tri.UNKNOWN
    "A listed image runs, not in debug mode, configured so that prompts stay inside."

    keys: Tri = Tri.UNKNOWN
    "The keys of the statement were born there."

    gpu: Tri = Tri.UNKNOWN
    "Genuine NVIDIA GPUs with listed firmware answered this machine."

    platform: Tri = Tri.UNKNOWN
    "This very machine is one that the policy lists; unknown where it lists none."

    def __getitem__(self, claim: Claim) -> Tri:
        value: Tri = getattr(self, claim.value)
        return value


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of an appraisal. It holds from `since` until `until`, for this policy."""

    cause: Cause
    detail: str
    level: Trust | None
    "What a peer may be trusted with. None: not even that it is who it says it is."

    vector: Vector
    peer: PeerId | None
    "Whose evidence it was; None where even that is not known."

    role: Role | None
    evidence_type: str
    "Empty where none was shown."

    policy_epoch: int
    policy_digest: bytes
    since: float
    until: float
    image: str = ""
    "The policy's name for the image that runs, and the build that reproduces it."

    configuration: MeasuredConfiguration | None = None
    platform: bytes = b""
    "Intel's id of the machine (PPID), 16 bytes; empty where no quote held."

    tcb_status: str = ""
    advisories: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    "For people: a policy that is past its date, a simulation."

    @property
    def has_passed(self) -> bool:
        """Whether the policy is satisfied. The level may still be below what was asked for."""
        return self.cause is Cause.PASSED

    @property
    def is_insecure(self) -> bool:
        """Whether it rests on a simulation, and must be shown as such."""
        return self.level is Trust.SIM


def satisfies(level: Trust | None, asked: Trust) -> bool:
    """Say whether a level is as good as the one asked for.

    A stronger real level satisfies a weaker one; a simulation satisfies `sim` and `open` only,
    and nothing but a simulation satisfies `sim`.
    """
    if level is None:
        return False
    if asked is Trust.SIM or level is Trust.SIM:
        return asked in (Trust.OPEN, level)
    return level >= asked


@dataclass(frozen=True, slots=True)
class Proof:
    """What somebody knows about a machine in the moment when it decides."""

    level: Trust
    verdict: Verdict | None = None
    "None: nobody has looked."

    why: str = ""
    "For people: why it is no more than that, where the verdict does not say."


NO_PROOF = Proof(Trust.OPEN)


def require(verdict: Verdict, asked: Trust) -> None:
    """Let a verdict pass, or say who failed at which gate.

    Raises:
        AttestationFailed: The level is below `asked`.
    """
    if not satisfies(verdict.level, asked):
        raise _failure(verdict.peer, verdict.role, verdict.level, asked, _lacking(verdict))


def require_proof(proof: Proof, asked: Trust, *, peer: PeerId, role: Role) -> None:
    """Let a machine pass by what is known of it, or say who failed at which gate.

    Raises:
        AttestationFailed: The level is below `asked`.
    """
    if satisfies(proof.level, asked):
        return
    if proof.verdict is None:
        why = f"gate type: {Cause.NO_EVIDENCE.code}{proof.why and ': '}{proof.why}"
    else:
        why = f"gate configuration: {proof.why}" if proof.why else _lacking(proof.verdict)
    raise _failure(peer, role, proof.level, asked, why)


def _lacking(verdict: Verdict) -> str:
    """Name the gate that let through no more than this."""
    if not verdict.has_passed:
        facts = f"{verdict.cause.code}{verdict.detail and ': '}{verdict.detail}"
        return f"gate {verdict.cause.gate.name.lower()}: {facts}"
    if verdict.level is Trust.TDX:
        return "gate gpu: no GPU was shown"
    return f"gate type: it showed {verdict.evidence_type}"


def _failure(
    peer: PeerId | None, role: Role | None, level: Trust | None, asked: Trust, why: str
) -> AttestationFailed:
    who = "" if peer is None else f" of {peer_id_text(peer)}"
    name = "peer" if role is None else role.name.lower()
    proven = "nothing" if level is None else trust_text(level)
    return AttestationFailed(
        f"attestation failed: {name}{who} at {why} (proven={proven} asked={trust_text(asked)})",
        hint="ask for less trust, or for a peer that your policy accepts",
        peer=peer,
    )


def trust_text(trust: Trust) -> str:
    """Spell a level the way it is asked for: `open`, `tdx+gpu`."""
    return trust.name.lower().replace("_", "+")
