"""A control socket's file, and who may speak through it.

Only its owner can open the file (mode 0600), and each end asks the kernel whose process the
other is: a folder that others can write to would let them put a socket of theirs there.
"""

import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cocoon_p2p.errors import ConfigurationError

PATH_MAX_BYTES = 107
"What `sockaddr_un` of Linux holds, less the zero byte at its end."

_BACKLOG = 16
_CREDENTIALS = struct.Struct("3i")
"`struct ucred` of Linux: pid, uid, gid."


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """Make the socket; when the block ends it is gone.

    A socket that is there already is taken for a dead process's and replaced. So the caller must
    own what the socket is about (a ledger's lock, a chain's) before it comes here, and let go of
    it only afterwards.

    Raises:
        ConfigurationError: There can be no socket at `path`.
    """
    if len(os.fsencode(path)) > PATH_MAX_BYTES:
        raise ConfigurationError(
            f"no control socket can be made: its path has {len(os.fsencode(path))} bytes, the system takes "
            f"{PATH_MAX_BYTES} (path={path})",
            hint="keep the data in a folder with a shorter path, or name it through a symbolic link",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        try:
            _remove(path)
            made.bind(os.fspath(path))
            # Until it listens nobody can connect, so there is no moment in which others could.
            path.chmod(0o600)
            made.listen(_BACKLOG)
        except OSError as exc:
            raise ConfigurationError(
                f"no control socket can be made: {exc.strerror} (path={path})",
                hint="move away what stands there, or choose a folder that this user may write to",
            ) from exc
        try:
            yield made
        finally:
            _remove(path)


def _remove(path: Path) -> None:
    """Remove a socket. Whatever else has its name stays, and binding will say so."""
    try:
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    except FileNotFoundError:
        pass


def is_trusted(credentials: bytes, *, own_uid: int) -> bool:
    """Whether the process at the other end is this user's or root's. Root trusts every user's.

    Args:
        credentials: What `getsockopt(SOL_SOCKET, SO_PEERCRED, CREDENTIALS_BYTES)` gave.
        own_uid: This process's user.
    """
    uid: int = _CREDENTIALS.unpack(credentials)[1]
    return uid in (own_uid, 0) or own_uid == 0


CREDENTIALS_BYTES = _CREDENTIALS.size
