"""Calls on their way: tokens, methods, floods, lost connections, and other libraries' spelling."""

import asyncio
import json

import aiohttp
import pytest
from aiogram.exceptions import (
    ClientDecodeError,
    TelegramBadRequest,
    TelegramNetworkError,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramServerError,
    TelegramUnauthorizedError,
)
from aiogram.methods import SendDice

from cocoon_p2p.testing.bot_api import Fault, FaultKind, FloodLimits
from tests.testing.bot_api.scene import Watch, client, on_asyncio, talking

ADA, BOB = 7, 8


@on_asyncio
async def test_a_bot_says_who_it_is() -> None:
    async with talking() as (_, bot):
        me = await bot.get_me()

        assert (me.id, me.is_bot, me.username) == (4242, True, "fake_bot")


@on_asyncio
async def test_a_token_of_nobodys_opens_nothing() -> None:
    async with talking() as (api, _), client(api, "4242:wrong") as stranger:
        with pytest.raises(TelegramUnauthorizedError):
            await stranger.get_me()


@on_asyncio
async def test_a_method_that_is_not_there_is_answered_404_and_recorded() -> None:
    async with talking() as (api, bot):
        api.private(ADA)

        with pytest.raises(TelegramNotFound, match="method not found"):
            await bot(SendDice(chat_id=ADA))

        assert [(call.method, call.status) for call in api.calls] == [("sendDice", 404)]


@on_asyncio
async def test_forms_json_and_addresses_are_read_alike() -> None:
    async with talking() as (api, _), aiohttp.ClientSession() as http:
        chat = api.private(ADA)
        url = f"{api.url}/bot{api.token}/SENDMESSAGE"
        markup = {"inline_keyboard": [[{"text": "Stop", "callback_data": "x"}]]}

        sent = {"chat_id": ADA, "text": "json", "reply_markup": markup}
        async with http.post(url, json=sent) as answer:
            assert (await answer.json())["ok"] is True
        async with http.post(
            url, data={"chat_id": "7", "text": "form", "reply_markup": json.dumps(markup)}
        ) as answer:
            assert answer.status == 200
        async with http.get(f"{url}?chat_id=7&text=address") as answer:
            assert (await answer.json())["result"]["text"] == "address"

        assert chat.texts == ["json", "form", "address"]
        assert [len(message.keyboard.buttons) for message in chat.from_bots if message.keyboard] == [1, 1]


@on_asyncio
async def test_a_body_that_is_no_json_object_has_no_arguments() -> None:
    async with talking() as (api, _), aiohttp.ClientSession() as http:
        headers = {"Content-Type": "application/json"}
        for body in (b"{", b"[1]", b"\xff"):
            async with http.post(f"{api.url}/bot{api.token}/getChat", data=body, headers=headers) as answer:
                assert (await answer.json())["description"] == "Bad Request: chat_id is empty"


@on_asyncio
async def test_half_a_character_is_refused_whatever_carries_it() -> None:
    async with talking() as (api, _), aiohttp.ClientSession() as http:
        api.private(ADA)
        half = {"inline_keyboard": [[{"text": "a", "callback_data": "\ud83d"}]]}
        for sent in ({"text": "\ud83d"}, {"text": "a", "parse_mode": "HTML", "reply_markup": half}):
            url = f"{api.url}/bot{api.token}/sendMessage"
            async with http.post(url, json={"chat_id": ADA, **sent}) as answer:
                assert answer.status == 400
                assert "encoded in UTF-8" in (await answer.json())["description"]


@on_asyncio
async def test_a_form_that_is_none_is_a_bad_request() -> None:
    async with talking() as (api, _), aiohttp.ClientSession() as http:
        for kind, body in (
            ("multipart/form-data", b"x"),
            ("multipart/form-data; boundary=a", b"x"),
            (
                "multipart/form-data; boundary=a",
                b'--a\r\nContent-Disposition: form-data; name="b"\r\n\r\n\xff\r\n--a--',
            ),
        ):
            url = f"{api.url}/bot{api.token}/getMe"
            async with http.post(url, data=body, headers={"Content-Type": kind}) as answer:
                assert answer.status == 400


@on_asyncio
async def test_other_addresses_are_not_found() -> None:
    async with talking() as (api, _), aiohttp.ClientSession() as http:
        for path in ("/", f"/file/bot{api.token}/voice/none.oga", "/file/bot1:none/x"):
            async with http.get(api.url + path) as answer:
                assert answer.status == (401 if "none/x" in path else 404)


@on_asyncio
async def test_who_says_too_much_is_told_how_long_to_wait_and_then_gets_through() -> None:
    watch = Watch()
    async with talking(limits=FloodLimits(chat_burst=2), clock=watch) as (api, bot):
        chat = api.private(ADA)
        await bot.send_message(ADA, "one")
        await bot.send_message(ADA, "two")

        with pytest.raises(TelegramRetryAfter) as told:
            await bot.send_message(ADA, "three")
        watch.now += told.value.retry_after
        await bot.send_message(ADA, "four")

        assert told.value.retry_after == 1
        assert chat.texts == ["one", "two", "four"]
        assert [call.status for call in api.called("sendMessage")] == [200, 200, 429, 200]


