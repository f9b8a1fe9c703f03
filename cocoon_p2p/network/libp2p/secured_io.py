"""Whole batches over a connection that Noise or TLS has secured: one socket call, many records.

py-libp2p 0.8.1 reads a Noise message by two socket reads (its length, its body) and TLS by
4 KiB at a time, and writes each record alone. `NoiseIO` and `TlsIO` go below its `SecureSession`:
one large socket read decrypts as many records as it holds, one socket write carries several.
`PlainIO` stays above and serves whatever else secures a connection.

Rule 1: one task reads and one task writes; a cancel of either leaves the connection unusable. `write_now`
may be called by any task, since it never waits.
Rule 2: whatever the layers below raise comes out as one of two errors, so that the muxer knows
a lost connection from a peer that forges records.

Private parts of 0.8.1 that are used here are listed in `docs/decisions/0004-own-yamux.md`.
"""

# Below a secure session there is no public way: pinned, and listed in docs/decisions/0004-own-yamux.md.
# pyright: reportPrivateUsage=false

import ssl
from typing import Any, Protocol

import trio
from cryptography.exceptions import InvalidTag
from libp2p.abc import IRawConnection, ISecureConn
from libp2p.exceptions import BaseLibp2pError
from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH, NoiseTransportReadWriter
from libp2p.security.secure_session import SecureSession
from libp2p.security.tls.io import TLSReadWriter
from noise.exceptions import NoiseInvalidMessage

from cocoon_p2p.errors import LocalProtocolError, RemoteProtocolError, Unavailable
from cocoon_p2p.network.libp2p.wire import Wire

# What one read may bring, and what one write carries unless Noise's records fit it better. Beyond
# it a larger buffer no longer gained anything.
_SOCKET_READ_BYTES = 128 * 1024
_TLS_READ_BYTES = 64 * 1024

# What is opened before others have their turn. A record costs as much as a thousand of its bytes, so
# whoever sends small ones makes much work of a read.
_RECORDS_A_TURN = 64


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
        """Send all of `data`, after what `write_now` left behind.

        Raises:
            Unavailable: The connection is lost.
        """
        ...

    @property
    def is_free(self) -> bool:
        """Whether `write_now` may be called: nothing is under way, and it can be done without waiting."""
        ...

    @property
    def is_behind(self) -> bool:
        """Whether something was left behind, that `write` has to bring."""
        ...

    def write_now(self, data: bytearray) -> None:
        """Send as much of `data` as the socket takes at once. That it is lost is found out later."""
        ...


def raw_below(conn: ISecureConn) -> IRawConnection | ISecureConn:
    """Give the raw connection that this one secures, or itself if that is not known.

    A session asks its records for where they go, and upstream's TLS cannot answer.
    """
    if type(conn) is SecureSession:
        if type(conn.conn) is NoiseTransportReadWriter:
            return _below_noise(conn.conn)
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


def _below_noise(transport: NoiseTransportReadWriter) -> IRawConnection:
    raw: IRawConnection | None = transport.conn
    assert raw is not None, "upstream gives its records what they go over"
    return raw


_FORGED = (ssl.SSLError, InvalidTag, NoiseInvalidMessage)
"What the layers below raise when a record does not decrypt."

_LOST = (BaseLibp2pError, OSError, trio.BrokenResourceError, trio.ClosedResourceError)
"What they raise when the connection is lost. An `SSLError` is an `OSError`: ask for the others first."


def _lost(exc: Exception) -> Unavailable:
    return Unavailable(f"connection lost ({str(exc) or type(exc).__name__})")


class PlainIO:
    """Goes through the public `ISecureConn`: one record a read."""

    batch_size_bytes = MAX_PLAINTEXT_LENGTH

    def __init__(self, conn: ISecureConn) -> None:
        self._conn = conn

    async def read(self) -> bytes:
        try:
            return await self._conn.read(None)
        except _FORGED as exc:
            raise RemoteProtocolError(f"a record does not decrypt ({exc})") from exc
        except _LOST as exc:
            raise _lost(exc) from exc

    async def write(self, data: bytearray) -> None:
        try:
            await self._conn.write(bytes(data))
        except _LOST as exc:
            raise _lost(exc) from exc

    is_free = is_behind = False

    def write_now(self, data: bytearray) -> None:
        """Refuse."""
        raise LocalProtocolError("this connection is never free")


