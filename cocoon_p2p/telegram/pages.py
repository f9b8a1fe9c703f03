"""A long text as messages that Telegram takes: each within its limit, cut where it hurts least. Pure.

Where a page ends depends on what stands on it alone. So while an answer grows its earlier pages stay as they
are, and need no further edit.
"""

import unicodedata

from cocoon_p2p.telegram.styled import CODES, Style, Styled, is_blank, utf16_units

PAGE_UNITS_MAX = 4096
"UTF-16 units of a message's text (core.telegram.org/bots/api#sendmessage)."

STUB_UNITS_MAX = 160
"What a notification shows of a message."

_JOINED_MAX = 16
"Characters that may belong to one: a letter with its marks, a family of emoji."

_JOINER = "\u200d"


def split(text: Styled, *, units_max: int = PAGE_UNITS_MAX) -> tuple[Styled, ...]:
    """Cut a text into pages, none of them blank, in order; none at all of a blank text.

    A block of code that does not fit on a page begins the next one; one that no page holds is cut between
    its lines, and each part is a block of the same language.
    """
    pages: list[Styled] = []
    start = 0
    while start < len(text.text):
        end = _end(text, start, units_max)
        page = text.cut(start, end).stripped()
        if not is_blank(page.text):
            pages.append(page)
        start = end
    return tuple(pages)


def stub(page: Styled) -> Styled:
    """Give what a message says before it is given its text: half of its first line at most."""
    line = page.text.partition("\n")[0]
    end = fitting(line, 0, min(utf16_units(line) // 2, STUB_UNITS_MAX))
    return Styled(f"{line[: max(line.rfind(' ', 0, end), 0)].rstrip()} \u2026".lstrip())


def _end(text: Styled, start: int, units_max: int) -> int:
    """Say where the page ends that begins at a position."""
    end = fitting(text.text, start, units_max)
    if end == len(text.text):
        return end
    block = next((span for span in text.spans if span.style in CODES and span.start < end < span.end), None)
    if block is not None and not is_blank(text.text[start : block.start]):
        return block.start
    is_code = block is not None and block.style is Style.PRE
    for bound in ("\n",) if is_code else ("\n\n", "\n", " "):
        found = text.text.rfind(bound, start, end + 1)
        # A page that is mostly empty would be no better to read than a sentence that is cut.
        if found - start > (end - start) // 2:
            return found + 1
    return _between_characters(text.text, start, end)


def fitting(text: str, start: int, units_max: int) -> int:
    """Say how far a text goes in so many UTF-16 units."""
    end = min(len(text), start + units_max)
    excess = utf16_units(text[start:end]) - units_max
    while excess > 0:
        end -= 1
        excess -= utf16_units(text[end])
    return end


def _between_characters(text: str, start: int, end: int) -> int:
    """Go back to where what a reader takes for one character is not cut."""
    for place in range(end, max(start, end - _JOINED_MAX), -1):
        after, before = text[place], text[place - 1]
        if not (unicodedata.category(after)[0] == "M" or _JOINER in (after, before)):
            return place
    return end
