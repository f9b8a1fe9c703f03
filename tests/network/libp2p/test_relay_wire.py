"""What is said to relays, by them, and over them: read with judgement."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libp2p.relay.circuit_v2.pb import circuit_pb2 as pb
from libp2p.relay.circuit_v2.pb.dcutr_pb2 import HolePunch

from cocoon_p2p.errors import MalformedMessage, RecordRejected
from cocoon_p2p.identity import Identity
from cocoon_p2p.network.libp2p.addresses import Address
from cocoon_p2p.network.libp2p.delimited import delimit, read_delimited
from cocoon_p2p.network.libp2p.hole_wire import (
    ADDRESSES_MAX,
    Observed,
    Sync,
    judge,
    observed,
    sync,
    worth_dialling,
)
from cocoon_p2p.network.libp2p.relay_wire import (
    Answer,
    Connect,
    Grant,
    Limit,
    Reserve,
    Status,
    check_voucher,
    connect,
    granted,
    hop_status,
    incoming,
    judge_hop,
    judge_stop,
    reserve,
    sign_voucher,
    stop_status,
)

RELAY, PEER, OTHER = (Identity.from_seed(bytes([number]) * 32) for number in (1, 2, 3))
PUBLIC = Address("ip4", "8.8.8.8", 4001)
HOME = Address("ip4", "192.168.1.2", 4001)
LOOPBACK = Address("ip4", "127.0.0.1", 4001)
NOWHERE = Address("ip4", "0.0.0.0", 4001)

limits = st.builds(Limit, st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
statuses = st.sampled_from(Status)


class Bytes:
    """A stream that ends after what it was made of."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    async def read(self, size_max_bytes: int) -> bytes:
        piece, self.rest = self.rest[:size_max_bytes], self.rest[size_max_bytes:]
        return piece


def body(message: bytes) -> bytes:
    """Take the length off a message that is shorter than 16 KiB."""
    return message[1:] if message[0] < 0x80 else message[2:]


# ------------------------------------------------------------------ hop and stop


@given(statuses, limits, st.integers(0, 2**64 - 1), st.binary(max_size=300))
def test_what_is_written_is_read(status: Status, limit: Limit, expires: int, voucher: bytes) -> None:
    assert judge_hop(body(reserve())) == Reserve()
    assert judge_hop(body(connect(PEER.peer_id))) == Connect(PEER.peer_id)
    assert judge_hop(body(hop_status(status))) == Answer(status)
    assert judge_hop(body(hop_status(status, limit))) == Answer(status, limit)
    grant = Grant(expires, voucher, limit)
    assert judge_hop(body(granted(expires, (), voucher, limit))) == Answer(Status.OK, limit, grant)
    assert judge_stop(body(incoming(PEER.peer_id, limit))) == Connect(PEER.peer_id, limit)
    assert judge_stop(body(stop_status(status))) == Answer(status)


@given(st.binary(max_size=200))
def test_bytes_of_strangers_are_a_message_or_malformed_and_nothing_else(raw: bytes) -> None:
    for read in (judge_hop, judge_stop, judge):
        with suppress(MalformedMessage):
            read(raw)


def test_a_peer_with_a_key_that_is_none_of_ours_is_nobody() -> None:
    for peer in (b"", b"\x12\x20" + bytes(32), bytes(5000)):
        with pytest.raises(MalformedMessage):
            judge_hop(pb.HopMessage(type=pb.HopMessage.CONNECT, peer=pb.PeerId(id=peer)).SerializeToString())
        with pytest.raises(MalformedMessage):
            judge_stop(
                pb.StopMessage(type=pb.StopMessage.CONNECT, peer=pb.PeerId(id=peer)).SerializeToString()
            )


def test_a_status_that_we_do_not_know_is_read_and_is_not_ok() -> None:
    raw = pb.HopMessage(type=pb.HopMessage.STATUS, status=pb.Status.ValueType(299)).SerializeToString()

    answer = judge_hop(raw)

    assert isinstance(answer, Answer)
    assert answer.status == 299


# ------------------------------------------------------------------ lengths


