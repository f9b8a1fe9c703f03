"""Whom all of this rests on: the roots of the makers of the hardware.

They are constants. A test may pass others as an argument; no file, key or variable can.
"""

from dataclasses import dataclass

NVIDIA_DEVICE_IDENTITY_CA = bytes.fromhex("102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48")
"SHA-256 of NVIDIA's root certificate for devices, as published in nvtrust (verifier_device_root.pem)."


@dataclass(frozen=True, slots=True)
class Roots:
    """Roots to appraise under."""

    intel_der: bytes | None = None
    "A root certificate in DER; None is Intel's SGX root CA, which is part of dcap-qvl."

    nvidia: frozenset[bytes] = frozenset({NVIDIA_DEVICE_IDENTITY_CA})
    "SHA-256 of root certificates; a chain brings its own copy."


VENDOR_ROOTS = Roots()
