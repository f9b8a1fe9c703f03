"""What libp2p raises on a peer's or the network's account, and never passes this room's door."""

import ssl

import trio
from libp2p.exceptions import BaseLibp2pError

UPSTREAM_ERRORS: tuple[type[Exception], ...] = (
    BaseLibp2pError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    # The muxers raise it at the end of a stream, the readers below them at that of a connection.
    EOFError,
    OSError,
    ssl.SSLError,
    # Bytes that do not parse: multistream text that is no UTF-8, a varint, a protobuf, a key.
    ValueError,
)
"Catch these around a call into libp2p and raise `Unavailable` from them."


def root_cause(exc: BaseException) -> BaseException:
    """Follow the causes that libp2p wraps down to the one that says what happened."""
    while exc.__cause__ is not None:
        exc = exc.__cause__
    return exc
