"""Who may stop an answer, and how: by its button, by the one that a draft has, or by /stop.

Whoever asked may, and a group's administrators. A button whose answer is over takes itself away.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiogram import Bot, F, Router
from aiogram.enums import ChatMemberStatus
from aiogram.exceptions import AiogramError
from aiogram.filters import Command
from aiogram.types import (
    CallbackQuery,
    InlineKeyboardButton,
    Message,
    MessageGenerationStopped,
)

from cocoon_p2p.telegram.addressed import asker
from cocoon_p2p.telegram.runs import DRAFTS_MAX, Run, Runs
from cocoon_p2p.telegram.wording import Wording

PREFIX = "cocoon-stop:"

_ADMINISTRATORS = (ChatMemberStatus.CREATOR, ChatMemberStatus.ADMINISTRATOR)


def button(run_id: str, wording: Wording) -> InlineKeyboardButton:
    """Make the button that stops a run."""
    return InlineKeyboardButton(text=wording.stop_button, callback_data=f"{PREFIX}{run_id}")


Say = Callable[[Message, str], Awaitable[object]]
"Answers a message."


def attach(router: Router, runs: Runs, wording: Wording, say: Say) -> None:
    """Have a router hear whatever stops runs."""

    @router.callback_query(F.data.startswith(PREFIX))
    async def pressed(query: CallbackQuery, bot: Bot) -> None:
        run = runs.find((query.data or "").removeprefix(PREFIX))
        if run is None:
            await _take_away(query, bot)
            said = wording.nothing_to_stop
        elif await may_stop(bot, run, query.from_user.id):
            run.stop()
            said = wording.stopped
        else:
            said = wording.not_yours
        with suppress(AiogramError):
            await query.answer(said)

    @router.stopped_message_generation()
    async def stopped(event: MessageGenerationStopped, bot: Bot) -> None:
        # Drafts are shown in private chats only, so whoever it was asked.
        for run in runs.of(bot.id, event.chat.id):
            if run.drafts <= event.draft_id < run.drafts + DRAFTS_MAX:
                run.stop()

    @router.message(Command("stop"))
    async def told(message: Message, bot: Bot) -> None:
        if not await stop_all(message, bot, runs):
            await say(message, wording.nothing_to_stop)


async def stop_all(message: Message, bot: Bot, runs: Runs) -> int:
    """Stop everything in a chat that the writer of a message may stop; say how much that is."""
    who, stopped = asker(message), 0
    for run in runs.of(bot.id, message.chat.id):
        if who is not None and await may_stop(bot, run, who):
            run.stop()
            stopped += 1
    return stopped


async def may_stop(bot: Bot, run: Run, who: int) -> bool:
    """Say whether somebody may stop a run: they asked, or administer the group."""
    return who == run.asker or await is_administrator(bot, run.place.chat_id, who)


async def is_administrator(bot: Bot, chat_id: int, who: int) -> bool:
    """Say whether somebody administers a group; where Telegram does not tell, they do not.

    Who writes in the name of the group itself is one of its administrators.
    """
    if chat_id > 0 or who == chat_id:
        return who == chat_id
    try:
        member = await bot.get_chat_member(chat_id, who)
    except AiogramError:
        return False
    return member.status in _ADMINISTRATORS


async def _take_away(query: CallbackQuery, bot: Bot) -> None:
    """Take a button away whose answer is over; of a message that was meant to be another, too."""
    with suppress(AiogramError):
        if query.inline_message_id is not None:
            await bot.edit_message_reply_markup(inline_message_id=query.inline_message_id)
        # Clients can say that they pressed what is not there: other buttons of the bot's are left alone.
        elif isinstance(query.message, Message) and query.data in _data(query.message):
            await bot.edit_message_reply_markup(
                chat_id=query.message.chat.id, message_id=query.message.message_id
            )


def _data(message: Message) -> set[str | None]:
    """Give what the buttons under a message carry."""
    rows = () if message.reply_markup is None else message.reply_markup.inline_keyboard
    return {button.callback_data for row in rows for button in row}
