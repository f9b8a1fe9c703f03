import pytest
from hypothesis import given
from hypothesis import strategies as st
from multiaddr import Multiaddr

from cocoon_p2p.errors import ConfigurationError, MalformedMessage
from cocoon_p2p.identity import peer_id_of, peer_id_text
from cocoon_p2p.network.libp2p.address_bytes import decode_address, encode_address
from cocoon_p2p.network.libp2p.addresses import (
    Address,
    CircuitAddress,
    address_range,
    parse_address,
    parse_peer_address,
    parse_route,
)

PEER = peer_id_of(bytes(range(32)))
RELAY = peer_id_of(bytes(range(32, 64)))

ports = st.integers(0, 65535)
addresses = st.one_of(
    st.builds(lambda host, port: Address("ip4", str(host), port), st.ip_addresses(v=4), ports),
    st.builds(lambda host, port: Address("ip6", str(host), port), st.ip_addresses(v=6), ports),
    st.builds(
        Address,
        st.sampled_from(["dns", "dns4", "dns6"]),
        st.from_regex(r"[a-z0-9]{1,20}(\.[a-z0-9]{1,20}){0,3}", fullmatch=True),
        ports,
    ),
)


@given(addresses)
def test_an_address_survives_being_written_and_read(address) -> None:
    assert parse_address(str(address)) == (address, None)
    assert parse_address(address.of(PEER)) == (address, PEER)


@given(addresses)
def test_a_way_through_a_relay_survives_being_written_and_read(address) -> None:
    circuit = CircuitAddress(address, RELAY)

    assert parse_route(circuit.of(PEER)) == (circuit, PEER)
    assert parse_route(address.of(PEER)) == (address, PEER)
    assert Multiaddr(circuit.of(PEER))


@pytest.mark.parametrize(
    "text",
    [
        f"/p2p-circuit/p2p/{peer_id_text(PEER)}",
        f"/p2p/{peer_id_text(RELAY)}/p2p-circuit/p2p/{peer_id_text(PEER)}",
        f"/ip4/203.0.113.7/tcp/4001/p2p-circuit/p2p/{peer_id_text(PEER)}",
        f"/ip4/203.0.113.7/tcp/4001/p2p/{peer_id_text(RELAY)}/p2p-circuit",
        f"/ip4/203.0.113.7/tcp/4001/p2p/{peer_id_text(RELAY)}/p2p-circuit/p2p/",
        f"/ip4/203.0.113.7/tcp/4001/p2p/{peer_id_text(RELAY)}/p2p-circuit/ip4/203.0.113.7/tcp/1",
        f"/ip4/203.0.113.7/tcp/4001/p2p/{peer_id_text(RELAY)}" + f"/p2p-circuit/p2p/{peer_id_text(PEER)}" * 2,
    ],
)
def test_a_relay_that_is_not_named_or_stands_behind_another_is_no_way(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_route(text)


@given(addresses)
def test_an_address_in_bytes_is_what_the_multiaddr_library_writes(address) -> None:
    theirs = Multiaddr(str(address)).to_bytes()

    assert encode_address(address) == theirs
    assert decode_address(theirs) == address
    assert decode_address(Multiaddr(address.of(PEER)).to_bytes()) == address


@given(
    st.binary(max_size=80) | st.builds(lambda a, b: encode_address(a) + b, addresses, st.binary(max_size=8))
)
def test_strange_bytes_are_an_address_or_malformed_and_nothing_else(raw) -> None:
    try:
        address = decode_address(raw)
    except MalformedMessage:
        return

    assert decode_address(encode_address(address)) == address


@given(st.text(max_size=80))
def test_strange_text_is_an_address_or_a_configuration_error_and_nothing_else(text) -> None:
    try:
        parse_address(text)
    except ConfigurationError:
        return


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:4001",
        "/ip4/127.0.0.1",
        "/ip4/127.0.0.1/udp/4001/quic-v1",
        "/ip4/127.0.0.1/tcp/4001/ws",
        "/ip4/127.0.0.1/tcp/65536",
        "/ip4/127.0.0.1/tcp/04001",
        "/ip4/256.0.0.1/tcp/4001",
        "/ip6/127.0.0.1/tcp/4001",
        "/dns4/-bad-/tcp/4001",
        "/ip4/127.0.0.1/tcp/4001/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        f"/ip4/127.0.0.1/tcp/4001/p2p/{peer_id_text(PEER)}/p2p-circuit",
    ],
)
def test_what_we_could_not_dial_is_no_address(text) -> None:
    with pytest.raises(ConfigurationError, match="not a TCP multiaddr"):
        parse_address(text)


def test_an_address_that_names_nobody_is_refused_where_a_peer_is_wanted() -> None:
    with pytest.raises(ConfigurationError, match="names no peer"):
        parse_peer_address("/ip4/127.0.0.1/tcp/4001")


@pytest.mark.parametrize(
    ("host", "its_range"),
    [
        ("203.0.113.7", "203.0.113.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
    ],
)
def test_a_range_is_what_one_operator_gets_at_once(host, its_range) -> None:
    assert address_range(host) == its_range
