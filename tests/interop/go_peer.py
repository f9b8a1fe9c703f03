"""go-libp2p's daemon in a process of its own, told what to do over a Unix socket.

A connection to the control socket carries one request; the one that opens a stream then is
that stream. For a stream of a peer's making the daemon connects to a socket of ours, and says
first whose stream it is.

Spec: go-libp2p-daemon, specs/CONTROL.md and pb/p2pd.proto. The daemon comes from the wheel of
hivemind (go/fetch.py), whose control protocol has the same messages as far as they stand here.
"""

import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import trio
from multiaddr import Multiaddr

from cocoon_p2p.identity import PeerId, parse_peer_id

DAEMON = Path(__file__).parent / "go" / ".cache" / "p2pd"
ANSWER_SECONDS = 60.0
PIECE_BYTES = 1 << 18

UNIX_CODE = 400
"`/unix` in a multiaddr's bytes."

CONNECT, STREAM_OPEN, STREAM_HANDLER, DHT, LIST_PEERS, DISCONNECT = 1, 2, 3, 4, 5, 7
"Request.type"

Fields = dict[int, list[bytes | int]]
"A message: what stands under each number, in order."

Handler = Callable[[trio.SocketStream], Awaitable[object]]


def missing() -> str:
    """Say what the peer lacks here; nothing if it lacks nothing."""
    return "" if DAEMON.exists() else "go-libp2p's daemon is not fetched: make interop-peer"


class DaemonFailed(Exception):
    """What the daemon was told went wrong; the text is its own."""


