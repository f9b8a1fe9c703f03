"""What people do: they press, look for a bot in the line, open its Mini App, stop a draft."""

import asyncio
import hashlib
import hmac
from urllib.parse import parse_qsl

import pytest
from aiogram.exceptions import TelegramBadRequest
from aiogram.types import (
    CallbackQuery,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InlineQueryResultArticle,
    InputTextMessageContent,
)
from aiogram.utils.web_app import safe_parse_webapp_init_data

from cocoon_p2p.testing.bot_api.bots import QUERY_SECONDS
from tests.testing.bot_api.scene import Watch, on_asyncio, talking

ADA, BOB = 7, 8
STOP = InlineKeyboardMarkup(inline_keyboard=[[InlineKeyboardButton(text="Stop it", callback_data="stop:1")]])


def article(text: str, *, markup: InlineKeyboardMarkup | None = None) -> InlineQueryResultArticle:
    content = InputTextMessageContent(message_text=text, parse_mode="HTML")
    return InlineQueryResultArticle(id="a", title="A", input_message_content=content, reply_markup=markup)


@on_asyncio
async def test_a_press_reaches_the_bot_and_its_answer_the_person() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        await bot.send_message(ADA, "working", reply_markup=STOP)

        press = chat.press("Stop")
        query: CallbackQuery | None = (await bot.get_updates())[0].callback_query
        assert query is not None
        assert (query.data, query.from_user.id) == ("stop:1", ADA)
        assert query.message is not None
        assert press.answer is None
        waiting = asyncio.create_task(press.answered())
        await bot.answer_callback_query(query.id, text="stopped", show_alert=True)

        assert await waiting == {"text": "stopped", "show_alert": True, "url": ""}


@on_asyncio
async def test_a_press_is_answered_in_time_and_once() -> None:
    watch = Watch()
    async with talking(clock=watch) as (api, bot):
        chat = api.private(ADA)
        await bot.send_message(ADA, "working", reply_markup=STOP)

        first, second = chat.press("Stop"), chat.press("Stop")
        await bot.answer_callback_query(first.id)
        with pytest.raises(TelegramBadRequest, match="query is too old"):
            await bot.answer_callback_query(first.id)
        watch.now += QUERY_SECONDS + 1
        with pytest.raises(TelegramBadRequest, match="query is too old"):
            await bot.answer_callback_query(second.id)
        with pytest.raises(TelegramBadRequest, match="query ID is invalid"):
            await bot.answer_callback_query("nobody's")
        with pytest.raises(TelegramBadRequest, match="MESSAGE_TOO_LONG"):
            await bot.answer_callback_query(second.id, text="a" * 201)


@on_asyncio
async def test_in_a_group_anybody_may_press() -> None:
    async with talking() as (api, bot):
        ada, bob = api.user(ADA), api.user(BOB)
        group = api.group(ada, bob)
        await bot.send_message(group.id, "working", reply_markup=STOP)

        group.press("Stop", by=bob)

        query = (await bot.get_updates())[0].callback_query
        assert query is not None
        assert query.from_user.id == BOB
        with pytest.raises(LookupError, match="nobody of that name"):
            group.press("Stop", by=api.user(9))


@on_asyncio
async def test_a_draft_with_a_button_is_stopped_by_the_person() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        await bot.send_message_draft(chat_id=ADA, draft_id=5, text="He", can_stop=True)

        chat.stop(chat.drafts[0])

        stopped = (await bot.get_updates())[0].stopped_message_generation
        assert stopped is not None
        assert (stopped.chat.id, stopped.draft_id) == (ADA, 5)
        assert chat.drafts == ()


@on_asyncio
async def test_a_draft_is_kept_where_that_was_asked_for_and_without_a_button_there_is_no_stop() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        await bot.send_message_draft(chat_id=ADA, draft_id=5, text="He", can_stop=True, keep_on_stop=True)
        chat.stop(chat.drafts[0])
        assert len(chat.drafts) == 1

        await bot.send_message_draft(chat_id=ADA, draft_id=5, text="Hello")
        with pytest.raises(LookupError, match="cannot be stopped"):
            chat.stop(chat.drafts[0])


