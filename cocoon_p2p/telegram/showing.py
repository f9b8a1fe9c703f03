"""What stands in a chat of one answer, and what is to be done next so that what should stand there does.

    while step := next_step(board, pages, is_live=False):
        board = after(board, event)         # what came of carrying the step out

Rule 1: a message begins as a stub, which says how its text begins and no more. A call that sends one may be
lost on its way back: then nobody knows whether the message stands, and another is sent. So a stub may stand
twice, but a text does not.
What costs nothing to say (`has_stubs` False) is sent as it is, and stands twice at worst.
Rule 2: all else is an edit of a message that is known, and may be carried out any number of times.
Rule 3: nothing here is done, waited for or known of Telegram but how its messages behave. Pure.
"""

from dataclasses import dataclass, replace
from typing import assert_never

from cocoon_p2p.telegram.pages import stub
from cocoon_p2p.telegram.styled import Styled

UNSHOWABLE = Styled("(Telegram does not take this part of the answer.)")
"Stands where the server refused a page even without any style."


@dataclass(frozen=True, slots=True)
class Sheet:
    """What one message shows."""

    text: Styled
    has_stop: bool = False
    "Whether a button to stop the answer stands under it."


@dataclass(frozen=True, slots=True)
class Standing:
    """A message that is known to stand, and what it is known to show."""

    message_id: int
    sheet: Sheet


@dataclass(frozen=True, slots=True)
class Board:
    """One answer's messages in a chat, in order."""

    messages: tuple[Standing, ...] = ()
    draft: Sheet | None = None
    "What a preview shows that goes by itself."

    has_drafts: bool = False
    "Whether what is still to grow is shown as a draft, and not as a message."

    has_stubs: bool = True
    "Whether a message begins as one."

    plain: frozenset[int] = frozenset()
    "Pages whose styles were refused."

    unshowable: frozenset[int] = frozenset()
    "Pages whose text was."


@dataclass(frozen=True, slots=True)
class Send:
    sheet: Sheet


@dataclass(frozen=True, slots=True)
class Edit:
    message_id: int
    sheet: Sheet
    page: int
    "Which one it is to show."


@dataclass(frozen=True, slots=True)
class Remove:
    message_id: int


@dataclass(frozen=True, slots=True)
class Draft:
    sheet: Sheet
    page: int
    "Which one it shows: each page's preview is another."


Step = Send | Edit | Remove | Draft


@dataclass(frozen=True, slots=True)
class Sent:
    message_id: int
    sheet: Sheet


@dataclass(frozen=True, slots=True)
class Edited:
    message_id: int
    sheet: Sheet


@dataclass(frozen=True, slots=True)
class Vanished:
    """A message is not there any more: we removed it, or somebody else did."""

    message_id: int


@dataclass(frozen=True, slots=True)
class Drafted:
    sheet: Sheet


@dataclass(frozen=True, slots=True)
class DraftsRefused:
    """There are no drafts in such a chat."""


@dataclass(frozen=True, slots=True)
class PageRefused:
    page: int


Event = Sent | Edited | Vanished | Drafted | DraftsRefused | PageRefused


def next_step(board: Board, pages: tuple[Styled, ...], *, is_live: bool) -> Step | None:
    """Say what is to be done next.

    Args:
        board: What stands.
        pages: What should be read there.
        is_live: The last page is still growing.

    Returns:
        None: all is as it should be.
    """
    last = len(pages) - 1
    sheets = [Sheet(_shown(board, page, text), is_live and page == last) for page, text in enumerate(pages)]
    draft = sheets.pop() if sheets and is_live and board.has_drafts else None
    for page, (standing, sheet) in enumerate(zip(board.messages, sheets, strict=False)):
        if standing.sheet != sheet:
            return Edit(standing.message_id, sheet, page)
    if len(board.messages) < len(sheets):
        new = sheets[len(board.messages)]
        return Send(replace(new, text=stub(new.text)) if board.has_stubs else new)
    if len(board.messages) > len(sheets):
        return Remove(board.messages[-1].message_id)
    if draft is not None and draft != board.draft:
        return Draft(draft, last)
    return None


def after(board: Board, event: Event) -> Board:
    """Apply what came of a step."""
    match event:
        case Sent(message_id, sheet):
            # The server takes a draft away when a message is sent.
            return replace(board, messages=(*board.messages, Standing(message_id, sheet)), draft=None)
        case Edited(message_id, sheet):
            messages = (
                replace(one, sheet=sheet) if one.message_id == message_id else one for one in board.messages
            )
            return replace(board, messages=tuple(messages))
        case Vanished(message_id):
            return replace(
                board, messages=tuple(one for one in board.messages if one.message_id != message_id)
            )
        case Drafted(sheet):
            return replace(board, draft=sheet)
        case DraftsRefused():
            return replace(board, draft=None, has_drafts=False)
        case PageRefused(page) if page in board.plain:
            return replace(board, unshowable=board.unshowable | {page})
        case PageRefused(page):
            return replace(board, plain=board.plain | {page})
        case _:
            assert_never(event)


def _shown(board: Board, page: int, text: Styled) -> Styled:
    if page in board.unshowable:
        return UNSHOWABLE
    return text.plain() if page in board.plain else text
