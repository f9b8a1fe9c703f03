"""Batches of records over Noise and TLS: many a socket call, cut anywhere, and as upstream has them."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from libp2p.abc import IRawConnection
from libp2p.connection_types import ConnectionType
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.peer.id import ID
from libp2p.security.secure_session import SecureSession

from cocoon_p2p.errors import RemoteProtocolError, Unavailable
from cocoon_p2p.network.libp2p.secured_io import NoiseIO, PlainIO, SecuredIO, TlsIO, raw_below, secured_io
from cocoon_p2p.network.libp2p.security import security_options
from cocoon_p2p.network.libp2p.wire import Wire

SECURED_BY = ["/noise", "/tls/1.0.0"]
PAYLOAD = bytes(n * n % 251 for n in range(1 << 16)) * 3
Wrap = Callable[[SecureSession], SecuredIO]


class Cable(IRawConnection):
    """A raw connection in memory, that counts its calls and may give out little at a time."""

    def __init__(self, stream: trio.StapledStream[Any, Any], *, is_initiator: bool) -> None:
        self.stream = stream
        self.is_initiator = is_initiator
        self.writes = 0
        self.read_max_bytes: int | None = None

    async def read(self, n: int | None = None) -> bytes:
        limits = [limit for limit in (n, self.read_max_bytes) if limit is not None]
        return bytes(await self.stream.receive_some(min(limits, default=None)))

    async def write(self, data: bytes) -> None:
        self.writes += 1
        await self.stream.send_all(data)

    async def close(self) -> None:
        await self.stream.aclose()

    def get_remote_address(self) -> tuple[str, int] | None:
        return None

    def get_transport_addresses(self) -> list[Any]:
        return []

    def get_connection_type(self) -> ConnectionType:
        return ConnectionType.DIRECT


async def secured(secured_by: str) -> tuple[Cable, SecureSession, Cable, SecureSession]:
    """Both ends of a connection after the handshake, each with the cable below it."""
    one_end, other_end = trio.testing.memory_stream_pair()
    one_cable, other_cable = Cable(one_end, is_initiator=True), Cable(other_end, is_initiator=False)
    one_keys, other_keys = create_new_key_pair(), create_new_key_pair()
    sessions: dict[str, Any] = {}

    async def dial() -> None:
        transport = security_options(one_keys)[TProtocol(secured_by)]
        peer = ID.from_pubkey(other_keys.public_key)
        sessions["one"] = await transport.secure_outbound(one_cable, peer)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        transport = security_options(other_keys)[TProtocol(secured_by)]
        sessions["other"] = await transport.secure_inbound(other_cable)
    one_cable.writes = other_cable.writes = 0
    return one_cable, sessions["one"], other_cable, sessions["other"]


@pytest.mark.parametrize("secured_by", SECURED_BY)
async def test_small_records_are_opened_by_turns(secured_by: str) -> None:
    cable, near, _, far = await secured(secured_by)
    sender, receiver = secured_io(near), secured_io(far)
    stream, together = cable.stream, bytearray()
    cable.stream = _Collecting(together)  # type: ignore[assignment]  # it only sends
    for number in range(1000):
        await sender.write(bytearray([number % 251]))
    await stream.send_all(bytes(together))

    pieces, turns_of_others = list[bytes](), 0

    async def look_on() -> None:
        nonlocal turns_of_others
        while True:
            await trio.lowlevel.checkpoint()
            turns_of_others += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look_on)
        while sum(map(len, pieces)) < 1000:
            pieces.append(await receiver.read())
        nursery.cancel_scope.cancel()

    assert b"".join(pieces) == bytes(number % 251 for number in range(1000))
    assert max(map(len, pieces)) <= 64
    assert turns_of_others >= 5


class _Collecting:
    """A wire on which bytes wait until they are sent together."""

    def __init__(self, waiting: bytearray) -> None:
        self._waiting = waiting

    async def send_all(self, data: bytes) -> None:
        self._waiting += data


async def read_exactly(io: SecuredIO, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = await io.read()
        assert piece, "closed too early"
        data += piece
    return data


@pytest.mark.parametrize(("secured_by", "kind"), [("/noise", NoiseIO), ("/tls/1.0.0", TlsIO)])
async def test_a_batch_is_one_write_to_the_socket(secured_by: str, kind: type) -> None:
    cable, session, _, other_session = await secured(secured_by)
    io, other = secured_io(session), secured_io(other_session)
    assert type(io) is kind
    batch = bytearray(PAYLOAD[: io.batch_size_bytes])

    await io.write(batch)

    assert cable.writes == 1
    assert await read_exactly(other, len(batch)) == batch


@pytest.mark.parametrize("secured_by", SECURED_BY)
@pytest.mark.parametrize("read_max_bytes", [1, 2, 3, 1000, 70_000])
async def test_records_are_the_same_however_the_socket_cuts_them(
    secured_by: str, read_max_bytes: int
) -> None:
    _, session, other_cable, other_session = await secured(secured_by)
    other_cable.read_max_bytes = read_max_bytes
    io, other = secured_io(session), secured_io(other_session)
    payload = PAYLOAD[: 2000 if read_max_bytes < 1000 else 150_000]

    await io.write(bytearray(payload))
    await io.write(bytearray(b"the end"))

    assert await read_exactly(other, len(payload) + 7) == payload + b"the end"


@pytest.mark.parametrize("secured_by", SECURED_BY)
@pytest.mark.parametrize(("wrap_sender", "wrap_reader"), [(secured_io, PlainIO), (PlainIO, secured_io)])
async def test_upstream_reads_what_we_write_and_we_what_it_writes(
    secured_by: str, wrap_sender: Wrap, wrap_reader: Wrap
) -> None:
    _, session, _, other_session = await secured(secured_by)
    sender, reader = wrap_sender(session), wrap_reader(other_session)

    await sender.write(bytearray(PAYLOAD[:100_000]))

    assert await read_exactly(reader, 100_000) == PAYLOAD[:100_000]


@pytest.mark.parametrize("secured_by", SECURED_BY)
async def test_frames_that_came_with_the_negotiation_are_not_lost(secured_by: str) -> None:
    _, session, _, other_session = await secured(secured_by)
    await session.write(b"negotiationfirst frames")
    assert await other_session.read(11) == b"negotiation"

    io = secured_io(other_session)

    with trio.fail_after(30):
        assert await io.read() == b"first frames"
        await session.write(b"more")
        assert await io.read() == b"more"


@pytest.mark.parametrize("secured_by", SECURED_BY)
async def test_a_peer_that_hung_up_is_the_end_for_a_reader_and_a_loss_for_a_writer(secured_by: str) -> None:
    cable, _, _, session = await secured(secured_by)
    io = secured_io(session)
    await cable.close()

    assert await io.read() == b""
    with pytest.raises(Unavailable, match="connection lost"):
        await io.write(bytearray(b"x"))


@pytest.mark.parametrize("secured_by", SECURED_BY)
async def test_through_the_public_interface_it_is_a_loss_for_either(secured_by: str) -> None:
    cable, _, _, session = await secured(secured_by)
    io = PlainIO(session)
    await cable.close()

    with pytest.raises(Unavailable, match="connection lost"):
        await io.read()
    with pytest.raises(Unavailable, match="connection lost"):
        await io.write(bytearray(b"x"))


@pytest.mark.parametrize("secured_by", SECURED_BY)
async def test_what_the_layers_below_raise_is_a_lost_connection(
    secured_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cable, session, _, _ = await secured(secured_by)
    io = secured_io(session)

    async def fail(_: object) -> bytes:
        raise ConnectionClosedError("reset by peer")

    monkeypatch.setattr(cable, "read", fail)
    monkeypatch.setattr(cable, "write", fail)

    with pytest.raises(Unavailable, match="reset by peer"):
        await io.read()
    with pytest.raises(Unavailable, match="reset by peer"):
        await io.write(bytearray(b"x"))


@pytest.mark.parametrize("secured_by", SECURED_BY)
async def test_a_record_that_was_changed_on_its_way_is_the_peers_fault(secured_by: str) -> None:
    cable, session, _, other_session = await secured(secured_by)
    taken = bytearray()

    class Tap(Cable):
        async def write(self, data: bytes) -> None:
            taken.extend(data)

    tap = Tap(cable.stream, is_initiator=True)
    io = secured_io(session)
    assert isinstance(io, NoiseIO | TlsIO)
    io._wire = Wire(tap)
    await io.write(bytearray(b"a promise"))
    taken[-1] ^= 1

    await cable.write(bytes(taken))

    with pytest.raises(RemoteProtocolError, match="does not decrypt"):
        await secured_io(other_session).read()


async def test_tls_sends_what_a_read_makes_it_owe() -> None:
    cable, session, _, other_session = await secured("/tls/1.0.0")
    io = secured_io(session)
    assert isinstance(io, TlsIO)
    io._outgoing.write(b"the answer to a key update")
    await secured_io(other_session).write(bytearray(b"x"))

    assert await io.read() == b"x"

    assert cable.writes == 1


@pytest.mark.parametrize("secured_by", SECURED_BY)
async def test_what_a_connection_runs_over_is_known_however_it_is_secured(secured_by: str) -> None:
    cable, session, _, _ = await secured(secured_by)

    assert raw_below(session) is cable
    assert raw_below(session).get_connection_type() is ConnectionType.DIRECT
