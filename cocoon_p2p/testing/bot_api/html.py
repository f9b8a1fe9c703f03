"""Telegram's HTML: which tags it takes, and what it says of those that it does not.

Rules and texts as in td's `MessageEntity.cpp` (`parse_html`). Offsets in its complaints are bytes of UTF-8.
"""

import re
from dataclasses import dataclass

from cocoon_p2p.testing.bot_api.answers import Rejected, bad_request
from cocoon_p2p.testing.bot_api.entities import Entity, Marked, in_order, utf16_length

_KINDS = {
    **dict.fromkeys(("b", "strong"), "bold"),
    **dict.fromkeys(("i", "em"), "italic"),
    **dict.fromkeys(("u", "ins"), "underline"),
    **dict.fromkeys(("s", "strike", "del"), "strikethrough"),
    **dict.fromkeys(("span", "tg-spoiler"), "spoiler"),
    "a": "text_link",
    "pre": "pre",
    "code": "code",
    "blockquote": "blockquote",
    "tg-emoji": "custom_emoji",
    # Shown in the reader's own time zone; a text to us.
    "tg-time": "",
}
_NAMED = {b"lt": "<", b"gt": ">", b"amp": "&", b"quot": '"'}
_REFERENCE = re.compile(rb"&(?:#x([0-9a-fA-F]{1,6})|#([0-9]{1,7})|(lt|gt|amp|quot)(?![a-zA-Z]));?")
_PLAIN = re.compile(rb"[^<&]+")
# White space to the server, the end of the text included: there its strings have a zero.
_SPACE = b" \t\r\n\v\0"
_NAME = re.compile(rb"[^ \t\r\n\v\0>]*")
_ATTRIBUTE = re.compile(rb"[^ \t\r\n\v\0=>/\"']*")
_TOKEN = re.compile(rb"[a-zA-Z0-9.\-]*")


@dataclass(frozen=True, slots=True)
class _Open:
    tag: str
    argument: str
    offset: int
    "Where it began, in code units of what is shown."

    shown: int
    "The same in pieces."


