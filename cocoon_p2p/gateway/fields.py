"""What is common to all bodies: how they are read, and what this project adds to OpenAI's fields.

A field that nobody knows is refused, as OpenAI does. One of OpenAI's that cannot be honoured here is
refused by its name; it is ignored only where the answer cannot depend on it.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec

from cocoon_p2p.client import Wishes, parse_trust
from cocoon_p2p.errors import ConfigurationError, RecordRejected
from cocoon_p2p.gateway.refusals import invalid, unsupported
from cocoon_p2p.identity import parse_peer_id
from cocoon_p2p.protocols.ids import NAME_MAX_BYTES, PEERS_MAX
from cocoon_p2p.protocols.schema import UINT_MAX
from cocoon_p2p.units import NANO_MAX

_PLACE = re.compile(r" - at `\$\.?(.*)`$")
_UNKNOWN = re.compile(r"unknown field `(.*)`$")

AName = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_MAX_BYTES)]
APositive = Annotated[int, msgspec.Meta(ge=1, le=UINT_MAX)]
APeer = Annotated[str, msgspec.Meta(max_length=64)]


LEFT_OUT = msgspec.Raw(b"null")
"""What a field of any type holds that nobody gave, or null was given for. Such fields are checked to be JSON
and not read: as objects, a body could take 25 times its size, for as long as its answer takes."""


class Fields(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Fields that every body may have."""

    model: AName
    user: msgspec.Raw = LEFT_OUT
    "Who asks, for OpenAI's own statistics: ignored."

    safety_identifier: msgspec.Raw = LEFT_OUT
    "The same."

    max_price: Annotated[int, msgspec.Meta(ge=1, le=NANO_MAX)] | None = None
    "What the whole answer may cost, in nanoTON, commission included."

    trust: str | None = None
    "What must be proven about the worker's machine."

    prefer: APeer | Annotated[list[APeer], msgspec.Meta(max_length=PEERS_MAX)] | None = None
    "Workers that are asked first, by their peer ids."


Body = TypeVar("Body", bound=Fields)


def read_json(kind: type[Body], body: bytes) -> Body:
    """Read a body.

    Raises:
        RequestRefused: It is no JSON, or a field is unknown, missing or of another type.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _invalid_field(str(error)) from None
    except msgspec.DecodeError as error:
        raise invalid(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise invalid("the body is nested too deeply") from None


def convert(kind: type[Body], fields: Mapping[str, Any]) -> Body:
    """Read fields that came in a form. Raises as `read_json` does."""
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise _invalid_field(str(error)) from None


def refuse_given(body: Fields, reasons: Mapping[str, str]) -> None:
    """Refuse a body that has one of these fields, and say why it cannot be honoured.

    Raises:
        RequestRefused: It has; null counts as left out, as with OpenAI.
    """
    for name, why in reasons.items():
        if is_given(getattr(body, name)):
            raise unsupported(name, why)


def is_given(value: object) -> bool:
    """Whether a field was given, as anything but null."""
    return value is not None and value != LEFT_OUT


def common_wishes(body: Fields) -> Wishes:
    """Read what this project adds, but for the price.

    Raises:
        RequestRefused: A trust level or a peer id is none.
    """
    wishes: Wishes = {}
    if body.trust is not None:
        try:
            wishes["trust"] = parse_trust(body.trust)
        except ConfigurationError as error:
            raise invalid(f"{error} ({error.hint})", param="trust") from None
    if body.prefer is not None:
        names = [body.prefer] if isinstance(body.prefer, str) else body.prefer
        try:
            wishes["prefer"] = [parse_peer_id(name) for name in names]
        except RecordRejected as error:
            raise invalid(str(error), param="prefer") from None
    return wishes


def _invalid_field(message: str) -> Exception:
    """Say what msgspec found, with the field's name where OpenAI's errors have it."""
    place = _PLACE.search(message)
    param = place.group(1) if place else None
    unknown = _UNKNOWN.search(_PLACE.sub("", message))
    if unknown:
        param = f"{param}.{unknown.group(1)}" if param else unknown.group(1)
        return invalid(f"unknown field: `{param}`", param=param)
    missing = re.search(r"missing required field `(.*)`$", _PLACE.sub("", message))
    if missing:
        param = f"{param}.{missing.group(1)}" if param else missing.group(1)
        return invalid(f"missing field: `{param}`", param=param)
    said = _PLACE.sub("", message)
    where = f"`{param}`: " if param else ""
    return invalid(f"{where}{said[0].lower()}{said[1:]}", param=param)
