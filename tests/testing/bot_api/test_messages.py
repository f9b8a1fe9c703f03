"""Messages, edits, drafts and files: what the server takes, what it refuses, and what people see of it."""

from collections.abc import Awaitable, Callable
from typing import Any

import aiogram
import pytest
from aiogram.exceptions import TelegramBadRequest, TelegramEntityTooLarge, TelegramForbiddenError
from aiogram.types import (
    BufferedInputFile,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    Message,
    MessageEntity,
    ReplyParameters,
    WebAppInfo,
)

from cocoon_p2p.testing.bot_api import Arguments, files
from cocoon_p2p.testing.bot_api.editing import DELETE_SECONDS_MAX
from tests.testing.bot_api.scene import Watch, on_asyncio, talking

ADA, BOB = 7, 8
MINE, THEIRS, GONE = 2, 1, 99
"Numbers of messages in the scene of refusals."


def buttons(*texts: str, data: str = "x") -> InlineKeyboardMarkup:
    return InlineKeyboardMarkup(
        inline_keyboard=[[InlineKeyboardButton(text=text, callback_data=data)] for text in texts]
    )


@on_asyncio
async def test_a_message_is_seen_and_answered_as_it_stands() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)

        sent = await bot.send_message(ADA, "<b>hi</b> there", parse_mode="HTML", reply_markup=buttons("Stop"))

        assert chat.texts == ["hi there"]
        assert chat.from_bots[0].content.spans("bold") == ["hi"]
        assert chat.button("Stop")[1].get("callback_data") == "x"
        assert (sent.text, sent.chat.id, sent.html_text) == ("hi there", ADA, "<b>hi</b> there")
        assert sent.from_user is not None
        assert sent.from_user.is_bot


Try = Callable[[aiogram.Bot], Awaitable[Any]]

REFUSALS: list[tuple[str, Try]] = [
    ("chat not found", lambda bot: bot.send_message(12345, "a")),
    ("text must be non-empty", lambda bot: bot.send_message(ADA, " \n ")),
    ("message text is empty", lambda bot: bot.send_message(ADA, "")),
    ("text must be non-empty", lambda bot: bot.send_message(ADA, "<b></b>", parse_mode="HTML")),
    ("unsupported parse_mode", lambda bot: bot.send_message(ADA, "a", parse_mode="BBCode")),
    (
        "can't parse entities: Unsupported start tag",
        lambda bot: bot.send_message(ADA, "<x>", parse_mode="HTML"),
    ),
    ("message is too long", lambda bot: bot.send_message(ADA, "😀" * 2049)),
    ("text is too long", lambda bot: bot.send_message(ADA, "a" * 32769)),
    ("MESSAGE_TOO_LONG", lambda bot: bot.edit_message_text("a" * 4097, chat_id=ADA, message_id=MINE)),
    ("message is not modified", lambda bot: bot.edit_message_text("mine", chat_id=ADA, message_id=MINE)),
    ("message to edit not found", lambda bot: bot.edit_message_text("a", chat_id=ADA, message_id=GONE)),
    ("message can't be edited", lambda bot: bot.edit_message_text("a", chat_id=ADA, message_id=THEIRS)),
    ("message is not modified", lambda bot: bot.edit_message_reply_markup(chat_id=ADA, message_id=MINE)),
    ("message to delete not found", lambda bot: bot.delete_message(ADA, GONE)),
    ("message thread not found", lambda bot: bot.send_message(ADA, "a", message_thread_id=5)),
    (
        "message to be replied not found",
        lambda bot: bot.send_message(ADA, "a", reply_parameters=ReplyParameters(message_id=GONE)),
    ),
    (
        "QUOTE_TEXT_INVALID",
        lambda bot: bot.send_message(
            ADA, "a", reply_parameters=ReplyParameters(message_id=THEIRS, quote="never said")
        ),
    ),
    ("BUTTON_DATA_INVALID", lambda bot: bot.send_message(ADA, "a", reply_markup=buttons("a", data="x" * 65))),
    (
        "Text buttons are unallowed",
        lambda bot: bot.send_message(
            ADA, "a", reply_markup=InlineKeyboardMarkup(inline_keyboard=[[InlineKeyboardButton(text="a")]])
        ),
    ),
    ("wrong file_id", lambda bot: bot.send_voice(ADA, "voice-1-1-nobodys")),
    ("there is no voice in the request", lambda bot: bot.send_voice(ADA, "")),
    ("wrong file_id", lambda bot: bot.get_file("nothing")),
    ("wrong parameter action in request", lambda bot: bot.send_chat_action(ADA, "sleeping")),
    ("RANDOM_ID_INVALID", lambda bot: bot.send_message_draft(chat_id=ADA, draft_id=0, text="a")),
]


@on_asyncio
async def test_what_the_server_refuses_it_refuses_in_its_words_and_changes_nothing() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        chat.say("theirs")
        await bot.send_message(ADA, "mine")
        before = chat.messages

        for complaint, attempt in REFUSALS:
            with pytest.raises(TelegramBadRequest, match=complaint):
                await attempt(bot)
            assert api.calls[-1].status == 400

        assert chat.messages == before


