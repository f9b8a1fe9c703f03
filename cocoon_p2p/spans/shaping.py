"""What of an exchange goes into a span: when it began and ended, what it came to, and never a word of it.

An exchange's id has 16 bytes, as a trace's has. So the client's, the proxy's and the worker's spans of one
exchange are one trace wherever they meet, and nothing travels with a request for that. Their own ids
follow from the exchange and the role: who goes on with an answer can name the span of the broken one.

None is the parent of another. Mostly one collector sees one node's spans alone, and a parent that never
comes makes each of them a trace without a beginning.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.journal import Entry

NAME = "exchange"
BEGINNING = "first token"

_FINE = ("finished", "cancelled")


@dataclass(frozen=True, slots=True)
class SpanId:
    """Which span of which trace."""

    trace: int
    span: int


@dataclass(frozen=True, slots=True)
class Link:
    """Another exchange for the same answer."""

    to: SpanId
    why: str
    "`continues` or `beside`."


@dataclass(frozen=True, slots=True)
class Shape:
    """One span. Times are in nanoseconds since the Unix epoch."""

    id: SpanId
    began: int
    ended: int
    first_token: int | None
    attributes: dict[str, str | int]
    links: tuple[Link, ...]
    error: str
    "Empty where it was finished or cancelled."


def shape(entry: Entry) -> Shape | None:
    """Shape an exchange's span; None for an id that no trace can have (a client of its own making: 0)."""
    if not any(entry.exchange):
        return None
    began = _nanoseconds(entry.began_at)
    first = entry.first_token_seconds
    error = "" if entry.outcome in _FINE else entry.outcome
    attributes: dict[str, str | int] = {
        "cocoon.role": entry.role,
        "cocoon.outcome": entry.outcome,
        "cocoon.income_nanoton": entry.income,
        "cocoon.expense_nanoton": entry.expense,
        # Names of OpenTelemetry's own conventions, which dashboards for other engines know too.
        "gen_ai.request.model": entry.model,
        "gen_ai.usage.input_tokens": entry.prompt_tokens,
        "gen_ai.usage.output_tokens": entry.completion_tokens,
    }
    if entry.peer:
        attributes["cocoon.peer"] = peer_id_text(PeerId(entry.peer))
    if error:
        attributes["error.type"] = error
    return Shape(
        id=_id_of(entry.exchange, entry.role),
        began=began,
        ended=began + _nanoseconds(entry.seconds),
        first_token=None if first is None else began + _nanoseconds(first),
        attributes=attributes,
        links=tuple(_links(entry)),
        error=error,
    )


def _links(entry: Entry) -> Iterator[Link]:
    for other, why in ((entry.continues, "continues"), (entry.beside, "beside")):
        if other is not None and any(other):
            yield Link(_id_of(other, entry.role), why)


def _id_of(exchange: bytes, role: str) -> SpanId:
    digest = hashlib.sha256(role.encode() + exchange).digest()
    return SpanId(int.from_bytes(exchange), int.from_bytes(digest[:8]) or 1)


def _nanoseconds(seconds: float) -> int:
    # By a clock that was set back an exchange may have begun before the epoch, which spoils a whole batch.
    return max(0, int(seconds * 1_000_000_000))
