"""aiogram on the fake without a socket says and hears what it does over HTTP."""

import aiogram
import pytest
from aiogram.client.session.base import BaseSession
from aiogram.exceptions import AiogramError
from aiogram.types import BufferedInputFile

from cocoon_p2p.testing.bot_api import FakeBotApi
from cocoon_p2p.testing.bot_api.memory_session import MemorySession
from tests.testing.bot_api.scene import client, on_asyncio, talking

ADA = 7


async def converse(api: FakeBotApi, bot: aiogram.Bot, user: int) -> list[str]:
    """Do some of everything, and give what came back."""
    chat, heard = api.private(user), list[str]()
    sent = await bot.send_message(user, "<b>one</b>", parse_mode="HTML", disable_notification=False)
    heard.append(sent.html_text)
    await bot.send_voice(user, BufferedInputFile(b"abc", "v.oga"), caption="hear")
    chat.send_voice(b"defg")
    message = (await bot.get_updates(offset=-1))[0].message
    assert message is not None
    assert message.voice is not None
    content = await bot.download(message.voice)
    assert content is not None
    heard.append(content.read().decode())
    api.faults.drop_after("editMessageText")
    api.faults.error(status=502)
    api.faults.flood(retry_after=3)
    for attempt in range(4):
        try:
            await sent.edit_text(f"edited {attempt // 3}")
        except AiogramError as exc:
            heard.append(type(exc).__name__)
    return [*heard, *chat.texts]


@on_asyncio
async def test_both_ways_say_and_hear_the_same() -> None:
    async with talking() as (api, _):
        session: BaseSession = MemorySession(api)
        async with client(api) as over_http, aiogram.Bot(api.token, session=session) as in_memory:
            first = await converse(api, over_http, ADA)
            second = await converse(api, in_memory, ADA + 1)

    errors = ["TelegramNetworkError", "ClientDecodeError", "TelegramRetryAfter"]
    assert first == ["<b>one</b>", "defg", *errors, "edited 1", "hear"]
    assert second == first


@on_asyncio
async def test_a_file_that_was_not_made_ready_is_not_given() -> None:
    async with talking() as (api, _), aiogram.Bot(api.token, session=MemorySession(api)) as bot:
        with pytest.raises(AssertionError):
            await bot.download_file("voice/none.oga")
