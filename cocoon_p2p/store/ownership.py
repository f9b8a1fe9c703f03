"""One process owns a ledger: a lock on a file beside it, held until the process ends.

The lock is the kernel's (`flock`), so a crash lets go of it. The database file itself is not
locked this way: SQLite's own locks on it would be lost whenever any descriptor of it is closed.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cocoon_p2p.errors import ConfigurationError

_PRIVATE = 0o600


@contextmanager
def owned(path: Path) -> Iterator[None]:
    """Own the ledger at `path` while the block runs. Its files are readable by this user alone.

    Raises:
        ConfigurationError: Another process owns it, or the files cannot be opened.
    """
    lock = _open_private(path.with_name(path.name + ".lock"))
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise ConfigurationError(
                f"the ledger is in use by another process (file={path} pid={owner})",
                hint="stop that process, or give this node a ledger of its own",
            ) from None
        # Only a help for whoever asks: a disk that is full is the ledger's to tell of.
        with suppress(OSError):
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        # The database takes its mode from the file it finds, and its journal files take theirs from it.
        os.close(_open_private(path))
        _flush_folder(path.parent)
        yield
    finally:
        os.close(lock)


def _open_private(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _PRIVATE)
    except OSError as exc:
        raise ConfigurationError(
            f"the ledger cannot be opened: {exc.strerror} (file={path})",
            hint="name a file in an existing folder that this user may write to",
        ) from exc
    os.fchmod(descriptor, _PRIVATE)
    return descriptor


def _flush_folder(folder: Path) -> None:
    """Put the new file's name on disk; without it the file itself could be gone after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
