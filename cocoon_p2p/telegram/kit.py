"""The kit, as a bot uses it: what somebody asks in Telegram is bought on the network and answered there.

    async with aio.open_client("client.toml") as client, BotKit(client) as kit:
        dispatcher = Dispatcher()
        kit.attach(dispatcher)

        @dispatcher.message(F.text)
        async def talk(message: Message) -> None:
            await kit.chat(message)

        await dispatcher.start_polling(Bot(TOKEN))

A handler never waits for an answer: each is a task of the kit's own. One kit serves any number of bots.
"""

from collections.abc import Collection
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from aiogram import Bot, Router
from aiogram.types import Message

from cocoon_p2p import aio
from cocoon_p2p.client import PurseView
from cocoon_p2p.errors import LocalProtocolError
from cocoon_p2p.telegram import inline, stopping
from cocoon_p2p.telegram.addressed import addressed, asker, place, sound, spot
from cocoon_p2p.telegram.answering import Answering
from cocoon_p2p.telegram.clock import Clock, LoopClock
from cocoon_p2p.telegram.delivery import Delivery
from cocoon_p2p.telegram.pace import Pace
from cocoon_p2p.telegram.pages import split
from cocoon_p2p.telegram.questions import KitSettings, Offer, Questions
from cocoon_p2p.telegram.reading import Ask
from cocoon_p2p.telegram.runs import Keep, Run, Runs
from cocoon_p2p.telegram.store import MemoryStore, Store, Talks
from cocoon_p2p.telegram.styled import Style, Styled, sendable, styled
from cocoon_p2p.telegram.surface import ChatSurface, InlineSurface, Surface, Undeliverable
from cocoon_p2p.telegram.talk import Choices, Place, Talk, said
from cocoon_p2p.telegram.wording import Wording
from cocoon_p2p.units import Nano

SAY_SECONDS = 10.0
"What the bot itself has to say waits no longer for its turn."


