"""One file from the net to the disk: resumed where it was, hashed on the way, whole or not at all.

    part there? --> GET, Range from its end --> 206: goes on
                                            --> 200: the host knows no ranges, or has another file: anew
                                            --> 416: all there, or more than there should be
    all bytes   --> hash as expected? --> the file's own name

What a host says is held against what was known beforehand and against what it said before; more
bytes than were said are never written. A cancel, and a kill, leave the part for the next time.

Spec: RFC 9110, sections 13.1.5 (If-Range) and 14 (Range Requests).
"""

import re
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Final, NoReturn

import trio
from httpx import Headers

from cocoon_p2p.errors import RemoteProtocolError, Unavailable
from cocoon_p2p.inference.models.entry import FileEntry
from cocoon_p2p.inference.models.fetching import Answer, Fetcher, Interrupted, persist
from cocoon_p2p.inference.models.part import Note, Part, Wanted
from cocoon_p2p.inference.models.source import without_query

WRITTEN_AT_ONCE_BYTES: Final = 256 * 1024
"Also what a kill can cost."

_DIGITS_MAX: Final = 15
_ETAG_MAX: Final = 512

_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,15})-(\d{1,15})|\*)/(\d{1,15}|\*)")
_SHA256 = re.compile(r'"?([0-9a-f]{64})"?')

Progress = Callable[[str, int, int | None], None]
"Told a file's name, how many of its bytes are there, and of how many, where that is known."


async def download(
    wanted: Wanted, folder: Path, fetcher: Fetcher, *, progress: Progress | None = None
) -> FileEntry:
    """Fetch one file into a folder.

    Cancelled or killed, it leaves what it had, and goes on from there the next time.

    Raises:
        ConfigurationError: The host refuses, or there is no such file.
        RemoteProtocolError: The host sends other bytes than it said, or than were expected; no part stays.
        Unavailable: The host or the disk is in the way.
    """
    part = await trio.to_thread.run_sync(Part, folder, wanted)
    try:
        await trio.to_thread.run_sync(part.recover)
        return await _Download(wanted, part, fetcher, progress or _tell_nobody).run()
    except OSError as exc:
        raise Unavailable(
            f"cannot write {part.path}: {exc.strerror}", hint="make room, and run the command again"
        ) from exc
    finally:
        part.close()