@given(st.binary(max_size=400), st.binary(max_size=10))
async def test_a_message_is_read_to_its_end_and_not_beyond(message: bytes, after: bytes) -> None:
    stream = Bytes(delimit(message) + after)

    assert await read_delimited(stream, size_max_bytes=400) == message  # type: ignore[arg-type]
    assert stream.rest == after


@pytest.mark.parametrize("raw", [b"", b"\x05abc", b"\x80", b"\x81\x20" + bytes(5000), b"\xff" * 10])
async def test_a_message_that_breaks_off_or_is_too_long_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedMessage):
        await read_delimited(Bytes(raw), size_max_bytes=4096)  # type: ignore[arg-type]


# ------------------------------------------------------------------ vouchers


def test_a_relay_s_voucher_holds_for_what_it_says_and_for_nothing_else() -> None:
    voucher = sign_voucher(RELAY, PEER.peer_id, 1_800_000_000)
    relay, peer, expires = RELAY.peer_id, PEER.peer_id, 1_800_000_000

    check_voucher(voucher, relay=relay, peer=peer, expires=expires)
    for wrong in (
        {"relay": OTHER.peer_id, "peer": peer, "expires": expires},
        {"relay": relay, "peer": OTHER.peer_id, "expires": expires},
        {"relay": relay, "peer": peer, "expires": expires + 1},
    ):
        with pytest.raises(RecordRejected):
            check_voucher(voucher, **wrong)  # type: ignore[arg-type]


@given(st.data())
def test_a_voucher_with_any_bit_flipped_holds_no_more_or_says_the_same(data: st.DataObject) -> None:
    voucher = bytearray(sign_voucher(RELAY, PEER.peer_id, 1_800_000_000))
    key_bytes = RELAY.public_key
    at = data.draw(st.integers(0, len(voucher) - 1))
    voucher[at] ^= 1 << data.draw(st.integers(0, 7))

    # The envelope also names the signer's key, which the relay's peer id is used instead of.
    key_at = bytes(voucher).find(key_bytes[:8])
    is_in_key = at < max(key_at, 0) + 40
    try:
        check_voucher(bytes(voucher), relay=RELAY.peer_id, peer=PEER.peer_id, expires=1_800_000_000)
    except RecordRejected:
        return
    assert is_in_key


# ------------------------------------------------------------------ hole punching


def test_where_others_see_a_peer_is_read_as_it_was_written() -> None:
    assert judge(body(observed([PUBLIC, HOME]))) == Observed((PUBLIC, HOME))
    assert judge(body(sync())) == Sync()


def test_addresses_that_we_cannot_read_are_passed_over() -> None:
    raw = HolePunch(type=HolePunch.CONNECT, ObsAddrs=[b"\x91\x02\x00", b""]).SerializeToString()

    assert judge(raw) == Observed(())


def test_who_comes_through_a_relay_on_the_internet_has_us_dial_there_only() -> None:
    everything = [NOWHERE, LOOPBACK, HOME, PUBLIC]

    assert worth_dialling(everything, "1.1.1.1") == (PUBLIC,)
    assert worth_dialling(everything, "192.168.1.1") == (HOME, PUBLIC)
    assert worth_dialling(everything, "127.0.0.1") == (LOOPBACK, HOME, PUBLIC)
    assert worth_dialling(everything, "") == ()


def test_names_and_more_than_a_few_addresses_are_not_dialled_for_a_stranger() -> None:
    many = [Address("ip4", f"8.8.{number}.8", 1) for number in range(99)]

    assert len(worth_dialling(many * 2, "1.1.1.1")) == ADDRESSES_MAX
    assert worth_dialling([Address("dns4", "example.org", 1), Address("ip4", "8.8.8.8", 0)], "1.1.1.1") == ()


def test_what_is_in_disguise_or_of_this_link_alone_is_not_dialled_for_a_stranger() -> None:
    in_disguise = [Address("ip6", host, 80) for host in ("64:ff9b::a00:1", "2002:a00:1::", "::ffff:10.0.0.1")]

    assert worth_dialling(in_disguise, "1.1.1.1") == ()
    assert worth_dialling([Address("ip4", "169.254.169.254", 80)], "192.168.1.1") == ()
