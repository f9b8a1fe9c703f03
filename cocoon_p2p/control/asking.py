"""Asking a process through its control socket, from a command.

These block, for commands that do nothing else meanwhile; from trio call them in a thread.
"""

import os
import socket
from collections.abc import Generator
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from cocoon_p2p.control.place import CREDENTIALS_BYTES, is_trusted
from cocoon_p2p.control.verbs import Feed, Request, Verb
from cocoon_p2p.control.wire import REPLY_MAX_BYTES, decode_line, error_of
from cocoon_p2p.errors import Unavailable

MARGIN_SECONDS = 5.0
"Beyond a verb's own limit: time for the other process to say that it was reached."

CONNECT_SECONDS = 5.0

_HINT = "see whether it runs, and as this user"

Q = TypeVar("Q", bound=Request)
R = TypeVar("R")


def ask(path: Path, verb: Verb[Q, R], request: Q, *, patience_seconds: float | None = None) -> R:
    """Ask once.

    Args:
        path: The socket.
        verb: What is asked.
        request: The question.
        patience_seconds: How long to wait for the reply; by default as long as the verb may take.

    Raises:
        Unavailable: No process answers there (or, as any other `CocoonError`, the process itself raised it).
        CocoonError: What the verb raised, with its class, message, hint and code.
    """
    patience = verb.limit_seconds + MARGIN_SECONDS if patience_seconds is None else patience_seconds
    with closing(_replies(path, verb.reply, request, patience)) as replies:
        for reply in replies:
            return reply
    raise Unavailable(f"no reply in the answer (socket={path})", hint=_HINT)


def follow(path: Path, feed: Feed[Q, R], request: Q) -> Generator[R]:
    """Ask, and give every reply until there are no more; closing the generator hangs up.

    Raises:
        CocoonError: As `ask` does.
    """
    return _replies(path, feed.reply, request, feed.silent_seconds)


def _replies(path: Path, reply: type[R], request: Request, timeout_seconds: float | None) -> Generator[R]:
    decoder = msgspec.json.Decoder(reply)
    try:
        with _connect(path, timeout_seconds) as stream, stream.makefile("rb") as lines:
            # A process that is busy says so without reading, and hangs up.
            with suppress(BrokenPipeError):
                stream.sendall(msgspec.json.encode(request) + b"\n")
            while True:
                line = decode_line(lines.readline(REPLY_MAX_BYTES + 1))
                if line.error is not None:
                    raise error_of(line.error)
                if line.reply is msgspec.UNSET:
                    return
                yield decoder.decode(line.reply)
    except (FileNotFoundError, ConnectionRefusedError) as exc:
        raise Unavailable(f"nobody answers there (socket={path})", hint=_HINT) from exc
    except (OSError, ValueError) as exc:
        raise Unavailable(f"no good answer came: {exc} (socket={path})", hint=_HINT) from exc


def _connect(path: Path, timeout_seconds: float | None) -> socket.socket:
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.settimeout(CONNECT_SECONDS)
        stream.connect(os.fspath(path))
        stream.settimeout(timeout_seconds)
        credentials = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS_BYTES)
        if not is_trusted(credentials, own_uid=os.getuid()):
            raise PermissionError("another user's process answers")
    except BaseException:
        stream.close()
        raise
    return stream
