"""What a machine shows to prove itself: the kinds of evidence, and their one spelling.

Evidence speaks for one key statement. The hardware signs 64 bytes of our choice, and those
are a hash of the statement (`report_data`), which names the network, the role, the keys and
the configuration. So evidence can be served by anybody, by its hash.

Spec: protocols/evidence.md.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated

from cocoon_p2p.errors import LocalProtocolError, MalformedMessage
from cocoon_p2p.identity import NetworkId, signed_bytes
from cocoon_p2p.protocols.ids import (
    EVENT_NAME_MAX_BYTES,
    EVENT_PAYLOAD_MAX_BYTES,
    EVENTS_MAX,
    EVIDENCE_SIZE_MAX_BYTES,
    GPU_CHAIN_SIZE_MAX_BYTES,
    GPU_REPORT_SIZE_MAX_BYTES,
    GPUS_MAX,
    TD_QUOTE_SIZE_MAX_BYTES,
)
from cocoon_p2p.protocols.messages import AText, AToken, Signed
from cocoon_p2p.protocols.schema import Key, Max, Size, decode_paper, encode_paper

TDX = "tdx-dcap-v4"
"A quote of an Intel TDX domain, version 4."

TDX_GPU = "tdx-dcap-v4+nvgpu"
"The same, and a report of every NVIDIA GPU that the engine uses."

SIM = "sim-INSECURE-v1"
"A stand-in of software for demos and tests. It proves nothing."

TYPES = frozenset({TDX, TDX_GPU, SIM})
SIM_WARNING = "NOT A TEE: a simulation in software, without any confidentiality"

REPORT_DATA_SIZE_BYTES = 64

# What a log may call an event. A colon would let two events have one digest (see `events`).
_EVENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class RuntimeEvent:
    """One extension of RTMR3 after boot, as the machine's log has it."""

    name: Annotated[str, Key(1), Max(EVENT_NAME_MAX_BYTES)]
    payload: Annotated[bytes, Key(2), Max(EVENT_PAYLOAD_MAX_BYTES)]


@dataclass(frozen=True, slots=True)
class GpuEvidence:
    """What one GPU signed, and who vouches for its key."""

    report: Annotated[bytes, Key(1), Max(GPU_REPORT_SIZE_MAX_BYTES)]
    "SPDM GET_MEASUREMENTS, request and response."

    chain: Annotated[bytes, Key(2), Max(GPU_CHAIN_SIZE_MAX_BYTES)]
    "Certificates in PEM, the device's first, NVIDIA's root last."


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence of any type. `decode_evidence` sees to it that the fields fit the type."""

    type: Annotated[AToken, Key(1)]
    events: Annotated[tuple[RuntimeEvent, ...], Key(2), Max(EVENTS_MAX)]
    "The log behind RTMR3, in order."

    gpus: Annotated[tuple[GpuEvidence, ...], Key(3), Max(GPUS_MAX)]
    quote: Annotated[bytes | None, Key(4), Max(TD_QUOTE_SIZE_MAX_BYTES)] = None
    simulated: Annotated[bytes | None, Key(5), Size(REPORT_DATA_SIZE_BYTES)] = None
    "Of a simulation: the report data that no hardware signed."

    warning: Annotated[AText | None, Key(6)] = None


def report_data(network: NetworkId, statement: Signed) -> bytes:
    """Give the 64 bytes that a quote must bear to speak for this statement."""
    return hashlib.sha512(signed_bytes("attest", network, statement.body)).digest()


def gpu_nonce(data: bytes) -> bytes:
    """Give the 32-byte nonce that a GPU must sign to belong to a quote with this report data."""
    return hashlib.sha256(b"cocoon/gpu-nonce/1\0" + data).digest()


def evidence_hash(evidence: bytes) -> bytes:
    """Name evidence, as `Record.evidence_hash` does."""
    return hashlib.sha256(evidence).digest()


def encode_evidence(evidence: Evidence) -> bytes:
    """Spell evidence.

    Raises:
        LocalProtocolError: A field is outside its bound, or does not belong to the type.
    """
    if (fault := _misfit(evidence)) is not None:
        raise LocalProtocolError(f"evidence: {fault}")
    encoded = encode_paper(evidence)
    if len(encoded) > EVIDENCE_SIZE_MAX_BYTES:
        raise LocalProtocolError(
            f"evidence: too long (size={len(encoded)} max={EVIDENCE_SIZE_MAX_BYTES} bytes)"
        )
    return encoded


def decode_evidence(data: bytes) -> Evidence:
    """Read evidence. Nothing of what it claims is checked.

    Raises:
        MalformedMessage: It is too long, not spelled as evidence is, of an unknown type, or has
            fields that its type has not, or lacks some.
    """
    if len(data) > EVIDENCE_SIZE_MAX_BYTES:
        raise MalformedMessage(f"evidence: too long (size={len(data)} max={EVIDENCE_SIZE_MAX_BYTES} bytes)")
    evidence = decode_paper(Evidence, data)
    if (fault := _misfit(evidence)) is not None:
        raise MalformedMessage(f"evidence: {fault}")
    return evidence


def _misfit(evidence: Evidence) -> str | None:
    """Say what does not fit the type, if anything."""
    if evidence.type not in TYPES:
        return f"unknown type {evidence.type!r}"
    is_simulated = evidence.type == SIM
    if (evidence.quote is None) is not is_simulated:
        return "a quote belongs to hardware, and to nothing else"
    if (evidence.simulated is not None) is not is_simulated:
        return "simulated report data belong to a simulation"
    if evidence.warning != (SIM_WARNING if is_simulated else None):
        return "a simulation bears its warning, and nothing else does"
    if bool(evidence.gpus) is not (evidence.type == TDX_GPU):
        return f"GPU reports belong to {TDX_GPU}"
    for event in evidence.events:
        if not _EVENT_NAME.fullmatch(event.name):
            return f"not the name of an event: {event.name!r}"
    return None
