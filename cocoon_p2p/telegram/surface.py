"""Where an answer is shown, and what each step is called there: a chat's messages, or one inline message.

What the server says to a step is judged here, once: what came of it (an event), that it is to be silent
(`Silenced`), that nobody knows (`Uncertain`), or that nothing will ever be shown there (`Undeliverable`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, assert_never

from aiogram import Bot
from aiogram.exceptions import (
    ClientDecodeError,
    TelegramAPIError,
    TelegramBadRequest,
    TelegramConflictError,
    TelegramForbiddenError,
    TelegramMigrateToChat,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramUnauthorizedError,
)
from aiogram.types import (
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    LinkPreviewOptions,
    MessageEntity,
    ReplyParameters,
)

from cocoon_p2p.telegram.pace import DRAFTS, GROUP, PRIVATE, WHOLE_BOT, Rate, Subject
from cocoon_p2p.telegram.showing import (
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
    Standing,
    Step,
    Vanished,
)
from cocoon_p2p.telegram.styled import ENTITIES_MAX, Styled, utf16_units

CALL_SECONDS = 20
"How long one call may take."

# A preview would have Telegram fetch an address that a stranger's worker wrote, and whatever is in it.
_NO_PREVIEW = LinkPreviewOptions(is_disabled=True)

_GONE = ("message to edit not found", "message can't be edited", "MESSAGE_ID_INVALID")


class Silenced(Exception):
    """The server wants no calls for `seconds`; the one that was made has not happened."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Uncertain(Exception):
    """The connection broke, or the server did: the step may have happened or not."""


class Undeliverable(Exception):
    """Nothing can be shown there: the bot was blocked, removed, or may not write. The text is Telegram's."""


class Surface(Protocol):
    """Where one answer is shown."""

    @property
    def standing(self) -> tuple[Standing, ...]:
        """What is there before anything is shown."""
        ...

    @property
    def pages_max(self) -> int | None: ...

    @property
    def has_drafts(self) -> bool:
        """Whether what grows can be shown as a draft."""
        ...

    def meters(self, step: Step) -> dict[Subject, Rate]:
        """Say by which meters a step is counted, that of the place itself first."""
        ...

    async def carry_out(self, step: Step) -> Event:
        """Carry a step out.

        Raises:
            TelegramAPIError: It failed (`perform` judges it).
        """
        ...

    async def announce(self) -> None:
        """Show that something is being written, where that is shown without a message."""
        ...


@dataclass(frozen=True, slots=True)
class Spot:
    """Where in Telegram somebody asked something."""

    chat_id: int
    is_private: bool
    thread_id: int | None = None
    "The topic, in a chat that has some."

    reply_to: int | None = None
    "The message that is answered, where several people write."


class ChatSurface:
    """The messages of one answer in a chat.

    Args:
        bot: Who writes.
        spot: Where.
        stop: The button that stops the answer.
        drafts: Of the numbers of drafts, none of them 0, the first; each page has the next.
    """

    pages_max: int | None = None
    standing: tuple[Standing, ...] = ()

    def __init__(self, bot: Bot, spot: Spot, stop: InlineKeyboardButton, drafts: int) -> None:
        self.has_drafts = spot.is_private
        self._bot = bot
        self._spot = spot
        self._chat_id = spot.chat_id
        self._stop = InlineKeyboardMarkup(inline_keyboard=[[stop]])
        self._drafts = drafts
        self._is_begun = False

    def meters(self, step: Step) -> dict[Subject, Rate]:
        here: Subject = (self._bot.id, self._chat_id)
        if isinstance(step, Draft):
            return {(*here, "drafts"): DRAFTS}
        return {here: PRIVATE if self._spot.is_private else GROUP, (self._bot.id,): WHOLE_BOT}

    async def carry_out(self, step: Step) -> Event:
        try:
            return await self._carry_out(step)
        except TelegramMigrateToChat as exc:
            # The group became a supergroup. Its messages have other numbers there.
            self._chat_id = exc.migrate_to_chat_id
            raise

    async def _carry_out(self, step: Step) -> Event:
        match step:
            case Send(sheet):
                sent = await self._bot.send_message(
                    self._chat_id,
                    message_thread_id=self._spot.thread_id,
                    reply_parameters=self._reply(),
                    **self._content(sheet),
                )
                self._is_begun = True
                return Sent(sent.message_id, sheet)
            case Edit(message_id, sheet):
                await self._bot.edit_message_text(
                    chat_id=self._chat_id, message_id=message_id, **self._content(sheet)
                )
                return Edited(message_id, sheet)
            case Remove(message_id):
                await self._bot.delete_message(self._chat_id, message_id, request_timeout=CALL_SECONDS)
                return Vanished(message_id)
            case Draft(sheet, page):
                await self._bot.send_message_draft(
                    self._chat_id,
                    self._drafts + page,
                    message_thread_id=self._spot.thread_id,
                    can_stop=True,
                    keep_on_stop=True,
                    **text_of(sheet.text),
                    request_timeout=CALL_SECONDS,
                )
                return Drafted(sheet)
            case _:
                assert_never(step)

    def _content(self, sheet: Sheet) -> dict[str, Any]:
        return content_of(sheet, self._stop)

    def _reply(self) -> ReplyParameters | None:
        if self._spot.reply_to is None or self._is_begun:
            return None
        return ReplyParameters(message_id=self._spot.reply_to, allow_sending_without_reply=True)

    async def announce(self) -> None:
        if not self.has_drafts:
            await self._bot.send_chat_action(
                self._chat_id,
                "typing",
                message_thread_id=self._spot.thread_id,
                request_timeout=CALL_SECONDS,
            )


