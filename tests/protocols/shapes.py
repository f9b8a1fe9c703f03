"""What the wire tests share: Hypothesis strategies derived from the fields' annotations, and the CDDL."""

import re
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st
from pycddl import Schema

from cocoon_p2p.protocols import contents, messages, papers, schema, wishes
from cocoon_p2p.protocols.exchange import bundle
from cocoon_p2p.sealing import handshake

MESSAGES: tuple[type, ...] = tuple(schema.messages().values())
PAPERS: tuple[type, ...] = tuple(papers.SIGNED_AS)
CONTENTS: tuple[type, ...] = (
    contents.RequestContent,
    contents.AnswerContent,
    contents.ChatTurn,
    wishes.Audio,
    wishes.Constraint,
    wishes.Likelihood,
    wishes.LogitBias,
    wishes.TokenLogprob,
    wishes.Tool,
    wishes.ToolCall,
    handshake.ClientHello,
    handshake.WorkerAccept,
)
KEPT: tuple[type, ...] = (bundle.Bundle, bundle.SealedChunk)
SHAPES = MESSAGES + PAPERS + CONTENTS + KEPT

INSIDE: dict[tuple[str, str], type] = {
    ("Quote", "worker_record"): messages.Record,
    ("Quote", "worker_statement"): messages.KeyStatement,
    ("Settlement", "receipt"): messages.Receipt,
    ("Settlement", "meter"): messages.Meter,
    ("Quoted", "quote"): messages.Quote,
    ("Refused", "newest_record"): messages.Record,
    ("Assign", "quote"): messages.Quote,
    ("Hello", "hello"): handshake.ClientHello,
    ("Accept", "accept"): handshake.WorkerAccept,
    ("Receipted", "receipt"): messages.Receipt,
    ("Settled", "settlement"): messages.Settlement,
    ("OpenChannel", "offer"): messages.ChannelOffer,
    ("OpenChannel", "state"): messages.ChannelState,
    ("ChannelAccepted", "state"): messages.ChannelState,
    ("StateSigned", "state"): messages.ChannelState,
    ("PaperWanted", "quote"): messages.Quote,
    ("PaperWanted", "meter"): messages.Meter,
    ("Paper", "receipt"): messages.Receipt,
    ("Paper", "settlement"): messages.Settlement,
    ("CloseWanted", "terms"): messages.CloseTerms,
    ("CloseAgreed", "terms"): messages.CloseTerms,
    ("Register", "record"): messages.Record,
    ("Register", "statement"): messages.KeyStatement,
    ("Bundle", "quote"): messages.Quote,
    ("Bundle", "settlement"): messages.Settlement,
    ("PresenceShown", "presence"): messages.Presence,
    ("PresenceShown", "statement"): messages.KeyStatement,
}
"What the CDDL says of bytes that hold a shape of their own; the codec does not look inside."

_LENGTH_DRAWN_MAX = 48
"Bounds of many kilobytes are tried at their edges (`test_schema`), not by drawing."

CDDL = Path(__file__).parents[2] / "protocols" / "cocoon.cddl"


@dataclass(frozen=True, slots=True)
class Bound:
    """One field, taken apart."""

    name: str
    key: int
    kind: Any
    least: int
    most: int
    optional: bool
    item: Any = None
    absent: tuple[()] | None = None
    "What an optional field is where its key is not there."


def bounds(cls: type) -> tuple[Bound, ...]:
    """Take a shape's annotations apart, independently of the codec."""
    hints = get_type_hints(cls, include_extras=True)
    return tuple(
        replace(bound, optional=True, absent=()) if field.default == () else bound
        for field in fields(cls)
        for bound in (take_apart(field.name, hints[field.name]),)
    )


def take_apart(name: str, hint: Any) -> Bound:
    """Take one field's annotation apart."""
    marks: list[Any] = []
    optional = False
    while True:
        if get_origin(hint) is Annotated:
            marks += hint.__metadata__
            hint = hint.__origin__
        elif hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        elif type(None) in get_args(hint):
            optional = True
            (hint,) = (arm for arm in get_args(hint) if arm is not type(None))
        else:
            break
    exact = next((mark.length for mark in marks if isinstance(mark, schema.Size)), None)
    most = next((mark.length for mark in marks if isinstance(mark, schema.Max)), exact)
    key = next((mark.number for mark in marks if isinstance(mark, schema.Key)), 0)
    item = get_args(hint)[0] if get_origin(hint) is tuple else None
    return Bound(
        name,
        key,
        get_origin(hint) or hint,
        exact or 0,
        schema.UINT_MAX if most is None else most,
        optional,
        item,
    )


def values(cls: type, *, papers_inside: bool = False) -> st.SearchStrategy[Any]:
    """Draw instances of a shape, within its bounds.

    Args:
        cls: The shape.
        papers_inside: Whether signed bodies are papers, as the CDDL says, or any bytes.
    """
    drawn = {}
    for bound in bounds(cls):
        inner = INSIDE.get((cls.__name__, bound.name)) if papers_inside else None
        one = _spelled(inner, bound.kind) if inner is not None else _strategy(bound, papers_inside)
        drawn[bound.name] = st.just(bound.absent) | one if bound.optional else one
    return st.builds(cls, **drawn)


def _spelled(inner: type, kind: Any) -> st.SearchStrategy[Any]:
    body = values(inner, papers_inside=True).map(schema.encode_paper)
    if kind is bytes:
        return body
    return st.builds(messages.Signed, body=body, signature=st.binary(min_size=64, max_size=64))


def _strategy(bound: Bound, papers_inside: bool) -> st.SearchStrategy[Any]:
    most = min(bound.most, max(bound.least, _LENGTH_DRAWN_MAX))
    if bound.kind is bool:
        return st.booleans()
    if bound.kind is int:
        return st.integers(0, bound.most)
    if bound.kind is bytes:
        return st.binary(min_size=bound.least, max_size=most)
    if bound.kind is str:
        return st.text(max_size=most).filter(lambda text: len(text.encode()) <= bound.most)
    if bound.kind is tuple:
        item = _strategy(take_apart("", bound.item), papers_inside)
        return st.lists(item, max_size=min(bound.most, 3)).map(tuple)
    if issubclass(bound.kind, IntEnum):
        return st.sampled_from(bound.kind)
    assert is_dataclass(bound.kind)
    return values(bound.kind, papers_inside=papers_inside)


def rule_name(cls: type) -> str:
    """Spell a class's name as the CDDL does: `PromptMetered` is `prompt-metered`."""
    return re.sub(r"(?<!^)([A-Z])", r"-\1", cls.__name__).lower()


@cache
def rule(cls: type) -> Schema:
    """Compile the CDDL with a shape's rule at its root."""
    return Schema(f"start = {rule_name(cls)}\n" + CDDL.read_text())
