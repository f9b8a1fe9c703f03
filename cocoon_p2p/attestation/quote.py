"""A quote of an Intel TDX domain: verified by dcap-qvl, read into facts.

dcap-qvl checks the certificate chains, revocation lists, signatures and dates, and finds the
state of the platform. It is no policy: every state but Revoked passes, no measurement and no
report data are looked at. That is `judgement`'s part.

Spec: Intel TDX DCAP Quoting Library API, appendix A.3 (quote version 4).
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import dcap_qvl

from cocoon_p2p.attestation.collateral import Collateral, Platform
from cocoon_p2p.attestation.verdict import Cause, Fault
from cocoon_p2p.errors import LocalProtocolError

HEADER_SIZE_BYTES = 48
BODY_SIZE_BYTES = 584
SIGNED_SIZE_BYTES = HEADER_SIZE_BYTES + BODY_SIZE_BYTES
"Header and body of a TD: what the quoting key signs."

_PREFIX_SIZE_BYTES = SIGNED_SIZE_BYTES + 4
_VERSION = 4
_TEE_TDX = 0x81
_ATTRIBUTES_AT = HEADER_SIZE_BYTES + 120
_RTMR3_AT = HEADER_SIZE_BYTES + 472
_REPORT_DATA_AT = HEADER_SIZE_BYTES + 520


@dataclass(frozen=True, slots=True)
class TdFacts:
    """What a verified quote says of a TD and its platform. All of it is signed."""

    mrtd: bytes
    rtmrs: tuple[bytes, bytes, bytes, bytes]
    mr_config_id: bytes
    mr_owner: bytes
    "Owner and owner's configuration, one after the other, 96 bytes."

    attributes: int
    report_data: bytes
    status: str
    advisories: tuple[str, ...]
    evaluation_number: int
    "The lower of the platform's and the quoting enclave's."

    platform: bytes
    fmspc: str
    collateral_expires: float


class QuoteRefused(Exception):
    """A quote is not genuine, or cannot be shown to be. Never leaves this room."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.detail)
        self.fault = fault


def trim_quote(quote: bytes) -> bytes:
    """Cut off what a kernel or a file has behind a quote; bytes that are no TDX quote stay as they are."""
    if len(quote) < _PREFIX_SIZE_BYTES or not _is_tdx_v4(quote):
        return quote
    return quote[: _PREFIX_SIZE_BYTES + int.from_bytes(quote[SIGNED_SIZE_BYTES:_PREFIX_SIZE_BYTES], "little")]


def claimed_report_data(quote: bytes) -> bytes:
    """Read the report data that a TDX quote claims, unverified. Empty when it is too short."""
    return quote[_REPORT_DATA_AT:SIGNED_SIZE_BYTES] if len(quote) >= SIGNED_SIZE_BYTES else b""


def claimed_rtmr3(quote: bytes) -> bytes:
    """Read the RTMR3 that a TDX quote claims, unverified. Empty when it is too short."""
    return quote[_RTMR3_AT:_REPORT_DATA_AT] if len(quote) >= SIGNED_SIZE_BYTES else b""


def claimed_platform(quote: bytes) -> Platform | None:
    """Read for which kind of platform a quote needs lists, unverified; None where it does not say."""
    try:
        parsed = dcap_qvl.parse_quote(quote)
        return Platform(parsed.fmspc().lower(), parsed.ca())
    except ValueError:
        return None


def verify_quote(quote: bytes, collateral: Collateral, *, now: float, root_der: bytes | None) -> TdFacts:
    """Verify a quote under a root.

    Args:
        quote: As a peer sent it, without anything behind it.
        collateral: Intel's lists, from anywhere: they are verified too.
        now: Seconds since the Unix epoch.
        root_der: The root certificate; None is Intel's, inside dcap-qvl.

    Raises:
        QuoteRefused: With the reason: another kind of quote, a false signature, a revoked
            certificate, collateral that is stale or of another platform, a debuggable TD.
    """
    # Written so that a time that is no number is none either.
    if not 0 <= now < 2**62:
        raise LocalProtocolError(f"not a time (now={now})")
    _check_kind(quote)
    try:
        claims = _claims(quote, collateral.text, int(now), root_der)
    except ValueError as exc:
        raise QuoteRefused(_fault(quote, collateral, str(exc), now=now)) from exc
    if "TD10" not in claims["report"]:
        raise QuoteRefused(Fault(Cause.WRONG_KIND, "not a TD report of version 1.0"))
    return _facts(claims)