@on_asyncio
async def test_an_inline_result_is_posted_and_edited_by_its_own_id() -> None:
    async with talking() as (api, bot):
        ada, bob = api.user(ADA), api.user(BOB)
        group = api.group(ada, bob)

        asked = group.inline("what is", by=bob)
        query = (await bot.get_updates())[0].inline_query
        assert query is not None
        assert (query.query, query.from_user.id) == ("what is", BOB)
        await bot.answer_inline_query(query.id, [article("<i>thinking</i>", markup=STOP)], cache_time=0)
        await asked.answered()
        message = group.choose(asked, "a")

        updates = await bot.get_updates(offset=2)
        chosen = updates[0].chosen_inline_result
        assert chosen is not None
        assert (chosen.result_id, chosen.query) == ("a", "what is")
        assert (message.sender, message.text, message.via_bot) == (bob, "thinking", api.bot.user)
        edited = await bot.edit_message_text(text="42", inline_message_id=chosen.inline_message_id)
        assert edited is True
        assert [standing.text for standing in group.messages] == ["42"]


@on_asyncio
async def test_a_button_under_an_inline_result_says_which() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        asked = chat.inline("what is")
        await bot.answer_inline_query(asked.id, [article("thinking", markup=STOP)])
        message = chat.choose(asked, "a")

        chat.press("Stop")

        query = (await bot.get_updates())[-1].callback_query
        assert query is not None
        assert (query.message, query.inline_message_id) == (None, message.inline_message_id)


@on_asyncio
async def test_an_inline_message_of_nobodys_is_not_edited_and_a_result_without_buttons_has_no_id() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        asked = chat.inline("what is")
        await bot.answer_inline_query(asked.id, [article("plain")])

        assert chat.choose(asked, "a").inline_message_id == ""
        with pytest.raises(LookupError, match="no such result"):
            chat.choose(asked, "b")
        with pytest.raises(TelegramBadRequest, match="MESSAGE_ID_INVALID"):
            await bot.edit_message_text(text="42", inline_message_id="inline-4242-1")


@on_asyncio
async def test_results_that_cannot_be_posted_are_refused_before_they_are_shown() -> None:
    async with talking() as (api, bot):
        asked = api.private(ADA).inline("what is")

        with pytest.raises(TelegramBadRequest, match="can't parse entities"):
            await bot.answer_inline_query(asked.id, [article("<x>")])
        with pytest.raises(TelegramBadRequest, match="RESULTS_TOO_MUCH"):
            await bot.answer_inline_query(asked.id, [article("a")] * 51)

        assert asked.answer is None


@on_asyncio
async def test_a_mini_app_proves_who_opened_it_and_answers_where_it_was_opened() -> None:
    async with talking() as (api, bot):
        chat = api.private(api.user(ADA, "Ada & Co", language="de"))

        app = chat.open_web_app("https://app.example/")
        opened = safe_parse_webapp_init_data(api.token, app.init_data)
        assert opened.user is not None
        assert (opened.user.id, opened.user.first_name, opened.query_id) == (ADA, "Ada & Co", app.question.id)
        with pytest.raises(ValueError, match="Invalid init data signature"):
            safe_parse_webapp_init_data("1:another", app.init_data)
        await bot.answer_web_app_query(app.question.id, article("from the app"))

        assert [message.text for message in chat.messages] == ["from the app"]


@on_asyncio
async def test_what_a_mini_app_was_opened_with_is_signed_as_telegram_says() -> None:
    async with talking() as (api, _):
        fields = dict(parse_qsl(api.private(ADA).open_web_app().init_data))
        digest = fields.pop("hash")

        text = "\n".join(f"{name}={fields[name]}" for name in sorted(fields))
        key = hmac.digest(b"WebAppData", api.token.encode(), hashlib.sha256)
        assert digest == hmac.digest(key, text.encode(), hashlib.sha256).hex()


@on_asyncio
async def test_a_mini_app_of_a_keyboard_sends_its_data_as_a_message() -> None:
    async with talking() as (api, bot):
        api.private(ADA).send_web_app_data('{"a":1}', button="Choose")

        message = (await bot.get_updates())[0].message
        assert message is not None
        assert message.web_app_data is not None
        assert (message.web_app_data.data, message.web_app_data.button_text) == ('{"a":1}', "Choose")
