"""NVIDIA GPU evidence: an SPDM exchange signed by the device, and the chain behind its key.

The exchange is GET_MEASUREMENTS of SPDM 1.1 with a signature: the request with the asker's
nonce (37 bytes), and the response with the measurements, the device's own nonce, NVIDIA's
opaque fields and an ECDSA P-384 signature over everything before it. Numbers are low byte
first, the signature's two are high byte first.

NVIDIA's own local verifier signs its tokens with a published secret, so a token is never
taken from a peer; only this evidence is.

Spec: DMTF DSP0274 1.1, section 10.11; field numbers from NVIDIA nvtrust.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cocoon_p2p.attestation.der import MALFORMED_DER
from cocoon_p2p.attestation.evidence import GpuEvidence
from cocoon_p2p.attestation.roots import Roots

_SPDM_1_1 = 0x11
_GET_MEASUREMENTS = 0xE0
_MEASUREMENTS = 0x60
_WITH_SIGNATURE = 0x01
_ALL_MEASUREMENTS = 0xFF
_REQUEST_SIZE_BYTES = 37
_NONCE_SIZE_BYTES = 32
SIGNATURE_SIZE_BYTES = 96
_DMTF_SPECIFICATION = 1

# Numbers of NVIDIA's opaque fields.
_DRIVER_VERSION = 3
_VBIOS_VERSION = 6
_FIRMWARE_ID = 20

_CHAIN_MAX = 8
"Certificates; a device's chain has five."

# DICE: the extension of a device's certificate that names the firmware its key was made for,
# and a SHA-384 digest as it stands in there (FWID: object id, then 48 bytes).
_DICE_TCB_INFO = x509.ObjectIdentifier("2.23.133.5.4.1")
_SHA384_FIRMWARE_ID = bytes.fromhex("06096086480165030402020430")


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """What a verified report says of one GPU. All of it is signed."""

    device: bytes
    """SHA-256 of the public key that signed: which GPU it is. Not of its certificate, whose signature
    anybody can turn into another one that holds."""

    nonce: bytes
    driver: str
    vbios: str
    measurements: dict[int, bytes]
    "By index, from 1."


# A time beyond the calendar is reported as a fault of the system's.
_MALFORMED: tuple[type[Exception], ...] = (*MALFORMED_DER, OSError)


class GpuRefused(Exception):
    """A report is not genuine, or not well formed. Never leaves this room."""


def verify_gpu(evidence: GpuEvidence, *, now: float, roots: Roots) -> GpuFacts:
    """Verify one GPU's report and chain. Whose nonce it bears is the caller's to compare.

    Args:
        evidence: As a peer sent it.
        now: Seconds since the Unix epoch.
        roots: One of `roots.nvidia` must end the chain.

    Raises:
        GpuRefused: A signature is false, a certificate is no authority or out of its dates, the
            chain does not end in a known root, or a byte is not where it belongs.
    """
    try:
        chain = _read_chain(evidence.chain, roots)
        # The cheaper check first: a false report costs one signature, not four.
        _check_signature(chain[0], evidence.report)
        _check_chain(chain, datetime.fromtimestamp(now, UTC))
        return _read_report(evidence.report, chain[0])
    except InvalidSignature:
        raise GpuRefused("a signature does not hold") from None
    except _MALFORMED as exc:
        raise GpuRefused(f"{exc!s:.120}") from exc


# ---------------------------------------------------------------- the chain


def _read_chain(pem: bytes, roots: Roots) -> list[x509.Certificate]:
    if pem.count(b"-----BEGIN") > _CHAIN_MAX:
        raise GpuRefused(f"too many certificates (max={_CHAIN_MAX})")
    chain = x509.load_pem_x509_certificates(pem)
    if chain[-1].fingerprint(hashes.SHA256()) not in roots.nvidia:
        raise GpuRefused("the chain does not end in NVIDIA's root")
    return chain


def _check_chain(chain: list[x509.Certificate], moment: datetime) -> None:
    for depth, (certificate, issuer) in enumerate(pairwise(chain)):
        if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
            raise GpuRefused("a certificate is out of its dates")
        certificate.verify_directly_issued_by(issuer)
        authority = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
        if not (authority.ca and usage.key_cert_sign):
            raise GpuRefused("a certificate is signed by none that may sign any")
        if authority.path_length is not None and authority.path_length < depth:
            raise GpuRefused("the chain is longer than an authority in it allows")


def _check_signature(device: x509.Certificate, report: bytes) -> None:
    key = device.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise GpuRefused("the device's key is not of P-384")
    signature = report[-SIGNATURE_SIZE_BYTES:]
    half = SIGNATURE_SIZE_BYTES // 2
    r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
    der = utils.encode_dss_signature(r, s)
    key.verify(der, report[:-SIGNATURE_SIZE_BYTES], ec.ECDSA(hashes.SHA384()))


# ---------------------------------------------------------------- the report


def _read_report(report: bytes, device: x509.Certificate) -> GpuFacts:
    request, response = _Bytes(report[:_REQUEST_SIZE_BYTES]), _Bytes(report[_REQUEST_SIZE_BYTES:])
    if request.take(4) != bytes([_SPDM_1_1, _GET_MEASUREMENTS, _WITH_SIGNATURE, _ALL_MEASUREMENTS]):
        raise GpuRefused("not a request for all measurements, signed")
    nonce = request.take(_NONCE_SIZE_BYTES)
    if response.take(2) != bytes([_SPDM_1_1, _MEASUREMENTS]):
        raise GpuRefused("not a response with measurements")
    response.take(2)
    count = response.number(1)
    measurements = dict(_read_measurements(_Bytes(response.take(response.number(3))), count))
    response.take(_NONCE_SIZE_BYTES)
    opaque = dict(_read_opaque(_Bytes(response.take(response.number(2)))))
    if len(response) != SIGNATURE_SIZE_BYTES:
        raise GpuRefused("bytes between the fields and the signature")
    _check_firmware(device, opaque.get(_FIRMWARE_ID))
    return GpuFacts(
        device=_key_hash(device),
        nonce=nonce,
        driver=_spell_driver(opaque.get(_DRIVER_VERSION, b"")),
        vbios=_spell_vbios(opaque.get(_VBIOS_VERSION, b"")),
        measurements=measurements,
    )


def _read_measurements(record: "_Bytes", count: int) -> Iterator[tuple[int, bytes]]:
    seen: set[int] = set()
    for _ in range(count):
        index, specification = record.number(1), record.number(1)
        block = _Bytes(record.take(record.number(2)))
        block.take(1)
        value = block.take(block.number(2))
        if specification != _DMTF_SPECIFICATION or len(block) or index in seen:
            raise GpuRefused(f"not a measurement (index={index})")
        seen.add(index)
        yield index, value
    if len(record):
        raise GpuRefused("more measurements than were announced")


def _read_opaque(fields: "_Bytes") -> Iterator[tuple[int, bytes]]:
    seen: set[int] = set()
    while len(fields):
        number = fields.number(2)
        if number in seen:
            raise GpuRefused(f"a field stands twice (field={number})")
        seen.add(number)
        yield number, fields.take(fields.number(2))


def _check_firmware(device: x509.Certificate, firmware_id: bytes | None) -> None:
    """See that the key was made for the firmware that signs, where the certificate names one."""
    named = [found for extension in device.extensions for found in _firmware_ids(extension)]
    if named and firmware_id not in named:
        raise GpuRefused("the certificate is for other firmware")


def _firmware_ids(extension: x509.Extension[x509.ExtensionType]) -> Iterable[bytes]:
    if extension.oid == _DICE_TCB_INFO and isinstance(extension.value, x509.UnrecognizedExtension):
        for tail in extension.value.value.split(_SHA384_FIRMWARE_ID)[1:]:
            yield tail[:48]


def _key_hash(device: x509.Certificate) -> bytes:
    key = device.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).digest()


def _spell_driver(field: bytes) -> str:
    return field.rstrip(b"\0").decode("ascii", "replace")


def _spell_vbios(field: bytes) -> str:
    """Spell a version as NVIDIA's tools do: four bytes from the high one down, then the fifth."""
    return ".".join(f"{byte:02x}" for byte in (*field[3::-1], *field[4:5]))


class _Bytes:
    """Bytes that are taken from the front. Raises `GpuRefused` where there are too few."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    def __len__(self) -> int:
        return len(self._data)

    def take(self, size: int) -> bytes:
        if size > len(self._data):
            raise GpuRefused(f"cut short (wanted={size} left={len(self._data)} bytes)")
        taken, self._data = bytes(self._data[:size]), self._data[size:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")
