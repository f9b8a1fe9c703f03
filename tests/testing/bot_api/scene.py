"""aiogram in front of the fake, and tests that run on asyncio."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, ParamSpec

import aiogram
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer

from cocoon_p2p.testing.bot_api import UNLIMITED, FakeBotApi, FloodLimits, open_bot_api

P = ParamSpec("P")


def on_asyncio(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test on a loop of asyncio's own, within a minute."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(60):
                await test(*args, **kwargs)

        asyncio.run(bounded())

    return run


class Session(AiohttpSession):
    """aiogram's own, without the quarter of a second that it leaves TLS connections to close."""

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


class Watch:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def client(api: FakeBotApi, token: str | None = None) -> aiogram.Bot:
    """A bot of aiogram's, over HTTP."""
    return aiogram.Bot(token or api.token, session=Session(api=TelegramAPIServer.from_base(api.url)))


@asynccontextmanager
async def talking(
    *, limits: FloodLimits = UNLIMITED, clock: Watch | None = None
) -> AsyncIterator[tuple[FakeBotApi, aiogram.Bot]]:
    """The fake, and a bot that speaks to it."""
    async with open_bot_api(limits=limits, clock=clock) as api, client(api) as bot:
        yield api, bot