def parse_html(text: str) -> Marked:
    """Read a text with tags.

    Raises:
        Rejected: The server would not take it, in its words.
    """
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self._bytes = text.encode() + b"\0"
        self._end = len(self._bytes) - 1
        self._at = 0
        self._shown: list[str] = []
        self._offset = 0
        self._open: list[_Open] = []
        self._entities: list[Entity] = []

    def read(self) -> Marked:
        while self._at < self._end:
            if plain := _PLAIN.match(self._bytes, self._at, self._end):
                self._show(plain[0].decode())
                self._at = plain.end()
            elif self._bytes[self._at] == ord("&"):
                self._show(self._reference() or self._literal())
            elif self._bytes[self._at + 1] == ord("/"):
                self._close()
            else:
                self._start()
        if self._open:
            raise _unreadable(f'Can\'t find end tag corresponding to start tag "{self._open[-1].tag}"')
        return Marked("".join(self._shown), in_order(self._entities))

    def _show(self, piece: str) -> None:
        self._shown.append(piece)
        self._offset += utf16_length(piece)

    def _literal(self) -> str:
        self._at += 1
        return chr(self._bytes[self._at - 1])

    def _reference(self) -> str:
        """Read `&lt;` and its like; empty where it is none, and nothing is read then."""
        found = _REFERENCE.match(self._bytes, self._at, self._end)
        if found is None:
            return ""
        hexadecimal, decimal, named = found.groups()
        code = int(hexadecimal, 16) if hexadecimal else int(decimal or b"0")
        if not named and (not 0 < code < 0x10FFFF or 0xD800 <= code <= 0xDFFF):
            return ""
        self._at = found.end()
        return _NAMED[named] if named else chr(code)

    def _skip_space(self) -> None:
        while self._at < self._end and self._bytes[self._at] in _SPACE:
            self._at += 1

    def _take(self, pattern: re.Pattern[bytes]) -> str:
        found = pattern.match(self._bytes, self._at)
        assert found is not None  # Each of them matches nothing, too.
        self._at = found.end()
        return found[0].decode(errors="replace")

    def _start(self) -> None:
        begin = self._at
        self._at += 1
        tag = self._take(_NAME).lower()
        if self._at >= self._end:
            raise _unreadable(f"Unclosed start tag at byte offset {begin}")
        if tag not in _KINDS:
            raise _unreadable(f'Unsupported start tag "{tag}" at byte offset {begin}')
        argument = ""
        while self._bytes[self._at] != ord(">"):
            self._skip_space()
            if self._bytes[self._at] != ord(">"):
                argument = self._attribute(tag, begin) or argument
        self._at += 1
        if tag == "span" and argument != "spoiler":
            raise _unreadable(f'Tag "span" must have class "tg-spoiler" at byte offset {begin}')
        self._open.append(_Open(tag, argument, self._offset, len(self._shown)))

    def _attribute(self, tag: str, begin: int) -> str:
        """Read one attribute; gives what the tag makes of it."""
        name = self._take(_ATTRIBUTE)
        if not name:
            raise _unreadable(f'Empty attribute name in the tag "{tag}" at byte offset {begin}')
        self._skip_space()
        if self._bytes[self._at] != ord("="):
            if self._at >= self._end:
                raise _unreadable(f'Unclosed start tag "{tag}" at byte offset {begin}')
            return _argument(tag, name, "")
        self._at += 1
        self._skip_space()
        if self._at >= self._end:
            raise _unreadable(f'Unclosed start tag "{tag}" at byte offset {begin}')
        value = self._quoted() if self._bytes[self._at] in b"'\"" else self._token()
        if self._at >= self._end:
            raise _unreadable(f"Unclosed start tag at byte offset {begin}")
        return _argument(tag, name, value)

    def _quoted(self) -> str:
        mark, value = self._bytes[self._at], bytearray()
        self._at += 1
        while self._at < self._end and self._bytes[self._at] != mark:
            if self._bytes[self._at] == ord("&") and (piece := self._reference()):
                value += piece.encode()
            else:
                value.append(self._bytes[self._at])
                self._at += 1
        self._at += self._at < self._end
        return value.decode(errors="replace")

    def _token(self) -> str:
        begin = self._at
        value = self._take(_TOKEN).lower()
        if self._bytes[self._at] not in _SPACE + b">":
            raise _unreadable(f"Unexpected end of name token at byte offset {begin}")
        return value

    def _close(self) -> None:
        begin = self._at
        if not self._open:
            raise _unreadable(f"Unexpected end tag at byte offset {begin}")
        self._at += 2
        tag = self._take(_NAME).lower()
        self._skip_space()
        if self._bytes[self._at] != ord(">"):
            raise _unreadable(f"Unclosed end tag at byte offset {begin}")
        self._at += 1
        opened = self._open.pop()
        if tag not in ("", opened.tag):
            raise _unreadable(
                f'Unmatched end tag at byte offset {begin}, expected "</{opened.tag}>", found "</{tag}>"'
            )
        if self._offset > opened.offset:
            self._finish(opened)

    def _finish(self, opened: _Open) -> None:
        kind, offset, length = _KINDS[opened.tag], opened.offset, self._offset - opened.offset
        last = self._entities[-1] if self._entities else None
        same = last is not None and (last.offset, last.length) == (offset, length)
        match opened.tag:
            case "tg-emoji":
                if not opened.argument.isdecimal() or int(opened.argument) == 0:
                    raise _unreadable("Invalid custom emoji identifier specified")
                self._entities.append(Entity(kind, offset, length, custom_emoji_id=opened.argument))
            case "a":
                url = opened.argument or "".join(self._shown[opened.shown :])
                if link := checked_link(url):
                    self._entities.append(Entity(kind, offset, length, url=link))
            case "pre" if same and last is not None and last.type == "code":
                self._entities[-1] = Entity("pre", offset, length, language=last.language)
            case "code" if same and last is not None and last.type == "pre":
                self._entities[-1] = Entity("pre", offset, length, language=opened.argument)
            case "code":
                self._entities.append(Entity(kind, offset, length, language=opened.argument))
            case "blockquote" if opened.argument:
                self._entities.append(Entity("expandable_blockquote", offset, length))
            case _ if kind:
                self._entities.append(Entity(kind, offset, length))
            case _:
                pass


def checked_link(url: str) -> str:
    """Give a link as the server keeps it; empty where it makes none of it, which shows the text without."""
    url = url.strip()
    if not re.match(r"[a-zA-Z][a-zA-Z0-9+.\-]*:", url):
        url = f"http://{url}"
    scheme, _, rest = url.partition("://")
    if not rest:
        return url if url.startswith(("mailto:", "tel:")) else ""
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if scheme in ("http", "https"):
        if "." not in host or " " in host:
            return ""
        return url if len(rest) > len(host) else f"{url}/"
    return url if scheme in ("tg", "ton", "tonsite") else ""


def _argument(tag: str, name: str, value: str) -> str:
    match tag, name:
        case ("a", "href") | ("tg-emoji", "emoji-id"):
            return value
        case "code", "class":
            return value.removeprefix("language-") if value.startswith("language-") else ""
        case "span", "class":
            return value.removeprefix("tg-") if value.startswith("tg-") else ""
        case "blockquote", "expandable":
            return "1"
        case _:
            return ""


def _unreadable(what: str) -> Rejected:
    return bad_request(f"can't parse entities: {what}")
