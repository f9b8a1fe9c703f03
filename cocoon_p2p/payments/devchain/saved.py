"""A chain on disk: one compressed file, written whole or not at all.

What is in it is a `Snapshot` as msgpack, and before it the format's number: another number is
refused, not guessed at.
"""

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from cocoon_p2p.errors import ConfigurationError, MalformedMessage
from cocoon_p2p.payments.devchain.chain import DevChain
from cocoon_p2p.payments.devchain.history import Limits
from cocoon_p2p.payments.devchain.snapshot import Snapshot

FORMAT = 1

_MAGIC = b"cocoon local chain"
_HEAD = _MAGIC + bytes((FORMAT,))
_PRIVATE = 0o600
_FAST = 1


def save(chain: DevChain, path: Path) -> None:
    """Write the chain to a file, readable by its owner alone. What is in no block yet gets into one.

    A crash in the middle leaves the old file as it was.

    Raises:
        ConfigurationError: The file cannot be written. The chain goes on all the same.
    """
    data = _HEAD + zlib.compress(msgspec.msgpack.encode(chain.snapshot()), _FAST)
    new = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _PRIVATE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        new.replace(path)
    except OSError as exc:
        raise ConfigurationError(
            f"the chain cannot be saved: {exc.strerror} (file={path})",
            hint="name a file in an existing folder that this user may write to",
        ) from exc


def load(path: Path, *, clock: Callable[[], float] | None = None, limits: Limits | None = None) -> DevChain:
    """Read a chain from a file.

    Args:
        path: The file.
        clock: See `DevChain`. The chain's time goes on from where it was.
        limits: See `DevChain`.

    Raises:
        FileNotFoundError: There is none.
        ConfigurationError: It cannot be read, or holds no chain, or one that is damaged.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise ConfigurationError(f"the chain cannot be read: {exc.strerror} (file={path})") from exc
    try:
        return DevChain.restored(_read(data), clock=clock, limits=limits)
    except MalformedMessage as exc:
        raise ConfigurationError(
            f"no chain can be read: {exc} (file={path})", hint="move the file away to begin a new chain"
        ) from exc


def _read(data: bytes) -> Snapshot:
    if not data.startswith(_MAGIC):
        raise MalformedMessage("it is another kind of file")
    if not data.startswith(_HEAD):
        raise MalformedMessage(f"its format is not {FORMAT}")
    try:
        return msgspec.msgpack.decode(zlib.decompress(data[len(_HEAD) :]), type=Snapshot)
    except (zlib.error, msgspec.MsgspecError) as exc:
        raise MalformedMessage(f"it is damaged: {exc}") from exc
