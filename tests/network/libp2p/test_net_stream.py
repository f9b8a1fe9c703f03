"""`NetStream` without its lock does what upstream's does: the same states, the same errors."""

from typing import Any, cast

import pytest
from libp2p.network.stream.exceptions import StreamError
from libp2p.network.stream.net_stream import NetStream, StreamState
from libp2p.stream_muxer.exceptions import MuxedStreamClosed, MuxedStreamEOF, MuxedStreamReset

from cocoon_p2p.network.libp2p import net_stream
from cocoon_p2p.network.libp2p.muxed_stream import MuxedStream


class Scripted(MuxedStream):
    """A stream of ours with one thing to say, and a count of how often it was asked."""

    def __init__(self, error: Exception | None) -> None:
        self.muxed_conn = cast("Any", None)
        self.error = error
        self.calls = 0

    async def read(self, n: int | None = None) -> bytes:
        self._come()
        return b"data"

    async def write(self, data: bytes) -> None:
        self._come()

    def _come(self) -> None:
        self.calls += 1
        if self.error is not None:
            raise self.error


ERRORS = {
    "read": [None, MuxedStreamEOF(), MuxedStreamReset()],
    "write": [None, MuxedStreamClosed(), MuxedStreamReset()],
}


async def outcome(call: Any, what: str, state: StreamState, error: Exception | None) -> tuple[object, ...]:
    muxed = Scripted(error)
    stream = NetStream(muxed, None, None)
    stream._state = state
    result: object
    try:
        result = await call(stream, 10 if what == "read" else b"data")
    except StreamError as exc:
        result = type(exc)
    return result, stream._state, muxed.calls


@pytest.mark.parametrize(
    ("what", "error"), [(what, error) for what, errors in ERRORS.items() for error in errors]
)
@pytest.mark.parametrize("state", StreamState)
async def test_every_state_and_error_is_upstreams(
    what: str, state: StreamState, error: Exception | None
) -> None:
    upstream, ours = {
        "read": (net_stream._upstream_read, net_stream.read),
        "write": (net_stream._upstream_write, net_stream.write),
    }[what]

    assert await outcome(ours, what, state, error) == await outcome(upstream, what, state, error)