@on_asyncio
async def test_a_text_is_measured_after_its_markup_is_read_and_in_utf_16() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)

        await bot.send_message(ADA, "<b>" + "😀" * 2048 + "</b>", parse_mode="HTML")
        await bot.send_message(ADA, "&lt;" * 4096, parse_mode="HTML")

        assert [len(text) for text in chat.texts] == [2048, 4096]


@on_asyncio
async def test_a_bot_may_give_entities_itself() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)

        await bot.send_message(ADA, "😀 bold", entities=[MessageEntity(type="bold", offset=3, length=4)])

        assert chat.from_bots[0].content.spans("bold") == ["bold"]


@on_asyncio
async def test_an_edit_takes_the_buttons_away_unless_it_brings_them_again() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        sent = await bot.send_message(ADA, "one", reply_markup=buttons("Stop"))

        await sent.edit_text("two", reply_markup=buttons("Stop"))
        assert chat.button("Stop")[1].text == "Stop"
        await sent.edit_text("two")
        with pytest.raises(LookupError, match="no button"):
            chat.button("Stop")

        assert chat.texts == ["two"]
        assert [sight.kind for sight in chat.history] == ["sent", "edited", "edited"]


@on_asyncio
async def test_a_keyboard_is_not_put_under_a_message_that_stands() -> None:
    async with talking() as (api, bot):
        api.private(ADA)
        sent = await bot.send_message(ADA, "one")
        edit = {"chat_id": ADA, "message_id": sent.message_id, "reply_markup": {"keyboard": [["Stop"]]}}

        reply = await api.call(api.token, "editMessageReplyMarkup", Arguments(edit))

        assert reply.description == "Bad Request: inline keyboard expected"


@on_asyncio
async def test_a_message_that_was_deleted_is_seen_by_nobody() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        sent = await bot.send_message(ADA, "one")

        assert await bot.delete_message(ADA, sent.message_id)

        assert chat.messages == ()
        assert chat.history[-1].kind == "deleted"


@on_asyncio
async def test_after_two_days_a_message_cannot_be_deleted() -> None:
    watch = Watch()
    async with talking(clock=watch) as (api, bot):
        api.private(ADA)
        sent = await bot.send_message(ADA, "one")
        watch.now += DELETE_SECONDS_MAX + 1

        with pytest.raises(TelegramBadRequest, match="message can't be deleted"):
            await bot.delete_message(ADA, sent.message_id)


@on_asyncio
async def test_in_a_group_a_bot_deletes_only_what_is_its_own() -> None:
    async with talking() as (api, bot):
        group = api.group(api.user(ADA))
        theirs = group.say("theirs")

        with pytest.raises(TelegramBadRequest, match="message can't be deleted"):
            await bot.delete_message(group.id, theirs.message_id)


@on_asyncio
async def test_a_draft_grows_is_not_a_message_and_goes_when_one_comes() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)

        for text in ("", "He", "Hello"):
            await bot.send_message_draft(chat_id=ADA, draft_id=5, text=text)
        assert [draft.content.text for draft in chat.drafts] == ["Hello"]
        assert chat.messages == ()
        await bot.send_message(ADA, "Hello!")

        assert chat.drafts == ()
        assert [sight.kind for sight in chat.history] == ["draft", "draft", "draft", "sent"]


@on_asyncio
async def test_a_draft_that_nothing_follows_goes_after_half_a_minute() -> None:
    watch = Watch()
    async with talking(clock=watch) as (api, bot):
        chat = api.private(ADA)
        await bot.send_message_draft(chat_id=ADA, draft_id=5, text="He")

        watch.now += 29.9
        assert len(chat.drafts) == 1
        watch.now += 0.1
        assert chat.drafts == ()


@on_asyncio
async def test_a_group_takes_no_drafts() -> None:
    async with talking() as (api, bot):
        group = api.group(api.user(ADA))

        with pytest.raises(TelegramBadRequest, match="TEXTDRAFT_PEER_INVALID"):
            await bot.send_message_draft(chat_id=group.id, draft_id=5, text="He")


@on_asyncio
async def test_who_blocked_the_bot_is_not_written_to() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        sent = await bot.send_message(ADA, "one")
        chat.block()

        for attempt in (
            bot.send_message(ADA, "two"),
            sent.edit_text("two"),
            bot.send_message_draft(chat_id=ADA, draft_id=1, text="two"),
        ):
            with pytest.raises(TelegramForbiddenError, match="bot was blocked by the user"):
                await attempt
        chat.unblock()
        await bot.send_message(ADA, "three")

        assert chat.texts == ["one", "three"]


@on_asyncio
async def test_a_bot_cannot_be_the_first_to_write() -> None:
    async with talking() as (api, bot):
        api.user(BOB)

        with pytest.raises(TelegramForbiddenError, match="can't initiate conversation"):
            await bot.send_message(BOB, "hi")


@on_asyncio
async def test_a_bot_that_was_put_out_of_a_group_does_not_write_there() -> None:
    async with talking() as (api, bot):
        group = api.group(api.user(ADA))
        group.block()

        with pytest.raises(TelegramForbiddenError, match="kicked from the supergroup"):
            await bot.send_message(group.id, "hi")


