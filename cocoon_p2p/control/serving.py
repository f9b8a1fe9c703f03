"""Serving a control socket: whoever is slow, silent or talks nonsense harms nobody but himself.

Connections are few, lines are short, and each wait has an end. What a verb raises goes to the
one who asked; what it should not have raised is logged as well, and the node goes on.
"""

import logging
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Union, cast

import msgspec
import trio

from cocoon_p2p.control.place import CREDENTIALS_BYTES, is_trusted, listening
from cocoon_p2p.control.verbs import Answer, Request
from cocoon_p2p.control.wire import (
    REPLY_MAX_BYTES,
    REQUEST_MAX_BYTES,
    encode_end,
    encode_error,
    encode_reply,
)
from cocoon_p2p.errors import CocoonError, LocalProtocolError, MalformedMessage, Unavailable
from cocoon_p2p.nursery import open_service_nursery

log = logging.getLogger(__name__)

CONNECTIONS_MAX = 16
"A person at a terminal, a status page, a few that watch."

SILENT_SECONDS = 30.0
"How long a request may take to arrive whole, and a reply to be taken."

_CHUNK_BYTES = 4096


async def serve_control(
    path: Path,
    answers: Sequence[Answer],
    *,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer what is asked through the socket at `path` until cancelled; then it is gone.

    The caller owns what the socket is about, by a lock: a socket that a dead process left is replaced.

    Args:
        path: In an existing folder.
        answers: All that can be asked. Each verb once.
        task_status: Told when the socket is there.

    Raises:
        ConfigurationError: There can be no socket at `path`.
    """
    service = _Service(answers)
    with listening(path) as made:
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(made))
        await trio.serve_listeners(service.serve, [listener], task_status=task_status)


class _HungUp(Exception):
    """The other side left, or does not say or read anything."""


class _Service:
    """What can be asked, and how many are asking."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.answers = {answer.request: answer for answer in answers}
        assert len(self.answers) == len(answers), "a verb has two answers"
        # A union that is known only now: for type checkers it is what all requests are.
        self.decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(
            Union[tuple(self.answers)]  # noqa: UP007
        )
        self._places = trio.CapacityLimiter(CONNECTIONS_MAX)

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection (a handler of `trio.serve_listeners`): raises nothing."""
        conversation = _Conversation(stream, self)
        async with stream:
            credentials = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS_BYTES)
            if not is_trusted(credentials, own_uid=os.getuid()):
                return
            with suppress(_HungUp):
                try:
                    self._places.acquire_on_behalf_of_nowait(stream)
                except trio.WouldBlock:
                    await conversation.send(
                        encode_error(Unavailable("too many ask at once", retry_after=1.0))
                    )
                    return
                try:
                    await conversation.run()
                finally:
                    self._places.release_on_behalf_of(stream)


class _Conversation:
    """One connection: a request, its answer, the next request. Every method may raise `_HungUp`."""

    def __init__(self, stream: trio.SocketStream, service: _Service) -> None:
        self._stream = stream
        self._service = service
        self._buffer = b""
        self._is_cut = False
        "Whether the other side is gone, or has a line in half: nothing can be said any more."

    async def run(self) -> None:
        """Answer until nothing more is asked."""
        while True:
            line = await self._receive_line()
            try:
                await self._answer(line)
            except _HungUp:
                raise
            except Exception as exc:  # noqa: BLE001 (the top of a verb)
                await self.send(encode_error(_shown(exc)))
            else:
                await self.send(encode_end())
            if len(line) > REQUEST_MAX_BYTES:
                return

    async def _answer(self, line: bytes) -> None:
        if len(line) > REQUEST_MAX_BYTES:
            raise MalformedMessage(f"the request is too long (most={REQUEST_MAX_BYTES} bytes)")
        try:
            request = self._service.decoder.decode(line)
        except (ValueError, RecursionError) as exc:
            raise MalformedMessage(
                f"the request cannot be read: {exc}", hint="is what runs of another version? start it again"
            ) from exc
        answer = self._service.answers[type(request)]
        with trio.move_on_after(answer.limit_seconds) as scope:
            async with open_service_nursery() as nursery:
                if answer.is_feed:
                    nursery.start_soon(self._watch, scope)
                await answer.carry_out(request, partial(self._say, scope))
        if self._is_cut:
            raise _HungUp
        if scope.cancelled_caught:
            raise Unavailable(f"the answer took too long (limit={answer.limit_seconds:g} s)")

    async def _say(self, scope: trio.CancelScope, reply: object) -> None:
        line = encode_reply(reply)
        if len(line) > REPLY_MAX_BYTES:
            raise LocalProtocolError(f"the reply is too long (most={REPLY_MAX_BYTES} bytes)")
        try:
            await self.send(line)
        except _HungUp:
            await self._leave(scope)

    async def _watch(self, scope: trio.CancelScope) -> None:
        """Notice that whoever follows a feed hangs up."""
        with suppress(trio.BrokenResourceError):
            await self._stream.receive_some(1)
        await self._leave(scope)

    async def _leave(self, scope: trio.CancelScope) -> None:
        """End a verb by a cancel: that passes through whatever it does."""
        self._is_cut = True
        scope.cancel()
        await trio.lowlevel.checkpoint()

    # ------------------------------------------------------------ lines

    async def send(self, line: bytes) -> None:
        """Send a line, to somebody who takes it in time."""
        self._is_cut = True
        try:
            with trio.fail_after(SILENT_SECONDS):
                await self._stream.send_all(line)
        except (trio.BrokenResourceError, trio.TooSlowError) as exc:
            raise _HungUp from exc
        self._is_cut = False

    async def _receive_line(self) -> bytes:
        """Give the next line, without its end; or what has come of it, when that is too long already."""
        try:
            with trio.fail_after(SILENT_SECONDS):
                while b"\n" not in self._buffer and len(self._buffer) <= REQUEST_MAX_BYTES:
                    data = await self._stream.receive_some(_CHUNK_BYTES)
                    if not data:
                        raise _HungUp
                    self._buffer += data
        except (trio.BrokenResourceError, trio.TooSlowError) as exc:
            raise _HungUp from exc
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


def _shown(exc: Exception) -> CocoonError:
    """Give what the one who asked is told: our errors as they are, others as a bug of ours."""
    found = exc
    while isinstance(found, ExceptionGroup):
        found = cast("ExceptionGroup[Exception]", found).exceptions[0]
    if isinstance(found, CocoonError):
        return found
    log.error("a control verb failed", exc_info=exc)
    return LocalProtocolError("the node failed at this", hint="its log says how; please report it")
