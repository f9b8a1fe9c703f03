"""A node's identity key on disk: 64 hexadecimal digits in a file that only its owner can read."""

import os
import stat
from pathlib import Path

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import Identity

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def load_or_create(path: Path) -> Identity:
    """Read the identity in `path`; make one, and the folder (mode 0700), if there is none.

    Raises:
        ConfigurationError: Others can read the file, it holds no key, or it cannot be read or made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            return _create(path)
        except FileExistsError:
            return _load(path)
    except OSError as exc:
        raise ConfigurationError(
            f"cannot use {path}: {exc.strerror}", hint="choose another folder in [data] directory"
        ) from exc


def load(path: Path) -> Identity:
    """Read the identity in `path`.

    Raises:
        FileNotFoundError: There is none.
        ConfigurationError: As `load_or_create`.
    """
    try:
        return _load(path)
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise ConfigurationError(f"cannot use {path}: {exc.strerror}", hint="run this as its owner") from exc


def _create(path: Path) -> Identity:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    seed = os.urandom(32)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(seed.hex() + "\n")
            file.flush()
            # A key that vanishes with the power is an identity, and its earnings, lost.
            os.fsync(descriptor)
    except OSError:
        # A full disk. A file without a key would be taken for that of a node which lost its own.
        path.unlink()
        raise
    return Identity.from_seed(seed)


def _load(path: Path) -> Identity:
    if path.stat().st_mode & _OTHERS:
        raise ConfigurationError(f"{path} can be read by others", hint=f"chmod 600 {path}")
    try:
        seed = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError:
        seed = b""
    if len(seed) != 32:
        raise ConfigurationError(
            f"{path} holds no identity key: 64 hexadecimal digits are expected",
            hint="restore it from a backup, or move it away to become a new node",
        )
    return Identity.from_seed(seed)
