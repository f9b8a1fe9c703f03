"""One process a data folder, for nodes that own no ledger, whose lock would say the same."""

import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cocoon_p2p.errors import ConfigurationError

LOCK = "node.lock"


class InUse(ConfigurationError):
    """Another process is the one in a data folder."""


@asynccontextmanager
async def sole(folder: Path) -> AsyncIterator[None]:
    """Be the only node in a data folder while the block runs. The kernel lets go of it after a crash.

    Raises:
        InUse: Another process is.
        ConfigurationError: There can be no file.
    """
    path = folder / LOCK
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise ConfigurationError(
            f"cannot use {path}: {exc.strerror}", hint="name a data folder that this user may write to"
        ) from exc
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(
                f"another node runs in this data folder (folder={folder})",
                hint="stop it, or give this node a folder of its own",
            ) from None
        yield
    finally:
        os.close(lock)
