r"""What goes over a control socket: JSON, one object a line.

    {"do": "look", "address": "0:..."}                    a request; "do" names the verb
    {"reply": {"balance": 5000000000}}                    none, one, or, to a feed, many
    {"end": true}                                         the answer is complete
    {"error": {"kind": "Unavailable", "message": ...}}    or it ends here, and why

A request may follow another once that one's answer has ended. During a feed's answer anything
that is sent, and a hang-up too, ends the feed.
"""

import inspect
from typing import cast

import msgspec

from cocoon_p2p import errors
from cocoon_p2p.errors import CocoonError
from cocoon_p2p.units import Nano

REQUEST_MAX_BYTES = 64 * 1024
"Requests are a verb and a few words."

REPLY_MAX_BYTES = 16 * 1024 * 1024
"Some 40,000 channels. What can be longer belongs into a feed."

_KINDS = {
    name: kind for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, CocoonError)
}


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """A `CocoonError` on its way to the one who asked."""

    kind: str
    "The name of its class in `errors`."

    message: str
    code: str
    hint: str = ""
    charged: int = 0
    retry_after: float | None = None
    more: dict[str, bool | int | str | list[str] | None] = {}
    "What its class knows beyond that."


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of an answer: exactly one of these."""

    reply: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: Fault | None = None
    end: bool = False


def encode_reply(reply: object) -> bytes:
    """Spell a reply as a line."""
    return _encode(Line(reply=msgspec.Raw(msgspec.json.encode(reply))))


def encode_error(error: CocoonError) -> bytes:
    """Spell an error as the line that ends an answer.

    A class that is not of `errors` is taken for its nearest ancestor there.
    """
    kind = next(base for base in type(error).__mro__ if base.__name__ in _KINDS)
    known = {"code", "hint", "charged", "retry_after"}
    more = {name: _plain(value) for name, value in vars(error).items() if name not in known}
    fault = Fault(
        kind=kind.__name__,
        message=_text(str(error)),
        code=error.code,
        hint=_text(error.hint),
        charged=error.charged,
        retry_after=error.retry_after,
        more=more,
    )
    return _encode(Line(error=fault))


def _plain(value: object) -> int | str | list[str] | None:
    """Give an attribute in JSON's types; None for one that stays behind."""
    if isinstance(value, tuple):
        return [_text(str(item)) for item in cast("tuple[object, ...]", value)]
    return _text(value) if isinstance(value, str) else value if isinstance(value, int) else None


def _text(text: str) -> str:
    # A file's name can hold what is no Unicode text, and an error can hold a file's name.
    return text.encode("utf-8", "replace").decode()


def encode_end() -> bytes:
    """Spell the line that ends an answer."""
    return _encode(Line(end=True))


def _encode(line: Line) -> bytes:
    return msgspec.json.encode(line) + b"\n"


def decode_line(line: bytes) -> Line:
    """Read one line of an answer.

    Raises:
        ValueError: It is none, or has no end.
    """
    if not line.endswith(b"\n"):
        raise ValueError("the answer broke off" if len(line) <= REPLY_MAX_BYTES else "the answer is too long")
    return msgspec.json.decode(line, type=Line)


def error_of(fault: Fault) -> CocoonError:
    """Make the error again that was raised in the other process."""
    kind = _KINDS.get(fault.kind, CocoonError)
    # Classes differ in what they are made from; what they hold is the same.
    error = kind.__new__(kind, fault.message)
    CocoonError.__init__(
        error, fault.message, hint=fault.hint, charged=Nano(fault.charged), retry_after=fault.retry_after
    )
    error.code = fault.code
    for name, value in fault.more.items():
        setattr(error, name, tuple(value) if isinstance(value, list) else value)
    return error
