"""A text and how parts of it look, kept apart: what Telegram calls entities. Pure.

Nothing in the text is markup, so nothing that a model writes can end a style, begin another, or be refused
for how it is spelled. Positions count characters here, and UTF-16 units only at Telegram's door.

Spec: core.telegram.org/bots/api#messageentity and #formatting-options.
"""

import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

ENTITIES_MAX = 100
"Styles that a message can have; the server drops what is beyond."

_UNSENDABLE = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"}


class Style(StrEnum):
    """How a part of a text looks, in the Bot API's words."""

    BOLD = "bold"
    ITALIC = "italic"
    STRUCK = "strikethrough"
    CODE = "code"
    PRE = "pre"
    QUOTE = "blockquote"


CODES = (Style.CODE, Style.PRE)
"Within these nothing else can be styled."


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a text, by its characters, and its style."""

    style: Style
    start: int
    end: int
    language: str = ""
    "Of a block of code."


@dataclass(frozen=True, slots=True)
class Styled:
    """A text and the styles of its parts."""

    text: str
    spans: tuple[Span, ...] = ()

    @property
    def units(self) -> int:
        """Its length as Telegram counts."""
        return utf16_units(self.text)

    def cut(self, start: int, end: int) -> "Styled":
        """Give a part of it, styled as it was."""
        kept = (
            replace(span, start=max(span.start, start) - start, end=min(span.end, end) - start)
            for span in self.spans
            if span.start < end and span.end > start
        )
        return Styled(self.text[start:end], tuple(kept))

    def stripped(self) -> "Styled":
        """Give it without the white space at its ends, which Telegram would take away."""
        start = len(self.text) - len(self.text.lstrip())
        return self.cut(start, max(start, len(self.text.rstrip())))

    def plain(self) -> "Styled":
        return Styled(self.text)


def join(parts: Iterable[Styled]) -> Styled:
    """Put texts one after the other."""
    texts: list[str] = []
    spans: list[Span] = []
    length = 0
    for part in parts:
        spans += (replace(span, start=span.start + length, end=span.end + length) for span in part.spans)
        texts.append(part.text)
        length += len(part.text)
    return Styled("".join(texts), tuple(spans))


def styled(text: str, style: Style) -> Styled:
    """Give a text that looks the same throughout."""
    return Styled(text, (Span(style, 0, len(text)),) if text else ())


def utf16_units(text: str) -> int:
    """Count a text's UTF-16 code units."""
    return len(text) + sum(character > "\uffff" for character in text)


def is_blank(text: str) -> bool:
    """Say whether there is nothing in it to be seen: Telegram refuses such a message."""
    return all(unicodedata.category(character)[0] in "ZC" for character in text)


def sendable(text: str) -> str:
    """Leave out what cannot be sent or shown: halves of characters, control characters, other line ends."""
    text = text.replace("\r\n", "\n").translate(_UNSENDABLE)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def apart_from_code(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Cut styles around code, with which they cannot overlap; a quote can hold some.

    Args:
        spans: Of two that overlap one holds the other. Code holds nothing.
    """
    found = sorted(spans, key=lambda span: (span.start, -span.end))
    codes = [span for span in found if span.style in CODES]
    ends = [span.end for span in codes]
    kept, reached = list(codes), dict[Style, int]()
    for span in found:
        if span.style in CODES or span.end <= reached.get(span.style, 0):
            continue
        reached[span.style] = span.end
        if span.style is Style.QUOTE:
            kept.append(span)
        else:
            kept += _around(span, codes, bisect_left(ends, span.start))
    return tuple(sorted(kept, key=lambda span: (span.start, -span.end)))


def _around(span: Span, codes: list[Span], first: int) -> Iterator[Span]:
    """Give what is left of a span between codes, of which the first that may touch it is known."""
    start = span.start
    for code in codes[first:]:
        if code.start >= span.end:
            break
        if code.start > start:
            yield replace(span, start=start, end=code.start)
        start = max(start, code.end)
    if start < span.end:
        yield replace(span, start=start)