class InlineSurface:
    """The one message of an answer that was asked for in inline mode; it stands before the answer begins."""

    pages_max: int | None = 1
    has_drafts = False
    standing: tuple[Standing, ...] = (Standing(0, Sheet(Styled(""))),)

    def __init__(self, bot: Bot, inline_message_id: str, stop: InlineKeyboardButton) -> None:
        self._bot = bot
        self._id = inline_message_id
        self._stop = InlineKeyboardMarkup(inline_keyboard=[[stop]])

    def meters(self, step: Step) -> dict[Subject, Rate]:
        # It may stand in a group, which the bot does not hear of.
        return {(self._bot.id, self._id): GROUP, (self._bot.id,): WHOLE_BOT}

    async def carry_out(self, step: Step) -> Event:
        if not isinstance(step, Edit):
            raise Undeliverable("the inline message is gone")
        await self._bot.edit_message_text(inline_message_id=self._id, **content_of(step.sheet, self._stop))
        return Edited(step.message_id, step.sheet)

    async def announce(self) -> None:
        """Nothing can be shown beside the message."""


async def perform(surface: Surface, step: Step) -> Event:
    """Carry a step out, and judge what the server says to it.

    Raises:
        Silenced: Not now.
        Uncertain: It may have happened or not.
        Undeliverable: Nothing can be shown there.
    """
    try:
        return await surface.carry_out(step)
    except TelegramRetryAfter as exc:
        raise Silenced(exc.retry_after) from exc
    except TelegramMigrateToChat as exc:
        if isinstance(step, Edit | Remove):
            return Vanished(step.message_id)
        raise Uncertain from exc
    except TelegramBadRequest as exc:
        return _judge(step, exc)
    except TelegramNotFound as exc:
        if isinstance(step, Draft):
            # A Bot API server of one's own may be older than drafts.
            return DraftsRefused()
        raise Undeliverable(exc.message) from exc
    except (TelegramForbiddenError, TelegramUnauthorizedError, TelegramConflictError) as exc:
        raise Undeliverable(exc.message) from exc
    except (TelegramAPIError, ClientDecodeError, OSError) as exc:
        raise Uncertain from exc


def _judge(step: Step, refusal: TelegramBadRequest) -> Event:
    match step:
        case Edit(message_id, sheet) if "message is not modified" in refusal.message:
            return Edited(message_id, sheet)
        case Edit(message_id) if any(words in refusal.message for words in _GONE):
            return Vanished(message_id)
        case Edit(page=page):
            return PageRefused(page)
        case Remove(message_id):
            return Vanished(message_id)
        case Draft():
            return DraftsRefused()
        case Send():
            # It has no styles and is not empty, so it is not what was said that is refused.
            raise Undeliverable(refusal.message) from refusal
        case _:
            assert_never(step)


def content_of(sheet: Sheet, stop: InlineKeyboardMarkup) -> dict[str, Any]:
    """Spell what a message shows as arguments of a call."""
    return {
        **text_of(sheet.text),
        "link_preview_options": _NO_PREVIEW,
        "reply_markup": stop if sheet.has_stop else None,
        "request_timeout": CALL_SECONDS,
    }


def text_of(text: Styled) -> dict[str, Any]:
    """Spell a text as arguments of a call. A bot's own default for markup does not touch it."""
    return {"text": text.text, "entities": entities_of(text), "parse_mode": None}


def entities_of(text: Styled) -> list[MessageEntity]:
    """Spell styles as Telegram does, by UTF-16 units."""
    spans = text.spans[:ENTITIES_MAX]
    places = _units_at(text.text, sorted({place for span in spans for place in (span.start, span.end)}))
    return [
        MessageEntity(
            type=span.style,
            offset=places[span.start],
            length=places[span.end] - places[span.start],
            language=span.language or None,
        )
        for span in spans
    ]


def _units_at(text: str, places: Sequence[int]) -> dict[int, int]:
    """Count the UTF-16 units before each of some places, which are in order."""
    found: dict[int, int] = {}
    before = units = 0
    for place in places:
        units += utf16_units(text[before:place])
        found[place], before = units, place
    return found