class BotKit:
    """Answers what people ask bots in Telegram. A block of it ends as its `leave` does.

    Args:
        client: The network.
        settings: What holds for all chats.
        store: What is remembered of each; by default in memory.
        wording: What the kit itself says.
        clock: The time.
    """

    def __init__(
        self,
        client: aio.Client,
        settings: KitSettings | None = None,
        *,
        store: Store | None = None,
        wording: Wording | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.client = client
        self.settings = settings or KitSettings()
        self.wording = wording or Wording()
        self._talks = Talks(store or MemoryStore())
        self._clock = clock or LoopClock()
        self._pace = Pace()
        self._questions = Questions(client, self.settings, self._talks)
        self.runs = Runs(self._clock, waiting_max=self.settings.waiting_max, runs_max=self.settings.runs_max)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()

    async def leave(self, bots: Collection[int] | None = None) -> None:
        """Stop all answers, of these bots or of all, and deliver what came of them.

        It takes `runs.LEAVE_SECONDS` at most. A cancel drops what is not delivered yet, settled all the same.
        """
        await self.runs.leave(self.wording.shut_down, bots)

    def attach(self, router: Router, *, with_inline: bool = False) -> None:
        """Have a router hear stop buttons and /stop, and end a bot's answers when its dispatcher ends.

        Args:
            router: The dispatcher itself, before its own handlers are added: the first that fits is called.
            with_inline: It answers inline queries as well. Those, and their feedback, are switched on with
                @BotFather (`/setinline`, `/setinlinefeedback`).
        """
        stopping.attach(router, self.runs, self.wording, self.say)
        if with_inline:
            inline.attach(router, self.answer_inline, self.wording)

        async def shut_down(bot: Bot, bots: Collection[Bot] = ()) -> None:
            # The dispatcher closes the bots' connections after this.
            await self.leave({one.id for one in (bot, *bots)})

        router.shutdown.register(shut_down)

    # ------------------------------------------------------------ asking

    async def chat(self, message: Message, text: str | None = None) -> Run | None:
        """Answer a message as the next turn of its chat.

        Args:
            message: What somebody wrote; it is answered if it is meant for the bot.
            text: What is asked in place of the message's own text; then it is answered in any case.

        Returns:
            The answer on its way, which need not be waited for; None: there is nothing to answer, or too
            much at once (which the chat is told).
        """
        where = self.place(message)
        question = text or addressed(message, await bot_of(message).me())
        if not question:
            return None

        async def keep(answer: str) -> None:
            await self._talks.change(where, lambda talk: said(talk, question, answer, self.settings.memory))

        return await self._begin(message, self._questions.chat(where, question), keep)

    async def translate(self, message: Message, text: str, *, to: str) -> Run | None:
        """Answer a message with a translation of a text; `to` as `Client.translate` has it."""
        return await self._begin(message, self._questions.translation(self.place(message), text, to=to))

    async def summarize(self, message: Message, text: str, *, sentences: int | None = None) -> Run | None:
        """Answer a message with a summary of a text."""
        ask = self._questions.summary(self.place(message), text, sentences=sentences)
        return await self._begin(message, ask)

    async def transcribe(self, message: Message) -> Run | None:
        """Answer a voice message, or another recording, that is meant for the bot with what is said in it."""
        bot, recording = bot_of(message), sound(message)
        if recording is None or addressed(message, await bot.me()) is None:
            return None
        return await self._begin(message, self._questions.transcript(self.place(message), bot, recording))

    async def ask(self, message: Message, offer: Offer) -> Run | None:
        """Answer a message with whatever is asked of the client."""
        return await self._begin(message, self._questions.other(self.place(message), offer))

    async def answer_inline(
        self, bot: Bot, asker: int, run_id: str, message_id: str, text: str
    ) -> Run | None:
        """Answer what a person asked in inline mode, in the message that stands for it, on their budget."""
        where = Place(bot.id, asker)
        run = self.runs.new(where, asker, units_max=inline.ANSWER_UNITS_MAX, run_id=run_id)
        surface = InlineSurface(bot, message_id, stopping.button(run.id, self.wording))
        ask = self._questions.chat(where, text, is_alone=True)
        started = self._start(run, surface, ask, heading=styled(sendable(text), Style.QUOTE))
        if started is None:
            await self._say(surface, self.wording.busy)
        return started

    # ------------------------------------------------------------ a chat's own

    def place(self, message: Message) -> Place:
        """Say to which talk a message belongs."""
        return place(message, bot_of(message).id)

    async def choices(self, message: Message) -> Choices:
        """Say what the people of a chat chose."""
        return (await self._talks.load(self.place(message))).choices

    async def choose(self, message: Message, **choices: Any) -> None:
        """Have a chat choose something, by the names of `Choices`."""
        await self._talks.change(
            self.place(message), lambda talk: replace(talk, choices=replace(talk.choices, **choices))
        )

    async def forget(self, message: Message) -> None:
        """Forget what was said in a chat, also what is being answered now; what it chose stays."""
        where = self.place(message)
        for run in self.runs.of(where.bot_id, where.chat_id):
            run.is_forgotten = run.is_forgotten or run.place == where
        await self._talks.change(where, lambda talk: Talk(choices=talk.choices))

    async def models(self) -> tuple[str, ...]:
        """Name the models that chat."""
        return await self._questions.names()

    async def balance(self, message: Message) -> PurseView:
        """Show a chat's purse."""
        return await self.client.purses.look(await self._questions.purse(self.place(message)))

    async def top_up(self, message: Message, amount: Nano) -> PurseView:
        """Add to what a chat may spend, beyond its budget."""
        return await self.client.purses.top_up(await self._questions.purse(self.place(message)), amount)

    async def say(self, message: Message, text: str) -> bool:
        """Answer a message with a plain text, as soon as Telegram takes it: within `SAY_SECONDS`, or never.

        It costs nothing, so a connection that breaks may have it stand twice.

        Returns:
            Whether it was delivered.
        """
        surface = ChatSurface(bot_of(message), spot(message), stopping.button("", self.wording), 0)
        return await self._say(surface, text)

    # ------------------------------------------------------------ beneath

    async def _begin(self, message: Message, ask: Ask, keep: Keep | None = None) -> Run | None:
        bot, where, who = bot_of(message), self.place(message), asker(message)
        if who is None:
            return None
        run = self.runs.new(where, who, units_max=self.settings.answer_units_max)
        surface = ChatSurface(bot, spot(message), stopping.button(run.id, self.wording), run.drafts)
        started = self._start(run, surface, ask, keep)
        if started is None:
            await self.say(message, self.wording.busy)
        return started

    async def _say(self, surface: Surface, text: str) -> bool:
        delivery = Delivery(surface, self._pace, self._clock, has_stubs=False)
        pages = split(Styled(sendable(text)))
        # Answers go through the same door: nobody shall hold them up by asking for help a thousand times.
        if delivery.wait_seconds(pages) > SAY_SECONDS:
            return False
        try:
            await delivery.finish(pages, within_seconds=SAY_SECONDS)
        except Undeliverable:
            return False
        return True

    def _start(
        self, run: Run, surface: Surface, ask: Ask, keep: Keep | None = None, heading: Styled | None = None
    ) -> Run | None:
        if not self.runs.has_room(*run.chat):
            return None
        answering = Answering(surface, run.reading, self.wording, self._pace, self._clock, heading=heading)
        self.runs.start(run, answering, ask, keep)
        return run


def bot_of(message: Message) -> Bot:
    """Give the bot that a message came to."""
    if message.bot is None:
        raise LocalProtocolError("this message came to no bot", hint="give the one that a handler was given")
    return message.bot