@on_asyncio
async def test_a_429_says_so_in_its_head_too() -> None:
    async with talking(limits=FloodLimits(chat_burst=1)) as (api, _), aiohttp.ClientSession() as http:
        api.private(ADA)
        url = f"{api.url}/bot{api.token}/sendMessage?chat_id=7&text=a"
        await http.get(url)

        async with http.get(url) as answer:
            assert answer.status == 429
            assert answer.headers["Retry-After"] == "1"
            assert await answer.json() == {
                "ok": False,
                "error_code": 429,
                "description": "Too Many Requests: retry after 1",
                "parameters": {"retry_after": 1},
            }


@on_asyncio
async def test_what_is_refused_for_its_text_is_not_counted() -> None:
    async with talking(limits=FloodLimits(chat_burst=1), clock=Watch()) as (api, bot):
        api.private(ADA)

        for _ in range(5):
            with pytest.raises(TelegramBadRequest):
                await bot.send_message(ADA, "<x>", parse_mode="HTML")
        await bot.send_message(ADA, "one")


@on_asyncio
async def test_one_bots_floods_are_not_anothers() -> None:
    async with talking(limits=FloodLimits(chat_burst=1), clock=Watch()) as (api, bot):
        other = api.add_bot("77:other", "other_bot")
        mine, theirs = api.private(ADA), api.private(ADA, bot=other)
        async with client(api, other.token) as second:
            await bot.send_message(ADA, "one")
            await second.send_message(ADA, "two")

        assert (mine.texts, theirs.texts) == (["one"], ["two"])


@on_asyncio
async def test_a_connection_that_is_lost_before_leaves_nothing_behind_and_one_lost_after_does() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        api.faults.drop_before("sendMessage")
        api.faults.drop_after("sendMessage")

        for text in ("before", "after"):
            with pytest.raises(TelegramNetworkError):
                await bot.send_message(ADA, text)

        assert chat.texts == ["after"]
        assert [call.answered for call in api.calls] == [False, False]
        assert api.faults.left == ()


@on_asyncio
async def test_an_edit_that_is_tried_again_after_a_lost_answer_changes_nothing_more() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        sent = await bot.send_message(ADA, "one")
        api.faults.drop_after("editMessageText")

        with pytest.raises(TelegramNetworkError):
            await sent.edit_text("two")
        with pytest.raises(TelegramBadRequest, match="message is not modified"):
            await sent.edit_text("two")

        assert chat.texts == ["two"]


@pytest.mark.parametrize(("status", "error"), [(500, TelegramServerError), (502, ClientDecodeError)])
@pytest.mark.parametrize("after", [False, True])
@on_asyncio
async def test_a_server_that_fails_may_have_done_it(status: int, error: type[Exception], after: bool) -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        api.faults.error(status=status, after=after)

        with pytest.raises(error):
            await bot.send_message(ADA, "one")

        assert chat.texts == (["one"] if after else [])


@on_asyncio
async def test_a_call_that_is_held_takes_effect_when_it_is_released() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        held = api.faults.hold("sendMessage")

        sending = asyncio.create_task(bot.send_message(ADA, "one"))
        await held.reached.wait()
        await bot.get_me()
        assert chat.texts == []
        held.release()
        await sending

        assert chat.texts == ["one"]


@on_asyncio
async def test_who_hangs_up_while_its_call_is_held_has_not_called() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        held = api.faults.hold("sendMessage")

        sending = asyncio.create_task(bot.send_message(ADA, "one"))
        await held.reached.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        # The server hears of a hang-up by itself; only then is the hold let go.
        await held.ended.wait()

        assert chat.texts == []
        assert api.called("sendMessage") == []


@on_asyncio
async def test_a_flood_may_be_ordered() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        api.faults.flood("sendMessage", retry_after=17)

        with pytest.raises(TelegramRetryAfter) as told:
            await bot.send_message(ADA, "one")

        assert told.value.retry_after == 17
        assert chat.texts == []


@on_asyncio
async def test_an_order_waits_for_its_method_and_its_chat() -> None:
    async with talking() as (api, bot):
        api.private(ADA)
        api.private(BOB)
        order = api.faults.flood("sendMessage", chat_id=BOB)

        await bot.send_message(ADA, "one")
        await bot.send_chat_action(BOB, "typing")
        assert api.faults.left == (order,)
        with pytest.raises(TelegramRetryAfter):
            await bot.send_message(BOB, "two")


@on_asyncio
async def test_faults_may_come_by_a_tests_own_policy() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        counted = iter(range(100))
        api.faults.policy = lambda method, chat_id: (
            Fault(FaultKind.DROP_AFTER) if method == "sendMessage" and next(counted) % 2 else None
        )

        await bot.send_message(ADA, "one")
        with pytest.raises(TelegramNetworkError):
            await bot.send_message(ADA, "two")
        await bot.send_message(ADA, "three")

        assert chat.texts == ["one", "two", "three"]


@on_asyncio
async def test_a_test_may_wait_for_a_call() -> None:
    async with talking() as (api, bot):
        api.private(ADA)
        waiting = asyncio.create_task(api.until_called("sendMessage", times=2))

        await bot.send_message(ADA, "one")
        await bot.send_message(ADA, "two")

        assert [call.arguments.text("text") for call in await waiting] == ["one", "two"]


@on_asyncio
async def test_a_wait_for_what_does_not_come_ends_and_says_what_is_there() -> None:
    async with talking() as (api, bot):
        chat = api.private(ADA)
        await bot.send_message(ADA, "one")

        with pytest.raises(TimeoutError, match=r"texts=\['one'\]"):
            await chat.until(lambda chat: "two" in chat.texts, seconds=0.01)
