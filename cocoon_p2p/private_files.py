"""Small files that hold secrets or money's state: for their owner alone, and never half written.

What is written is on disk, its name included, when a call returns.
"""

import os
import stat
from pathlib import Path

from cocoon_p2p.errors import ConfigurationError

SIZE_MAX_BYTES = 1 << 20
"Far more than a wallet, or a payment under way, comes to."

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_FOREIGN = stat.S_IWGRP | stat.S_IRWXO
"""What a systemd credential must not allow. It lets the unit's user in by an access list, whose mask reads as
the group's right to read; its folder lets nobody else in."""


def create(path: Path, data: bytes) -> None:
    """Write a new file. One that is there is left as it is.

    Raises:
        ConfigurationError: There is one already, or none can be made.
    """
    try:
        _write(path, data)
        flush_folder(path.parent)
    except FileExistsError:
        raise ConfigurationError(
            f"{path} is there already", hint="nothing was written over; name another file"
        ) from None
    except OSError as exc:
        raise _unusable(path, exc) from exc


def replace(path: Path, data: bytes) -> None:
    """Write a file, in the place of one that may be there. After a crash it is the old or the new one.

    Not for two at a time.

    Raises:
        ConfigurationError: It cannot be written.
    """
    beside = path.with_name(path.name + ".new")
    try:
        # What a crash left there is of no use.
        beside.unlink(missing_ok=True)
        _write(beside, data)
        beside.replace(path)
        flush_folder(path.parent)
    except OSError as exc:
        raise _unusable(path, exc) from exc


def remove(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        ConfigurationError: It cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
        flush_folder(path.parent)
    except OSError as exc:
        raise _unusable(path, exc) from exc


def read(path: Path) -> bytes:
    """Read a file that only its owner can read, or a credential that systemd has handed to this process.

    Raises:
        FileNotFoundError: It is not there.
        ConfigurationError: Others can read it, it is no file, is too large, or cannot be read.
    """
    try:
        # Opening a pipe would wait for somebody to write to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise ConfigurationError(f"{path} is not a file")
            if mode & (_FOREIGN if _is_credential(path) else _OTHERS):
                raise ConfigurationError(f"{path} can be read by others", hint=f"chmod 600 {path}")
            data = file.read(SIZE_MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise _unusable(path, exc) from exc
    if len(data) > SIZE_MAX_BYTES:
        raise ConfigurationError(f"{path} is too large (limit={SIZE_MAX_BYTES} bytes)")
    return data


def _is_credential(path: Path) -> bool:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return folder is not None and path.parent == Path(folder)


def _write(path: Path, data: bytes) -> None:
    """Write a file that is not there yet; if that fails it still is not."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        path.unlink()
        raise


def flush_folder(folder: Path) -> None:
    """Put names on disk; without it a new file could be gone after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(path: Path, exc: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"cannot use {path}: {exc.strerror}", hint="name a file in an existing folder of your own"
    )
