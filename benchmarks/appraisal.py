"""What an appraisal costs: the whole of it beside dcap-qvl alone, and a verdict that is remembered.

    python benchmarks/appraisal.py [--quick]

A paper machine quotes for a worker under a root of this script. A round measures, one after the
other: dcap-qvl's own verification of that quote under parsed lists; our whole appraisal, from the
signed statement and the bytes of the evidence to a verdict (statement, log, quote, policy); the same
with a GPU; and finding the verdict again, with and without hashing the evidence. Goals: at most
twice dcap-qvl's time, and 50 microseconds from memory.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import dcap_qvl
from _measure import print_machine, read_arguments, spread

from cocoon_p2p.attestation import (
    Appraiser,
    Evidence,
    MeasuredConfiguration,
    Policy,
    Roots,
    Shown,
    configuration_event,
    configuration_hash,
    default_policy,
    encode_evidence,
    evidence_hash,
    examine,
    read_collateral,
    report_data,
)
from cocoon_p2p.attestation.events import replay
from cocoon_p2p.attestation.evidence import TDX, TDX_GPU, gpu_nonce
from cocoon_p2p.attestation.policy import GpuFirmware, Image
from cocoon_p2p.identity import Identity, network_id
from cocoon_p2p.protocols.ids import Role
from cocoon_p2p.records import make_statement
from cocoon_p2p.testing.gpus import DRIVER, VBIOS, PaperGpu
from cocoon_p2p.testing.machines import PaperMachine

NOW = 1_800_000_000.0
NETWORK = network_id("bench")
WORKER = Identity.from_seed(sha256(b"worker").digest())
EVENT = configuration_event(
    MeasuredConfiguration("llamacpp", sha256(b"weights").digest(), "", "info", uses_gpu=False)
)
STATEMENT = make_statement(
    WORKER,
    NETWORK,
    role=Role.WORKER,
    sealing_key=bytes(32),
    now=NOW,
    nonce=bytes(16),
    configuration_hash=configuration_hash(EVENT),
)
DATA = report_data(NETWORK, STATEMENT)
MACHINE, GPU = PaperMachine(now=NOW), PaperGpu()
RTMRS = (*MACHINE.body.rtmrs[:3], replay([EVENT]))
QUOTE = MACHINE.quote(DATA, rtmrs=RTMRS)
LISTS = MACHINE.collateral()
COLLATERAL = read_collateral(LISTS)
PARSED = dcap_qvl.QuoteCollateralV3.from_json(LISTS.decode())
ROOTS = Roots(MACHINE.root_der, frozenset({GPU.root}))
PLAIN = Evidence(type=TDX, events=(EVENT,), gpus=(), quote=QUOTE)
EVIDENCE = encode_evidence(PLAIN)
WITH_GPU = encode_evidence(replace(PLAIN, type=TDX_GPU, gpus=(GPU.evidence(gpu_nonce(DATA)),)))


def policy() -> Policy:
    image = Image(
        name="paper",
        build="none",
        role=Role.WORKER,
        mrtd=MACHINE.body.mrtd,
        rtmr0=RTMRS[0],
        rtmr1=RTMRS[1],
        rtmr2=RTMRS[2],
    )
    firmware = GpuFirmware(
        name="paper", driver=DRIVER, vbios=VBIOS, measurements={2: frozenset({GPU.measurements[2]})}
    )
    return replace(default_policy(NETWORK), images=(image,), gpus=(firmware,))


APPRAISER = Appraiser(policy())


def appraise(evidence: bytes) -> None:
    """Appraise as for the first time, and remember."""
    shown = Shown(STATEMENT, evidence_hash(evidence), WORKER.peer_id, Role.WORKER)
    found = examine(
        STATEMENT,
        evidence,
        network=NETWORK,
        peer=WORKER.peer_id,
        role=Role.WORKER,
        collateral=COLLATERAL,
        now=NOW,
        roots=ROOTS,
    )
    assert APPRAISER.appraise(shown, found, now=NOW).has_passed


def recall(hashed: bytes) -> None:
    shown = Shown(STATEMENT, hashed, WORKER.peer_id, Role.WORKER)
    assert APPRAISER.recall(shown, now=NOW) is not None


def bare() -> None:
    dcap_qvl.verify_with_root_ca(QUOTE, PARSED, ROOTS.intel_der, int(NOW))


def microseconds(call: Callable[[], None], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - began) / times * 1e6


def main() -> None:
    arguments = read_arguments(__doc__)
    rounds, times = (3, 20) if arguments.quick else (25, 200)
    print_machine()
    appraise(EVIDENCE)
    hashed = evidence_hash(EVIDENCE)
    rows: dict[str, list[float]] = {}
    for _ in range(rounds):
        alone = microseconds(bare, times)
        ours = microseconds(lambda: appraise(EVIDENCE), times)
        with_gpu = microseconds(lambda: appraise(WITH_GPU), times // 4)
        found = microseconds(lambda: recall(hashed), times * 10)
        found_by_bytes = microseconds(lambda: recall(evidence_hash(EVIDENCE)), times * 10)
        figures = {
            "dcap-qvl alone, us": alone,
            "appraisal, us": ours,
            "appraisal / dcap-qvl": ours / alone,
            "appraisal with a GPU, us": with_gpu,
            "from memory, by hash, us": found,
            "from memory, by bytes, us": found_by_bytes,
        }
        for name, figure in figures.items():
            rows.setdefault(name, []).append(figure)
    print(f"evidence of {len(EVIDENCE):,} bytes, {len(WITH_GPU):,} with a GPU")
    for name, figures_of_rounds in rows.items():
        print(f"{name:28}{spread(figures_of_rounds)}")


if __name__ == "__main__":
    main()
