"""Quotes: what Intel's format allows verifies, what is wrong with one is found and named."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.attestation import VENDOR_ROOTS, Cause, Gate, read_collateral
from cocoon_p2p.attestation.policy import STATUSES
from cocoon_p2p.attestation.quote import (
    SIGNED_SIZE_BYTES,
    QuoteRefused,
    TdFacts,
    claimed_platform,
    trim_quote,
    verify_quote,
)
from cocoon_p2p.errors import LocalProtocolError
from cocoon_p2p.protocols.ids import Trust
from cocoon_p2p.testing.machines import PaperMachine, TdBody
from tests.attestation.scene import NOW, Scene, policy_for

DATA = bytes(range(64))


def verify(machine: PaperMachine, quote: bytes | None = None, now: float = NOW) -> TdFacts:
    collateral = read_collateral(machine.collateral())
    return verify_quote(quote or machine.quote(DATA), collateral, now=now, root_der=machine.root_der)


def cause_of(machine: PaperMachine, quote: bytes | None = None, now: float = NOW) -> Cause:
    with pytest.raises(QuoteRefused) as refusal:
        verify(machine, quote, now)
    return refusal.value.fault.cause


machines = st.builds(
    PaperMachine,
    now=st.just(NOW),
    fmspc=st.binary(min_size=6, max_size=6),
    ppid=st.binary(min_size=16, max_size=16),
    cpu_svn=st.binary(min_size=16, max_size=16),
    # dcap-qvl reads PCESVNs of two bytes of DER; those of today are below 20.
    pce_svn=st.integers(0, 32_767),
    pce_id=st.binary(min_size=2, max_size=2),
    is_multi_package=st.booleans(),
    evaluation_number=st.integers(1, 60),
    serial=st.integers(1, 2**152),
    certificate_ends=st.datetimes(datetime(2028, 1, 1), datetime(2049, 12, 31), timezones=st.just(UTC)).map(
        lambda moment: moment.replace(microsecond=0)
    ),
    qe_svn=st.integers(0, 65_535),
    pce_svn_of_header=st.integers(0, 65_535),
    user_data=st.binary(min_size=20, max_size=20),
    qe_isv_svn=st.integers(4, 65_535),
    qe_authentication=st.binary(min_size=32, max_size=32),
)
bodies = st.builds(
    TdBody,
    tee_tcb_svn=st.builds(
        lambda isv, rest: bytes([isv, 1]) + bytes([rest, *bytes(13)]),
        st.integers(5, 255),
        st.integers(0, 255),
    ),
    xfam=st.integers(0, 2**64 - 1),
    mrtd=st.binary(min_size=48, max_size=48),
    mr_config_id=st.binary(min_size=48, max_size=48),
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(machines, bodies)
def test_whatever_intels_format_allows_verifies(machine: PaperMachine, body: TdBody) -> None:
    machine = replace(machine, body=body)

    facts = verify(machine)

    assert facts.platform == machine.ppid
    assert (facts.mrtd, facts.rtmrs, facts.mr_config_id) == (body.mrtd, body.rtmrs, body.mr_config_id)
    assert (facts.report_data, facts.status) == (DATA, "UpToDate")
    assert facts.evaluation_number == machine.evaluation_number
    platform = claimed_platform(machine.quote(DATA))
    assert platform == read_collateral(machine.collateral()).platform
    assert platform is not None
    assert platform.fmspc == machine.fmspc.hex()


def test_a_quote_under_another_root_than_intels_is_refused_where_no_test_passes_that_root() -> None:
    machine = PaperMachine(now=NOW)
    collateral = read_collateral(machine.collateral())

    with pytest.raises(QuoteRefused):
        verify_quote(machine.quote(DATA), collateral, now=NOW, root_der=VENDOR_ROOTS.intel_der)


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        ({"is_revoked": True}, Cause.QUOTE_INVALID),
        ({"is_authority_revoked": True}, Cause.QUOTE_INVALID),
        ({"crl_ends_days": -1.0}, Cause.COLLATERAL_STALE),
        ({"certificate_ends": datetime(2026, 1, 1, tzinfo=UTC)}, Cause.QUOTE_INVALID),
        ({"status": "Revoked"}, Cause.TCB_STATUS),
        ({"body": TdBody(attributes=1 << 28 | 1)}, Cause.DEBUG),
        ({"qe_isv_svn": 1}, Cause.QUOTE_INVALID),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_machine_is_named(wrong: dict[str, Any], cause: Cause) -> None:
    assert cause_of(PaperMachine(now=NOW, **wrong)) is cause


@pytest.mark.parametrize(
    "mangle",
    [
        lambda quote: b"",
        lambda quote: quote[:40],
        lambda quote: quote[:SIGNED_SIZE_BYTES],
        lambda quote: quote[:-1],
        lambda quote: quote + b"\0",
        lambda quote: quote[:SIGNED_SIZE_BYTES] + bytes(4),
        lambda quote: quote[:SIGNED_SIZE_BYTES] + b"\xff\xff\xff\xff" + quote[SIGNED_SIZE_BYTES + 4 :],
        lambda quote: bytes(len(quote)),
        lambda quote: b"\4\0\2\0\x81" + b"\xff" * 15_000,
    ],
)
def test_what_is_no_whole_quote_is_refused(mangle: Callable[[bytes], bytes]) -> None:
    machine = PaperMachine(now=NOW)

    assert cause_of(machine, mangle(machine.quote(DATA)) or b"\0").gate is Gate.QUOTE


def test_the_lists_of_another_platform_do_not_verify_a_quote() -> None:
    one, other = PaperMachine(now=NOW), PaperMachine(now=NOW, fmspc=b"\1" * 6)

    with pytest.raises(QuoteRefused):
        verify_quote(one.quote(DATA), read_collateral(other.collateral()), now=NOW, root_der=one.root_der)


def test_lists_that_were_altered_do_not_verify_a_quote() -> None:
    machine = PaperMachine(now=NOW, status="OutOfDate")
    altered = machine.collateral().replace(b"OutOfDate", b"UpToDate")

    with pytest.raises(QuoteRefused):
        verify_quote(machine.quote(DATA), read_collateral(altered), now=NOW, root_der=machine.root_der)


@pytest.mark.parametrize("days", [-2, 31])
def test_a_quote_is_refused_outside_the_dates_of_its_lists(days: int) -> None:
    assert cause_of(PaperMachine(now=NOW), now=NOW + days * 86_400) is Cause.COLLATERAL_STALE


@pytest.mark.parametrize("now", [float("nan"), float("inf"), -1.0, 2.0**64])
def test_what_is_no_time_is_a_fault_of_ours(now: float) -> None:
    with pytest.raises(LocalProtocolError):
        verify(PaperMachine(now=NOW), now=now)


def test_what_stands_behind_a_quote_is_cut_off() -> None:
    quote = PaperMachine(now=NOW).quote(DATA)

    assert trim_quote(quote + bytes(70)) == quote
    assert trim_quote(b"something else") == b"something else"


@pytest.mark.slow
def test_every_flipped_bit_in_the_signed_part_of_a_generated_quote_is_refused() -> None:
    machine = PaperMachine(now=NOW)
    collateral, quote = read_collateral(machine.collateral()), bytearray(machine.quote(DATA))

    for bit in range(SIGNED_SIZE_BYTES * 8):
        quote[bit // 8] ^= 1 << bit % 8
        with pytest.raises(QuoteRefused):
            verify_quote(bytes(quote), collateral, now=NOW, root_der=machine.root_der)
        quote[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("status", sorted(STATUSES))
def test_each_state_of_a_platform_passes_only_where_the_policy_lists_it(status: str) -> None:
    scene = Scene(machine=PaperMachine(now=NOW, status=status))
    listed = policy_for(scene.body, statuses=frozenset({status}))
    others = policy_for(scene.body, statuses=STATUSES - {status})

    assert scene.judge(listed).level is Trust.TDX
    refused = scene.judge(others)
    assert (refused.cause, refused.detail) == (Cause.TCB_STATUS, f"status={status}")
    assert refused.level is Trust.OPEN


def test_a_revoked_platform_passes_no_policy() -> None:
    scene = Scene(machine=PaperMachine(now=NOW, status="Revoked"))

    verdict = scene.judge(policy_for(scene.body, statuses=STATUSES | {"Revoked"}))

    assert (verdict.cause, verdict.level) == (Cause.TCB_STATUS, Trust.OPEN)
