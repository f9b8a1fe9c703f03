"""Each fault of py-libp2p 0.8.1 as upstream ships it, and the same once it is mended."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib import metadata
from typing import Any, cast

import pytest
import trio
import trio.testing
from cryptography import x509
from libp2p import new_host
from libp2p.abc import IHost, IMultiselectCommunicator, ISecureConn
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.io.abc import ReadWriteCloser
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.protocol_muxer.exceptions import MultiselectCommunicatorError
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.security.tls import certificate
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import Yamux
from multiaddr import Multiaddr

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.network.libp2p import patches
from cocoon_p2p.network.libp2p.muxed_stream import MuxedStream
from cocoon_p2p.network.libp2p.muxer import MuxedConnection, muxer_options
from cocoon_p2p.network.libp2p.security import security_options

KEYS = create_new_key_pair()
WANTED = TProtocol("/test/1")


@pytest.fixture
def upstream() -> Iterator[None]:
    """py-libp2p as it ships, for one test."""
    patches.uninstall()
    yield
    patches.install()


@pytest.fixture
def mended() -> None:
    patches.install()


# --- Putting in place and giving back.


def test_installing_twice_mends_once(upstream: None) -> None:
    patches.install()
    once = (MuxerMultistream.new_conn, MultiselectClient.select_one_of)

    patches.install()

    assert (MuxerMultistream.new_conn, MultiselectClient.select_one_of) == once


def test_uninstalling_gives_upstream_back(upstream: None) -> None:
    before = (MuxerMultistream.new_conn, certificate.add_libp2p_extension, NetStream.read)

    patches.install()
    assert before != (MuxerMultistream.new_conn, certificate.add_libp2p_extension, NetStream.read)
    patches.uninstall()

    assert before == (MuxerMultistream.new_conn, certificate.add_libp2p_extension, NetStream.read)


def test_another_release_of_libp2p_is_not_mended_blindly(
    upstream: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patches, "version", lambda name: "0.9.0")

    with pytest.raises(ConfigurationError, match=r"found=0\.9\.0 mended=0\.8\.1"):
        patches.install()


def test_the_release_that_is_installed_is_the_one_that_is_mended() -> None:
    assert metadata.version("libp2p") == patches.LIBP2P_VERSION


# --- The registered muxer.


class Agreed:
    """A selector whose peer speaks our yamux."""

    async def select(self, *_: object) -> tuple[TProtocol, type[MuxedConnection]]:
        return TProtocol("/yamux/1.0.0"), MuxedConnection


class Secured:
    is_initiator = True


async def muxer_of(options: Any) -> object:
    multistream = MuxerMultistream(options)
    multistream._selector = cast("Any", Agreed())
    return await multistream.new_conn(cast("ISecureConn", Secured()), ID.from_pubkey(KEYS.public_key))


async def test_upstream_ignores_the_muxer_it_was_given(upstream: None) -> None:
    assert type(await muxer_of(muxer_options())) is Yamux


async def test_the_registered_muxer_is_used(mended: None) -> None:
    assert type(await muxer_of(muxer_options())) is MuxedConnection


# --- The order of a certificate's extensions.


def extensions() -> list[str]:
    pem, _ = certificate.generate_certificate(KEYS.private_key, certificate.create_cert_template())
    parsed = x509.load_pem_x509_certificate(pem.encode())
    certificate.verify_certificate_chain([parsed])
    return [extension.oid.dotted_string for extension in parsed.extensions]


def test_upstream_writes_the_libp2p_extension_last(upstream: None) -> None:
    assert extensions().index("1.3.6.1.4.1.53594.1.1") == 2


def test_the_libp2p_extension_comes_first(mended: None) -> None:
    assert extensions() == ["1.3.6.1.4.1.53594.1.1", "2.5.29.19", "2.5.29.15"]


# --- Round trips of a negotiation.


class Scripted(IMultiselectCommunicator):
    """A peer that agrees, and the order in which it was written to and waited for."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self._answers = iter(["/multistream/1.0.0", WANTED])

    async def write(self, msg_str: str) -> None:
        self.order.append("write")

    async def read(self) -> str:
        self.order.append("read")
        return next(self._answers)


async def negotiated() -> list[str]:
    peer = Scripted()
    assert await MultiselectClient().select_one_of([WANTED], peer) == WANTED
    return peer.order


async def test_upstream_negotiates_in_two_round_trips(upstream: None) -> None:
    assert await negotiated() == ["write", "read", "write", "read"]


async def test_one_round_trip_is_enough(mended: None) -> None:
    assert await negotiated() == ["write", "write", "read", "read"]


# --- Messages of a negotiation that are none.


