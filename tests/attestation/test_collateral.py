"""Intel's lists: read with suspicion, and never replaced by older ones."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.attestation import read_collateral
from cocoon_p2p.attestation.collateral import Platform, is_newer
from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.testing.machines import PaperMachine
from tests.attestation.scene import NOW

GOOD = PaperMachine(now=NOW).collateral()


def changed(name: str, value: Any) -> bytes:
    return json.dumps(json.loads(GOOD) | {name: value}).encode()


def with_tcb(**changes: Any) -> bytes:
    return PaperMachine(now=NOW).collateral(**changes)


def test_lists_say_for_which_platform_they_are_and_how_long_they_hold() -> None:
    collateral = read_collateral(GOOD)

    assert collateral.platform == Platform("00deadbeef00", "platform")
    assert collateral.evaluation_number == 18
    assert (collateral.issued, collateral.expires) == (NOW - 86_400, NOW + 30 * 86_400)
    processor = read_collateral(PaperMachine(now=NOW, is_multi_package=False).collateral())
    assert processor.platform.authority == "processor"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b"{}",
        b"[" * 50_000,
        b'{"a":' * 12_000,
        b"9" * 6_000,
        GOOD + bytes(65_536),
        GOOD[:-1],
        GOOD[:-1] + b', "tcb_info": "{}"}',
        b'{"tcb_info_signature": "00", ' + GOOD[1:],
        changed("more", "x"),
        changed("pck_crl", 5),
        changed("pck_crl", "zz"),
        changed("pck_crl", "00"),
        changed("tcb_info", "[]"),
        changed("tcb_info", '{"a": ' * 3_000),
        changed("tcb_info", '{"issueDate": NaN}'),
        with_tcb(issueDate="yesterday"),
        with_tcb(issueDate="2027-01-01T00:00:00"),
        with_tcb(issueDate=0),
        with_tcb(nextUpdate=None),
        with_tcb(tcbEvaluationDataNumber=18.0),
        with_tcb(tcbEvaluationDataNumber=True),
        with_tcb(fmspc="00"),
    ],
)
def test_what_are_no_lists_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        read_collateral(data)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda machine: machine, False),
        (lambda machine: replace(machine, now=NOW + 1), True),
        (lambda machine: replace(machine, now=NOW - 1), False),
        (lambda machine: replace(machine, now=NOW + 1, evaluation_number=17), False),
        (lambda machine: replace(machine, now=NOW + 1, fmspc=bytes(6)), False),
        (lambda machine: replace(machine, now=NOW + 1, is_multi_package=False), False),
    ],
)
def test_lists_are_newer_when_none_of_them_is_older(
    change: Callable[[PaperMachine], PaperMachine], expected: bool
) -> None:
    old = PaperMachine(now=NOW)
    new = change(old)

    assert is_newer(read_collateral(new.collateral()), read_collateral(old.collateral())) is expected


def test_new_tcb_info_with_an_old_revocation_list_is_not_newer() -> None:
    kept = PaperMachine(now=NOW)
    mixed = json.loads(replace(kept, now=NOW + 9).collateral())
    mixed["pck_crl"] = json.loads(replace(kept, now=NOW - 9).collateral())["pck_crl"]

    assert not is_newer(read_collateral(json.dumps(mixed).encode()), read_collateral(kept.collateral()))


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(st.sampled_from(["pck_crl", "root_ca_crl"]), st.integers(0, 10_000), st.integers(0, 255))
def test_whatever_is_done_to_a_revocation_list_it_is_malformed_or_read(name: str, at: int, byte: int) -> None:
    fields = json.loads(GOOD)
    der = bytearray.fromhex(fields[name])
    der[at % len(der)] = byte

    with suppress(MalformedMessage):
        read_collateral(json.dumps(fields | {name: der.hex()}).encode())
