"""The appraisal policy: what a user accepts as proof. Nothing is accepted by being left out.

An empty list of images accepts no image; a policy without GPU firmware accepts no GPU. How
it is written, signed and kept from rolling back is `policy_file`'s matter.

Words: RFC 9334 (appraisal policy for evidence).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cocoon_p2p.attestation.evidence import SIM, TDX, TDX_GPU
from cocoon_p2p.identity import NetworkId
from cocoon_p2p.protocols.ids import Role

GRACE_SECONDS = 14 * 24 * 3600
"After its expiry a policy still holds this long, with a warning: its signers may be on holiday."

NEVER = 253_402_300_799
"The end of the year 9999: of a policy that comes with the code and is replaced with it."

UP_TO_DATE = "UpToDate"
STATUSES = frozenset(
    {
        UP_TO_DATE,
        "SWHardeningNeeded",
        "ConfigurationNeeded",
        "ConfigurationAndSWHardeningNeeded",
        "OutOfDate",
        "OutOfDateConfigurationNeeded",
    }
)
"Intel's words for a platform's state that a policy may list. Revoked is not among them."

# Intel TDX module, ATTRIBUTES. The low byte makes a domain debuggable by its host.
ATTRIBUTES_DEBUG = 0xFF
SEPT_VE_DISABLE = 1 << 28
PROTECTION_KEYS = 1 << 30
PERFORMANCE_MONITORING = 1 << 63

NO_CONFIG_ID = bytes(48)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image that may run, by what the hardware measures of it."""

    name: str
    build: str
    "The build that reproduces it, in words or as a link: anybody can make these numbers again."

    role: Role
    mrtd: bytes
    "The firmware, 48 bytes as all of them."

    rtmr0: bytes
    rtmr1: bytes
    rtmr2: bytes
    mr_config_id: bytes = NO_CONFIG_ID
    events: Mapping[str, frozenset[bytes] | None] = field(default_factory=dict[str, frozenset[bytes] | None])
    """What RTMR3's log may hold besides the measured configuration. An event with payloads must be
    there, once, with one of them; one with None may be there once, with any payload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuFirmware:
    """One state of a GPU that is accepted."""

    name: str
    driver: str
    vbios: str
    measurements: Mapping[int, frozenset[bytes]]
    "By index, the digests that are accepted there. Others are not looked at; at least one is."


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is accepted. Frozen: a new policy is a new object, with a higher epoch."""

    network: NetworkId
    epoch: int
    "Of two policies the higher one holds; a lower one than was seen is refused."

    expires: float
    "Seconds since the Unix epoch."

    digest: bytes
    "SHA-256 of the signed text; a policy is fetched and told apart by it."

    accept: frozenset[str] = frozenset({TDX, TDX_GPU})
    allow_insecure: bool = False
    "Whether a simulation may pass, where `accept` lists it too."

    images: tuple[Image, ...] = ()
    statuses: frozenset[str] = frozenset({UP_TO_DATE})
    refused_advisories: frozenset[str] = frozenset()
    evaluation_minimum: int = 0
    "Intel's number of the last evaluation that the collateral must know of."

    attributes_required: int = SEPT_VE_DISABLE
    attributes_allowed: int = SEPT_VE_DISABLE | PROTECTION_KEYS
    platforms_allowed: frozenset[bytes] | None = None
    "None: any machine that Intel made."

    platforms_denied: frozenset[bytes] = frozenset()
    peers_per_platform: int | None = None
    "How many peers one machine may bear at once; None: any number."

    is_gpu_required: bool = False
    "Of workers."

    gpus: tuple[GpuFirmware, ...] = ()
    gpus_denied: frozenset[bytes] = frozenset()
    "SHA-256 of devices' public keys, as `cocoon attest verify` shows them."

    log_levels: frozenset[str] = frozenset({"info", "warning", "error"})
    "What a worker may log; `debug` may hold prompts of the engine behind it."

    are_proxies_attested: bool = True
    "Whether a proxy must pass as well. A proxy sees sizes and money, never words."


def default_policy(network: NetworkId) -> Policy:
    """Give the policy of somebody who has pinned none: no image is listed, so nothing passes."""
    return Policy(network=network, epoch=0, expires=NEVER, digest=bytes(32))


def demo_policy(network: NetworkId) -> Policy:
    """Give the demo's policy: simulated evidence passes, as what it is. Never for a real network."""
    return Policy(
        network=network,
        epoch=0,
        expires=NEVER,
        digest=bytes(31) + b"\1",
        accept=frozenset({SIM}),
        allow_insecure=True,
    )
