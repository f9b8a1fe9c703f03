"""The bot of docs/telegram.md is the one that runs."""

import asyncio
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiogram
import pytest

from cocoon_p2p import aio
from cocoon_p2p.telegram import KitSettings
from cocoon_p2p.testing.bot_api import UNLIMITED, open_bot_api
from tests.telegram.scene import HELLO, make_bot, open_client, run
from tests.telegram.test_kit import ended

BLOCKS = re.findall(
    r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs" / "telegram.md").read_text(), re.DOTALL
)


@pytest.mark.slow
def test_the_ten_lines_are_a_bot(monkeypatch: pytest.MonkeyPatch) -> None:
    async def program() -> None:
        async with open_bot_api(limits=UNLIMITED) as api:
            monkeypatch.setattr(
                aio, "open_client", lambda file: open_client() if file == "client.toml" else None
            )
            made = make_bot(api, api.token)
            monkeypatch.setattr(aiogram, "Bot", lambda _token: made)
            running = asyncio.create_task(_main_of(BLOCKS[0])())
            chat = api.private(7)
            chat.say("Hello")

            (text,) = await chat.until(ended)

            assert text.startswith(HELLO)
            # The dispatcher has heard signals since before it answered.
            signal.raise_signal(signal.SIGTERM)
            await running

    run(program)


def test_the_settings_are_some() -> None:
    names: dict[str, Any] = {}

    exec(BLOCKS[1], names)

    assert isinstance(names["settings"], KitSettings)


def _main_of(code: str) -> Callable[[], Any]:
    names: dict[str, Any] = {"__name__": "documented"}
    exec(code, names)
    main: Callable[[], Any] = names["main"]
    return main
