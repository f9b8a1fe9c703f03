"""A policy's text: the vocabulary of the TOML file, and nothing outside of it.

Every default stands beside its key and is the strict one. A key that is not in the vocabulary
is an error: a misspelt rule would be no rule.

Spec: protocols/evidence.md (The policy file).
"""

import tomllib
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from cocoon_p2p.attestation.evidence import TDX, TDX_GPU, TYPES
from cocoon_p2p.attestation.policy import (
    ATTRIBUTES_DEBUG,
    PROTECTION_KEYS,
    SEPT_VE_DISABLE,
    STATUSES,
    UP_TO_DATE,
    GpuFirmware,
    Image,
    Policy,
)
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import network_id
from cocoon_p2p.protocols.ids import Role

_Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{96}$")]
_Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
_PlatformId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$")]
_Hex = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{2})*$")]
_Line = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Cap = Annotated[int, msgspec.Meta(ge=1, le=2**31)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file."""


class _Tcb(_Table, frozen=True, kw_only=True):
    statuses: tuple[str, ...] = (UP_TO_DATE,)
    refused_advisories: tuple[_Line, ...] = ()
    evaluation_minimum: _Count = 0


class _Attributes(_Table, frozen=True, kw_only=True):
    required: _Hex = SEPT_VE_DISABLE.to_bytes(8, "big").hex()
    "Eight bytes, high one first."

    allowed: _Hex = (SEPT_VE_DISABLE | PROTECTION_KEYS).to_bytes(8, "big").hex()


class _Platforms(_Table, frozen=True, kw_only=True):
    allowed: list[_PlatformId] | None = None
    denied: list[_PlatformId] = []
    peers_max: _Cap | None = None


class _Image(_Table, frozen=True, kw_only=True):
    name: _Line
    build: _Line
    role: Literal["worker", "proxy"]
    mrtd: _Digest
    rtmr0: _Digest
    rtmr1: _Digest
    rtmr2: _Digest
    mr_config_id: _Digest = "00" * 48
    events: dict[_Line, list[_Hex] | Literal["any"]] = {}


class _Gpu(_Table, frozen=True, kw_only=True):
    name: _Line
    driver: _Line
    vbios: _Line
    measurements: dict[Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,3}$")], list[_Digest]]


class _Gpus(_Table, frozen=True, kw_only=True):
    required: bool = False
    denied: list[_Hash] = []
    firmware: list[_Gpu] = []


class _Text(_Table, frozen=True, kw_only=True):
    network: str
    epoch: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    expires: Annotated[datetime, msgspec.Meta(tz=True)]
    accept: tuple[str, ...] = (TDX, TDX_GPU)
    allow_insecure: bool = False
    proxies: Literal["attested", "any"] = "attested"
    log_levels: tuple[_Line, ...] = ("info", "warning", "error")
    tcb: _Tcb = _Tcb()
    attributes: _Attributes = _Attributes()
    platforms: _Platforms = _Platforms()
    gpus: _Gpus = _Gpus()
    image: list[_Image] = []


def read_text(text: str, digest: bytes) -> Policy:
    """Read a policy's text; `digest` is the name of what was signed.

    Raises:
        ValueError: It is no TOML, has a key that is no part of the vocabulary or lacks one, or a
            value that cannot be. The text says which.
    """
    try:
        # Dates stay dates; there are no floats in the vocabulary, so no NaN.
        return _policy(msgspec.convert(tomllib.loads(text), _Text), digest)
    except (ConfigurationError, RecursionError, OverflowError) as exc:
        raise ValueError(f"{exc!s:.200}") from exc


def _policy(text: _Text, digest: bytes) -> Policy:
    _check_known("accept", text.accept, TYPES)
    _check_known("tcb.statuses", text.tcb.statuses, STATUSES)
    required, allowed = _mask(text.attributes.required), _mask(text.attributes.allowed)
    if allowed & ATTRIBUTES_DEBUG:
        raise ValueError("attributes.allowed: a debuggable machine can never be allowed")
    platforms, gpus = text.platforms, text.gpus
    return Policy(
        network=network_id(text.network),
        epoch=text.epoch,
        expires=text.expires.timestamp(),
        digest=digest,
        accept=frozenset(text.accept),
        allow_insecure=text.allow_insecure,
        images=tuple(map(_image, text.image)),
        statuses=frozenset(text.tcb.statuses),
        refused_advisories=frozenset(text.tcb.refused_advisories),
        evaluation_minimum=text.tcb.evaluation_minimum,
        attributes_required=required,
        attributes_allowed=allowed | required,
        platforms_allowed=None
        if platforms.allowed is None
        else frozenset(map(bytes.fromhex, platforms.allowed)),
        platforms_denied=frozenset(map(bytes.fromhex, platforms.denied)),
        peers_per_platform=platforms.peers_max,
        is_gpu_required=gpus.required,
        gpus=tuple(map(_firmware, gpus.firmware)),
        gpus_denied=frozenset(map(bytes.fromhex, gpus.denied)),
        log_levels=frozenset(text.log_levels),
        are_proxies_attested=text.proxies == "attested",
    )


def _image(text: _Image) -> Image:
    return Image(
        name=text.name,
        build=text.build,
        role=Role[text.role.upper()],
        mrtd=bytes.fromhex(text.mrtd),
        rtmr0=bytes.fromhex(text.rtmr0),
        rtmr1=bytes.fromhex(text.rtmr1),
        rtmr2=bytes.fromhex(text.rtmr2),
        mr_config_id=bytes.fromhex(text.mr_config_id),
        events={
            name: None if payloads == "any" else frozenset(map(bytes.fromhex, payloads))
            for name, payloads in text.events.items()
        },
    )


def _firmware(text: _Gpu) -> GpuFirmware:
    if not text.measurements:
        raise ValueError(f"gpus.firmware {text.name!r}: no measurement is listed, so nothing is accepted")
    return GpuFirmware(
        name=text.name,
        driver=text.driver,
        vbios=text.vbios,
        measurements={
            int(index): frozenset(map(bytes.fromhex, digests)) for index, digests in text.measurements.items()
        },
    )


def _check_known(what: str, words: tuple[str, ...], known: frozenset[str]) -> None:
    if unknown := sorted(set(words) - known):
        raise ValueError(f"{what}: unknown {unknown[0][:64]!r} (known: {', '.join(sorted(known))})")


def _mask(text: str) -> int:
    if len(text) != 16:
        raise ValueError("an attribute mask has 8 bytes, as 16 hexadecimal digits")
    return int(text, 16)
