"""Vouchers as lines of a file: what was written is read, and what was altered is refused."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.payments.contract import AccountId, Deployment, channel_id
from cocoon_p2p.payments.treasury.watched import LINE_MAX_BYTES, Watched, better, read_lines, write_line
from cocoon_p2p.payments.voucher import sign_voucher
from cocoon_p2p.protocols.messages import Voucher
from cocoon_p2p.units import NANO_MAX, Nano

PUBLIC, SECRET = bindings.crypto_sign_seed_keypair(b"s" * 32)
DEPLOYMENT = Deployment(
    global_id=-3,
    payer=AccountId(b"\1" * 32),
    payee=AccountId(b"\2" * 32),
    payer_key=PUBLIC,
    payee_key=b"\3" * 32,
    close_delay_seconds=86_400,
    salt=b"\4" * 16,
)


def watched(total: int = 7, epoch: int = 5, deployment: Deployment = DEPLOYMENT) -> Watched:
    channel = channel_id(deployment)
    signature = sign_voucher(SECRET, channel, epoch, Nano(total))
    return Watched(deployment, Voucher(channel, epoch, total, signature))


LINE = write_line(watched()).encode()


@given(
    st.integers(0, NANO_MAX),
    st.integers(1, NANO_MAX),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(0, 2**24 - 1),
)
def test_what_was_written_is_read(total: int, epoch: int, global_id: int, delay: int) -> None:
    deployment = replace(DEPLOYMENT, global_id=global_id, close_delay_seconds=delay)
    one = watched(total, epoch, deployment)

    assert read_lines([write_line(one).encode()]) == [one]
    assert len(write_line(one)) < LINE_MAX_BYTES


def test_empty_lines_are_passed_over() -> None:
    assert read_lines([b"\n", LINE, b"  \n"]) == [watched()]


@pytest.mark.parametrize(
    "field", ["payer", "payee", "payer_key", "payee_key", "salt", "channel", "signature"]
)
def test_altered_bytes_are_refused(field: str) -> None:
    facts = json.loads(LINE)
    first = facts[field][0]
    facts[field] = ("0" if first != "0" else "1") + facts[field][1:]

    with pytest.raises(ConfigurationError, match="line 2: not a voucher"):
        read_lines([LINE, json.dumps(facts).encode()])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("total", 8),
        ("total", -1),
        ("total", NANO_MAX + 1),
        ("total", 7.5),
        ("total", "7"),
        ("epoch", 6),
        ("epoch", 0),
        ("network", -239),
        ("close_delay_seconds", 60),
        ("close_delay_seconds", 2**24),
        ("signature", ""),
        ("channel", None),
    ],
)
def test_altered_numbers_are_refused(field: str, value: object) -> None:
    facts = json.loads(LINE) | {field: value}

    with pytest.raises(ConfigurationError, match="not a voucher"):
        read_lines([json.dumps(facts).encode()])


def test_half_a_line_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="line 1"):
        read_lines([LINE[: len(LINE) // 2]])


def test_a_line_without_end_is_refused_before_it_is_read() -> None:
    with pytest.raises(ConfigurationError, match="too long"):
        read_lines([b"[" * (LINE_MAX_BYTES + 1)])


@given(st.binary(max_size=200))
def test_whatever_stands_in_a_file_is_read_or_refused(line: bytes) -> None:
    try:
        found = read_lines([line])
    except ConfigurationError:
        return
    assert found == []


def test_the_higher_total_is_better_and_a_newer_life_is_better_still() -> None:
    assert better(None, watched(1)) == watched(1)
    assert better(watched(1), watched(2)) == better(watched(2), watched(1)) == watched(2)
    assert better(watched(9, epoch=5), watched(1, epoch=6)) == watched(1, epoch=6)
