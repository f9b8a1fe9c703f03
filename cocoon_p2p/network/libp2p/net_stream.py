"""Reads and writes of py-libp2p's `NetStream` without its lock.

`NetStream` takes a trio lock around each look at its state. trio's lock switches tasks every time,
so each small write wakes the muxer's writer and becomes an encrypted record of its own. trio runs
one task at a time and the state is looked at and changed between two awaits: no lock is needed.

Only streams of our own muxer pass here; any other goes upstream's way.
"""

# A stream's state is upstream's own attribute: pinned, and listed in docs/decisions/0004-own-yamux.md.
# pyright: reportPrivateUsage=false

from libp2p.network.stream.exceptions import StreamClosed, StreamEOF, StreamReset
from libp2p.network.stream.net_stream import NetStream, StreamState
from libp2p.stream_muxer.exceptions import MuxedStreamClosed, MuxedStreamEOF, MuxedStreamReset

from cocoon_p2p.network.libp2p.muxed_stream import MuxedStream

_upstream_read = NetStream.read
_upstream_write = NetStream.write

_UNREADABLE = (StreamState.ERROR, StreamState.RESET)
_WRITABLE = (StreamState.INIT, StreamState.OPEN, StreamState.CLOSE_READ)


async def read(stream: NetStream, n: int | None = None) -> bytes:
    """Read as `MuxedStream.read` does, in `NetStream`'s states and errors.

    Raises:
        StreamEOF: The peer closed its side, and all it wrote has been read.
        StreamReset: One side reset the stream, or the connection is lost.
    """
    if stream._state in _UNREADABLE or not isinstance(stream.muxed_stream, MuxedStream):
        return await _upstream_read(stream, n)
    try:
        return await stream.muxed_stream.read(n)
    except MuxedStreamEOF as exc:
        if stream._state is StreamState.CLOSE_WRITE:
            stream._state = StreamState.CLOSE_BOTH
        elif stream._state is StreamState.OPEN:
            stream._state = StreamState.CLOSE_READ
        raise StreamEOF from exc
    except MuxedStreamReset as exc:
        stream._state = StreamState.RESET
        raise StreamReset from exc


async def write(stream: NetStream, data: bytes) -> None:
    """Write as `MuxedStream.write` does, in `NetStream`'s states and errors.

    Raises:
        StreamClosed: We closed our side.
        StreamReset: One side reset the stream, or the connection is lost.
    """
    if stream._state not in _WRITABLE or not isinstance(stream.muxed_stream, MuxedStream):
        return await _upstream_write(stream, data)
    try:
        await stream.muxed_stream.write(data)
    except MuxedStreamClosed as exc:
        if stream._state is StreamState.CLOSE_READ:
            stream._state = StreamState.CLOSE_BOTH
        elif stream._state is StreamState.OPEN:
            stream._state = StreamState.CLOSE_WRITE
        raise StreamClosed from exc
    except MuxedStreamReset as exc:
        stream._state = StreamState.RESET
        raise StreamReset from exc
