"""One lite server, as it is to be relied on: connected when needed, left alone when it fails or lies.

fails (closed, hangs, refuses)  -> rests 0.5 s, 1 s, 2 s, ... 60 s; a good answer ends it
lies (a proof that proves nothing, another network) -> rests an hour, and is logged
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import trio

from cocoon_p2p.errors import MalformedMessage, Unavailable
from cocoon_p2p.payments.lite.loop import AsyncioLoop
from cocoon_p2p.payments.lite.networks import ServerAddress

if TYPE_CHECKING:
    from cocoon_p2p.payments.lite.connection import Connection

log = logging.getLogger(__name__)

T = TypeVar("T")

REST_FIRST_SECONDS = 0.5
REST_MAX_SECONDS = 60.0

SET_ASIDE_SECONDS = 3600.0
"How long a server that lied is not asked."

_INLINE_BYTES = 1 << 14


class LiteServer:
    """A lite server, and what is thought of it."""

    def __init__(self, address: ServerAddress, loop: AsyncioLoop, *, answer_seconds: float) -> None:
        """Begin, without a connection.

        Args:
            address: Where it is.
            loop: Where its connection runs.
            answer_seconds: How long connecting may take, and each answer.
        """
        self.address = address
        self._loop = loop
        self._answer_seconds = answer_seconds
        self._connection: Connection | None = None
        self._connecting = trio.Lock()
        self._failures = 0
        self._rests_until = 0.0

    @property
    def operator(self) -> str:
        return self.address.operator

    @property
    def rest_seconds(self) -> float:
        """How long it is left alone from now on; 0: it may be asked."""
        return max(0.0, self._rests_until - trio.current_time())

    async def ask(self, query: bytes, read: Callable[[bytes], T]) -> T:
        """Ask it, and read the answer.

        Args:
            query: What is asked.
            read: Reads the answer; what it raises is raised.

        A cancel leaves the connection as it was.

        Raises:
            Unavailable: It does not answer; it rests from now on.
            ServerError: It answers with an error.
            MalformedMessage: It answers what cannot be; it is set aside.
        """
        try:
            answer = await self._answer(query)
        except Unavailable as exc:
            await self.failed(str(exc))
            raise
        try:
            # Large answers are judged in a thread, so that a liar cannot hold up all that runs here.
            found = (
                read(answer) if len(answer) <= _INLINE_BYTES else await trio.to_thread.run_sync(read, answer)
            )
        except MalformedMessage as exc:
            await self.set_aside(str(exc))
            raise
        self._failures = 0
        return found

    async def _answer(self, query: bytes) -> bytes:
        was_there = self._connection
        connection = await self._connected()
        try:
            return await self._loop.run(lambda: connection.ask(query))
        except Unavailable:
            # A server may close a connection that it had for long; that is not yet a failure.
            if connection is not was_there or connection.is_open:
                raise
        anew = await self._connected()
        return await self._loop.run(lambda: anew.ask(query))

    async def failed(self, why: str) -> None:
        """Note a failure: it rests, the longer the more there were in a row."""
        rest = min(REST_FIRST_SECONDS * 2.0 ** min(self._failures, 16), REST_MAX_SECONDS)
        self._failures += 1
        self._rests_until = max(self._rests_until, trio.current_time() + rest)
        log.info("lite server failed", extra={"server": str(self.address), "why": why, "rest_seconds": rest})
        await self.close()

    async def set_aside(self, why: str) -> None:
        """Note a lie: it is not asked for long."""
        self._rests_until = trio.current_time() + SET_ASIDE_SECONDS
        log.warning(
            "lite server set aside",
            extra={"server": str(self.address), "operator": self.operator, "why": why},
        )
        await self.close()

    async def close(self) -> None:
        """Close its connection, if there is one. A cancel closes it, too."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with trio.CancelScope(shield=True):
                await self._loop.run(connection.close)

    async def _connected(self) -> "Connection":
        async with self._connecting:
            if self._connection is not None and not self._connection.is_open:
                await self.close()
            if self._connection is None:
                self._connection = await self._loop.run(self._opened)
            return self._connection

    async def _opened(self) -> "Connection":
        """Open a connection. In the loop's thread, as is the import, which takes half a second."""
        from cocoon_p2p.payments.lite.connection import Connection

        connection = Connection(self.address, self._answer_seconds)
        try:
            await connection.connect()
        except BaseException:
            await connection.close()
            raise
        return connection