class _Download:
    """A download under way, however many attempts it takes."""

    def __init__(self, wanted: Wanted, part: Part, fetcher: Fetcher, progress: Progress) -> None:
        self._wanted = wanted
        self._part = part
        self._fetcher = fetcher
        self._progress = progress
        self._sha256 = wanted.sha256
        "What it must hash to, as soon as anybody says so."

        self._size = wanted.size_bytes
        "How large the host says that it is."

    async def run(self) -> FileEntry:
        """Fetch and check. A part of an earlier run that spoils the hash is fetched again, once."""
        was_resumed = self._part.offset > 0
        size = await self._fetch()
        wrong = await trio.to_thread.run_sync(self._wrong)
        if wrong and was_resumed:
            self._part.restart()
            size = await self._fetch()
            wrong = await trio.to_thread.run_sync(self._wrong)
        if wrong:
            self._part.restart()
            raise RemoteProtocolError(
                f"the file is not the one that was asked for (file={self._wanted.name} {wrong})",
                hint="nothing of it was kept; somebody altered it, or the hash belongs to another file",
            )
        await trio.to_thread.run_sync(self._part.finish)
        return FileEntry(name=self._wanted.name, size_bytes=size, sha256=self._part.sha256)

    async def _fetch(self) -> int:
        """Get all of it, and give its size in bytes."""
        return await persist(self._attempt, self._fetcher.patience, mark=lambda: self._part.farthest)

    def _wrong(self) -> str:
        """Say what is wrong with a whole part; empty where nothing is. Blocks."""
        found = self._part.sha256
        if self._sha256:
            return "" if found == self._sha256 else f"expected={self._sha256} found={found}"
        if self._wanted.git_blob and self._part.git_blob() != self._wanted.git_blob:
            return f"expected_git_blob={self._wanted.git_blob}"
        return ""

    async def _attempt(self) -> int:
        if self._size is not None and self._part.offset == self._size:
            return self._size
        is_sure = self._part.note.etag or self._sha256 or self._wanted.git_blob
        if self._part.offset and not is_sure:
            # Nothing would tell if its rest were another file's.
            self._part.restart()
        headers = {"Range": f"bytes={self._part.offset}-"} if self._part.offset else {}
        if headers and self._part.note.etag:
            headers["If-Range"] = self._part.note.etag
        get = self._fetcher.get(self._wanted.url, headers, may_be_plain=bool(self._wanted.sha256))
        async with get as answer:
            self._hear(answer.said)
            if answer.status == 416:
                return self._end_of_416(answer)
            total = self._begin(answer)
            await trio.to_thread.run_sync(self._part.require_space, total)
            etag = _etag(answer) or self._part.note.etag
            kept_url = without_query(self._wanted.url)
            await trio.to_thread.run_sync(self._part.remember, Note(kept_url, etag, self._sha256))
            await self._take(answer, total)
        if self._part.offset < total:
            raise Interrupted("the host stopped early")
        return total

    def _hear(self, said: Headers) -> None:
        """Take what the host that was asked says of the file: the hub names large ones by their SHA-256."""
        found = _SHA256.fullmatch(said.get("X-Linked-Etag", ""))
        if found is None or found[1] == self._sha256:
            return
        if self._wanted.sha256:
            raise RemoteProtocolError(
                f"the host has another file (file={self._wanted.name} "
                f"expected={self._wanted.sha256} there={found[1]})",
                hint="name the --revision that has it, or leave the hash out",
            )
        self._sha256 = found[1]
        if self._part.note.sha256 not in ("", self._sha256):
            self._change()

    def _begin(self, answer: Answer) -> int:
        """Make the part fit what is about to come, and give the whole file's size in bytes."""
        if answer.status == 200:
            if self._part.offset:
                self._part.restart()
            length = answer.headers.get("Content-Length", "")
            said = length or answer.said.get("X-Linked-Size", "")
            return self._expect(said, is_new=True)
        parsed = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        offset = self._part.offset
        if parsed is None or parsed[1] is None or int(parsed[1]) != offset or int(parsed[2]) < offset:
            raise RemoteProtocolError(
                f"the host sends another piece than was asked for (file={self._wanted.name})"
            )
        etag = _etag(answer)
        if etag and self._part.note.etag not in ("", etag):
            self._change()
        total = self._expect(parsed[3], is_new=offset == 0)
        if int(parsed[2]) >= total:
            raise RemoteProtocolError(
                f"the host sends a piece from behind the end (file={self._wanted.name} size={total} bytes)"
            )
        return total

    def _expect(self, said: str, *, is_new: bool) -> int:
        """Hold a size against what is known; give it as a number."""
        if not (said.isascii() and said.isdigit() and 0 < len(said) <= _DIGITS_MAX):
            if self._size is None:
                raise RemoteProtocolError(
                    f"the host does not say how large the file is (file={self._wanted.name})",
                    hint="fetch it by other means, and name the file in the worker's configuration",
                )
            return self._size
        size = int(said)
        if self._wanted.size_bytes not in (None, size):
            raise RemoteProtocolError(
                f"the host has a file of another size (file={self._wanted.name} "
                f"expected={self._wanted.size_bytes} there={size} bytes)",
                hint="name the --revision that is meant",
            )
        if size == 0:
            raise RemoteProtocolError(f"the file is empty (file={self._wanted.name})")
        if not is_new and self._size not in (None, size):
            self._change()
        self._size = size
        return size

    def _change(self) -> NoReturn:
        """Begin anew: the host has another file than it had."""
        self._part.restart()
        raise Interrupted("the file changed meanwhile")

    def _end_of_416(self, answer: Answer) -> int:
        """The host has nothing past what is there: that was all, or too much."""
        parsed = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if parsed is None or parsed[3] != str(self._part.offset):
            self._part.restart()
            raise Interrupted("the host has less than was there (status 416)")
        return self._expect(parsed[3], is_new=False)

    async def _take(self, answer: Answer, total: int) -> None:
        """Write the body. Whatever ends it, what came is kept."""
        pending = bytearray()
        try:
            async with aclosing(answer.body) as body:
                async for chunk in body:
                    pending += chunk
                    if self._part.offset + len(pending) > total:
                        pending.clear()
                        self._part.restart()
                        raise RemoteProtocolError(
                            f"the host sends more than it said (file={self._wanted.name} said={total} bytes)"
                        )
                    if len(pending) >= WRITTEN_AT_ONCE_BYTES:
                        await trio.to_thread.run_sync(self._part.append, bytes(pending))
                        pending.clear()
                        self._progress(self._wanted.name, self._part.offset, total)
        finally:
            # Little enough to be written here, also when cancelled.
            if pending:
                self._part.append(bytes(pending))
            self._progress(self._wanted.name, self._part.offset, total)


def _tell_nobody(_name: str, _done_bytes: int, _total_bytes: int | None) -> None:
    pass


def _etag(answer: Answer) -> str:
    """Give the strong validator, or nothing: a weak one says that files are alike, not that they are one."""
    etag: str = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') and len(etag) <= _ETAG_MAX else ""
