"""The example bot before your eyes, without Telegram, money or an account: `python try_it.py`.

It brings up a network with a chain of its own (`cocoon demo --serve`), a Bot API on this machine, and the bot
between them; then a person called Ada uses the bot, and this prints what she sees.
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from cocoon_p2p.testing.bot_api import Chat, FakeBotApi, open_bot_api
from cocoon_p2p.testing.bot_api.board import Board

ADA = 7
BOT = Path(__file__).with_name("bot.py")
START_SECONDS = 240
ANSWER_SECONDS = 120

QUESTIONS = (
    "/start",
    "Hello",
    "/translate es the red house",
    "/summarize It was a sunny day. Anna bought a red car in Paris. The shops were closed.",
    "/model",
    "/balance",
    "/topup 0.5",
    "/new",
)


@asynccontextmanager
async def running(*arguments: str, until: bytes) -> AsyncIterator[None]:
    """Run a Python program for as long as the block lasts, which begins once it has printed something."""
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            while until not in (line := await process.stdout.readline()):
                if not line:
                    sys.exit(f"it did not come up: {' '.join(arguments)}")
        yield
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        # What it still prints must not keep it from ending.
        await process.communicate()


def write_config(folder: Path, client: Path, api: FakeBotApi) -> Path:
    """Write the bot's file, as its owner would."""
    (folder / "bot.token").write_text(api.token)
    file = folder / "bot.toml"
    lines = ['token_file = "bot.token"', f'client = "{client}"', f"owners = [{ADA}]", f'api = "{api.url}"']
    file.write_text("\n".join(lines))
    return file


async def talk(chat: Chat, name: str) -> None:
    """Have a person write, and show what comes of it: each draft on its way, and what stands in the end."""
    for question in QUESTIONS:
        print(f"\n{name}: {question}")
        before, seen = len(chat.from_bots), len(chat.history)
        chat.say(question)
        await chat.until(lambda chat, before=before: is_answered(chat, before), seconds=ANSWER_SECONDS)
        frames = [sight.draft.content.text for sight in chat.history[seen:] if sight.draft is not None]
        for frame in filter(None, frames):
            print(f"   ... {frame}")
        for message in chat.from_bots[before:]:
            print("bot: " + message.text.replace("\n", "\n     "))


def is_answered(chat: Board, before: int) -> bool:
    """Say whether something new stands, and is no longer about to change."""
    return len(chat.from_bots) > before and not chat.from_bots[-1].text.endswith("\u2026")


async def main() -> None:
    """Show it."""
    print("A network, its chain and a Bot API are coming up on this machine ...", flush=True)
    with tempfile.TemporaryDirectory(prefix="cocoon-bot-") as place:
        folder = Path(place) / "network"
        demo = ("-m", "cocoon_p2p.cli", "demo", "--workers", "1", "--serve", str(folder))
        async with open_bot_api() as api, running(*demo, until=b"stays up"):
            file = write_config(Path(place), folder / "client.toml", api)
            async with running(str(BOT), str(file), until=b"answers"):
                await talk(api.private(api.user(ADA, "Ada")), "Ada")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
