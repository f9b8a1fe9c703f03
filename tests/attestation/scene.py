"""A worker on a paper machine, its evidence, and the policy that accepts it; everything can be changed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from cocoon_p2p.attestation import (
    Appraiser,
    Collateral,
    Evidence,
    Findings,
    MeasuredConfiguration,
    Policy,
    Roots,
    Shown,
    Verdict,
    configuration_event,
    configuration_hash,
    default_policy,
    encode_evidence,
    evidence_hash,
    examine,
    judge,
    read_collateral,
    report_data,
)
from cocoon_p2p.attestation.events import replay
from cocoon_p2p.attestation.evidence import TDX, TDX_GPU, RuntimeEvent, gpu_nonce
from cocoon_p2p.attestation.policy import GpuFirmware, Image
from cocoon_p2p.identity import Identity, NetworkId, PeerId, network_id
from cocoon_p2p.protocols.ids import Role
from cocoon_p2p.protocols.messages import Signed
from cocoon_p2p.records import NOTHING_MEASURED, make_statement
from cocoon_p2p.testing.gpus import DRIVER, VBIOS, PaperGpu
from cocoon_p2p.testing.machines import PaperMachine, TdBody
from cocoon_p2p.testing.papers import paper_identity

NOW = 1_800_000_000.0
NETWORK = network_id("test")
WEIGHTS = sha256(b"weights").digest()
CPU = MeasuredConfiguration("llamacpp", WEIGHTS, "", "info", uses_gpu=False)
ON_GPU = replace(CPU, engine="exllama", uses_gpu=True)


def image_of(body: TdBody, role: Role = Role.WORKER, **changes: Any) -> Image:
    """List the image that a TD runs."""
    image = Image(
        name="paper worker 1.0",
        build="https://example.invalid/build/1.0",
        role=role,
        mrtd=body.mrtd,
        rtmr0=body.rtmrs[0],
        rtmr1=body.rtmrs[1],
        rtmr2=body.rtmrs[2],
    )
    return replace(image, **changes)


def firmware_of(gpu: PaperGpu) -> GpuFirmware:
    return GpuFirmware(
        name="H100, spring",
        driver=DRIVER,
        vbios=VBIOS,
        measurements={index: frozenset({gpu.measurements[index]}) for index in (2, 9)},
    )


def policy_for(body: TdBody | None = None, **changes: Any) -> Policy:
    """Make a policy that accepts the paper worker's image on any machine."""
    strict = replace(
        default_policy(NETWORK), epoch=3, images=(image_of(body or TdBody()),), expires=NOW + 86_400
    )
    return replace(strict, **changes)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One attested node. A changed field is a changed truth; `statement` and evidence follow it."""

    machine: PaperMachine = field(default_factory=lambda: PaperMachine(now=NOW))
    identity: Identity = field(default_factory=lambda: paper_identity(7))
    role: Role = Role.WORKER
    configuration: MeasuredConfiguration | None = CPU
    extra_events: Sequence[RuntimeEvent] = ()
    gpus: Sequence[PaperGpu] = ()
    network: NetworkId = NETWORK
    born: float = NOW
    number: int = 0

    @property
    def peer(self) -> PeerId:
        return self.identity.peer_id

    @property
    def events(self) -> tuple[RuntimeEvent, ...]:
        measured = () if self.configuration is None else (configuration_event(self.configuration),)
        return (*self.extra_events, *measured)

    @property
    def statement(self) -> Signed:
        measured = configuration_hash(self.events[-1]) if self.configuration else NOTHING_MEASURED
        return make_statement(
            self.identity,
            self.network,
            role=self.role,
            sealing_key=bytes(32),
            now=self.born,
            nonce=self.number.to_bytes(16, "big"),
            configuration_hash=measured,
        )

    @property
    def body(self) -> TdBody:
        """What the TD is after it measured what it did."""
        body = self.machine.body
        return replace(body, rtmrs=(*body.rtmrs[:3], replay(self.events)))

    @property
    def quote(self) -> bytes:
        data = report_data(self.network, self.statement)
        return self.machine.quote(data, rtmrs=self.body.rtmrs)

    @property
    def shown(self) -> Evidence:
        nonce = gpu_nonce(report_data(self.network, self.statement))
        return Evidence(
            type=TDX_GPU if self.gpus else TDX,
            events=self.events,
            gpus=tuple(gpu.evidence(nonce) for gpu in self.gpus),
            quote=self.quote,
        )

    @property
    def evidence(self) -> bytes:
        return encode_evidence(self.shown)

    @property
    def collateral(self) -> Collateral:
        return read_collateral(self.machine.collateral())

    @property
    def roots(self) -> Roots:
        return Roots(self.machine.root_der, frozenset(gpu.root for gpu in self.gpus))

    def examine(self, **changes: Any) -> Findings:
        """Examine it as somebody would who deals with it. `changes` replaces arguments."""
        arguments = {
            "statement": self.statement,
            "evidence": self.evidence,
            "network": NETWORK,
            "peer": self.peer,
            "role": self.role,
            "collateral": self.collateral,
            "now": NOW,
            "roots": self.roots,
        }
        return examine(**arguments | changes)

    def judge(self, policy: Policy | None = None, *, now: float = NOW, **changes: Any) -> Verdict:
        """Examine and judge it."""
        return judge(self.examine(now=now, **changes), policy or policy_for(self.body), now=now)

    def meet(self, appraiser: Appraiser, *, now: float = NOW) -> Verdict:
        """Have it appraised and remembered."""
        evidence = self.evidence
        shown = Shown(self.statement, evidence_hash(evidence), self.peer, self.role)
        known = appraiser.recall(shown, now=now)
        return known or appraiser.appraise(shown, self.examine(evidence=evidence, now=now), now=now)
