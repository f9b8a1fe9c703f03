"""Telegram's MarkdownV2: what it marks up, and what it says of a character that is not escaped.

Rules and texts as in td's `MessageEntity.cpp` (`parse_markdown_v2`). Offsets in its complaints are bytes.
A quote (`>` at the start of a line) ends with the line; `||` right before that end makes it expandable.
"""

import re
from dataclasses import dataclass

from cocoon_p2p.testing.bot_api.answers import Rejected, bad_request
from cocoon_p2p.testing.bot_api.entities import Entity, Marked, in_order, utf16_length
from cocoon_p2p.testing.bot_api.html import checked_link

# By what opens it: the name that complaints use, and the Bot API's.
_KINDS = {
    "*": ("Bold", "bold"),
    "_": ("Italic", "italic"),
    "__": ("Underline", "underline"),
    "~": ("Strikethrough", "strikethrough"),
    "||": ("Spoiler", "spoiler"),
    "`": ("Code", "code"),
    "```": ("Pre", "pre"),
    "[": ("TextUrl", "text_link"),
    "![": ("CustomEmoji", "custom_emoji"),
    ">": ("BlockQuote", "blockquote"),
}
_PAIRS = ("```", "__", "||", "![")
_ENDS = {"[": "]", "![": "]"}
_RESERVED = "_*[]()~`>#+-=|{}.!\n"
_LANGUAGE = re.compile(r"[^\s`]+(?=[^`])")
_NEW_LINE = re.compile(r"\r\n|\n\r|\n|\r")


@dataclass(frozen=True, slots=True)
class _Open:
    mark: str
    offset: int
    at: int
    "Where its mark stands, in characters of what was sent."

    shown: int
    language: str = ""


def parse_markdown(text: str) -> Marked:
    """Read a text in MarkdownV2.

    Raises:
        Rejected: The server would not take it, in its words.
    """
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._shown: list[str] = []
        self._offset = 0
        self._open: list[_Open] = []
        self._entities: list[Entity] = []
        self._line_begins = True

    def read(self) -> Marked:
        while self._at < len(self._text):
            self._step(self._text[self._at])
        if self._quoting():
            self._end_quote(line_break=False)
        if self._open:
            raise self._endless(self._open[-1])
        return Marked("".join(self._shown), in_order(self._entities))

    def _step(self, character: str) -> None:
        following = self._text[self._at + 1 : self._at + 2]
        if character == "\\" and "\0" < following <= "~":
            self._at += 2
            self._show(following)
        elif character not in ("`" if self._in_code() else _RESERVED):
            self._at += 1
            self._show(character)
        elif character == "\n" and self._quoting() and following != ">":
            self._end_quote(line_break=True)
        elif self._open and self._ends(self._open[-1]):
            self._close()
        elif character == "\n":
            self._at += 1
            self._show("\n")
        else:
            self._begin(character)

    def _show(self, piece: str) -> None:
        self._shown.append(piece)
        self._offset += utf16_length(piece)
        if piece != "\r":
            self._line_begins = piece.endswith("\n")

    def _mark(self) -> str:
        """Tell which mark stands here: the longest that fits."""
        return next((mark for mark in _PAIRS if self._text.startswith(mark, self._at)), self._text[self._at])

    def _in_code(self) -> bool:
        return bool(self._open) and self._open[-1].mark in ("`", "```")

    def _quoting(self) -> bool:
        return any(opened.mark == ">" for opened in self._open)

    def _ends(self, opened: _Open) -> bool:
        if opened.mark == "`":
            return True  # It is the only character that is reserved here.
        if opened.mark in ("*", "~", "[", "!["):
            return self._text.startswith(_ENDS.get(opened.mark, opened.mark), self._at)
        return opened.mark != ">" and self._mark() == opened.mark

    def _begin(self, character: str) -> None:
        mark, at = self._mark(), self._at
        if mark == ">" and self._line_begins:
            self._at += 1
            if not self._quoting():
                self._open.append(_Open(mark, self._offset, at, len(self._shown)))
            return
        if mark == ">" or mark not in _KINDS:
            raise _unreadable(
                f"Character '{character}' is reserved and must be escaped with the preceding '\\'"
            )
        self._at += len(mark)
        language = self._code_begins() if mark == "```" else ""
        self._open.append(_Open(mark, self._offset, at, len(self._shown), language))

    def _code_begins(self) -> str:
        """Pass over the language and the first line break of a block of code."""
        language = _LANGUAGE.match(self._text, self._at)
        if language:
            self._at = language.end()
        if line := _NEW_LINE.match(self._text, self._at):
            self._at = line.end()
        return language[0] if language else ""

    def _close(self) -> None:
        opened = self._open.pop()
        self._at += 1 if opened.mark in _ENDS else len(opened.mark)
        url = self._url(opened) if opened.mark in _ENDS else ""
        self._finish(opened, _KINDS[opened.mark][1], url)

    def _finish(self, opened: _Open, kind: str, url: str = "") -> None:
        length = self._offset - opened.offset
        if opened.mark == "[" and not (url := checked_link(url)):
            return
        emoji = url.rpartition("=")[2] if opened.mark == "![" else ""
        if length:
            self._entities.append(
                Entity(kind, opened.offset, length, "" if emoji else url, opened.language, emoji)
            )

    def _url(self, opened: _Open) -> str:
        """Read `(address)`; without one, the text is the address."""
        if self._text[self._at : self._at + 1] != "(":
            if opened.mark == "![":
                raise _unreadable("The entity must contain a tg://emoji or tg://time URL")
            return "".join(self._shown[opened.shown :])
        self._at += 1
        begin, url = self._at, ""
        while self._at < len(self._text) and self._text[self._at] != ")":
            if self._text[self._at] == "\\" and "\0" < self._text[self._at + 1 : self._at + 2] <= "~":
                self._at += 1
            url += self._text[self._at]
            self._at += 1
        if self._at == len(self._text):
            raise _unreadable(f"Can't find end of a URL at byte offset {self._bytes_before(begin)}")
        self._at += 1
        if opened.mark == "![" and not re.fullmatch(r"tg://emoji\?id=[1-9][0-9]*", url):
            raise _unreadable("Invalid tg://emoji or tg://time URL specified")
        return url

    def _end_quote(self, *, line_break: bool) -> None:
        kind = "blockquote"
        if self._open[-1].mark == "||" and self._open[-1].at == self._at - 2:
            self._open.pop()
            kind = "expandable_blockquote"
        if self._open[-1].mark != ">":
            raise self._endless(self._open[-1])
        opened = self._open.pop()
        if line_break:
            self._at += 1
            self._show("\n")
        self._finish(opened, kind)

    def _endless(self, opened: _Open) -> Rejected:
        name = "PreCode" if opened.language else _KINDS[opened.mark][0]
        return _unreadable(f"Can't find end of {name} entity at byte offset {self._bytes_before(opened.at)}")

    def _bytes_before(self, at: int) -> int:
        return len(self._text[:at].encode())


def _unreadable(what: str) -> Rejected:
    return bad_request(f"can't parse entities: {what}")
