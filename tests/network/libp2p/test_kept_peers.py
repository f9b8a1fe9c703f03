"""Servers that are kept over a restart."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import PeerId, peer_id_of
from cocoon_p2p.network.libp2p.addresses import Address
from cocoon_p2p.network.libp2p.kept_peers import (
    KEPT_MAX,
    KEPT_SECONDS,
    PER_RANGE_MAX,
    KeptPeers,
    decode,
    encode,
    worth_keeping,
)
from cocoon_p2p.network.libp2p.routing_table import Entry

NOW = 1_800_000_000.0


def peer(number: int) -> PeerId:
    return peer_id_of(number.to_bytes(32, "big"))


def server(number: int, host: str = "127.0.0.1") -> Entry:
    place = (Address("ip4", host, 4001 + number),)
    return Entry(peer(number), place, since=NOW - 1000 + number, heard=NOW - 10, dialled=NOW)


def test_what_was_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    KeptPeers(path, "demo").keep([server(1), server(2)])

    again = KeptPeers(path, "demo")
    again.read(NOW)

    assert set(again.peers) == {peer(1), peer(2)}
    assert again.addresses_of(peer(2)) == server(2).addresses
    assert again.addresses_of(peer(3)) == ()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_node_that_lost_everybody_does_not_forget_whom_it_kept(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    kept = KeptPeers(path, "demo")
    kept.keep([server(1)])
    written = path.read_bytes()

    kept.keep([])

    assert path.read_bytes() == written
    assert kept.peers == (peer(1),)


def test_without_a_file_whom_we_knew_is_kept_in_memory() -> None:
    kept = KeptPeers(None, "demo")
    kept.read(NOW)
    kept.keep([server(1)])

    assert kept.peers == (peer(1),)


def test_there_being_no_file_is_no_fault(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = KeptPeers(tmp_path / "peers.json", "demo")
    kept.read(NOW)

    assert kept.peers == ()
    assert caplog.records == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"version": 1, "network": "demo"}',
        b'{"version": 2, "network": "demo", "peers": []}',
        b'{"version": 1, "network": "other", "peers": []}',
        b'{"version": 1, "network": "demo", "peers": [{"peer": "x", "addresses": ["/ip4/127.0.0.1/tcp/1"], '
        b'"since": 1, "heard": 1800000000}]}',
        b'{"version": 1, "network": "demo", "peers": [{"peer": "x", "addresses": ["nowhere"], '
        b'"since": 1, "heard": 1}]}',
        encode("demo", [server(1)])[:-9],
        b"[" * 100_000,
        b'{"more": ' + b"[" * 100_000,
        encode("demo", [server(1)]).replace(b"1799999990", b"-1" + b"0" * 400),
        encode("demo", [server(1)]).replace(b"1799999990", b"1" + b"0" * 400),
        b" " * (2 << 20),
    ],
)
def test_a_file_that_cannot_be_used_costs_a_warning_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path = tmp_path / "peers.json"
    path.write_bytes(content)
    path.chmod(0o600)
    kept = KeptPeers(path, "demo")

    kept.read(NOW)

    assert kept.peers == ()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.message == "kept peers cannot be used, going on without"
    kept.keep([server(1)])
    kept.read(NOW)
    assert kept.peers == (peer(1),)


def test_a_file_that_others_may_read_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "peers.json"
    path.write_bytes(encode("demo", [server(1)]))
    path.chmod(0o644)
    kept = KeptPeers(path, "demo")

    kept.read(NOW)

    assert kept.peers == ()
    assert "read by others" in caplog.records[0].reason  # type: ignore[attr-defined]


def test_a_folder_that_is_gone_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = KeptPeers(tmp_path / "gone" / "peers.json", "demo")

    kept.keep([server(1)])

    assert [record.message for record in caplog.records] == ["peers not kept"]
    assert kept.peers == (peer(1),)


def test_who_was_there_longest_is_kept_and_no_rented_range_fills_the_file() -> None:
    crowd = [server(number, f"8.8.8.{number}") for number in range(1, 60)]
    others = [server(number, f"9.{number}.8.8") for number in range(60, 200)]

    kept = worth_keeping([*others, *crowd])

    assert kept == [*crowd[:PER_RANGE_MAX], *others[: KEPT_MAX - PER_RANGE_MAX]]


def test_who_was_not_heard_for_a_month_is_left_out() -> None:
    data = encode("demo", [server(1), replace(server(2), heard=NOW - KEPT_SECONDS)])

    assert [entry.peer for entry in decode(data, network="demo", now=NOW)] == [peer(1)]


def test_a_clock_that_was_set_back_forgets_nobody() -> None:
    # A small machine without a battery starts at the hour in which it last wrote its clock down.
    data = encode("demo", [replace(server(1), heard=NOW + 3600)])

    assert [entry.peer for entry in decode(data, network="demo", now=NOW)] == [peer(1)]


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
@settings(deadline=None)
def test_any_bytes_are_a_file_or_refused(data: bytes) -> None:
    try:
        decode(data, network="demo", now=NOW)
    except ConfigurationError:
        return


@given(st.lists(st.integers(1, 500), unique=True, max_size=100))
@settings(deadline=None)
def test_what_is_written_is_read_again_and_is_bounded(numbers: list[int]) -> None:
    servers = worth_keeping(map(server, numbers))

    again = decode(encode("demo", servers), network="demo", now=NOW)

    assert [(entry.peer, entry.addresses) for entry in again] == [
        (entry.peer, entry.addresses) for entry in servers
    ]
    assert len(again) <= KEPT_MAX
