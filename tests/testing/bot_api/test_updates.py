"""What comes to a bot: by polling, by webhook, and which of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiogram import Dispatcher
from aiogram.exceptions import TelegramBadRequest, TelegramConflictError, TelegramServerError
from aiogram.methods import SendMessage
from aiogram.types import BotCommand, Message, Update
from aiogram.webhook.aiohttp_server import SimpleRequestHandler
from aiohttp import web

from tests.testing.bot_api.scene import client, on_asyncio, talking

ADA, BOB = 7, 8


def texts(updates: list[Update]) -> list[str | None]:
    return [update.message.text for update in updates if update.message is not None]


@on_asyncio
async def test_an_update_is_given_until_the_bot_asks_for_one_that_comes_after_it() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        chat.say("one")
        chat.say("two")

        first = await bot.get_updates()
        assert texts(first) == ["one", "two"]
        assert texts(await bot.get_updates(limit=1)) == ["one"]
        assert texts(await bot.get_updates(offset=first[0].update_id + 1)) == ["two"]
        assert texts(await bot.get_updates(offset=-1)) == ["two"]
        assert await bot.get_updates(offset=first[1].update_id + 1) == []


@on_asyncio
async def test_a_poll_waits_for_the_next_update() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)

        poll = asyncio.create_task(bot.get_updates(timeout=50))
        await api.bot.updates.polled()
        chat.say("one")

        assert texts(await poll) == ["one"]


@on_asyncio
async def test_of_two_pollers_the_first_is_told_that_there_is_another() -> None:
    async with talking() as (api, bot), client(api) as twin:
        chat = api.private(ADA)
        first = asyncio.create_task(bot.get_updates(timeout=50))
        await api.bot.updates.polled()

        second = asyncio.create_task(twin.get_updates(timeout=50))
        with pytest.raises(TelegramConflictError, match="terminated by other getUpdates request"):
            await first
        chat.say("one")

        assert texts(await second) == ["one"]


@on_asyncio
async def test_a_poller_that_hung_up_loses_nothing() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        poll = asyncio.create_task(bot.get_updates(timeout=50))
        await api.bot.updates.polled()

        poll.cancel()
        chat.say("one")

        assert texts(await bot.get_updates(timeout=50)) == ["one"]


@on_asyncio
async def test_a_poll_is_lost_on_the_way_only_by_name_and_the_updates_stay() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        api.faults.error()
        chat.say("one")
        assert texts(await bot.get_updates()) == ["one"]

        api.faults.error("getUpdates")
        with pytest.raises(TelegramServerError):
            await bot.get_updates()

        assert texts(await bot.get_updates()) == ["one"]


@on_asyncio
async def test_only_the_kinds_that_were_asked_for_come() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        await bot.get_updates(allowed_updates=["edited_message"])

        chat.edit_mine(chat.say("one"), "two")

        updates = await bot.get_updates()
        assert [update.event_type for update in updates] == ["edited_message"]


@on_asyncio
async def test_aiograms_own_dispatcher_answers_over_the_fake() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        dispatcher = echo()

        poll = dispatcher.start_polling(bot, handle_signals=False)  # pyright: ignore[reportUnknownMemberType]
        polling = asyncio.create_task(poll)
        chat.say("one")
        await chat.until(lambda chat: chat.texts == ["echo one"])
        await dispatcher.stop_polling()
        await polling


def echo() -> Dispatcher:
    dispatcher = Dispatcher()

    @dispatcher.message()
    async def answer(message: Message) -> None:
        await message.answer(f"echo {message.text}")

    return dispatcher


@pytest.mark.parametrize(
    ("text", "is_seen"),
    [
        ("hello all", False),
        ("/ask", True),
        ("/ask@fake_bot what", True),
        ("/ask@other_bot what", False),
        ("what says @Fake_bot", True),
    ],
)
@on_asyncio
async def test_of_a_group_a_bot_sees_what_is_meant_for_it(text: str, is_seen: bool) -> None:
    async with talking() as (api, bot):
        group = api.group(api.user(ADA))

        group.say(text)

        assert texts(await bot.get_updates()) == ([text] if is_seen else [])


@on_asyncio
async def test_a_bot_sees_replies_to_it_and_without_privacy_everything_but_other_bots() -> None:
    async with talking() as (api, bot):
        other = api.add_bot("77:other", "other_bot")
        other.privacy = False
        group = api.group(api.user(ADA), bots=(api.bot, other))
        await bot.send_message(group.id, "a bot's")

        group.say("an answer", reply_to=group.from_bots[0])
        group.say("to all")

        assert texts(await bot.get_updates()) == ["an answer"]
        async with client(api, other.token) as second:
            assert texts(await second.get_updates()) == ["an answer", "to all"]
            assert (await second.get_me()).can_read_all_group_messages


@on_asyncio
async def test_who_blocks_a_bot_is_heard_of() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)

        chat.block()
        chat.say("into the void")

        changes = [update.my_chat_member for update in await bot.get_updates()]
        assert [change.new_chat_member.status for change in changes if change] == ["kicked"]


@on_asyncio
async def test_chats_and_their_members_are_described() -> None:
    async with talking() as (api, bot):
        ada, bob = api.user(ADA, "Ada", username="ada"), api.user(BOB, "Bob", language="de")
        group = api.group(ada, bob, title="Two")

        assert (await bot.get_chat(group.id)).title == "Two"
        assert [(await bot.get_chat_member(group.id, who)).status for who in (ADA, BOB)] == [
            "creator",
            "member",
        ]
        assert (await bot.get_chat_member(group.id, api.bot.id)).user.is_bot
        with pytest.raises(TelegramBadRequest, match="PARTICIPANT_ID_INVALID"):
            await bot.get_chat_member(group.id, 99)


@on_asyncio
async def test_the_menu_of_commands_is_kept() -> None:
    async with talking() as (_, bot):
        await bot.set_my_commands([BotCommand(command="ask", description="Ask something")])

        assert [command.command for command in await bot.get_my_commands()] == ["ask"]


@asynccontextmanager
async def serving(handle: Callable[[web.Request], object]) -> AsyncIterator[str]:
    """Serve what a webhook is brought to."""
    application = web.Application()
    application.router.add_post("/hook", handle)  # type: ignore[arg-type]
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/hook"
    finally:
        await runner.cleanup()


@on_asyncio
async def test_a_webhook_of_aiograms_is_brought_updates_with_its_secret() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        handler = SimpleRequestHandler(echo(), bot, handle_in_background=False, secret_token="a-secret")
        async with serving(handler.handle) as url:
            await bot.set_webhook(url, secret_token="a-secret")
            chat.say("one")
            await chat.until(lambda chat: chat.texts == ["echo one"])

            assert (await bot.get_webhook_info()).url == url


@on_asyncio
async def test_a_webhook_whose_secret_is_another_gets_nothing_through() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        api.webhooks.retry_seconds = 0
        handler = SimpleRequestHandler(echo(), bot, handle_in_background=False, secret_token="a-secret")
        async with serving(handler.handle) as url:
            await bot.set_webhook(url, secret_token="another")
            chat.say("one")
            await api.webhooks.failed(api.bot)

            info = await bot.get_webhook_info()
            assert info.last_error_message == "Wrong response from the webhook: 401 Unauthorized"
            assert info.pending_update_count == 1
        assert chat.texts == []


@on_asyncio
async def test_an_update_is_brought_again_until_it_is_taken_and_the_next_of_the_chat_waits() -> None:
    brought: list[str] = []
    done = asyncio.Event()

    async def stumble(request: web.Request) -> web.Response:
        update = Update.model_validate(await request.json())
        assert update.message is not None
        brought.append(f"{update.message.chat.id} {update.message.text}")
        if len(brought) == 5:
            done.set()
        return web.Response(status=500 if brought.count("7 one") < 3 and brought[-1] == "7 one" else 200)

    async with talking() as (api, bot), serving(stumble) as url:
        api.webhooks.retry_seconds = 0
        chat, other = api.private(ADA), api.private(BOB)
        chat.say("one")
        chat.say("two")
        other.say("three")
        await bot.set_webhook(url)
        await done.wait()

    assert [entry for entry in brought if entry.startswith("7")] == ["7 one"] * 3 + ["7 two"]
    assert brought.count("8 three") == 1


@on_asyncio
async def test_a_method_in_the_answer_is_called() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"method": "sendMessage", "chat_id": ADA, "text": "at once"})

    async with talking() as (api, bot), serving(answer) as url:
        chat = api.private(ADA)
        await bot.set_webhook(url)
        chat.say("one")
        await chat.until(lambda chat: chat.texts == ["at once"])


@on_asyncio
async def test_a_method_that_a_handler_of_aiograms_returns_is_called_even_after_a_lost_connection() -> None:
    dispatcher = Dispatcher()

    @dispatcher.message()
    async def answer(message: Message) -> SendMessage:
        return SendMessage(chat_id=message.chat.id, text=f"echo {message.text}")

    async with talking() as (api, bot):
        chat = api.private(ADA)
        handler = SimpleRequestHandler(dispatcher, bot, handle_in_background=False)
        async with serving(handler.handle) as url:
            await bot.set_webhook(url)
            api.faults.drop_after("sendMessage")
            chat.say("one")
            chat.say("two")
            await chat.until(lambda chat: chat.texts == ["echo one", "echo two"])


@on_asyncio
async def test_an_answer_that_is_no_json_is_an_answer() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="{", content_type="application/json")

    async with talking() as (api, bot), serving(answer) as url:
        chat = api.private(ADA)
        await bot.set_webhook(url)
        chat.say("one")
        chat.say("two")
        await api.bot.updates.emptied()


@on_asyncio
async def test_polling_and_a_webhook_exclude_each_other() -> None:
    async with talking() as (api, bot):
        poll = asyncio.create_task(bot.get_updates(timeout=50))
        await api.bot.updates.polled()

        await bot.set_webhook("http://127.0.0.1:1/hook")
        with pytest.raises(TelegramConflictError, match="terminated by setWebhook request"):
            await poll
        with pytest.raises(TelegramConflictError, match="use deleteWebhook to delete the webhook first"):
            await bot.get_updates()
        await bot.delete_webhook()

        assert await bot.get_updates() == []


@on_asyncio
async def test_what_waits_may_be_dropped() -> None:
    async with talking() as (api, bot):
        api.private(ADA).say("one")

        await bot.delete_webhook(drop_pending_updates=True)

        assert await bot.get_updates() == []


@pytest.mark.parametrize(
    ("url", "secret", "complaint"),
    [
        ("nowhere", "", "invalid webhook URL specified"),
        ("https://bot.example/hook", "a b", "secret token contains unallowed characters"),
        ("https://bot.example/hook", "a" * 257, "secret token is too long"),
    ],
)
@on_asyncio
async def test_a_webhook_that_cannot_be_is_refused(url: str, secret: str, complaint: str) -> None:
    async with talking() as (_, bot):
        with pytest.raises(TelegramBadRequest, match=complaint):
            await bot.set_webhook(url, secret_token=secret)
