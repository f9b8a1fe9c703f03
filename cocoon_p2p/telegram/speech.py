"""Recordings that people sent, taken from Telegram: no more of them than may be asked about."""

from io import BytesIO

import aiohttp
from aiogram import Bot
from aiogram.exceptions import AiogramError
from aiogram.types import Audio, Voice

from cocoon_p2p.errors import Refused

DOWNLOAD_SECONDS = 60


class _Sink(BytesIO):
    """Takes a file of so many bytes at most."""

    def __init__(self, size_max_bytes: int) -> None:
        super().__init__()
        self._size_max_bytes = size_max_bytes

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # aiogram writes bytes
        if self.tell() + len(data) > self._size_max_bytes:
            raise too_large(self.tell() + len(data), self._size_max_bytes)
        return super().write(data)


async def download(bot: Bot, recording: Voice | Audio, *, size_max_bytes: int) -> bytes:
    """Fetch a recording. One that is said to be too large is not asked for.

    Raises:
        Refused: It is too large, or Telegram does not hand it over.
    """
    if (recording.file_size or 0) > size_max_bytes:
        raise too_large(recording.file_size, size_max_bytes)
    sink = _Sink(size_max_bytes)
    try:
        file = await bot.get_file(recording.file_id)
        if file.file_path is None:
            raise _lost("no path")
        await bot.download_file(file.file_path, sink, timeout=DOWNLOAD_SECONDS)
    except (AiogramError, aiohttp.ClientError, TimeoutError) as exc:
        raise _lost(type(exc).__name__) from exc
    return sink.getvalue()


def too_large(size_bytes: int | None, size_max_bytes: int) -> Refused:
    return Refused(
        f"the recording is too large (size={size_bytes} most={size_max_bytes} bytes)", code="sound-too-large"
    )


def _lost(why: str) -> Refused:
    return Refused(f"Telegram did not hand the recording over ({why})", code="download-failed")
