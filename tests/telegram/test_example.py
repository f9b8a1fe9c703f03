"""The example bot: its commands on a network in memory, and all of it as a person would try it."""

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from cocoon_p2p.telegram import BotKit
from cocoon_p2p.testing.bot_api import UNLIMITED, Chat, FakeBotApi, open_bot_api
from tests.telegram.scene import FastClock, make_bot, open_client, run
from tests.telegram.test_kit import ended

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[2] / "examples" / "telegram_bot"
OWNER = 7


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"telegram_bot_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bot_module = _load("bot")


@asynccontextmanager
async def open_example() -> AsyncIterator[tuple[FakeBotApi, Chat]]:
    """Run the example's dispatcher for one person, who owns the bot."""
    config = bot_module.Config("token", "client", owners=frozenset({OWNER}))
    async with (
        open_client() as client,
        open_bot_api(limits=UNLIMITED) as api,
        BotKit(client, config.kit_settings(), clock=FastClock()) as kit,
    ):
        dispatcher = bot_module.make_dispatcher(kit, config)
        polling = asyncio.create_task(
            dispatcher.start_polling(make_bot(api, api.token), handle_signals=False)
        )
        try:
            yield api, api.private(OWNER)
        finally:
            await dispatcher.stop_polling()
            await polling


async def say(chat: Chat, text: str) -> str:
    """Say something, and give what the bot says to that in the end."""
    before = len(chat.texts)
    chat.say(text)
    await chat.until(lambda chat: len(chat.texts) > before and not chat.texts[-1].endswith("\u2026"))
    return chat.texts[-1]


def test_each_command_does_what_help_says() -> None:
    async def program() -> None:
        async with open_example() as (_, chat):
            told = await say(chat, "/start")
            assert all(f"/{name} - {what}" in told for name, what in bot_module.COMMANDS.items())
            assert await say(chat, "/model") == "scripted (chosen)"
            assert await say(chat, "/model scripted") == "From now on scripted answers here."
            assert "Nobody offers that" in await say(chat, "/model nobody-has-this")
            assert (await say(chat, "Hello")).startswith("Hello, world.")
            assert (await say(chat, "/translate es Hello")).startswith("Hello, world.")
            assert (await say(chat, "/summarize Hello")).startswith("Hello, world.")
            assert (await say(chat, "/translate")).startswith("What?")
            assert (await say(chat, "/balance")).startswith("Left to spend: 0.01")
            assert (await say(chat, "/topup 0.5")).startswith("Left to spend: 0.51")
            assert (await say(chat, "/topup much")).startswith("How much?")
            assert await say(chat, "/stop") == "There is nothing to stop."
            assert "/help" in await say(chat, "/nonsense")
            assert len(ended(chat)) == 3

    run(program)


def test_only_owners_top_up_and_only_administrators_choose_for_a_group() -> None:
    async def program() -> None:
        async with open_example() as (api, _):
            owner, member = api.user(8, "Bob"), api.user(9, "Eve")
            group = api.group(owner, member)
            group.say("/topup 1", by=owner)
            await group.until(lambda group: "Who owns this bot" in "".join(group.texts))
            group.say("/model scripted", by=member)
            await group.until(lambda group: "its administrators choose" in group.texts[-1])

            group.say("/model scripted", by=owner)

            await group.until(lambda group: group.texts[-1] == "From now on scripted answers here.")

    run(program)


def test_the_bot_s_file_has_no_mistake_also_where_it_is_commented_out(tmp_path: Path) -> None:
    text = (FOLDER / "bot.toml").read_text()
    file = tmp_path / "bot.toml"
    file.write_text(text.replace("\n# ", "\n"))

    config = bot_module.read_config(file)

    assert config.client == str(tmp_path / "client.toml")
    assert config.kit_settings().budget.limit == 20_000_000
    with pytest.raises(msgspec.ValidationError):
        msgspec.toml.decode(text + "unknown = 1", type=bot_module.Config)


def test_secrets_may_lie_where_systemd_puts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    file = tmp_path / "bot.toml"
    file.write_text('token_file = "$CREDENTIALS_DIRECTORY/token"\nclient = "client.toml"\n')

    assert bot_module.read_config(file).token_file == str(tmp_path / "credentials" / "token")


@pytest.mark.long
def test_who_tries_the_bot_sees_it_answer_on_a_network_of_its_own() -> None:
    async def program() -> None:
        command = (sys.executable, str(FOLDER / "try_it.py"))
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()

        assert process.returncode == 0
        for shown in (
            "How can I help you?",
            "la casa roja",
            "Anna bought a red car",
            "trust sim",
            "Spent in all:",
        ):
            assert shown in out.decode()

    asyncio.run(program())
