"""ADNL's server side against another library's client side, and against bytes that are neither."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.identity import Identity
from cocoon_p2p.payments.devchain.adnl import HANDSHAKE_BYTES, PACKET_MAX_BYTES, AdnlConnection, key_id
from tests.payments.devchain.lite_side import SERVER_KEY, Ciphers

NONCE = bytes(32)


@given(
    payloads=st.lists(st.binary(max_size=300), max_size=6),
    cuts=st.lists(st.integers(1, 200), min_size=1, max_size=20),
)
@settings(deadline=None)
def test_however_the_bytes_are_cut_the_payloads_come_out_whole_and_in_order(
    payloads: list[bytes], cuts: list[int]
) -> None:
    client, server = Ciphers(), AdnlConnection(SERVER_KEY)
    wire = client.handshake + b"".join(map(client.packet, payloads))

    received: list[bytes] = []
    at = turn = 0
    while at < len(wire):
        size = cuts[turn % len(cuts)]
        received += server.receive(wire[at : at + size])
        at, turn = at + size, turn + 1

    assert received == payloads
    assert server.is_open


@given(payloads=st.lists(st.binary(max_size=300), max_size=6))
@settings(deadline=None)
def test_another_library_opens_what_the_server_packs(payloads: list[bytes]) -> None:
    client, server = Ciphers(), AdnlConnection(SERVER_KEY)
    server.receive(client.handshake)

    for payload in payloads:
        packet = client.open(server.send(payload, NONCE))

        assert int.from_bytes(packet[:4], "little") == len(packet) - 4
        assert packet[4:36] == NONCE
        assert packet[36:-32] == payload


def test_nothing_is_open_before_the_whole_handshake_is_there() -> None:
    client, server = Ciphers(), AdnlConnection(SERVER_KEY)

    assert server.receive(client.handshake[:-1]) == []
    assert not server.is_open
    assert server.receive(client.handshake[-1:]) == []
    assert server.is_open


def test_the_name_of_a_key_is_the_one_that_other_libraries_reckon() -> None:
    assert len(Ciphers().handshake) == HANDSHAKE_BYTES
    assert key_id(SERVER_KEY.public_key) == Ciphers().handshake[:32]


def test_a_handshake_for_another_server_is_refused() -> None:
    other = Identity.from_seed(bytes(32))

    with pytest.raises(MalformedMessage, match="another server"):
        AdnlConnection(SERVER_KEY).receive(Ciphers(other.public_key).handshake)


@pytest.mark.parametrize("at", [70, 100, 255])
def test_a_handshake_that_was_tampered_with_is_refused(at: int) -> None:
    handshake = bytearray(Ciphers().handshake)
    handshake[at] ^= 1

    with pytest.raises(MalformedMessage, match="does not open"):
        AdnlConnection(SERVER_KEY).receive(bytes(handshake))


@pytest.mark.parametrize(
    "key", [bytes(32), b"\x01" + bytes(31), b"\xff" * 32, b"\xec" + b"\xff" * 30 + b"\x7f"]
)
def test_a_handshake_with_a_key_of_small_order_or_none_is_refused(key: bytes) -> None:
    handshake = Ciphers().handshake

    with pytest.raises(MalformedMessage):
        AdnlConnection(SERVER_KEY).receive(handshake[:32] + key + handshake[64:])


@given(data=st.binary(min_size=HANDSHAKE_BYTES - 32, max_size=HANDSHAKE_BYTES))
@settings(deadline=None)
def test_no_random_handshake_opens(data: bytes) -> None:
    server = AdnlConnection(SERVER_KEY)

    with pytest.raises(MalformedMessage):
        server.receive((key_id(SERVER_KEY.public_key) + data).ljust(HANDSHAKE_BYTES, b"\0"))
    assert not server.is_open


@pytest.mark.parametrize("length", [0, 63, PACKET_MAX_BYTES + 1, 2**32 - 1])
def test_a_packet_of_an_impossible_length_is_refused(length: int) -> None:
    client, server = Ciphers(), AdnlConnection(SERVER_KEY)
    server.receive(client.handshake)

    with pytest.raises(MalformedMessage, match="impossible length"):
        server.receive(client.raw(length.to_bytes(4, "little")))


def test_the_longest_packet_is_taken() -> None:
    client, server = Ciphers(), AdnlConnection(SERVER_KEY)
    payload = bytes(PACKET_MAX_BYTES - 64)

    assert server.receive(client.handshake + client.packet(payload)) == [payload]


@pytest.mark.parametrize("at", [4, 40, -1])
def test_a_packet_with_one_bit_changed_is_refused(at: int) -> None:
    client, server = Ciphers(), AdnlConnection(SERVER_KEY)
    packet = bytearray(client.packet(b"payload"))
    packet[at] ^= 1

    with pytest.raises(MalformedMessage, match="checksum"):
        server.receive(client.handshake + bytes(packet))
