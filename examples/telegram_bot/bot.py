"""A Telegram bot whose answers are bought on the network: `python bot.py bot.toml`.

It chats, translates, sums up and writes down speech, in private chats, groups and inline. Its owner pays, so
each chat has a budget. Asking, streaming, stopping and paying are the kit's (`cocoon_p2p.telegram`); what
stands here is what this bot is.
"""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.enums import ChatType
from aiogram.filters import Command, CommandObject, CommandStart, ExceptionTypeFilter
from aiogram.types import BotCommand, ErrorEvent, Message

from cocoon_p2p import CocoonError, aio, format_ton, parse_ton
from cocoon_p2p.client import Budget
from cocoon_p2p.client.presets import LANGUAGE_CODES
from cocoon_p2p.telegram import BotKit, KitSettings, MemoryStore, Store, is_administrator, open_sqlite_store

COMMANDS = {
    "new": "begin a new chat",
    "model": "see the models, or choose one",
    "translate": "translate a text: /translate es Good morning",
    "summarize": "sum up a text, or the message that you reply to",
    "balance": "what this chat may spend, and has spent",
    "topup": "let this chat spend more (the bot's owners)",
    "stop": "stop the answer, and the paying",
    "help": "what I can do",
}
HELP = (
    "Write to me, or send a voice message. In a group, mention me or reply to me.\n\n"
    + "\n".join(f"/{name} - {what}" for name, what in COMMANDS.items())
    + "\n\nYour words go encrypted to a machine that answers for pay. What each answer cost, and what is"
    " proven about that machine, stands below it."
)


class BudgetSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What each chat may spend."""

    limit: str = "0.02 TON"
    every_seconds: int | None = 86_400


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The bot's one file. Paths in it are read from the file's own folder."""

    token_file: str
    client: str
    owners: frozenset[int] = frozenset()
    model: str | None = None
    speech_model: str | None = None
    instructions: str = ""
    language: str = "en"
    memory: str | None = None
    inline: bool = True
    api: str = "https://api.telegram.org"
    budget: BudgetSection = BudgetSection()

    def kit_settings(self) -> KitSettings:
        """Say what holds for all chats."""
        return KitSettings(
            model=self.model,
            speech_model=self.speech_model,
            instructions=self.instructions,
            budget=Budget(parse_ton(self.budget.limit), self.budget.every_seconds),
        )


def make_dispatcher(kit: BotKit, config: Config) -> Dispatcher:
    """Make what hands each update to what deals with it."""
    dispatcher = Dispatcher()
    kit.attach(dispatcher, with_inline=config.inline)
    add_talking(dispatcher, kit, config)
    add_settings(dispatcher, kit)
    add_money(dispatcher, kit, config)
    add_the_rest(dispatcher, kit)
    return dispatcher


def add_talking(dispatcher: Dispatcher, kit: BotKit, config: Config) -> None:
    """Add what is bought by a command."""

    @dispatcher.message(Command("translate"))
    async def translate(message: Message, command: CommandObject) -> None:
        first, _, rest = (command.args or "").partition(" ")
        names_language = first.lower() in LANGUAGE_CODES
        if names_language:
            await kit.choose(message, language=first.lower())
        text = (rest if names_language else command.args or "").strip() or above(message)
        language = (await kit.choices(message)).language or config.language
        if text:
            await kit.translate(message, text, to=language)
        else:
            await kit.say(
                message, "What? /translate es Good morning, or reply with /translate es to a message."
            )

    @dispatcher.message(Command("summarize"))
    async def summarize(message: Message, command: CommandObject) -> None:
        if text := command.args or above(message):
            await kit.summarize(message, text)
        else:
            await kit.say(message, "What? Write it behind /summarize, or reply with /summarize to a message.")


def add_settings(dispatcher: Dispatcher, kit: BotKit) -> None:
    """Add what a chat's people decide."""

    @dispatcher.message(CommandStart())
    @dispatcher.message(Command("help"))
    async def tell(message: Message) -> None:
        await kit.say(message, HELP)

    @dispatcher.message(Command("new"))
    async def forget(message: Message) -> None:
        await kit.forget(message)
        await kit.say(message, "A new chat. I remember nothing of what was said.")

    @dispatcher.message(Command("model"))
    async def model(message: Message, command: CommandObject, bot: Bot) -> None:
        names = await kit.models()
        if command.args is None:
            chosen = (await kit.choices(message)).model or kit.settings.model or next(iter(names), None)
            offered = [f"{name} (chosen)" if name == chosen else name for name in names]
            await kit.say(message, "\n".join(offered or ["Nobody offers a model now."]))
        elif not await may_decide(message, bot):
            await kit.say(message, "In a group its administrators choose the model.")
        elif command.args not in names:
            await kit.say(message, "Nobody offers that. /model says what is offered.")
        else:
            await kit.choose(message, model=command.args)
            await kit.say(message, f"From now on {command.args} answers here.")