class _WireIO:
    """What Noise and TLS have in common: records are opened and sealed here, and bytes go over a wire.

    Args:
        raw: What the session secures.
        early: What it had decrypted already when it was handed over.
    """

    def __init__(self, raw: IRawConnection, early: bytes) -> None:
        self._wire = Wire(raw)
        self._early = early
        self._was_cut = False
        "There may be more to open than was."

        self._fault: Unavailable | None = None
        "Why something that `write_now` was given can never leave."

    async def read(self) -> bytes:
        if self._early:
            early, self._early = self._early, b""
            return early
        try:
            return await self._read()
        except _FORGED as exc:
            raise RemoteProtocolError(f"a record does not decrypt ({exc})") from exc
        except _LOST as exc:
            raise _lost(exc) from exc

    async def write(self, data: bytearray) -> None:
        if self._fault is not None:
            raise self._fault
        try:
            await self._wire.write(self._seal(data) if data else b"")
        except _LOST as exc:
            raise _lost(exc) from exc

    @property
    def is_free(self) -> bool:
        return self._wire.is_free and self._fault is None

    @property
    def is_behind(self) -> bool:
        return self._wire.is_behind or self._fault is not None

    def write_now(self, data: bytearray) -> None:
        try:
            sealed = self._seal(data)
        except _LOST as exc:
            self._fault = _lost(exc)
        else:
            self._wire.write_now(sealed)

    async def _read(self) -> bytes:
        raise NotImplementedError

    def _seal(self, data: bytearray) -> bytes | bytearray:
        raise NotImplementedError


class NoiseIO(_WireIO):
    """A Noise session: messages of two bytes of length and up to 65,535 bytes of ciphertext."""

    batch_size_bytes = 2 * MAX_PLAINTEXT_LENGTH

    def __init__(self, session: SecureSession, transport: NoiseTransportReadWriter) -> None:
        # Drained is what was decrypted while the muxer was being negotiated.
        super().__init__(_below_noise(transport), session._drain(None))
        protocol: Any = transport.noise_state.noise_protocol  # The library has no types.
        self._sealing: Any = protocol.cipher_state_encrypt
        self._opening: Any = protocol.cipher_state_decrypt
        self._sealed = bytearray()

    async def _read(self) -> bytes:
        while True:
            if self._was_cut:
                await trio.lowlevel.checkpoint()
            else:
                data = await self._wire.read(_SOCKET_READ_BYTES)
                if not data:
                    return b""
                self._sealed += data
            if plain := self._open():
                return plain

    def _seal(self, data: bytearray) -> bytearray:
        out, state = bytearray(), self._sealing
        with memoryview(data) as view:
            for start in range(0, len(data), MAX_PLAINTEXT_LENGTH):
                # The library's own call copies what it is given; and its cipher is as it should be.
                plain = view[start : start + MAX_PLAINTEXT_LENGTH]
                message: bytes = state.cipher.cipher.encrypt(_nonce(state.n), plain, None)
                state.n += 1
                out += len(message).to_bytes(2, "big")
                out += message
        return out

    def _open(self) -> bytes:
        """Open the messages that are complete, for one turn; the rest of the ciphertext waits."""
        sealed, state = self._sealed, self._opening
        position, plain = 0, list[bytes]()
        with memoryview(sealed) as view:
            while len(sealed) - position >= 2 and len(plain) < _RECORDS_A_TURN:
                end = position + 2 + (sealed[position] << 8 | sealed[position + 1])
                if end > len(sealed):
                    break
                plain.append(state.cipher.cipher.decrypt(_nonce(state.n), view[position + 2 : end], None))
                state.n += 1
                position = end
        self._was_cut = len(plain) == _RECORDS_A_TURN
        del sealed[:position]
        return plain[0] if len(plain) == 1 else b"".join(plain)


def _nonce(number: int) -> bytes:
    # As Noise has it for ChaChaPoly: 32 bits of zeros, and 64 bits, little-endian.
    return b"\0\0\0\0" + number.to_bytes(8, "little")


class TlsIO(_WireIO):
    """A TLS 1.3 session over memory buffers."""

    batch_size_bytes = 128 * 1024

    def __init__(self, session: SecureSession, transport: TLSReadWriter) -> None:
        stream = transport.stream_writer
        super().__init__(stream.raw_connection, session._drain(None) + bytes(stream._read_buffer))
        self._tls, self._incoming, self._outgoing = stream._ssl_socket, stream._in_bio, stream._out_bio

    async def _read(self) -> bytes:
        while True:
            if self._was_cut:
                await trio.lowlevel.checkpoint()
            plain, is_closed = self._open()
            if self._outgoing.pending:
                # The answer to a key update. The wire keeps it in order.
                await self._wire.write(self._outgoing.read())
            if plain or is_closed:
                return plain
            data = await self._wire.read(_SOCKET_READ_BYTES)
            if not data:
                return b""
            self._incoming.write(data)

    def _seal(self, data: bytearray) -> bytes:
        with memoryview(data) as view:
            position = 0
            while position < len(data):
                position += self._tls.write(view[position:])
        return self._outgoing.read()

    def _open(self) -> tuple[bytes, bool]:
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
