"""Whole batches over a connection that Noise or TLS has secured: one socket call, many records.

py-libp2p 0.8.1 reads a Noise message by two socket reads (its length, its body) and TLS by
4 KiB at a time, and writes each record alone. `NoiseIO` and `TlsIO` go below its `SecureSession`:
one large socket read decrypts as many records as it holds, one socket write carries several.
`PlainIO` stays above and serves whatever else secures a connection.

Rule 1: one task reads and one task writes; a cancel of either leaves the connection unusable.
Rule 2: whatever the layers below raise comes out as one of two errors, so that the muxer knows
a lost connection from a peer that forges records.

Private parts of 0.8.1 that are used here are listed in `docs/decisions/0004-own-yamux.md`.
"""

# Below a secure session there is no public way: pinned, and listed in docs/decisions/0004-own-yamux.md.
# pyright: reportPrivateUsage=false

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import trio
from libp2p.abc import IRawConnection, ISecureConn
from libp2p.exceptions import BaseLibp2pError
from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH, NoiseTransportReadWriter
from libp2p.security.secure_session import SecureSession
from libp2p.security.tls.io import TLSReadWriter
from noise.exceptions import NoiseInvalidMessage

from cocoon_p2p.errors import RemoteProtocolError, Unavailable

# What one read may bring, and what one write carries unless Noise's records fit it better. Beyond
# it a larger buffer no longer gained anything.
_SOCKET_READ_BYTES = 128 * 1024
_TLS_READ_BYTES = 64 * 1024

# What is opened before others have their turn. A record costs as much as a thousand of its bytes, so
# whoever sends small ones makes much work of a read.
_RECORDS_A_TURN = 256


class SecuredIO(Protocol):
    """A secured connection, in batches."""

    batch_size_bytes: int
    "How much to hand to one `write`."

    async def read(self) -> bytes:
        """Wait for bytes: all that is there, or b"" once the peer has closed.

        Raises:
            Unavailable: The connection is lost.
            RemoteProtocolError: A record does not decrypt.
        """
        ...

    async def write(self, data: bytearray) -> None:
        """Send all of `data`.

        Raises:
            Unavailable: The connection is lost.
        """
        ...


def raw_below(conn: ISecureConn) -> IRawConnection | ISecureConn:
    """Give the raw connection that this one secures, or itself if that is not known.

    A session asks its records for where they go, and upstream's TLS cannot answer.
    """
    if type(conn) is SecureSession:
        if type(conn.conn) is NoiseTransportReadWriter:
            raw: IRawConnection | None = conn.conn.conn
            return raw or conn
        if type(conn.conn) is TLSReadWriter:
            return conn.conn.stream_writer.raw_connection
    return conn


def secured_io(conn: ISecureConn) -> SecuredIO:
    """Choose the fastest way to read and write this connection."""
    if type(conn) is SecureSession:
        if type(conn.conn) is NoiseTransportReadWriter:
            return NoiseIO(conn, conn.conn)
        if type(conn.conn) is TLSReadWriter:
            return TlsIO(conn, conn.conn)
    return PlainIO(conn)


@contextmanager
def _judging_records() -> Iterator[None]:
    try:
        yield
    except (ssl.SSLError, NoiseInvalidMessage) as exc:
        raise RemoteProtocolError(f"a record does not decrypt ({exc})") from exc


@contextmanager
def _noticing_loss() -> Iterator[None]:
    try:
        yield
    except (BaseLibp2pError, OSError, trio.BrokenResourceError, trio.ClosedResourceError) as exc:
        raise Unavailable(f"connection lost ({str(exc) or type(exc).__name__})") from exc


class PlainIO:
    """Goes through the public `ISecureConn`: one record a read."""

    batch_size_bytes = MAX_PLAINTEXT_LENGTH

    def __init__(self, conn: ISecureConn) -> None:
        self._conn = conn

    async def read(self) -> bytes:
        with _noticing_loss(), _judging_records():
            return await self._conn.read(None)

    async def write(self, data: bytearray) -> None:
        with _noticing_loss():
            await self._conn.write(bytes(data))


