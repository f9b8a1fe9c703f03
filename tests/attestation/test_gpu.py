"""GPU reports: a signed exchange under a chain, read to the last byte."""

from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import utils
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.attestation import VENDOR_ROOTS, Roots
from cocoon_p2p.attestation.evidence import GpuEvidence
from cocoon_p2p.attestation.gpu import GpuFacts, GpuRefused, verify_gpu
from cocoon_p2p.testing.gpus import DRIVER, VBIOS, PaperGpu
from cocoon_p2p.testing.machines import der
from tests.attestation.scene import NOW

NONCE = bytes(range(32))


def verify(gpu: PaperGpu, evidence: GpuEvidence | None = None) -> GpuFacts:
    return verify_gpu(evidence or gpu.evidence(NONCE), now=NOW, roots=Roots(nvidia=frozenset({gpu.root})))


def test_a_report_says_which_gpu_answered_which_nonce_with_what_firmware() -> None:
    gpu = PaperGpu()

    facts = verify(gpu)

    assert (facts.device, facts.nonce, facts.driver, facts.vbios) == (gpu.device, NONCE, DRIVER, VBIOS)
    assert facts.measurements == gpu.measurements


def test_a_chain_under_another_root_is_refused() -> None:
    with pytest.raises(GpuRefused, match="root"):
        verify_gpu(PaperGpu().evidence(NONCE), now=NOW, roots=VENDOR_ROOTS)


def test_a_root_may_stand_above_as_many_authorities_as_it_says() -> None:
    assert verify(PaperGpu(path_length=1)).nonce == NONCE


def test_a_chain_of_the_root_alone_is_refused() -> None:
    gpu = PaperGpu()
    evidence = gpu.evidence(NONCE)
    root = b"-----BEGIN" + evidence.chain.rpartition(b"-----BEGIN")[2]

    with pytest.raises(GpuRefused):
        verify(gpu, GpuEvidence(evidence.report, root))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"is_certified_by_authority": False}, "signed by none that may sign any"),
        ({"certified_firmware_id": b"\xf2" * 48}, "other firmware"),
        ({"authority_ends": datetime(2026, 1, 1, tzinfo=UTC)}, "out of its dates"),
        ({"path_length": 0}, "longer than an authority in it allows"),
        ({"is_forged": True}, "a signature does not hold"),
    ],
)
def test_what_is_wrong_with_a_gpu_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(GpuRefused, match=words):
        verify(PaperGpu(**changes))


def test_one_gpus_report_under_anothers_chain_is_refused() -> None:
    one, other = PaperGpu(number=1), PaperGpu(number=2)

    with pytest.raises(GpuRefused, match="signature"):
        verify(one, GpuEvidence(one.report(NONCE), other.evidence(NONCE).chain))


@pytest.mark.parametrize("now", [-1e12, 1e18])
def test_a_time_beyond_the_calendar_refuses(now: float) -> None:
    gpu = PaperGpu()

    with pytest.raises(GpuRefused):
        verify_gpu(gpu.evidence(NONCE), now=now, roots=Roots(nvidia=frozenset({gpu.root})))


@pytest.mark.parametrize(
    "mangle",
    [
        lambda report: b"",
        lambda report: report[:95],
        lambda report: report[:400],
        lambda report: report[1:],
        lambda report: report + b"\0",
        lambda report: report[:-96] + bytes(96),
        lambda report: report[:-96] + b"\xff" * 96,
    ],
)
def test_a_report_that_is_not_whole_is_refused(mangle: Callable[[bytes], bytes]) -> None:
    gpu = PaperGpu()
    evidence = gpu.evidence(NONCE)

    with pytest.raises(GpuRefused):
        verify(gpu, GpuEvidence(mangle(evidence.report), evidence.chain))


@pytest.mark.parametrize(
    "chain",
    [
        b"",
        b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n" * 400,
        b"\xff" * 8_000,
        b"-----BEGIN CERTIFICATE-----\nMIIA\n-----END CERTIFICATE-----\n" * 3,
    ],
)
def test_what_is_no_chain_is_refused(chain: bytes) -> None:
    gpu = PaperGpu()

    with pytest.raises(GpuRefused):
        verify(gpu, GpuEvidence(gpu.report(NONCE), chain))


class SignedJunk(PaperGpu):
    """A genuine device whose firmware answers something else than a measurement."""

    response: bytes = b""

    def _response(self) -> bytes:
        return self.response


HEAD = bytes([0x11, 0x60, 0, 0])


