"""What is said in place of an answer, in the shape that OpenAI's errors have.

    {"error": {"message": ..., "type": ..., "param": ..., "code": ..., "cocoon": {...}}}

`code` is this project's own reason code (`no-capacity`), but where OpenAI has one that programs look
for. The status tells the SDK whether to try again, and `x-should-retry: false` that it must not,
because the failed try has cost something: trying again would cost it twice.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from cocoon_p2p.errors import (
    AnswerBroken,
    AttestationFailed,
    CocoonError,
    ConfigurationError,
    LocalProtocolError,
    Refused,
    RemoteProtocolError,
    Unavailable,
)

Headers = list[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")

_STATUSES = {
    "unknown-model": 404,
    "unsupported-kind": 400,
    "too-large": 400,
    "malformed": 400,
    "unknown-feature": 422,
    "trust-below-request": 422,
    "other-weights": 422,
    "price-above-limit": 402,
    "no-credit": 402,
    "deadline": 504,
}
"Of reason codes for which their error's class says too little."

_EMPTY_PURSE = "over-budget"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error, before it is spelled."""

    status: int
    message: str
    code: str
    param: str | None = None
    "The field that it is about."

    type: str = ""
    "OpenAI's; empty: as the status has it."

    retry_after: float | None = None
    "Seconds."

    must_not_retry: bool = False
    "Another try would be charged too, or cannot help."

    charged: int = 0
    "nanoTON."

    text: str = ""
    "What was delivered of an answer that broke off: it was paid for."

    headers: tuple[tuple[bytes, bytes], ...] = ()

    def body(self) -> bytes:
        """Spell it as JSON."""
        about: dict[str, Any] = {"charged": self.charged}
        if self.text:
            about["text"] = self.text
        if self.retry_after is not None:
            about["retry_after"] = self.retry_after
        error = {
            "message": self.message,
            "type": self.type or ("server_error" if self.status >= 500 else "invalid_request_error"),
            "param": self.param,
            "code": self.code,
            "cocoon": about,
        }
        return msgspec.json.encode({"error": error})

    def head(self) -> Headers:
        """Give the headers of a response that is nothing but this."""
        headers = [JSON, *self.headers]
        if self.retry_after is not None:
            # Whole seconds, and never too soon.
            headers.append((b"retry-after", b"%d" % math.ceil(self.retry_after)))
        if self.charged:
            headers.append((b"x-cocoon-cost", b"%d" % self.charged))
        if self.must_not_retry:
            headers.append((b"x-should-retry", b"false"))
        return headers


class RequestRefused(ConfigurationError):
    """A request that is answered with an error whatever the network would say.

    Attributes:
        refusal: What is said.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def invalid(message: str, *, param: str | None = None, status: int = 400) -> RequestRefused:
    """Refuse a request for what it says itself."""
    return RequestRefused(Refusal(status, message, "invalid-request", param))


def unsupported(param: str, why: str) -> RequestRefused:
    """Refuse a field that could only be ignored: whoever set it counts on it."""
    return RequestRefused(Refusal(400, f"`{param}` is not supported: {why}", "unsupported-parameter", param))


def refusal_of(error: CocoonError) -> Refusal:
    """Spell an error of the client's. What it was charged, and how much may be known of that, goes along."""
    if isinstance(error, RequestRefused):
        return error.refusal
    if error.code == _EMPTY_PURSE:
        return _empty_purse(error)
    charged = int(error.charged)
    hint = f" ({error.hint})" if error.hint else ""
    return Refusal(
        _status(error),
        f"{error}{hint}",
        error.code,
        retry_after=error.retry_after,
        # What began was paid for, and may still be where a settlement is missing.
        must_not_retry=bool(charged) or isinstance(error, AnswerBroken),
        charged=charged,
        text=error.text if isinstance(error, AnswerBroken) else "",
    )


def after_charges(refusal: Refusal, charged: int) -> Refusal:
    """Say of a refusal what was charged before it, by what it does not know of."""
    return replace(refusal, charged=charged, must_not_retry=True) if charged else refusal


FAULT = Refusal(500, "a fault of the gateway's; its log says more", "fault", must_not_retry=True)


def _empty_purse(error: CocoonError) -> Refusal:
    # OpenAI's own words: programs look for this code to tell an empty purse from a full house.
    hint = f" ({error.hint})" if error.hint else ""
    charged = int(error.charged)
    return Refusal(
        429,
        f"{error}{hint}",
        "insufficient_quota",
        type="insufficient_quota",
        retry_after=error.retry_after,
        must_not_retry=True,
        charged=charged,
    )


def _status(error: CocoonError) -> int:
    known = _STATUSES.get(error.code)
    if known is not None:
        return known
    match error:
        case ConfigurationError():
            return 400
        case AttestationFailed():
            return 422
        case Refused() | Unavailable():
            return 503
        case AnswerBroken() | RemoteProtocolError():
            return 502
        case LocalProtocolError():
            return 500
        case _:
            return 500
