"""Inline mode: `@bot question` in any chat puts a message there, which then becomes the answer.

A query wants its answer within seconds, and comes with every letter that is typed; so nothing is bought for
it. What it gets is one article, the question itself. Who sends that has asked.
"""

import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiogram import Bot, Router
from aiogram.exceptions import AiogramError
from aiogram.types import (
    ChosenInlineResult,
    InlineKeyboardMarkup,
    InlineQuery,
    InlineQueryResultArticle,
    InputTextMessageContent,
)

from cocoon_p2p.telegram import stopping
from cocoon_p2p.telegram.styled import Style, sendable, styled
from cocoon_p2p.telegram.surface import text_of
from cocoon_p2p.telegram.wording import Wording

ANSWER_UNITS_MAX = 3_000
"An inline message is one message: question, answer and footer are within 4,096 UTF-16 units."

AnswerInline = Callable[[Bot, int, str, str, str], Awaitable[object]]
"Of a bot: who asked, the run's id, the message's, and the question."


def attach(router: Router, answer: AnswerInline, wording: Wording) -> None:
    """Have a router answer inline queries."""

    @router.inline_query()
    async def asked(query: InlineQuery) -> None:
        text = sendable(query.query).strip()
        articles = [_article(text, wording)] if text else []
        with suppress(AiogramError):
            await query.answer(list(articles), cache_time=0, is_personal=True)

    @router.chosen_inline_result()
    async def chosen(result: ChosenInlineResult, bot: Bot) -> None:
        text = sendable(result.query).strip()
        if result.inline_message_id is not None and text:
            await answer(bot, result.from_user.id, result.result_id, result.inline_message_id, text)


def _article(text: str, wording: Wording) -> InlineQueryResultArticle:
    # Only a message with a keyboard can be edited later. The run that is to come has the article's id.
    run_id = secrets.token_hex(8)
    content = text_of(styled(text, Style.QUOTE))
    return InlineQueryResultArticle(
        id=run_id,
        title=wording.inline_title,
        description=text,
        input_message_content=InputTextMessageContent(
            message_text=content["text"], entities=content["entities"], parse_mode=None
        ),
        reply_markup=InlineKeyboardMarkup(inline_keyboard=[[stopping.button(run_id, wording)]]),
    )