@on_asyncio
async def test_replies_quotes_and_topics_are_where_they_belong() -> None:
    async with talking() as (api, bot):
        group = api.group(api.user(ADA))
        topic = group.open_topic()
        asked = group.say("what is the time", thread_id=topic)

        sent = await bot.send_message(
            group.id, "noon", reply_parameters=ReplyParameters(message_id=asked.message_id, quote="the time")
        )

        assert sent.message_thread_id == topic
        assert sent.reply_to_message is not None
        assert sent.reply_to_message.text == "what is the time"
        assert sent.quote is not None
        assert sent.quote.text == "the time"


@on_asyncio
async def test_of_a_long_chain_of_replies_one_is_shown() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        message = chat.say("0")
        for number in range(1, 2_000):
            message = chat.say(str(number), reply_to=message)

        shown = (await bot.get_updates(offset=-1))[0].message
        assert shown is not None
        assert shown.reply_to_message is not None
        assert (shown.reply_to_message.text, shown.reply_to_message.reply_to_message) == ("1998", None)


@on_asyncio
async def test_buttons_that_are_none_are_as_if_not_there() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        nothing = InlineKeyboardMarkup(inline_keyboard=[[]])
        sent = await bot.send_message(ADA, "one", reply_markup=nothing)

        with pytest.raises(TelegramBadRequest, match="not modified"):
            await sent.edit_text("one")
        assert chat.from_bots[0].keyboard is None


@on_asyncio
async def test_a_reply_to_what_is_gone_may_be_sent_without_it() -> None:
    async with talking() as (api, bot):
        api.private(ADA)
        reply = ReplyParameters(message_id=GONE, allow_sending_without_reply=True)

        sent = await bot.send_message(ADA, "noon", reply_parameters=reply)

        assert sent.reply_to_message is None


@on_asyncio
async def test_a_mini_app_button_stands_in_private_chats_only() -> None:
    app = InlineKeyboardButton(text="App", web_app=WebAppInfo(url="https://app.example/"))
    markup = InlineKeyboardMarkup(inline_keyboard=[[app]])
    async with talking() as (api, bot):
        group = api.group(api.user(ADA))
        api.private(ADA)

        await bot.send_message(ADA, "open", reply_markup=markup)
        with pytest.raises(TelegramBadRequest, match="BUTTON_TYPE_INVALID"):
            await bot.send_message(group.id, "open", reply_markup=markup)


@on_asyncio
async def test_a_file_that_a_person_sent_is_fetched_by_the_bot() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        kinds = ("voice", "audio", "document", "photo", "video")
        for kind in kinds:
            chat.send_file(kind, f"a {kind}".encode(), caption="look", seconds=3, name="a.txt")

        for kind, update in zip(kinds, await bot.get_updates(), strict=True):
            assert update.message is not None
            assert update.message.caption == "look"
            found = getattr(update.message, kind)
            content = await bot.download(found[0] if kind == "photo" else found)
            assert content is not None
            assert content.read() == f"a {kind}".encode()


@on_asyncio
async def test_a_file_that_the_bot_sent_is_had_by_the_person_and_sent_again_by_its_id() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)

        sent: Message = await bot.send_document(
            ADA, BufferedInputFile(b"a,b\n", "t.csv"), caption="<i>t</i>", parse_mode="HTML"
        )
        assert sent.document is not None
        await bot.send_document(ADA, sent.document.file_id)
        await sent.edit_caption(caption="u")

        first, second = chat.from_bots
        assert first.media is not None
        assert second.media == first.media
        assert (first.text, first.media.name, chat.content(first.media)) == ("u", "t.csv", b"a,b\n")


@on_asyncio
async def test_a_file_of_one_bot_is_nothing_to_another() -> None:
    async with talking() as (api, bot):
        api.private(ADA)
        other = api.add_bot("77:other", "other_bot")
        api.private(ADA, bot=other).send_voice(b"abc")
        file_id = api.world.files.put(other.id, "voice", b"abc").file_id

        with pytest.raises(TelegramBadRequest, match="wrong file_id"):
            await bot.get_file(file_id)


@on_asyncio
async def test_files_that_are_too_big_are_neither_given_nor_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "DOWNLOAD_MAX_BYTES", 3)
    monkeypatch.setattr(files, "UPLOAD_MAX_BYTES", 4)
    async with talking() as (api, bot):
        chat = api.private(ADA)
        chat.send_voice(b"1234")
        update = (await bot.get_updates())[0]
        assert update.message is not None
        assert update.message.voice is not None

        with pytest.raises(TelegramBadRequest, match="file is too big"):
            await bot.get_file(update.message.voice.file_id)
        with pytest.raises(TelegramEntityTooLarge):
            await bot.send_voice(ADA, BufferedInputFile(b"12345", "v"))


@on_asyncio
async def test_what_a_bot_is_doing_is_seen() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)

        await bot.send_chat_action(ADA, "typing")

        assert chat.actions == ["typing"]