def sized(value: bytes) -> bytes:
    return len(value).to_bytes(2, "little") + value


ONE = bytes([1, 1]) + sized(b"\1" + sized(b"\x33" * 48))
PADDED = bytes([1, 1]) + sized(b"\1" + sized(b"\x33" * 48) + b"more")


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (b"\x11\x60", "cut short"),
        (HEAD + b"\1" + b"\xff\xff\xff", "cut short"),
        (
            HEAD + b"\2" + (2 * len(ONE)).to_bytes(3, "little") + ONE + ONE + bytes(32) + sized(b""),
            "not a measure",
        ),
        (HEAD + b"\1" + len(PADDED).to_bytes(3, "little") + PADDED + bytes(32) + sized(b""), "not a measure"),
        (HEAD + b"\0" + len(ONE).to_bytes(3, "little") + ONE + bytes(32) + sized(b""), "more measurements"),
        (HEAD + b"\0" + bytes(3) + bytes(32) + sized(b"\3\0\0\0" * 2), "stands twice"),
        (HEAD + b"\0" + bytes(3) + bytes(32) + sized(b"\3\0\xff\xff"), "cut short"),
        (HEAD + b"\0" + bytes(3) + bytes(32) + sized(b"") + b"more", "between the fields"),
        (b"\x12" + HEAD[1:] + b"\0" + bytes(3) + bytes(32) + sized(b""), "not a response"),
    ],
)
def test_a_signed_answer_of_another_shape_is_refused(response: bytes, words: str) -> None:
    gpu = SignedJunk()
    object.__setattr__(gpu, "response", response)

    with pytest.raises(GpuRefused, match=words):
        verify(gpu)


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=300))
def test_a_device_can_sign_anything_and_we_still_stand(response: bytes) -> None:
    gpu = SignedJunk()
    object.__setattr__(gpu, "response", response)

    with pytest.raises(GpuRefused):
        verify(gpu)


CERTIFICATES = [
    certificate.public_bytes(Encoding.DER)
    for certificate in x509.load_pem_x509_certificates(PaperGpu().evidence(NONCE).chain)
]


# A serial number that is none is a warning of the library's, and an error here; a peer gets the warning.
@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1), st.data())
def test_whatever_is_done_to_a_certificate_the_chain_is_refused_or_read(
    which: int, data: st.DataObject
) -> None:
    gpu, changed = PaperGpu(), bytearray(CERTIFICATES[which])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at] = data.draw(st.sampled_from([0, 1, 2, 3, 0x30, 0x80, 0x84, 0xFF]))
    chain = [*CERTIFICATES]
    chain[which] = bytes(changed)

    with suppress(GpuRefused):
        facts = verify(gpu, GpuEvidence(gpu.report(NONCE), b"".join(map(pem, chain))))
        assert facts.nonce == NONCE


P384_ORDER = int(
    "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973", 16
)


def test_a_certificate_whose_signature_was_turned_is_still_of_the_same_gpu() -> None:
    gpu = PaperGpu()
    certificate = x509.load_der_x509_certificate(CERTIFICATES[0])
    r, s = utils.decode_dss_signature(certificate.signature)
    turned = utils.encode_dss_signature(r, P384_ORDER - s)
    signed = der(3, b"\0" + turned)
    # A certificate is a sequence of what is signed, the algorithm (12 bytes) and the signature.
    algorithm = bytes.fromhex("300a06082a8648ce3d040303")
    other = der(0x30, certificate.tbs_certificate_bytes, algorithm, signed)
    chain = b"".join(map(pem, [other, *CERTIFICATES[1:]]))

    facts = verify(gpu, GpuEvidence(gpu.report(NONCE), chain))

    assert other != CERTIFICATES[0]
    assert facts.device == gpu.device


def pem(certificate: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + b64encode(certificate) + b"\n-----END CERTIFICATE-----\n"


@pytest.mark.slow
def test_flipped_bits_of_a_generated_report_are_refused() -> None:
    gpu = PaperGpu()
    evidence, roots = gpu.evidence(NONCE), Roots(nvidia=frozenset({gpu.root}))
    report = bytearray(evidence.report)

    # Every eleventh bit: in every byte but a few, and each place within a byte many times.
    for bit in range(0, len(report) * 8, 11):
        report[bit // 8] ^= 1 << bit % 8
        with pytest.raises(GpuRefused):
            verify_gpu(GpuEvidence(bytes(report), evidence.chain), now=NOW, roots=roots)
        report[bit // 8] ^= 1 << bit % 8
