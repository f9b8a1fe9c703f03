"""However calls fail, in the end each page stands once, and what stands twice is no more than a stub."""

from dataclasses import dataclass, field
from enum import Enum

from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.telegram.pages import split, stub
from cocoon_p2p.telegram.showing import (
    UNSHOWABLE,
    Board,
    Draft,
    Drafted,
    DraftsRefused,
    Edit,
    Edited,
    Event,
    PageRefused,
    Remove,
    Send,
    Sent,
    Sheet,
    Step,
    Vanished,
    after,
    next_step,
)
from cocoon_p2p.telegram.styled import Style, Styled, styled


class Fate(Enum):
    """What becomes of one call."""

    DONE = "done"
    LOST_BEFORE = "the connection broke before it happened"
    LOST_AFTER = "it happened, and nobody hears of it"
    DELETED = "somebody deletes the message meanwhile"
    REFUSED = "the server does not take the styles"


@dataclass
class Chat:
    """A chat's messages as the server has them."""

    messages: dict[int, Sheet] = field(default_factory=dict[int, Sheet])
    draft: Sheet | None = None
    count: int = 0

    def carry_out(self, step: Step, fate: Fate) -> Event | None:
        """Do what a call does; None: nobody knows."""
        if fate is Fate.LOST_BEFORE:
            return None
        event = self._refusal(step, fate) or self._do(step)
        return None if fate is Fate.LOST_AFTER else event

    def _refusal(self, step: Step, fate: Fate) -> Event | None:
        match step:
            case Edit(message_id) if fate is Fate.DELETED:
                self.messages.pop(message_id, None)
                return Vanished(message_id)
            case Edit(page=page) if fate is Fate.REFUSED:
                return PageRefused(page)
            case Draft() if fate is Fate.REFUSED:
                return DraftsRefused()
            case _:
                return None

    def _do(self, step: Step) -> Event:
        match step:
            case Send(sheet):
                self.count += 1
                self.messages[self.count] = sheet
                return Sent(self.count, sheet)
            case Edit(message_id, sheet):
                if message_id not in self.messages:
                    return Vanished(message_id)
                self.messages[message_id] = sheet
                return Edited(message_id, sheet)
            case Remove(message_id):
                self.messages.pop(message_id, None)
                return Vanished(message_id)
            case Draft(sheet):
                self.draft = sheet
                return Drafted(sheet)


TEXTS = st.text("ab \n", max_size=40)
FRAMES = st.lists(TEXTS, max_size=6)
FATES = st.lists(st.sampled_from(Fate), max_size=25)


@given(FRAMES, TEXTS.filter(str.strip), FATES, st.booleans())
def test_each_page_stands_once_in_the_end(
    frames: list[str], last: str, fates: list[Fate], has_drafts: bool
) -> None:
    chat, board = Chat(), Board(has_drafts=has_drafts)
    coming = list(fates)

    def go(text: str, *, is_live: bool) -> None:
        nonlocal board
        pages = split(styled(text, Style.BOLD), units_max=10)
        # A frame is whatever was shown before the next one came.
        while (step := next_step(board, pages, is_live=is_live)) and not (is_live and not coming):
            event = chat.carry_out(step, coming.pop(0) if coming else Fate.DONE)
            board = board if event is None else after(board, event)

    for frame in frames:
        go(frame, is_live=True)
    go(last, is_live=False)

    pages = split(styled(last, Style.BOLD), units_max=10)
    standing = [chat.messages[one.message_id] for one in board.messages]
    assert len(standing) == len(pages)
    for sheet, page in zip(standing, pages, strict=True):
        assert not sheet.has_stop
        assert sheet.text in (page, page.plain(), UNSHOWABLE)
    unknown = [sheet for number, sheet in chat.messages.items() if number not in _known(board)]
    if Fate.LOST_AFTER not in fates:
        assert not unknown
    # A stub is all that may stand beside: its text ends before the page does.
    assert all(sheet.text.text.endswith("\u2026") for sheet in unknown)


@given(TEXTS.filter(str.strip), st.lists(st.sampled_from([Fate.LOST_BEFORE, Fate.LOST_AFTER]), max_size=20))
def test_lost_calls_cost_no_style_and_no_text(last: str, fates: list[Fate]) -> None:
    chat, board, pages = Chat(), Board(), split(styled(last, Style.BOLD), units_max=10)

    coming = list(fates)
    while step := next_step(board, pages, is_live=False):
        event = chat.carry_out(step, coming.pop() if coming else Fate.DONE)
        board = board if event is None else after(board, event)

    shown = [sheet.text for sheet in chat.messages.values()]
    assert [shown.count(page) for page in pages] == [pages.count(page) for page in pages]
    assert set(shown) <= {*pages, *map(stub, pages)}


def test_a_button_to_stop_stands_under_what_grows_and_nowhere_else() -> None:
    one, two = Styled("one"), Styled("two")
    board = after(Board(), Sent(1, Sheet(one, has_stop=True)))

    assert next_step(board, (one,), is_live=True) is None
    assert next_step(board, (one, two), is_live=True) == Edit(1, Sheet(one), 0)
    board = after(board, Edited(1, Sheet(one)))
    assert next_step(board, (one, two), is_live=True) == Send(Sheet(stub(two), has_stop=True))


def test_what_grows_is_a_draft_where_there_are_drafts_and_a_message_in_the_end() -> None:
    one, two = Styled("one two"), Styled("three")
    board = Board(has_drafts=True)

    assert next_step(board, (one,), is_live=True) == Draft(Sheet(one, has_stop=True), 0)
    board = after(board, Drafted(Sheet(one, has_stop=True)))
    assert next_step(board, (one,), is_live=True) is None
    assert next_step(board, (one, two), is_live=True) == Send(Sheet(stub(one)))
    assert next_step(board, (one,), is_live=False) == Send(Sheet(stub(one)))


def test_a_chat_without_drafts_is_shown_messages() -> None:
    board = after(Board(has_drafts=True), DraftsRefused())
    stubbed = Sheet(stub(Styled("one two")), has_stop=True)

    assert next_step(board, (Styled("one two"),), is_live=True) == Send(stubbed)


def test_a_page_whose_styles_are_refused_is_plain_and_then_a_notice() -> None:
    page = styled("one", Style.BOLD)
    board = after(Board(), Sent(1, Sheet(stub(page))))

    board = after(board, PageRefused(0))
    assert next_step(board, (page,), is_live=False) == Edit(1, Sheet(Styled("one")), 0)
    board = after(board, PageRefused(0))
    assert next_step(board, (page,), is_live=False) == Edit(1, Sheet(UNSHOWABLE), 0)


def _known(board: Board) -> set[int]:
    return {one.message_id for one in board.messages}
