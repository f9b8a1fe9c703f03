"""Asks others to dial us, and believes only what arrived: AutoNAT v2, the asker's side.

A server that says it reached us has to bring the nonce, on a connection that was made after we asked,
not by us and not through a relay: over the one on which it was asked it could say anything. That it did
not reach us can be said without proof, so what one server says decides nothing (`reachability`).

Spec: libp2p specs/autonat/autonat-v2.md.
"""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from libp2p.abc import IMuxedConn
from libp2p.custom_types import TProtocol

from cocoon_p2p.errors import RemoteProtocolError, Unavailable
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.network.libp2p.address_bytes import encode_address
from cocoon_p2p.network.libp2p.addresses import Address
from cocoon_p2p.network.libp2p.autonat_wire import (
    DATA_MAX_BYTES,
    DIAL_BACK,
    DIAL_BACK_TAKEN,
    DIAL_REQUEST,
    MESSAGE_MAX_BYTES,
    Data,
    DataWanted,
    DialRequest,
    DialResponse,
    DialStatus,
    ResponseStatus,
    decode_dial_back,
    encode,
    receive,
)
from cocoon_p2p.network.libp2p.delimited import read_delimited
from cocoon_p2p.network.libp2p.host import Libp2pTransport
from cocoon_p2p.network.libp2p.places import Places
from cocoon_p2p.network.libp2p.stream import Libp2pStream
from cocoon_p2p.network.transport import Stream

log = logging.getLogger(__name__)

ASK_SECONDS = 45.0
"How long one question may take: a server of ours dials for five seconds, and may have others to dial first."

DATA_WANTED_MAX_BYTES = 128 * 1024
"What we pay for a dial elsewhere. The specification has servers ask for up to 100 kB."

BACK_AT_ONCE_MAX = 16
BACK_SECONDS = 10.0
"Streams on which somebody brings a nonce, and how long each may take."


@dataclass(slots=True)
class _Asked:
    """A question under way."""

    before: frozenset[IMuxedConn]
    "The connections that stood when it was asked."

    has_arrived: bool = field(default=False)


class AutonatClient:
    """Asks, one question a call (see `open_autonat_client`)."""

    def __init__(self, transport: Libp2pTransport) -> None:
        self._transport = transport
        self._asked: dict[int, _Asked] = {}
        self._places = Places(in_all_max=BACK_AT_ONCE_MAX, per_peer_max=2, seconds=BACK_SECONDS)

    async def ask(self, server: PeerId, address: Address) -> bool | None:
        """Have a connected server dial us at an address. A cancel leaves nothing under way.

        Args:
            server: Who.
            address: Where: an IP address, since servers look no names up.

        Returns:
            Whether it reached us; None if it would not or could not say, or if it lies.
        """
        nonce = int.from_bytes(os.urandom(8))
        conns = self._transport.swarm.get_connections()
        asked = self._asked[nonce] = _Asked(frozenset(conn.muxed_conn for conn in conns))
        try:
            with trio.fail_after(ASK_SECONDS):
                response = await self._converse(server, DialRequest((encode_address(address),), nonce))
        except (Unavailable, RemoteProtocolError, trio.TooSlowError) as exc:
            log.debug("not dialled back", extra={"server": peer_id_text(server), "reason": str(exc)})
            return None
        finally:
            del self._asked[nonce]
        return _judge(response, asked.has_arrived)

    async def _converse(self, server: PeerId, request: DialRequest) -> DialResponse:
        stream = await self._transport.open_stream(server, DIAL_REQUEST)
        try:
            await stream.write(encode(request))
            answer = await receive(stream)
            if isinstance(answer, DataWanted):
                await _pay(stream, answer.size_bytes)
                answer = await receive(stream)
            if not isinstance(answer, DialResponse):
                raise RemoteProtocolError(f"{type(answer).__name__}: no answer to a request to dial")
            return answer
        finally:
            stream.reset()

    async def accept(self, stream: Stream) -> None:
        """Take a nonce that somebody brings. A cancel leaves the question as it was."""
        assert isinstance(stream, Libp2pStream), "our own transport's"
        with self._places.take(stream.peer):
            said = await read_delimited(stream, size_max_bytes=MESSAGE_MAX_BYTES)
            asked = self._asked.get(decode_dial_back(said))
            if asked is None or not _proves_a_dial(stream, asked):
                raise RemoteProtocolError(
                    "a nonce that we never gave, or over a connection that proves nothing"
                )
            asked.has_arrived = True
            await stream.write(DIAL_BACK_TAKEN)
            await stream.close_write()


def _proves_a_dial(stream: Libp2pStream, asked: _Asked) -> bool:
    """Say whether somebody made its connection for the question, and to us: not to a relay of ours, nor
    through a hole that we opened for it."""
    is_direct = bool(stream.remote_host) and not stream.is_punched
    return is_direct and not stream.connection.is_initiator and stream.connection not in asked.before


def _judge(response: DialResponse, has_arrived: bool) -> bool | None:
    if has_arrived:
        return True
    if response.status is ResponseStatus.OK and response.dial is DialStatus.DIAL_ERROR:
        return False
    # Refused, or too busy; or it says that it was here, and nobody was.
    return None


async def _pay(stream: Stream, size_bytes: int) -> None:
    if size_bytes > DATA_WANTED_MAX_BYTES:
        raise RemoteProtocolError(f"a dial costs too much (wanted={size_bytes} max={DATA_WANTED_MAX_BYTES})")
    for left in range(size_bytes, 0, -DATA_MAX_BYTES):
        await stream.write(encode(Data(min(left, DATA_MAX_BYTES))))


@asynccontextmanager
async def open_autonat_client(transport: Libp2pTransport) -> AsyncIterator[AutonatClient]:
    """Take nonces for as long as the block lasts."""
    client = AutonatClient(transport)
    transport.accept_streams(DIAL_BACK, client.accept)
    try:
        yield client
    finally:
        transport.host.remove_stream_handler(TProtocol(DIAL_BACK))
