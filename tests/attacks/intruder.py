"""How far a peer that means harm gets by the rules: to a socket, a secured one, a muxed one, a stream.

From there on it writes what it likes. Each connection may come from an address range of its own:
all of 127.0.0.0/8 is this machine.
"""

import itertools
import os
from dataclasses import dataclass, field

import trio
from libp2p.abc import ISecureConn
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID

from cocoon_p2p.identity import PeerId
from cocoon_p2p.network.libp2p import patches
from cocoon_p2p.network.libp2p.addresses import parse_peer_address
from cocoon_p2p.network.libp2p.security import security_options
from cocoon_p2p.network.libp2p.yamux_frames import DATA, RST, SYN, WINDOW_UPDATE, encode

HEADER = "/multistream/1.0.0"
NOISE = "/noise"
YAMUX = "/yamux/1.0.0"


def line(text: str) -> bytes:
    """Spell a message of a negotiation."""
    data = text.encode() + b"\n"
    assert len(data) < 128
    return bytes([len(data)]) + data


@dataclass
class Muxed:
    """A connection on which any yamux frame can be sent."""

    conn: ISecureConn
    peer: ID
    ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1, 2))

    async def send(self, data: bytes) -> None:
        await self.conn.write(data)

    async def open(self, protocol: str, payload: bytes = b"") -> int:
        """Open a stream of a protocol and send `payload` on it, without waiting for any answer."""
        number = next(self.ids)
        data = line(HEADER) + line(protocol) + payload
        await self.send(encode(DATA, SYN, number, len(data)) + data)
        return number

    async def say(self, number: int, data: bytes) -> None:
        await self.send(encode(DATA, 0, number, len(data)) + data)

    async def reset(self, number: int) -> None:
        await self.send(encode(WINDOW_UPDATE, RST, number, 0))


class Intruder:
    """Somebody who connects to one node."""

    def __init__(self, address: str) -> None:
        patches.install()
        place, self.target = parse_peer_address(address)
        self._where = (place.host, place.port)
        self.keys = create_new_key_pair(os.urandom(32))

    def as_another(self) -> "Intruder":
        """The same with a new key."""
        other = object.__new__(Intruder)
        other.target, other._where = self.target, self._where
        other.keys = create_new_key_pair(os.urandom(32))
        return other

    async def socket(self, range_number: int = 0) -> trio.SocketStream:
        """Connect, from the numbered address range."""
        sock = trio.socket.socket()
        try:
            await sock.bind((f"127.{1 + range_number // 250}.{range_number % 250}.1", 0))
            await sock.connect(self._where)
        except BaseException:
            sock.close()
            raise
        return trio.SocketStream(sock)

    async def negotiated(self, range_number: int = 0) -> trio.SocketStream:
        """Connect and agree on Noise."""
        stream = await self.socket(range_number)
        await stream.send_all(line(HEADER) + line(NOISE))
        await _read_exactly(stream, len(line(HEADER) + line(NOISE)))
        return stream

    async def secured(self, range_number: int = 0) -> ISecureConn:
        """Connect and prove a key."""
        raw = RawConnection(TrioTCPStream(await self.negotiated(range_number)), True)
        noise = security_options(self.keys)[TProtocol(NOISE)]
        return await noise.secure_outbound(raw, ID(PeerId(self.target)))

    async def muxed(self, range_number: int = 0) -> Muxed:
        """Connect and agree on yamux. Nothing that the node sends from now on is read."""
        conn = await self.secured(range_number)
        await conn.write(line(HEADER) + line(YAMUX))
        heard = b""
        while len(heard) < len(line(HEADER) + line(YAMUX)):
            heard += await conn.read(len(line(HEADER) + line(YAMUX)) - len(heard))
        return Muxed(conn, ID.from_pubkey(self.keys.public_key))


async def _read_exactly(stream: trio.SocketStream, size: int) -> None:
    while size:
        data = await stream.receive_some(size)
        if not data:
            raise trio.BrokenResourceError("the node hung up")
        size -= len(data)