def _check_kind(quote: bytes) -> None:
    if len(quote) < _PREFIX_SIZE_BYTES or not _is_tdx_v4(quote):
        version, tee = int.from_bytes(quote[:2], "little"), int.from_bytes(quote[4:8], "little")
        raise QuoteRefused(Fault(Cause.WRONG_KIND, f"version={version} tee={tee:#x} size={len(quote)} bytes"))
    # Unsigned bytes behind a quote would give one quote many hashes, and room for anything.
    if len(trim_quote(quote)) != len(quote) or len(quote) == _PREFIX_SIZE_BYTES:
        raise QuoteRefused(Fault(Cause.QUOTE_INVALID, "its length is not what it says"))


def _is_tdx_v4(quote: bytes) -> bool:
    return int.from_bytes(quote[:2], "little") == _VERSION and (
        int.from_bytes(quote[4:8], "little") == _TEE_TDX
    )


# dcap-qvl's stubs are not marked as such for mypy: what comes out of it is read with care in `_facts`.
def _claims(quote: bytes, collateral: str, now: int, root_der: bytes | None) -> Any:
    policy = dcap_qvl.QuotePolicy.claims_only(now)
    return json.loads(
        _verifier(root_der).verify_with_policy(quote, _parsed(collateral), now, policy).to_json()
    )


@lru_cache(maxsize=4)
def _verifier(root_der: bytes | None) -> Any:
    return dcap_qvl.QuoteVerifier(root_der)


@lru_cache(maxsize=32)
def _parsed(collateral: str) -> Any:
    return dcap_qvl.QuoteCollateralV3.from_json(collateral)


def _fault(quote: bytes, collateral: Collateral, words: str, *, now: float) -> Fault:
    """Find the cause behind the library's words, by what can be seen without them where possible."""
    detail = words.partition("\n")[0].removeprefix("Verification failed: ")[:160]
    if not collateral.issued <= now < collateral.expires:
        return Fault(Cause.COLLATERAL_STALE, detail)
    if "status is invalid: Revoked" in words:
        return Fault(Cause.TCB_STATUS, "status=Revoked")
    # Some attributes are its business too (`DEBUG`, `SEPT_VE_DISABLE is not enabled`). The bits are not
    # verified here, but who lies about them is refused all the same.
    if words.endswith((" is enabled", " is not enabled")):
        attributes = f"attributes={quote[_ATTRIBUTES_AT : _ATTRIBUTES_AT + 8].hex()}: {detail}"
        return Fault(Cause.DEBUG if quote[_ATTRIBUTES_AT] else Cause.ATTRIBUTES, attributes)
    return Fault(Cause.QUOTE_INVALID, detail)


def _facts(claims: Any) -> TdFacts:
    body, tcb, pck = claims["report"]["TD10"], claims["tcb"], claims["platform"]["pck"]

    def read(name: str) -> bytes:
        return bytes.fromhex(body[name])

    return TdFacts(
        mrtd=read("mr_td"),
        rtmrs=(read("rt_mr0"), read("rt_mr1"), read("rt_mr2"), read("rt_mr3")),
        mr_config_id=read("mr_config_id"),
        mr_owner=read("mr_owner") + read("mr_owner_config"),
        attributes=int.from_bytes(read("td_attributes"), "little"),
        report_data=read("report_data"),
        status=tcb["status"],
        advisories=tuple(tcb["advisory_ids"]),
        evaluation_number=min(tcb["eval_data_number"], claims["qe"]["tcb_eval_data_number"]),
        platform=bytes(pck["ppid"]),
        fmspc=bytes(pck["fmspc"]).hex(),
        collateral_expires=float(
            min(claims["earliest_expiration_date"], claims["qe_iden_earliest_expiration_date"])
        ),
    )
