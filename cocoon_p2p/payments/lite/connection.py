"""One connection to a lite server, on pytoniq: its handshake, its ciphers, its packets, its pings.

The only file that imports pytoniq. Everything here runs in the asyncio loop's thread.

What pytoniq does by itself is narrowed: it would read an answer of any length, take apart
whatever is in it, guessing what is meant, and follow the chain's head without proofs. Here it
hands over an answer's bytes, of a bounded length, and `queries` and `proofs` judge them.
"""

import asyncio
import base64
import logging
import os
from typing import Any

from pytoniq.liteclient.client import LiteClient, LiteClientError

from cocoon_p2p.errors import MalformedMessage, Unavailable
from cocoon_p2p.payments.lite.networks import ServerAddress
from cocoon_p2p.payments.lite.queries import read_octets
from cocoon_p2p.payments.tl import write_octets

ANSWER_MAX_BYTES = 1 << 24
"TL spells lengths in 24 bits."

PENDING_MAX = 64
"Queries of one connection that wait for an answer, those that nobody waits for any more included."

_POLL_SECONDS = 0.002
"How often pytoniq looks whether it waits for something. It does so 50 times a second by default."

_CLOSE_SECONDS = 5.0
_ADNL_ANSWER, _PONG, _ADNL_QUERY = 0x0FAC8416, 0xDC69FB03, 0xB48BF97A
_NONCE_BYTES, _ID_BYTES = 32, 32

_SILENT = logging.Logger("silent", logging.CRITICAL + 1)
"pytoniq logs each query, and a trace for each server that leaves."

_CONNECTION_FAULTS = (OSError, EOFError, LiteClientError, asyncio.TimeoutError, ValueError, AttributeError)
"What pytoniq raises when a connection fails, or failed a moment ago. AttributeError: it is closed already."


class Connection:
    """A connection to one lite server. `close` it, whatever happens."""

    def __init__(self, address: ServerAddress, seconds: float) -> None:
        """Prepare it.

        Args:
            address: The server.
            seconds: How long connecting may take, and each answer.
        """
        self._address = address
        self._seconds = seconds
        self._client = _Client(address)
        self._is_lost = False

    @property
    def is_open(self) -> bool:
        """Whether it is neither closed nor lost, as far as is known. One that only hangs is open."""
        return self._client.is_listening and not self._is_lost

    async def connect(self) -> None:
        """Connect and shake hands.

        Raises:
            Unavailable: It cannot be reached, or does not answer, or is another server.
        """
        try:
            async with asyncio.timeout(self._seconds):
                await self._client.connect()
        except _CONNECTION_FAULTS as exc:
            raise self._failed(exc) from exc

    async def ask(self, query: bytes) -> bytes:
        """Ask, and give the answer's bytes.

        A cancel leaves the connection usable: the answer, should it come, is thrown away.

        Raises:
            Unavailable: The connection is lost, or nothing comes in time.
        """
        if self._client.pending >= PENDING_MAX:
            raise Unavailable(f"the lite server owes too many answers (server={self._address})")
        try:
            async with asyncio.timeout(self._seconds):
                return await self._client.ask(query)
        except _CONNECTION_FAULTS as exc:
            raise self._failed(exc) from exc

    async def close(self) -> None:
        """Close it, in bounded time. It raises nothing."""
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._client.close()
        except _CONNECTION_FAULTS:
            _SILENT.debug("closing failed")

    def _failed(self, exc: Exception) -> Unavailable:
        # pytoniq takes its time to close a connection that is lost, and looks open meanwhile.
        is_late = isinstance(exc, asyncio.TimeoutError)
        self._is_lost = self._is_lost or not is_late
        why = "it does not answer" if is_late else str(exc) or type(exc).__name__
        return Unavailable(f"the lite server cannot be reached: {why} (server={self._address})")


class _Client(LiteClient):
    """pytoniq's client, narrowed."""

    def __init__(self, address: ServerAddress) -> None:
        super().__init__(address.host, address.port, base64.b64encode(address.key).decode(), trust_level=2)
        self.delta = _POLL_SECONDS
        self.logger = _SILENT
        # pytoniq's types say little, and some are wrong.
        self._untyped: Any = self

    @property
    def is_listening(self) -> bool:
        listener = self._untyped.listener
        return listener is not None and not listener.done()

    @property
    def pending(self) -> int:
        return len(self._untyped.tasks)

    async def connect(self) -> None:
        """As pytoniq's own, but without following the chain's head."""
        self.loop = asyncio.get_running_loop()
        self.reader, self.writer = await asyncio.open_connection(self.server.host, self.server.port)
        shaken = await self._untyped.send(self.handshake(), None)
        self.listener = asyncio.create_task(self.listen())
        await shaken
        self.pinger = asyncio.create_task(self._untyped.ping())
        self.inited = True

    async def ask(self, query: bytes) -> bytes:
        name = os.urandom(_ID_BYTES)
        packet = self.serialize_packet(_ADNL_QUERY.to_bytes(4, "little") + name + write_octets(query))
        pending: asyncio.Future[bytes] = await self._untyped.send_and_encrypt(packet, name)
        return await pending

    async def receive(self, data_len: int) -> bytes:
        """As pytoniq's own, but not for as much as a stranger says."""
        if data_len > ANSWER_MAX_BYTES:
            await self.close()
            raise ConnectionAbortedError(f"an answer is too long (bytes={data_len})")
        return await super().receive(data_len)

    def deserialize_adnl_query(self, data: bytes) -> dict[str, Any]:
        """Give whose answer it is, and its bytes. Raises MalformedMessage, which ends the connection."""
        payload = data[_NONCE_BYTES:]
        if not payload:
            # The handshake's.
            return {}
        number = int.from_bytes(payload[:4], "little")
        if number == _PONG:
            return {"random_id": int.from_bytes(payload[4:12], "little", signed=True)}
        if number != _ADNL_ANSWER:
            raise MalformedMessage("neither a pong nor an answer")
        return {"query_id": payload[4 : 4 + _ID_BYTES], "answer": read_octets(payload[4 + _ID_BYTES :])}
