"""Collateral: Intel's lists of what is revoked and what is out of date, from any mirror or peer.

Whoever serves it is not trusted: every part is signed under Intel's root and dcap-qvl checks
it together with a quote. What a mirror could still do is serve an old list; so the newest
issue date that was ever *verified* is kept, and an older list never replaces it.

Spec: Intel PCS API v4 (TCB info, QE identity, PCK and root CRL).
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn, cast

from cryptography import x509
from cryptography.x509.oid import NameOID

from cocoon_p2p.attestation.der import MALFORMED_DER
from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.protocols.ids import COLLATERAL_SIZE_MAX_BYTES

_FIELDS = frozenset(
    {
        "pck_crl_issuer_chain",
        "root_ca_crl",
        "pck_crl",
        "tcb_info_issuer_chain",
        "tcb_info",
        "tcb_info_signature",
        "qe_identity_issuer_chain",
        "qe_identity",
        "qe_identity_signature",
    }
)
# dcap-qvl's own tools write this one too: the certificates of one quote. They are not used.
_FIELDS_IGNORED = frozenset({"pck_certificate_chain"})


# Hostile JSON is reported through several built-in types.
_MALFORMED: tuple[type[Exception], ...] = (*MALFORMED_DER, KeyError, RecursionError)


@dataclass(frozen=True, slots=True)
class Platform:
    """A kind of platform, as far as it decides which lists are needed."""

    fmspc: str
    "12 hexadecimal digits, lower case."

    authority: str
    "Who certified it, and lists those that are revoked: `platform` or `processor`."


@dataclass(frozen=True, slots=True)
class Collateral:
    """One set of lists, read but not verified: dates here are what it claims."""

    text: str = field(repr=False)
    "As it came, in dcap-qvl's JSON."

    platform: Platform
    evaluation_number: int
    dates: tuple[float, ...]
    "When TCB info, QE identity, PCK CRL and root CRL were issued, in seconds since the Unix epoch."

    expires: float
    "When the first of them wants to be replaced."

    @property
    def issued(self) -> float:
        """When the last of them was issued; before that none of this can have been."""
        return max(self.dates)


def read_collateral(data: bytes) -> Collateral:
    """Read collateral in dcap-qvl's JSON.

    Raises:
        MalformedMessage: It is too long, no such JSON, or a date in it is none.
    """
    if len(data) > COLLATERAL_SIZE_MAX_BYTES:
        raise MalformedMessage(
            f"collateral: too long (size={len(data)} max={COLLATERAL_SIZE_MAX_BYTES} bytes)"
        )
    try:
        text = data.decode()
        fields = _read_object(text)
        if not _FIELDS <= set(fields) <= _FIELDS | _FIELDS_IGNORED:
            raise ValueError("other fields than collateral has")
        for name in fields:
            _text(fields, name)
        tcb, identity = _read_object(_text(fields, "tcb_info")), _read_object(_text(fields, "qe_identity"))
        pck, root = (_read_crl(_text(fields, name)) for name in ("pck_crl", "root_ca_crl"))
        begins = (_instant(tcb, "issueDate"), _instant(identity, "issueDate"), pck[0], root[0])
        ends = (_instant(tcb, "nextUpdate"), _instant(identity, "nextUpdate"), pck[1], root[1])
        return Collateral(
            text=text,
            platform=Platform(_fmspc(tcb), pck[2]),
            evaluation_number=_evaluation_number(tcb),
            dates=begins,
            expires=min(ends),
        )
    except _MALFORMED as exc:
        raise MalformedMessage(f"collateral: {type(exc).__name__}: {exc!s:.120}") from exc


def is_newer(new: Collateral, than: Collateral) -> bool:
    """Say whether `new` may replace `than`: no part of it is older, and some part is newer."""
    if new.platform != than.platform or new.evaluation_number < than.evaluation_number:
        return False
    pairs = tuple(zip(new.dates, than.dates, strict=True))
    return all(ours >= theirs for ours, theirs in pairs) and new.dates != than.dates


def _read_object(text: str) -> dict[str, Any]:
    value: object = json.loads(text, object_pairs_hook=_reject_twice, parse_constant=_reject_constant)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return cast("dict[str, Any]", value)


def _reject_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that stands twice: two readers would take two values."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice")
    return result


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"not a number: {name}")


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    return value


def _instant(fields: dict[str, Any], name: str) -> float:
    moment = datetime.fromisoformat(_text(fields, name))
    if moment.tzinfo is None:
        raise ValueError(f"{name} has no time zone")
    return moment.timestamp()


def _fmspc(fields: dict[str, Any]) -> str:
    fmspc = bytes.fromhex(_text(fields, "fmspc"))
    if len(fmspc) != 6:
        raise ValueError("fmspc has 6 bytes")
    return fmspc.hex()


def _evaluation_number(fields: dict[str, Any]) -> int:
    number = fields["tcbEvaluationDataNumber"]
    if type(number) is not int:
        raise ValueError("the evaluation number is no integer")
    return number


def _read_crl(text: str) -> tuple[float, float, str]:
    """Read when a list was issued, when the next one is due, and which authority it is of."""
    crl = x509.load_der_x509_crl(bytes.fromhex(text))
    if crl.next_update_utc is None:
        raise ValueError("a list without an end")
    names = crl.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    authority = "processor" if any("Processor" in str(name.value) for name in names) else "platform"
    return crl.last_update_utc.timestamp(), crl.next_update_utc.timestamp(), authority
