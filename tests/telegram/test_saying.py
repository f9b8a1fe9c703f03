"""What a bot itself has to say: soon, or never."""

import asyncio
import datetime
from typing import Any, cast

import pytest
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.exceptions import TelegramNetworkError, TelegramRetryAfter
from aiogram.methods import GetMe
from aiogram.types import Chat, Message

from cocoon_p2p import aio
from cocoon_p2p.telegram import BotKit
from cocoon_p2p.telegram.kit import SAY_SECONDS

BROKEN = TelegramNetworkError(GetMe(), "ServerDisconnectedError")
FLOODED = TelegramRetryAfter(GetMe(), "Too Many Requests: retry after 600", 600)


class Jumping:
    """A clock on which nobody waits."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        await asyncio.sleep(0)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        raise AssertionError("nothing is waited for")


class Failing(AiohttpSession):
    """A server that answers everything so."""

    def __init__(self, answer: Exception) -> None:
        super().__init__()
        self._answer = answer

    async def make_request(self, *_call: Any, **_more: Any) -> Any:
        raise self._answer


@pytest.mark.parametrize("answer", [BROKEN, FLOODED])
def test_what_does_not_get_through_is_not_said_later(answer: Exception) -> None:
    async def program() -> None:
        clock = Jumping()
        # Nothing is asked of the network.
        kit = BotKit(cast("aio.Client", None), clock=clock)
        now = datetime.datetime.now(datetime.UTC)
        message = Message(message_id=5, date=now, chat=Chat(id=7, type="private"))

        is_delivered = await kit.say(message.as_(Bot("42:TEST", session=Failing(answer))), "Help!")

        assert not is_delivered
        assert clock.time <= 1000.0 + SAY_SECONDS

    asyncio.run(program())