class GoPeer:
    """The daemon while it runs."""

    def __init__(self, place: Path, peer: PeerId, addresses: Sequence[str]) -> None:
        self._control = place / "control"
        self._handled = place / "handled"
        self._handlers: dict[bytes, Handler] = {}
        self.peer = peer
        self.addresses = addresses

    async def connect(self, peer: PeerId, addresses: Sequence[str]) -> None:
        """Dial a peer."""
        wanted = [(1, peer), *((2, _bytes_of(address)) for address in addresses)]
        await self._ask(CONNECT, (2, _encode(wanted)))

    async def disconnect(self, peer: PeerId) -> None:
        """Close its connections to a peer."""
        await self._ask(DISCONNECT, (7, _encode([(1, peer)])))

    async def connected(self) -> list[PeerId]:
        """List who it has connections to."""
        answer = await self._ask(LIST_PEERS)
        return [PeerId(_only(_decode(_blob(each)), 1)) for each in answer.get(6, [])]

    async def open_stream(self, peer: PeerId, protocol: str) -> trio.SocketStream:
        """Open a stream to a peer. Closing the socket's sending side closes the stream's."""
        request = _encode([(1, peer), (2, protocol.encode())])
        socket, _ = await self._request(STREAM_OPEN, (3, request))
        return socket

    async def handle(self, protocol: str, handler: Handler) -> None:
        """Let peers open streams of this protocol."""
        self._handlers[protocol.encode()] = handler
        path = str(self._handled).encode()
        # py-multiaddr drops the path's first slash where Go wants it.
        address = _varint(UNIX_CODE) + _varint(len(path)) + path
        wanted = _encode([(1, address), (2, protocol.encode()), (3, 0)])
        await self._ask(STREAM_HANDLER, (4, wanted))

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the handlers of streams that peers open, until it is cancelled."""
        with trio.socket.socket(trio.socket.AF_UNIX) as listening:
            await listening.bind(str(self._handled))
            listening.listen(512)
            task_status.started()
            async with trio.open_nursery() as nursery:
                while True:
                    accepted, _ = await listening.accept()
                    nursery.start_soon(self._handle_one, trio.SocketStream(accepted))

    async def _handle_one(self, socket: trio.SocketStream) -> None:
        async with aclosing(socket):
            info = await _receive(socket)
            try:
                await self._handlers[_only(info, 3)](socket)
            except trio.BrokenResourceError:
                # Whoever opened the stream reset it.
                return

    async def _ask(self, kind: int, *fields: tuple[int, bytes]) -> Fields:
        socket, answer = await self._request(kind, *fields)
        await socket.aclose()
        return answer

    async def _request(self, kind: int, *fields: tuple[int, bytes]) -> tuple[trio.SocketStream, Fields]:
        socket = trio.SocketStream(trio.socket.socket(trio.socket.AF_UNIX))
        try:
            with trio.fail_after(ANSWER_SECONDS):
                await socket.socket.connect(str(self._control))
                message = _encode([(1, kind), *fields])
                await socket.send_all(_varint(len(message)) + message)
                answer = await _receive(socket)
            if answer[1] != [0]:
                raise DaemonFailed(_only(_decode(_only(answer, 2)), 1).decode())
        except BaseException:
            await trio.aclose_forcefully(socket)
            raise
        return socket, answer


@asynccontextmanager
async def go_peer(security: str = "noise", *arguments: str) -> AsyncIterator[GoPeer]:
    """A daemon that listens on loopback, until the block ends.

    Args:
        security: The one that it offers, `noise` or `tls`.
        arguments: More of the daemon's own.
    """
    options = [f"-{each}={str(each == security).lower()}" for each in ("noise", "tls")]
    # A Unix socket's path may have some hundred bytes, which pytest's own folders come close to.
    with tempfile.TemporaryDirectory(prefix="go-") as folder:
        place = Path(folder)
        listen = ["-listen", f"/unix{place / 'control'}", "-hostAddrs", "/ip4/127.0.0.1/tcp/0"]
        process = await trio.lowlevel.open_process(
            [str(DAEMON), *listen, *options, *arguments], stdout=subprocess.PIPE
        )
        try:
            go = GoPeer(place, *await _introduced(process))
            async with trio.open_nursery() as nursery:
                await nursery.start(go.serve)
                yield go
                nursery.cancel_scope.cancel()
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def _introduced(process: trio.Process) -> tuple[PeerId, list[str]]:
    # "Control socket: /unix/...", "Peer ID: 12D3...", "Peer Addrs:", and a line for each address.
    assert process.stdout is not None
    text = b""
    with trio.fail_after(ANSWER_SECONDS):
        while b"/tcp/" not in text.partition(b"Peer Addrs:")[2] or not text.endswith(b"\n"):
            said = await process.stdout.receive_some(4096)
            assert said, "the daemon ended"
            text += said
    before, _, after = text.decode().partition("Peer Addrs:")
    peer = before.partition("Peer ID: ")[2].strip()
    return parse_peer_id(peer), [f"{line}/p2p/{peer}" for line in after.split()]


async def read_all(socket: trio.SocketStream) -> bytes:
    """Read to the end."""
    parts = [part async for part in socket]
    return b"".join(parts)


def _bytes_of(address: str) -> bytes:
    return Multiaddr(address.rpartition("/p2p/")[0]).to_bytes()


async def _receive(socket: trio.SocketStream) -> Fields:
    size = shift = 0
    while True:
        byte = (await _exactly(socket, 1))[0]
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return _decode(await _exactly(socket, size))


async def _exactly(socket: trio.SocketStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = await socket.receive_some(size - len(data))
        assert part, "the daemon broke off"
        data += part
    return data


def _encode(fields: Sequence[tuple[int, bytes | int]]) -> bytes:
    """Spell a protobuf message of numbers and bytes."""
    message = b""
    for number, value in fields:
        if isinstance(value, int):
            message += _varint(number << 3) + _varint(value)
        else:
            message += _varint(number << 3 | 2) + _varint(len(value)) + value
    return message


def _decode(message: bytes) -> Fields:
    fields: Fields = {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = varint()
        value = varint()
        blob = message[at : at + value] if tag & 7 else None
        at += len(blob or b"")
        fields.setdefault(tag >> 3, []).append(value if blob is None else blob)
    return fields


def _varint(value: int) -> bytes:
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*written, value))


def _blob(value: bytes | int) -> bytes:
    assert isinstance(value, bytes)
    return value


def _only(fields: Fields, number: int) -> bytes:
    (value,) = fields[number]
    return _blob(value)
