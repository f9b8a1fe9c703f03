"""Agreeing on a protocol in one round trip, or in none.

    upstream      -> header            <- header     -> /cocoon/exchange/1   <- the same or `na`
    one trip      -> header, protocol  <- header, the same or `na`
    no trip       -> header, protocol, the first bytes       <- header, the same, the first answer

multistream-select lets the dialling side say all at once, and every implementation that we know of
accepts it. `select_one_of` is the one trip and serves every negotiation of ours: of what secures, of
the muxer, of each stream. `negotiate_with_first_bytes` is the none.

Rule 1: a message of the negotiation is bounded and judged. Anyone can send one, before any key is known.

Spec: https://github.com/multiformats/multistream-select.
"""

from collections.abc import Sequence

import trio
from libp2p.abc import IMultiselectCommunicator
from libp2p.custom_types import TProtocol
from libp2p.io.abc import Reader
from libp2p.io.exceptions import IOException
from libp2p.network.stream.net_stream import NetStream
from libp2p.protocol_muxer.exceptions import (
    MultiselectClientError,
    MultiselectCommunicatorError,
    ProtocolNotSupportedError,
)
from libp2p.protocol_muxer.multiselect_client import (
    DEFAULT_NEGOTIATE_TIMEOUT,
    MULTISELECT_PROTOCOL_ID,
    PROTOCOL_NOT_FOUND_MSG,
    MultiselectClient,
)
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.utils import encode_delim

from cocoon_p2p.network.libp2p.muxed_stream import MuxedStream

MESSAGE_MAX_BYTES = 0x3FFF
"What a length of two bytes can say, and rust-libp2p's bound. A protocol id takes a few dozen."


async def select_one_of(
    client: MultiselectClient,
    protocols: Sequence[TProtocol],
    communicator: IMultiselectCommunicator,
    negotiate_timeout: int = DEFAULT_NEGOTIATE_TIMEOUT,
) -> TProtocol:
    """Agree on the first of `protocols` that the peer speaks; one round trip if it is the very first.

    Raises:
        MultiselectClientError: It speaks none of them, says something else, or takes longer than
            `negotiate_timeout` seconds.
    """
    with trio.move_on_after(negotiate_timeout):
        return await _select_one_of(client, protocols, communicator)
    raise MultiselectClientError(f"no answer (timeout={negotiate_timeout} s protocols={list(protocols)})")


async def _select_one_of(
    client: MultiselectClient, protocols: Sequence[TProtocol], communicator: IMultiselectCommunicator
) -> TProtocol:
    first, *others = protocols
    try:
        await communicator.write(MULTISELECT_PROTOCOL_ID)
        await communicator.write(first)
        header, answer = await communicator.read(), await communicator.read()
    except MultiselectCommunicatorError as exc:
        raise MultiselectClientError(f"negotiation broke off ({exc})") from exc
    if header != MULTISELECT_PROTOCOL_ID:
        raise MultiselectClientError(f"peer speaks no multistream-select (header={header[:64]!r})")
    if answer == first:
        return first
    if answer != PROTOCOL_NOT_FOUND_MSG:
        raise MultiselectClientError(f"peer answers another question (asked={first} answer={answer[:64]!r})")
    for protocol in others:
        try:
            return await client.try_select(communicator, protocol)
        except ProtocolNotSupportedError:
            continue
    raise MultiselectClientError(f"peer speaks none of these (protocols={list(protocols)})")


async def read_message(communicator: MultiselectCommunicator) -> str:
    """Read one message of the negotiation.

    Raises:
        MultiselectCommunicatorError: It is longer than any protocol id, no line of text, or breaks off.
    """
    try:
        size = await _read_length(communicator.read_writer)
        line = await _read_exactly(communicator.read_writer, size)
        text = line.decode()
    except (IOException, UnicodeDecodeError) as exc:
        raise MultiselectCommunicatorError(f"no message of a negotiation ({exc})") from exc
    if not text.endswith("\n"):
        raise MultiselectCommunicatorError(f"message does not end its line (length={size} bytes)")
    return text[:-1]


async def _read_length(reader: Reader) -> int:
    low = (await _read_exactly(reader, 1))[0]
    if low < 0x80:
        return low
    high = (await _read_exactly(reader, 1))[0]
    if high >= 0x80:
        raise MultiselectCommunicatorError(f"message is too long (limit={MESSAGE_MAX_BYTES} bytes)")
    return high << 7 | low & 0x7F


async def _read_exactly(reader: Reader, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = await reader.read(size - len(data))
        if not piece:
            raise MultiselectCommunicatorError("peer closed in the middle of a negotiation")
        data += piece
    return data


def negotiate_with_first_bytes(stream: NetStream, protocol: TProtocol) -> None:
    """Let the negotiation of a stream that was just opened travel with whatever is written first.

    Only for a protocol that the peer is known to speak: a refusal shows late, as a reset at the
    first read, and what was written until then is lost.
    """
    muxed = stream.muxed_stream
    assert isinstance(muxed, MuxedStream), "negotiation without a round trip needs our own muxer"
    muxed.greet(encode_delim(MULTISELECT_PROTOCOL_ID.encode()) + encode_delim(protocol.encode()))
    stream.set_protocol(protocol)
