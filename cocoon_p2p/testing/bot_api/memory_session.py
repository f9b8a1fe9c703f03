"""aiogram on the fake without a socket: what a bot under a test's own time speaks through.

Nothing waits but timers, so a loop whose clock jumps to the next timer runs an hour of a bot's life at once.
"""

import json
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from aiogram.client.session.base import BaseSession
from aiogram.exceptions import TelegramNetworkError

from cocoon_p2p.testing.bot_api.arguments import Arguments, Upload
from cocoon_p2p.testing.bot_api.fake import FakeBotApi
from cocoon_p2p.testing.bot_api.faults import ConnectionLost

if TYPE_CHECKING:
    from aiogram import Bot
    from aiogram.methods import TelegramMethod
    from aiogram.methods.base import TelegramType
    from aiogram.types import InputFile


class MemorySession(BaseSession):
    """A session for `aiogram.Bot`.

    Args:
        api: The fake that it speaks to.
    """

    def __init__(self, api: FakeBotApi) -> None:
        super().__init__()
        self._api = api

    async def close(self) -> None:
        """There is nothing to close."""

    async def make_request(
        self,
        bot: "Bot",
        method: "TelegramMethod[TelegramType]",
        timeout: int | None = None,  # noqa: ASYNC109  # aiogram's.
    ) -> "TelegramType":
        """Call the fake."""
        files: dict[str, InputFile] = {}
        # Any: what a method's fields are is aiogram's affair.
        given: dict[str, Any] = method.model_dump(warnings=False)
        values = {name: self.prepare_value(value, bot=bot, files=files) for name, value in given.items()}
        uploads = {name: await _upload(bot, name, file) for name, file in files.items()}
        arguments = Arguments({name: value for name, value in values.items() if value}, uploads)
        try:
            reply = await self._api.call(bot.token, method.__api_method__, arguments)
        except ConnectionLost as exc:
            raise TelegramNetworkError(method=method, message="ServerDisconnectedError") from exc
        content = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
        response = self.check_response(bot=bot, method=method, status_code=reply.status, content=content)
        assert response.result is not None  # check_response raises where there is none.
        return response.result

    async def stream_content(
        self,
        url: str,
        headers: dict[str, Any] | None = None,
        timeout: int = 30,  # noqa: ASYNC109  # aiogram's.
        chunk_size: int = 65536,
        raise_for_status: bool = True,
    ) -> AsyncGenerator[bytes, None]:
        """Give a file that getFile made ready; its address names the bot and the path."""
        token, _, path = url.rpartition("/file/bot")[2].partition("/")
        content = self._api.world.files.fetch(self._api.world.bot(token).id, path)
        assert content is not None, path
        yield content


async def _upload(bot: "Bot", name: str, file: "InputFile") -> Upload:
    content = b"".join([chunk async for chunk in file.read(bot)])
    return Upload(file.filename or name, content)
