"""A file that is not whole yet: `NAME.part`, and beside it a note on what it is a part of.

The part is hashed as it grows, so a finished one is known at once; a part that an earlier run left,
ended however, is read once and goes on from there. Only a whole file ever has its final name.
"""

import hashlib
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import trio

from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.inference.models.source import without_query

SUFFIX: Final = ".part"
NOTE_SUFFIX: Final = ".part.note"
SPARE_BYTES: Final = 64 << 20
"What a download leaves free on the disk."

_CHUNK_BYTES: Final = 8 << 20
_NOTE_MAX_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file to fetch, and what is known of it beforehand."""

    name: str
    url: str
    size_bytes: int | None = None
    sha256: str = ""
    "In hexadecimal digits; empty where nobody said."

    git_blob: str = ""
    "Git's name for its bytes (SHA-1 over a head and them), where that is all that the hub says."


class Note(msgspec.Struct, frozen=True):
    """Which file a part is of. What cannot be told is empty."""

    url: str = ""
    etag: str = ""
    "The strong validator under which its bytes were sent (RFC 9110, section 8.8.3)."

    sha256: str = ""


class Part:
    """One file on its way. All methods block; one process at a time (`ModelFolder.change`).

    What the disk refuses comes out as `OSError`.

    Args:
        folder: Where the file will lie.
        wanted: What it should be.
    """

    def __init__(self, folder: Path, wanted: Wanted) -> None:
        self.whole = folder / wanted.name
        self.path = folder / (wanted.name + SUFFIX)
        self._note_path = folder / (wanted.name + NOTE_SUFFIX)
        self._wanted = wanted
        try:
            # A link there would have us write elsewhere.
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(self.path, flags, 0o644)
        except OSError as exc:
            raise ConfigurationError(
                f"cannot write {self.path}: {exc.strerror}", hint="the folder must be this user's own"
            ) from exc
        self._digest = hashlib.sha256()
        self.note = Note()
        self.offset = 0
        "Bytes that are there."

        self.farthest = 0
        "The most that ever were, in this run."

    def recover(self) -> None:
        """Take what an earlier run left, if it is of the same file. For a thread of trio's."""
        self.note = self._read_note()
        if not self._is_same():
            self.restart()
            return
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        while chunk := os.read(self._descriptor, _CHUNK_BYTES):
            trio.from_thread.check_cancelled()
            self._digest.update(chunk)
            self.offset += len(chunk)
        self.farthest = self.offset
        if self._wanted.size_bytes is not None and self.offset > self._wanted.size_bytes:
            self.restart()

    def _is_same(self) -> bool:
        if self._wanted.sha256 and self.note.sha256:
            return self._wanted.sha256 == self.note.sha256
        # Without a hash only the host can tell, by its validator.
        return bool(self.note.etag) and self.note.url == without_query(self._wanted.url)

    def _read_note(self) -> Note:
        try:
            with self._note_path.open("rb") as file:
                return msgspec.json.decode(file.read(_NOTE_MAX_BYTES), type=Note)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return Note()

    def remember(self, note: Note) -> None:
        """Write down what the bytes are of, before any of them is written."""
        if note != self.note:
            self._note_path.write_bytes(msgspec.json.encode(note))
            self.note = note

    def restart(self) -> None:
        """Throw away what is there."""
        os.ftruncate(self._descriptor, 0)
        self._note_path.unlink(missing_ok=True)
        self.note = Note()
        self._digest, self.offset = hashlib.sha256(), 0

    def append(self, data: bytes) -> None:
        """Write and hash some more. Where the disk does not take it, what was written before stays."""
        written = 0
        while written < len(data):
            written += os.pwrite(self._descriptor, data[written:], self.offset + written)
        self._digest.update(data)
        self.offset += len(data)
        self.farthest = max(self.farthest, self.offset)

    def require_space(self, size_bytes: int) -> None:
        """See whether the disk has room for the rest.

        Raises:
            Unavailable: It has not.
        """
        require_space(self.path.parent, size_bytes - self.offset)

    @property
    def sha256(self) -> str:
        """Of what is there."""
        return self._digest.hexdigest()

    def git_blob(self) -> str:
        """Git's name for what is there (git-hash-object)."""
        digest = hashlib.sha1(b"blob %d\0" % self.offset, usedforsecurity=False)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        while chunk := os.read(self._descriptor, _CHUNK_BYTES):
            digest.update(chunk)
        return digest.hexdigest()

    def finish(self) -> None:
        """Give the file its name, once its bytes are on the disk."""
        os.fsync(self._descriptor)
        self.path.replace(self.whole)
        self._note_path.unlink(missing_ok=True)
        flush_folder(self.whole.parent)

    def close(self) -> None:
        """Let go. The part stays; an empty one does not."""
        os.close(self._descriptor)
        if self.offset == 0:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)


def require_space(folder: Path, size_bytes: int) -> None:
    """See whether a disk has room.

    Raises:
        Unavailable: It has not.
    """
    free = shutil.disk_usage(folder).free
    if size_bytes + SPARE_BYTES > free:
        raise Unavailable(
            f"not enough room on the disk "
            f"(needed={size_bytes / 1e9:.1f} free={free / 1e9:.1f} GB path={folder})",
            hint="make room, or name another folder: COCOON_MODELS",
        )


def flush_folder(folder: Path) -> None:
    """Put names on disk; without it a new file could be gone after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
