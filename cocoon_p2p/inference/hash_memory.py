"""What large files hashed to, remembered while they do not change: 40 GB are read once, not at each start.

A file counts as unchanged while its device, inode, size and both its times are what they were. The
change time is the kernel's own: who writes into the file cannot set it back. Who owns the disk can,
or can write here; so an image that must prove its weights hashes them without a memory.

One JSON file in the node's own folder; one that cannot be read is as good as none.
"""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from cocoon_p2p.errors import ConfigurationError

ENTRIES_MAX: Final = 4096
"Files that are remembered; the ones used longest ago give way."

SETTLED_SECONDS: Final = 2.0
"A file that changed more lately than this may change again within one tick of its clock: not remembered."

_SIZE_MAX_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Entry:
    stamp: tuple[int, ...]
    digest: str


class HashMemory:
    """The hashes of files that were read before.

    Not for two processes at a time: the one that saves last wins, and the other hashes again.

    Args:
        path: The JSON file; made, with its folder (0700), when something is saved.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries = _load(path)
        self._is_changed = False

    def recall(self, file: Path, status: os.stat_result) -> bytes | None:
        """Give a file's SHA-256, if it has not changed since it was kept."""
        entry = self._entries.pop(name := str(file.absolute()), None)
        if entry is None or entry.stamp != _stamp(status):
            return None
        self._entries[name] = entry
        return bytes.fromhex(entry.digest)

    def keep(self, file: Path, status: os.stat_result, digest: bytes) -> None:
        """Remember a file's SHA-256, if the file has been left alone for a while."""
        changed_at = max(status.st_mtime_ns, status.st_ctime_ns) / 1e9
        if time.time() < changed_at + SETTLED_SECONDS:
            return
        self._entries[str(file.absolute())] = _Entry(_stamp(status), digest.hex())
        while len(self._entries) > ENTRIES_MAX:
            del self._entries[next(iter(self._entries))]
        self._is_changed = True

    def save(self) -> None:
        """Write down what is new, in one step. After a crash it is the old file or the new one.

        Raises:
            ConfigurationError: The file cannot be written.
        """
        if not self._is_changed:
            return
        text = json.dumps({name: [*entry.stamp, entry.digest] for name, entry in self._entries.items()})
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w") as stream:
                stream.write(text)
            beside.replace(self._path)
        except OSError as exc:
            raise ConfigurationError(
                f"cannot write {self._path}: {exc.strerror}", hint="its folder must be this user's own"
            ) from exc
        self._is_changed = False


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _load(path: Path) -> dict[str, _Entry]:
    try:
        with path.open("rb") as stream:
            found: object = json.loads(stream.read(_SIZE_MAX_BYTES + 1))
        rows = cast("dict[str, list[int | str]]", found)
        return {name: _read(row) for name, row in rows.items()}
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        # It is a memory, not a ledger: what cannot be read is forgotten.
        return {}


def _read(row: list[int | str]) -> _Entry:
    *stamp, digest = row
    if len(bytes.fromhex(str(digest))) != 32:
        raise ValueError("not a SHA-256")
    return _Entry(tuple(map(int, stamp)), str(digest))
