"""What a model writes, Markdown more or less, as a text with styles. Pure, and in time linear to its length.

A chat is no page: lines stay lines, a list keeps its shape, a table is shown in even letters. What is not
understood is shown as it was written, so an answer can be read in whole while half of it is still to come.

A link is shown with where it goes. Behind words it could go elsewhere than they say, and whoever runs the
worker may have written it.
"""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate

from cocoon_p2p.telegram.styled import Span, Style, Styled, apart_from_code, sendable

# All of its tildes at once: a shorter mark before the same tildes would be tried for each of them.
_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,}(?!~))([^`\n]*)")
_LANGUAGE = re.compile(r"[\w+#.-]{1,32}", re.ASCII)
_BULLET = re.compile(r"([ \t]*)[-*+][ \t]+(?=\S)")
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+")
_RULE = re.compile(r" {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*")
_QUOTED = re.compile(r" {0,3}>[> \t]*")

# The bounds keep the search for an end that never comes short.
_LINK = re.compile(r"!?\[([^\[\]]{0,512})\]\(<?([^\s()<>]{1,2048})>?(?:[ \t]+\"[^\"]{0,256}\")?\)")
_TOKEN = re.compile(r"\\([!-/:-@\[-`{-~])|(`+)|(\*+|_+|~~)|!?\[")

_STYLES = {"**": Style.BOLD, "__": Style.BOLD, "*": Style.ITALIC, "_": Style.ITALIC, "~~": Style.STRUCK}
_RULED = "\u2014" * 3


def read_markdown(text: str) -> Styled:
    """Read Markdown. Every text is some; only control characters are left out of it."""
    lines = sendable(text).split("\n")
    page = _Page()
    at = 0
    while at < len(lines):
        if at:
            page.add("\n")
        at = (
            _read_fence(lines, at, page)
            or _read_table(lines, at, page)
            or _read_quote(lines, at, page)
            or _read_line(lines, at, page)
        )
    return page.finish()


class _Page:
    """A text that is being written."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._spans: list[Span] = []
        self.length = 0

    def add(self, text: str, spans: Sequence[Span] = ()) -> None:
        self._spans += (
            Span(one.style, one.start + self.length, one.end + self.length, one.language) for one in spans
        )
        self._parts.append(text)
        self.length += len(text)

    def style(self, style: Style, start: int, language: str = "") -> None:
        """Style everything from a position to here, if there is anything."""
        if start < self.length:
            self._spans.append(Span(style, start, self.length, language))

    def finish(self) -> Styled:
        return Styled("".join(self._parts), apart_from_code(self._spans))


# Each reads one block that begins at a line, and gives the line after it; 0: it is another kind's.


def _read_fence(lines: Sequence[str], at: int, page: _Page) -> int:
    opening = _FENCE.fullmatch(lines[at])
    if opening is None:
        return 0
    indent, mark, info = opening.groups()
    language, start, end = _LANGUAGE.match(info.strip()), page.length, at + 1
    while end < len(lines) and not _closes(lines[end], mark):
        # Within a list a block is as far in as its item.
        line = lines[end].removeprefix(indent)
        page.add(line if end == at + 1 else f"\n{line}")
        end += 1
    page.style(Style.PRE, start, language[0] if language else "")
    return end + 1


def _closes(line: str, mark: str) -> bool:
    line = line.strip()
    return len(line) >= len(mark) and line == mark[0] * len(line)


def _read_table(lines: Sequence[str], at: int, page: _Page) -> int:
    if "|" not in lines[at] or at + 1 == len(lines) or not _is_delimiter(lines[at + 1]):
        return 0
    start, end = page.length, at
    while end < len(lines) and "|" in lines[end]:
        page.add(lines[end] if end == at else f"\n{lines[end]}")
        end += 1
    page.style(Style.PRE, start)
    return end


def _is_delimiter(line: str) -> bool:
    return {"|", "-"} <= set(line) <= set("|-: \t")


def _read_quote(lines: Sequence[str], at: int, page: _Page) -> int:
    start, end = page.length, at
    while end < len(lines) and (mark := _QUOTED.match(lines[end])):
        if end > at:
            page.add("\n")
        page.add(*_read_words(lines[end][mark.end() :]))
        end += 1
    page.style(Style.QUOTE, start)
    return end if end > at else 0


def _read_line(lines: Sequence[str], at: int, page: _Page) -> int:
    line, start = lines[at], page.length
    if _RULE.fullmatch(line):
        page.add(_RULED)
    elif heading := _HEADING.match(line):
        page.add(*_read_words(line[heading.end() :].rstrip().rstrip("#").rstrip()))
        page.style(Style.BOLD, start)
    elif bullet := _BULLET.match(line):
        page.add(f"{bullet[1]}\u2022 ")
        page.add(*_read_words(line[bullet.end() :]))
    else:
        page.add(*_read_words(line))
    return at + 1


def _read_words(line: str) -> tuple[str, list[Span]]:
    """Read what stands within a line."""
    words, at = _Words(line), 0
    while token := _TOKEN.search(line, at):
        words.pieces.append(line[at : token.start()])
        escaped, ticks, marks = token.groups()
        at = token.end()
        if escaped:
            words.pieces.append(escaped)
        elif ticks:
            at = words.read_code(token.start(), at)
        elif marks:
            words.read_marks(token.start(), at)
        else:
            at = words.read_link(token.start(), at)
    words.pieces.append(line[at:])
    return words.finish()


class _Words:
    """A line that is being read.

    Each kind of mark is open once at most, and the one that was opened last closes first: so no mark is
    looked for twice, however many there are.
    """

    def __init__(self, line: str) -> None:
        self.pieces: list[str] = []
        self._line = line
        self._opened: dict[str, int] = {}
        "For each mark that is open the piece that it is."

        self._spans: list[tuple[Style, int, int]] = []
        "By pieces."

        self._ticks: dict[int, list[int]] | None = None

    def read_code(self, start: int, end: int) -> int:
        """Read code up to as many backticks as it began with; without them, they stand for themselves."""
        closing = self._next_ticks(end - start, end)
        if closing is None:
            self.pieces.append(self._line[start:end])
            return end
        code = self._line[end:closing]
        # A space apart is code that begins or ends with a backtick itself.
        if code.startswith(" ") and code.endswith(" ") and code.strip():
            code = code[1:-1]
        self._spans.append((Style.CODE, len(self.pieces), len(self.pieces) + 1))
        self.pieces.append(code)
        return closing + end - start

    def _next_ticks(self, count: int, start: int) -> int | None:
        if self._ticks is None:
            self._ticks = defaultdict(list)
            for run in re.finditer("`+", self._line):
                self._ticks[len(run[0])].append(run.start())
        places = self._ticks.get(count, [])
        index = bisect_left(places, start)
        return places[index] if index < len(places) else None

    def read_link(self, start: int, end: int) -> int:
        """Read a link or a picture, and show what it is called and where it goes."""
        link = _LINK.match(self._line, start)
        if link is None:
            self.pieces.append(self._line[start:end])
            return end
        label, address = link.groups()
        self.pieces.append(address if label.strip() in ("", address) else f"{label} ({address})")
        return link.end()

    def read_marks(self, start: int, end: int) -> None:
        """Read a run of `*`, `_` or `~~`: it closes what is open, else it opens."""
        before = self._line[start - 1] if start else " "
        after = self._line[end] if end < len(self._line) else " "
        # Within a word they are a name's or a product's: snake_case, 2*3*4.
        is_inside = before.isalnum() and after.isalnum() and self._line[start:end] in ("*", "_", "__")
        may_open, may_close = not (after.isspace() or is_inside), not (before.isspace() or is_inside)
        while start < end:
            mark = self._mark(start, end, may_close)
            if may_close and mark in self._opened:
                self._close(mark)
            elif may_open and mark in _STYLES and mark not in self._opened:
                self._opened[mark] = len(self.pieces)
                self.pieces.append(mark)
            else:
                self.pieces.append(mark)
            start += len(mark)

    def _mark(self, start: int, end: int, may_close: bool) -> str:
        """Tell which mark comes next in a run: the one that was opened last, if it fits, else the longest."""
        marks = [self._line[start : start + size] for size in (2, 1) if start + size <= end]
        if may_close:
            marks.sort(key=lambda mark: self._opened.get(mark, -1), reverse=True)
        return marks[0]

    def _close(self, mark: str) -> None:
        opened = self._opened.pop(mark)
        # What was opened within and not closed stands for itself.
        self._opened = {name: piece for name, piece in self._opened.items() if piece < opened}
        if opened + 1 == len(self.pieces):
            self.pieces.append(mark)
            return
        self.pieces[opened] = ""
        self._spans.append((_STYLES[mark], opened, len(self.pieces)))

    def finish(self) -> tuple[str, list[Span]]:
        starts = [0, *accumulate(map(len, self.pieces))]
        spans = (Span(style, starts[first], starts[last]) for style, first, last in self._spans)
        return "".join(self.pieces), [span for span in spans if span.start < span.end]