class Endless(ReadWriteCloser):
    """A peer whose message is said to have a terabyte, and who goes on sending."""

    def __init__(self) -> None:
        self._length = iter([b"\x80", b"\x80", b"\x80", b"\x80", b"\x80", b"\x20"])
        self.sent_bytes = 0

    async def read(self, n: int | None = None) -> bytes:
        data = next(self._length, b"x" * 65536)
        self.sent_bytes += len(data)
        return data

    async def write(self, data: bytes) -> None: ...
    async def close(self) -> None: ...
    def get_remote_address(self) -> None: ...


async def test_upstream_collects_a_message_of_any_length(upstream: None) -> None:
    peer = Endless()

    with pytest.raises(MultiselectCommunicatorError):
        await MultiselectCommunicator(peer).read()

    assert peer.sent_bytes > 6_000_000


async def test_a_message_that_is_too_long_is_not_read(mended: None) -> None:
    peer = Endless()

    with pytest.raises(MultiselectCommunicatorError, match="too long"):
        await MultiselectCommunicator(peer).read()

    assert peer.sent_bytes == 2


class NoText(Endless):
    """A peer whose message is no UTF-8."""

    def __init__(self) -> None:
        self._bytes = iter([b"\x03", b"\xff\xff\n"])

    async def read(self, n: int | None = None) -> bytes:
        return next(self._bytes)


async def test_upstream_raises_what_it_does_not_catch_for_a_byte_that_is_no_text(upstream: None) -> None:
    with pytest.raises(UnicodeDecodeError):  # It ends the handler, the swarm and so the node.
        await MultiselectCommunicator(NoText()).read()


async def test_a_byte_that_is_no_text_is_an_error_of_the_negotiation(mended: None) -> None:
    with pytest.raises(MultiselectCommunicatorError, match="utf-8"):
        await MultiselectCommunicator(NoText()).read()


@asynccontextmanager
async def two_hosts() -> AsyncIterator[tuple[IHost, IHost]]:
    hosts = []
    address = Multiaddr("/ip4/127.0.0.1/tcp/0")
    for _ in range(2):
        keys = create_new_key_pair()
        hosts.append(
            new_host(
                key_pair=keys,
                sec_opt=security_options(keys),
                muxer_opt=muxer_options(),
                listen_addrs=[address],
            )
        )
    one, other = hosts
    with trio.fail_after(20):
        async with other.run(listen_addrs=[address]), one.run(listen_addrs=[address]):
            await one.connect(PeerInfo(other.get_id(), other.get_addrs()))
            yield one, other


async def greet_in_another_alphabet(one: IHost, other: IHost) -> None:
    stream = await one.get_network().new_stream(other.get_id())
    await stream.write(b"\x03\xff\xff\n")
    await trio.testing.wait_all_tasks_blocked(cushion=0.05)


@pytest.mark.slow
async def test_a_byte_that_is_no_text_costs_its_stream_only(mended: None) -> None:
    async with two_hosts() as (one, other):
        await greet_in_another_alphabet(one, other)

        assert one.get_id() in other.get_network().connections


# --- Locks.


class Buffered(MuxedStream):
    """A stream of ours that takes and gives without ever waiting."""

    def __init__(self) -> None:
        self.muxed_conn = cast("Any", None)

    async def read(self, n: int | None = None) -> bytes:
        return b"x"

    async def write(self, data: bytes) -> None: ...


async def switches_in_a_hundred_calls() -> int:
    """How often other tasks got a turn during 50 reads and 50 writes."""
    stream = NetStream(Buffered(), None, None)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await trio.lowlevel.checkpoint()
        turns = 0
        for _ in range(50):
            await stream.write(b"x")
            await stream.read(1)
        switches = turns
        nursery.cancel_scope.cancel()
    return switches


async def test_upstream_switches_tasks_at_each_small_read_and_write(upstream: None) -> None:
    assert await switches_in_a_hundred_calls() >= 90


async def test_reads_and_writes_that_need_not_wait_switch_no_tasks(mended: None) -> None:
    assert await switches_in_a_hundred_calls() == 0


# --- Whose log it is.


class Multiplexed:
    """What a connection needs of its muxer to come into being."""

    peer_id = ID.from_pubkey(KEYS.public_key)
    on_close: object = None
    is_initiator = True


def handlers_after_a_connection(monkeypatch: pytest.MonkeyPatch) -> list[logging.Handler]:
    """Make a connection where nobody has configured logging; give what the root logger has then."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    SwarmConn(cast("Any", Multiplexed()), cast("Any", object()))
    return logging.getLogger().handlers


def test_upstream_configures_the_application_s_log(upstream: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert handlers_after_a_connection(monkeypatch)


def test_a_connection_leaves_the_root_logger_alone(mended: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not handlers_after_a_connection(monkeypatch)
