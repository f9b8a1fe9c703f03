"""A node of ours, a js-libp2p peer in a process of its own, and what each asks of the other.

What the peer can be told stands in peer/peer.mjs; how it is set up, in peer/libp2p.mjs.
"""

import hashlib
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from cocoon_p2p.identity import Identity, PeerId
from cocoon_p2p.network.libp2p.host import Libp2pTransport, open_transport
from cocoon_p2p.network.libp2p.kad import KadDirectory, open_directory
from cocoon_p2p.network.transport import Stream

PEER = Path(__file__).parent / "peer"
NODE_MIN_MAJOR = 20

ECHO = "/interop/echo/1"
SINK = "/interop/sink/1"
SOURCE = "/interop/source/1"

US = Identity.from_seed(b"\x21" * 32)
NETWORK = "interop"
BLOCK_BYTES = 1 << 18
MEGABYTES = int(os.environ.get("COCOON_INTEROP_MEGABYTES", "100"))
"What crosses in each direction."

ANSWER_SECONDS = 60.0
"A peer that has not answered after this long never will."


def missing() -> str:
    """Say what the peer lacks here; nothing if it lacks nothing."""
    node = shutil.which("node")
    if node is None:
        return f"there is no Node; install Node {NODE_MIN_MAJOR} or later with npm, then: make interop-peer"
    version = subprocess.run(
        [node, "--version"], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    if int(version.removeprefix("v").partition(".")[0]) < NODE_MIN_MAJOR:
        return f"Node {version.strip()} is too old for js-libp2p; install {NODE_MIN_MAJOR} or later"
    if not (PEER / "node_modules" / "libp2p" / "package.json").exists():
        return "js-libp2p is not fetched: make interop-peer"
    return ""


class PeerFailed(Exception):
    """What the peer was told went wrong at its end; the text is its own."""


class JsPeer:
    """The peer's process. Several commands may be under way at once."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._ids = itertools.count()
        self._waiting: dict[int, trio.MemorySendChannel[dict[str, Any]]] = {}
        self.peer = ""
        self.addresses: list[str] = []

    async def tell(self, do: str, **command: object) -> dict[str, Any]:
        """Have it do something, and give what it answers."""
        assert self._process.stdin is not None
        number = next(self._ids)
        send, receive = trio.open_memory_channel[dict[str, Any]](1)
        self._waiting[number] = send
        line = json.dumps({"id": number, "do": do, **command}) + "\n"
        await self._process.stdin.send_all(line.encode())
        with trio.fail_after(ANSWER_SECONDS):
            answer = await receive.receive()
        if "failed" in answer:
            raise PeerFailed(answer["failed"])
        gave: dict[str, Any] = answer["gave"]
        return gave

    async def listen_to_it(self) -> None:
        """Hand its answers out, until its process ends."""
        assert self._process.stdout is not None
        rest = b""
        async for data in self._process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                answer = json.loads(line)
                self._waiting.pop(answer["id"]).send_nowait(answer)


@asynccontextmanager
async def js_peer(security: str = "noise", **options: object) -> AsyncIterator[JsPeer]:
    """A peer that listens on loopback, until the block ends; `options` are more of what `start` takes."""
    process = await trio.lowlevel.open_process(
        ["node", str(PEER / "peer.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    peer = JsPeer(process)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.listen_to_it)
            started = await peer.tell("start", security=security, network=NETWORK, **options)
            peer.peer, peer.addresses = started["peer"], started["addresses"]
            yield peer
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


@asynccontextmanager
async def our_node() -> AsyncIterator[Libp2pTransport]:
    """A node of ours that listens on loopback and serves the three protocols."""
    async with open_transport(US, listen=["/ip4/127.0.0.1/tcp/0"]) as transport:
        for protocol, acceptor in ((ECHO, _echo), (SINK, _sink), (SOURCE, _source)):
            transport.accept_streams(protocol, acceptor)
        yield transport


@asynccontextmanager
async def our_server(bootstrap: tuple[str, ...] = ()) -> AsyncIterator[tuple[Libp2pTransport, KadDirectory]]:
    """A node of ours that also serves the DHT."""
    async with (
        our_node() as transport,
        open_directory(transport, network_name=NETWORK, mode="server", bootstrap=bootstrap) as directory,
    ):
        yield transport, directory


def streams_of(node: Libp2pTransport, peer: PeerId) -> int:
    """Count the streams that stand between a node and a peer."""
    return sum(len(conn.get_streams()) for conn in node.swarm.open_connections(peer))


async def pour(stream: Stream, size: int) -> str:
    """Send `size` random bytes and close; give their hash."""
    seen, block = hashlib.sha256(), bytearray(os.urandom(BLOCK_BYTES))
    for left in range(size, 0, -BLOCK_BYTES):
        block[:8] = left.to_bytes(8, "big")
        piece = bytes(block[: min(left, BLOCK_BYTES)])
        seen.update(piece)
        await stream.write(piece)
    await stream.close_write()
    return seen.hexdigest()


async def drink(stream: Stream) -> dict[str, object]:
    """Read to the end; give how much it was, and its hash."""
    seen, size = hashlib.sha256(), 0
    while data := await stream.read(BLOCK_BYTES):
        seen.update(data)
        size += len(data)
    return {"size": size, "hash": seen.hexdigest()}


async def read_all(stream: Stream) -> bytes:
    """Read to the end."""
    data = b""
    while piece := await stream.read(65536):
        data += piece
    return data


async def _echo(stream: Stream) -> None:
    while data := await stream.read(65536):
        await stream.write(data)
    await stream.close_write()


async def _sink(stream: Stream) -> None:
    await stream.write(json.dumps(await drink(stream)).encode())
    await stream.close_write()


async def _source(stream: Stream) -> None:
    await pour(stream, int(await stream.read(16)))
