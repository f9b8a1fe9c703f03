"""Real evidence of real machines: an Intel TDX quote, an Intel SGX quote, an NVIDIA H100 report.

The samples are data of other public projects and no part of this one: dcap-qvl's `sample/`
(MIT) and the local GPU verifier of NVIDIA nvtrust (BSD-3). `COCOON_ATTESTATION_SAMPLES` names the
folder that holds them; without it these tests are skipped. The files:

    tdx_quote.bin  tdx_quote_collateral.json  sgx_quote.bin  sgx_quote_collateral.json
    hopperAttestationReport.txt  hopperCertChain.txt
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cocoon_p2p.attestation import VENDOR_ROOTS, Cause, Roots, read_collateral
from cocoon_p2p.attestation.evidence import GpuEvidence
from cocoon_p2p.attestation.gpu import GpuRefused, verify_gpu
from cocoon_p2p.attestation.quote import SIGNED_SIZE_BYTES, QuoteRefused, trim_quote, verify_quote
from cocoon_p2p.testing.machines import PaperMachine

FOLDER = Path(os.environ.get("COCOON_ATTESTATION_SAMPLES", "not named"))
TDX_TIME, SGX_TIME = 1_750_415_547, 1_750_416_971
LATER = 1_795_219_200

pytestmark = pytest.mark.skipif(
    not (FOLDER / "tdx_quote.bin").exists(),
    reason="no real evidence here: set COCOON_ATTESTATION_SAMPLES to a folder with quotes of TDX and SGX, "
    "their collateral, and a GPU's report",
)

# After header, body and length: the signature over both and the key that made it; then a type, a
# length, the quoting enclave's report, its signature by the certified key, and what it adds.
KEY_AT = SIGNED_SIZE_BYTES + 4
ENCLAVE_AT = KEY_AT + 128 + 6
SIGNED_PARTS = (
    range(SIGNED_SIZE_BYTES * 8),
    range(KEY_AT * 8, (KEY_AT + 128) * 8),
    range(ENCLAVE_AT * 8, (ENCLAVE_AT + 384 + 64) * 8),
    range((ENCLAVE_AT + 450) * 8, (ENCLAVE_AT + 482) * 8),
)


def sample(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def tdx() -> bytes:
    return trim_quote(sample("tdx_quote.bin"))


def hopper() -> GpuEvidence:
    return GpuEvidence(
        bytes.fromhex(sample("hopperAttestationReport.txt").decode()), sample("hopperCertChain.txt")
    )


def flipped(data: bytes, bits: range) -> Iterator[bytes]:
    changed = bytearray(data)
    for bit in bits:
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)
        changed[bit // 8] ^= 1 << bit % 8


def test_the_real_tdx_quote_verifies_at_its_time_under_intels_root() -> None:
    collateral = read_collateral(sample("tdx_quote_collateral.json"))

    facts = verify_quote(tdx(), collateral, now=TDX_TIME, root_der=VENDOR_ROOTS.intel_der)

    assert (facts.status, facts.advisories, facts.evaluation_number) == ("UpToDate", (), 17)
    assert facts.fmspc == "b0c06f000000"
    assert facts.attributes == 1 << 28


@pytest.mark.parametrize("now", [LATER, 0])
def test_the_real_tdx_quote_is_refused_at_another_time(now: int) -> None:
    collateral = read_collateral(sample("tdx_quote_collateral.json"))

    with pytest.raises(QuoteRefused) as refusal:
        verify_quote(tdx(), collateral, now=now, root_der=None)
    assert refusal.value.fault.cause is Cause.COLLATERAL_STALE


def test_the_real_tdx_quote_is_refused_under_a_root_of_tests() -> None:
    root = PaperMachine(now=TDX_TIME).root_der

    with pytest.raises(QuoteRefused):
        verify_quote(tdx(), read_collateral(sample("tdx_quote_collateral.json")), now=TDX_TIME, root_der=root)


def test_the_real_sgx_quote_is_genuine_and_of_the_wrong_kind() -> None:
    collateral = read_collateral(sample("sgx_quote_collateral.json"))

    with pytest.raises(QuoteRefused) as refusal:
        verify_quote(sample("sgx_quote.bin"), collateral, now=SGX_TIME, root_der=None)
    assert refusal.value.fault.cause is Cause.WRONG_KIND


@pytest.mark.slow
@pytest.mark.parametrize("bits", SIGNED_PARTS, ids=["TD", "key", "enclave", "added"])
def test_every_flipped_bit_in_the_signed_parts_of_the_real_quote_is_refused(bits: range) -> None:
    collateral = read_collateral(sample("tdx_quote_collateral.json"))

    for quote in flipped(tdx(), bits):
        with pytest.raises(QuoteRefused):
            verify_quote(quote, collateral, now=TDX_TIME, root_der=None)


def test_the_real_gpu_report_verifies_under_nvidias_root() -> None:
    facts = verify_gpu(hopper(), now=TDX_TIME, roots=VENDOR_ROOTS)

    assert (facts.driver, facts.vbios, len(facts.measurements)) == ("550.90.07", "96.00.9f.00.01", 64)


def test_the_real_gpu_report_is_refused_under_a_root_of_tests() -> None:
    with pytest.raises(GpuRefused):
        verify_gpu(hopper(), now=TDX_TIME, roots=Roots(nvidia=frozenset({bytes(32)})))


@pytest.mark.slow
def test_every_flipped_bit_in_the_real_gpu_report_is_refused() -> None:
    evidence = hopper()

    for report in flipped(evidence.report, range(len(evidence.report) * 8)):
        with pytest.raises(GpuRefused):
            verify_gpu(GpuEvidence(report, evidence.chain), now=TDX_TIME, roots=VENDOR_ROOTS)
