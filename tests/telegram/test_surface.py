"""What each answer of the server's means for what was to be done, and how styles are spelled."""

import asyncio

import pytest
from aiogram import exceptions
from aiogram.methods import GetMe

from cocoon_p2p.telegram.pace import Rate, Subject
from cocoon_p2p.telegram.showing import (
    Draft,
    DraftsRefused,
    Edit,
    Edited,
    Event,
    PageRefused,
    Remove,
    Send,
    Sheet,
    Standing,
    Step,
    Vanished,
)
from cocoon_p2p.telegram.styled import ENTITIES_MAX, Span, Style, Styled
from cocoon_p2p.telegram.surface import Silenced, Uncertain, Undeliverable, entities_of, perform

SHEET = Sheet(Styled("x"))
SEND, EDIT, REMOVE, DRAFT = Send(SHEET), Edit(5, SHEET, 0), Remove(5), Draft(SHEET, 0)
ANY = GetMe()

MODIFIED = exceptions.TelegramBadRequest(ANY, "Bad Request: message is not modified: ...")
GONE = exceptions.TelegramBadRequest(ANY, "Bad Request: message to edit not found")
PARSED = exceptions.TelegramBadRequest(ANY, "Bad Request: can't parse entities")
MISSING = exceptions.TelegramNotFound(ANY, "Not Found: method not found")
MIGRATED = exceptions.TelegramMigrateToChat(ANY, "Bad Request: group chat was upgraded", -100)
BLOCKED = exceptions.TelegramForbiddenError(ANY, "Forbidden: bot was blocked by the user")
UNAUTHORIZED = exceptions.TelegramUnauthorizedError(ANY, "Unauthorized")
BROKEN = exceptions.TelegramServerError(ANY, "Bad Gateway")
LOST = exceptions.TelegramNetworkError(ANY, "ServerDisconnectedError")
PAGE = exceptions.ClientDecodeError("Failed to decode object", ValueError("<"), "<html>")


class Failing:
    """A place whose server answers so."""

    standing: tuple[Standing, ...] = ()
    pages_max: int | None = None
    has_drafts = True

    def __init__(self, answer: Exception) -> None:
        self._answer = answer

    def meters(self, step: Step) -> dict[Subject, Rate]:
        return {(1,): Rate(1.0)}

    async def carry_out(self, step: Step) -> Event:
        raise self._answer

    async def announce(self) -> None:
        raise self._answer


@pytest.mark.parametrize(
    ("answer", "step", "event"),
    [
        (MODIFIED, EDIT, Edited(5, SHEET)),
        (GONE, EDIT, Vanished(5)),
        (PARSED, EDIT, PageRefused(0)),
        (PARSED, REMOVE, Vanished(5)),
        (PARSED, DRAFT, DraftsRefused()),
        (MISSING, DRAFT, DraftsRefused()),
        (MIGRATED, EDIT, Vanished(5)),
    ],
)
def test_some_errors_are_as_good_as_a_result(answer: Exception, step: Step, event: Event) -> None:
    assert asyncio.run(perform(Failing(answer), step)) == event


@pytest.mark.parametrize(
    ("answer", "step", "meaning"),
    [
        (exceptions.TelegramRetryAfter(ANY, "Too Many Requests", 7), SEND, Silenced),
        (PARSED, SEND, Undeliverable),
        (BLOCKED, EDIT, Undeliverable),
        (BLOCKED, DRAFT, Undeliverable),
        (UNAUTHORIZED, SEND, Undeliverable),
        (MISSING, SEND, Undeliverable),
        (BROKEN, SEND, Uncertain),
        (LOST, EDIT, Uncertain),
        (PAGE, SEND, Uncertain),
        (MIGRATED, SEND, Uncertain),
        (ConnectionResetError(), SEND, Uncertain),
        (TimeoutError(), SEND, Uncertain),
    ],
)
def test_other_errors_say_whether_to_try_again(
    answer: Exception, step: Step, meaning: type[Exception]
) -> None:
    with pytest.raises(meaning):
        asyncio.run(perform(Failing(answer), step))


def test_styles_are_counted_in_utf16_units_and_are_not_too_many() -> None:
    text = Styled("\U0001f600 bold", (Span(Style.BOLD, 2, 6),))
    (entity,) = entities_of(text)

    assert (entity.type, entity.offset, entity.length) == ("bold", 3, 4)
    many = tuple(Span(Style.CODE, place, place + 1) for place in range(0, 400, 2))
    assert len(entities_of(Styled("x" * 400, many))) == ENTITIES_MAX