class NoiseIO:
    """A Noise session: messages of two bytes of length and up to 65,535 bytes of ciphertext."""

    batch_size_bytes = 2 * MAX_PLAINTEXT_LENGTH

    def __init__(self, session: SecureSession, transport: NoiseTransportReadWriter) -> None:
        self._noise = transport.noise_state
        self._raw = transport.read_writer.read_write_closer
        self._early = session._drain(None)  # Decrypted while the muxer was being negotiated.
        self._cipher = bytearray()
        self._was_cut = False  # There may be more to open than was.

    async def read(self) -> bytes:
        if self._early:
            early, self._early = self._early, b""
            return early
        with _noticing_loss():
            while True:
                if self._was_cut:
                    await trio.lowlevel.checkpoint()
                with _judging_records():
                    plain = self._decrypt()
                if plain:
                    return plain
                if self._was_cut:
                    continue
                data = await self._raw.read(_SOCKET_READ_BYTES)
                if not data:
                    return b""
                self._cipher += data

    async def write(self, data: bytearray) -> None:
        out = bytearray()
        with memoryview(data) as view:
            for start in range(0, len(data), MAX_PLAINTEXT_LENGTH):
                message = self._noise.encrypt(bytes(view[start : start + MAX_PLAINTEXT_LENGTH]))
                out += len(message).to_bytes(2, "big")
                out += message
        with _noticing_loss():
            await self._raw.write(bytes(out))

    def _decrypt(self) -> bytes:
        """Open the messages that are complete, for one turn; the rest of the ciphertext waits."""
        cipher, position, plain = self._cipher, 0, list[bytes]()
        while len(cipher) - position >= 2 and len(plain) < _RECORDS_A_TURN:
            end = position + 2 + int.from_bytes(cipher[position : position + 2], "big")
            if end > len(cipher):
                break
            plain.append(self._noise.decrypt(bytes(cipher[position + 2 : end])))
            position = end
        self._was_cut = len(plain) == _RECORDS_A_TURN
        del cipher[:position]
        return b"".join(plain)


class TlsIO:
    """A TLS 1.3 session over memory buffers."""

    batch_size_bytes = 128 * 1024

    def __init__(self, session: SecureSession, transport: TLSReadWriter) -> None:
        stream = transport.stream_writer
        self._tls, self._incoming, self._outgoing = stream._ssl_socket, stream._in_bio, stream._out_bio
        self._raw = stream.raw_connection
        self._early = session._drain(None) + bytes(stream._read_buffer)
        self._was_cut = False  # There may be more to open than was.

    async def read(self) -> bytes:
        if self._early:
            early, self._early = self._early, b""
            return early
        with _noticing_loss():
            while True:
                if self._was_cut:
                    await trio.lowlevel.checkpoint()
                with _judging_records():
                    plain, is_closed = self._decrypt()
                if self._outgoing.pending:
                    # The answer to a key update. The socket's write lock keeps it in order.
                    await self._raw.write(self._outgoing.read())
                if plain or is_closed:
                    return plain
                data = await self._raw.read(_SOCKET_READ_BYTES)
                if not data:
                    return b""
                self._incoming.write(data)

    async def write(self, data: bytearray) -> None:
        with _noticing_loss():
            with memoryview(data) as view:
                position = 0
                while position < len(data):
                    position += self._tls.write(view[position:])
            await self._raw.write(self._outgoing.read())

    def _decrypt(self) -> tuple[bytes, bool]:
        """Open the records that are complete, for one turn, and say whether the peer closed after them."""
        plain, is_closed = list[bytes](), False
        try:
            while not is_closed and len(plain) < _RECORDS_A_TURN:
                plain.append(self._tls.read(_TLS_READ_BYTES))
                is_closed = not plain[-1]
        except ssl.SSLWantReadError:
            pass
        self._was_cut = len(plain) == _RECORDS_A_TURN
        return b"".join(plain), is_closed
