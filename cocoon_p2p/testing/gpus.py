"""NVIDIA GPUs that exist on paper only: SPDM exchanges as a device signs them, under a root of ours.

gpu = PaperGpu(number=1)
evidence = gpu.evidence(gpu_nonce(report_data))
roots = Roots(nvidia=frozenset({gpu.root}))
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cocoon_p2p.attestation.evidence import GpuEvidence
from cocoon_p2p.testing.machines import ENDS, Holder, issue, paper_key

DRIVER = "550.90.07"
VBIOS = "96.00.9f.00.01"
_DICE = x509.ObjectIdentifier("2.23.133.5.4.1")


def _measured() -> dict[int, bytes]:
    return {index: hashlib.sha384(f"firmware {index}".encode()).digest() for index in range(1, 65)}


@dataclass(frozen=True, kw_only=True)
class PaperGpu:
    """A GPU and the authorities above its key."""

    number: int = 1
    driver: str = DRIVER
    measurements: Mapping[int, bytes] = field(default_factory=_measured)
    firmware_id: bytes = b"\xf1" * 48
    certified_firmware_id: bytes = b"\xf1" * 48
    "What the device's certificate names; otherwise the firmware was changed after its key was made."

    is_certified_by_authority: bool = True
    "Whether what stands above the device may sign certificates."

    authority_ends: datetime = ENDS
    path_length: int | None = None
    "How many authorities may stand below the root."

    is_forged: bool = False
    "Whether its certificate only names the authority above it, and another key signed it."

    @property
    def root(self) -> bytes:
        """SHA-256 of the root that must be passed to whoever is to believe this GPU."""
        return self._root.certificate.fingerprint(hashes.SHA256())

    @property
    def device(self) -> bytes:
        """SHA-256 of its public key: what a policy denies it by."""
        key = self._device.key.public_key()
        return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()

    def evidence(self, nonce: bytes) -> GpuEvidence:
        """Answer a nonce."""
        chain = "".join(holder.pem for holder in (self._device, self._middle, self._root))
        return GpuEvidence(self.report(nonce), chain.encode())

    def report(self, nonce: bytes) -> bytes:
        """Spell the exchange and sign it."""
        signed = bytes([0x11, 0xE0, 0x01, 0xFF]) + nonce + b"\0" + self._response()
        algorithm = ec.ECDSA(hashes.SHA384(), deterministic_signing=True)
        r, s = utils.decode_dss_signature(self._device.key.sign(signed, algorithm))
        return signed + r.to_bytes(48, "big") + s.to_bytes(48, "big")

    def _response(self) -> bytes:
        record = b"".join(
            bytes([index, 1]) + _sized(b"\1" + _sized(value)) for index, value in self.measurements.items()
        )
        opaque = (
            (3).to_bytes(2, "little")
            + _sized(self.driver.encode() + b"\0")
            + (6).to_bytes(2, "little")
            + _sized(bytes.fromhex("009f009601000000"))
            + (20).to_bytes(2, "little")
            + _sized(self.firmware_id)
        )
        head = bytes([0x11, 0x60, 0, 0, len(self.measurements)]) + len(record).to_bytes(3, "little")
        return head + record + b"\xab" * 32 + _sized(opaque)

    @cached_property
    def _root(self) -> Holder:
        return _issue("Paper Device Identity CA", None, is_authority=True, path_length=self.path_length)

    @cached_property
    def _middle(self) -> Holder:
        return _issue(
            "Paper GPU Provisioner",
            self._root,
            is_authority=self.is_certified_by_authority,
            ends=self.authority_ends,
        )

    @cached_property
    def _device(self) -> Holder:
        # The digest's object id and length, as DICE has them inside its structure.
        named = bytes.fromhex("06096086480165030402020430") + self.certified_firmware_id
        extension = x509.UnrecognizedExtension(_DICE, b"\x30" + bytes([len(named)]) + named)
        issuer = self._middle
        if self.is_forged:
            issuer = replace(issuer, key=paper_key("forger", ec.SECP384R1()))
        return _issue(f"Paper GPU {self.number}", issuer, is_authority=False, extensions=(extension,))


def _issue(name: str, issuer: Holder | None, *, is_authority: bool, **rest: Any) -> Holder:
    key = paper_key(name, ec.SECP384R1())
    return issue(name, key, issuer=issuer, is_authority=is_authority, digest=hashes.SHA384(), **rest)


def _sized(value: bytes) -> bytes:
    return len(value).to_bytes(2, "little") + value
