"""A bot with the kit in it, on the fake Bot API and a whole network in memory."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import aiogram
from aiogram import Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.filters import Command
from aiogram.types import Message

from cocoon_p2p import aio
from cocoon_p2p.aio.opening import open_portal
from cocoon_p2p.telegram import BotKit, KitSettings, Store
from cocoon_p2p.telegram.clock import LoopClock
from cocoon_p2p.testing.bot_api import UNLIMITED, FakeBotApi, FloodLimits, open_bot_api
from cocoon_p2p.testing.engine import ScriptedEngine
from tests.aio.scene import open_bought

SPEED = 50.0
"A second of Telegram's is so much shorter here, for the kit and for the fake."

HELLO = "Hello, world."


class FastClock(LoopClock):
    """The loop's clock, quicker."""

    def now(self) -> float:
        return SPEED * super().now()

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / SPEED)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        await super().wait(event, seconds / SPEED)


@dataclass
class Scene:
    """What a test has at hand."""

    api: FakeBotApi
    kit: BotKit
    client: aio.Client
    bot: aiogram.Bot
    dispatcher: Dispatcher


@asynccontextmanager
async def open_client(*engines: ScriptedEngine) -> AsyncIterator[aio.Client]:
    """Open a client of a network in memory."""
    async with open_portal(partial(open_bought, engines)) as portal:
        yield aio.Client(portal)


@asynccontextmanager
async def open_scene(
    *engines: ScriptedEngine,
    settings: KitSettings | None = None,
    limits: FloodLimits = UNLIMITED,
    store: Store | None = None,
) -> AsyncIterator[Scene]:
    """Run a bot that answers whatever is meant for it."""
    offset = time.time() - SPEED * asyncio.get_running_loop().time()
    clock = FastClock()
    async with (
        open_client(*engines) as client,
        open_bot_api(clock=lambda: offset + clock.now(), limits=limits) as api,
        BotKit(client, settings, store=store, clock=clock) as kit,
    ):
        bot = make_bot(api, api.token)
        dispatcher = make_dispatcher(kit)
        polling = asyncio.create_task(dispatcher.start_polling(bot, handle_signals=False, polling_timeout=5))
        try:
            yield Scene(api, kit, client, bot, dispatcher)
        finally:
            await dispatcher.stop_polling()
            await polling


def make_bot(api: FakeBotApi, token: str) -> aiogram.Bot:
    return aiogram.Bot(token, session=AiohttpSession(api=TelegramAPIServer.from_base(api.url)))


def make_dispatcher(kit: BotKit) -> Dispatcher:
    """Make what hands messages to the kit."""
    dispatcher = Dispatcher()
    kit.attach(dispatcher, with_inline=True)

    @dispatcher.message(Command("new"))
    async def new(message: Message) -> None:
        await kit.forget(message)
        await message.answer("Forgotten.")

    @dispatcher.message(F.voice | F.audio)
    async def hear(message: Message) -> None:
        await kit.transcribe(message)

    @dispatcher.message(F.text)
    async def talk(message: Message) -> None:
        await kit.chat(message)

    return dispatcher


def run(program: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run a coroutine to its end, within a minute."""

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await program()

    asyncio.run(bounded())