def add_money(dispatcher: Dispatcher, kit: BotKit, config: Config) -> None:
    """Add what the budget is looked at and filled by."""

    @dispatcher.message(Command("balance"))
    async def balance(message: Message) -> None:
        purse = await kit.balance(message)
        lines = [f"Left to spend: {format_ton(purse.left or 0)}", f"Spent in all: {format_ton(purse.total)}"]
        if purse.reserved:
            lines.append(f"Set aside for answers under way: {format_ton(purse.reserved)}")
        if purse.renews_in_seconds is not None:
            lines.append(f"The budget is there anew in {kit.wording.span(purse.renews_in_seconds)}.")
        await kit.say(message, "\n".join(lines))

    @dispatcher.message(Command("topup"))
    async def top_up(message: Message, command: CommandObject) -> None:
        if message.from_user is None or message.from_user.id not in config.owners:
            await kit.say(message, "Who owns this bot can do that. It is their money.")
            return
        try:
            amount = parse_ton(command.args or "")
        except ValueError:
            await kit.say(message, "How much? /topup 0.5 adds half a TON to what this chat may spend.")
            return
        purse = await kit.top_up(message, amount)
        await kit.say(message, f"Left to spend: {format_ton(purse.left or 0)}")


def add_the_rest(dispatcher: Dispatcher, kit: BotKit) -> None:
    """Add what has no command. It comes last: whatever is left is a question."""

    @dispatcher.message(F.voice | F.audio)
    async def hear(message: Message) -> None:
        await kit.transcribe(message)

    @dispatcher.message(F.text.startswith("/"), F.chat.type == ChatType.PRIVATE)
    async def unknown(message: Message) -> None:
        await kit.say(message, "I do not know this command. /help says which I do.")

    @dispatcher.message(F.text, ~F.text.startswith("/"))
    async def talk(message: Message) -> None:
        await kit.chat(message)

    @dispatcher.error(ExceptionTypeFilter(CocoonError), F.update.message.as_("message"))
    async def failed(event: ErrorEvent, message: Message) -> None:
        assert isinstance(event.exception, CocoonError)
        await kit.say(message, kit.wording.refusal(event.exception))


def above(message: Message) -> str:
    """Give the text that a message replies to."""
    if message.quote is not None:
        return message.quote.text
    replied = message.reply_to_message
    return "" if replied is None else replied.text or replied.caption or ""


async def may_decide(message: Message, bot: Bot) -> bool:
    """Say whether who wrote this may decide for the whole chat."""
    if message.chat.type == ChatType.PRIVATE:
        return True
    who = message.sender_chat or message.from_user
    return who is not None and await is_administrator(bot, message.chat.id, who.id)


def read_config(file: Path) -> Config:
    """Read the bot's file, and make its paths whole; `$CREDENTIALS_DIRECTORY` and its like may be in them."""
    config = msgspec.toml.decode(file.read_bytes(), type=Config)

    def whole(name: str) -> str:
        return str(file.absolute().parent / os.path.expandvars(name))

    memory = None if config.memory is None else whole(config.memory)
    paths = {"token_file": whole(config.token_file), "client": whole(config.client), "memory": memory}
    return msgspec.structs.replace(config, **paths)


async def serve(config: Config) -> None:
    """Run the bot until it is told to end. Then what was paid for is delivered."""
    token = (await asyncio.to_thread(Path(config.token_file).read_text)).strip()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(aio.open_client(config.client))
        store: Store = MemoryStore()
        if config.memory is not None:
            store = await stack.enter_async_context(open_sqlite_store(Path(config.memory)))
        kit = await stack.enter_async_context(BotKit(client, config.kit_settings(), store=store))
        bot = Bot(token, session=AiohttpSession(api=TelegramAPIServer.from_base(config.api)))
        dispatcher = make_dispatcher(kit, config)

        @dispatcher.startup()
        async def introduce() -> None:
            await bot.set_my_commands(
                [BotCommand(command=name, description=what) for name, what in COMMANDS.items()]
            )
            print("the bot answers", flush=True)

        # It hears Ctrl-C and SIGTERM.
        await dispatcher.start_polling(bot)  # pyright: ignore[reportUnknownMemberType]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("python bot.py bot.toml")
    try:
        asyncio.run(serve(read_config(Path(sys.argv[1]))))
    except (CocoonError, msgspec.MsgspecError, ValueError, OSError) as exc:
        sys.exit(f"{exc}\n{getattr(exc, 'hint', '')}".strip())
