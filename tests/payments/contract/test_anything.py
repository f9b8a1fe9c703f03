"""Whatever strangers send, and however vouchers are shown, the money goes where it is owed."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cocoon_p2p.payments.boc import write_boc
from cocoon_p2p.payments.cells import BITS_MAX, Builder
from cocoon_p2p.payments.contract import STORAGE_RESERVE
from tests.payments.contract.scene import ATTACHED, DELAY, PAYEE, PAYER, STRANGER, TON, opened

HEAD_BITS = 4 + 3 + 8 + 256 + 4 + 2
OPERATIONS = [0x70617901, 0x70617902, 0x70617903, 0x70617904, 0x70617905]
bits = st.integers(0, BITS_MAX - HEAD_BITS - 32)
operations = st.one_of(st.sampled_from(OPERATIONS), st.integers(0, 2**32 - 1))


@st.composite
def bodies(draw):
    """Draw a body that begins like an operation, or like nothing known, and goes on at random."""
    size = draw(bits)
    body = Builder().uint(draw(operations), 32).uint(draw(st.integers(0, 2**size - 1)), size)
    for _ in range(draw(st.integers(0, 2))):
        body.reference(Builder().octets(draw(st.binary(max_size=64))).cell())
    return body.cell()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bodies(), st.sampled_from([PAYEE, STRANGER]))
@pytest.mark.slow
def test_no_message_of_a_strangers_making_takes_anything(body, source):
    scene = opened()
    state = scene.state

    inside = scene.tell(ATTACHED, write_boc(body), source)
    head = Builder().uint(0b1000, 4).uint(0b100, 3).sint(0, 8).octets(scene.channel).coins(0).uint(0, 2)
    outside = scene.submit(write_boc(head.root_of(body).cell()))

    assert inside.after >= inside.before
    assert outside.rejected is not None
    assert outside.after == outside.before
    assert scene.state == state
    assert scene.balance(PAYER) == 0


shows = st.tuples(st.integers(1, 12 * TON), st.booleans(), st.sampled_from([PAYER, PAYEE, STRANGER]))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(shows, min_size=1, max_size=6), st.integers(STORAGE_RESERVE, 10 * TON), st.integers(0, 6))
@pytest.mark.slow
def test_the_payee_ends_with_what_its_best_voucher_gives_however_they_were_shown(show, deposit, closing_at):
    scene = opened(deposit)
    covered = scene.balance() - STORAGE_RESERVE

    for number, (total, is_external, source) in enumerate(show):
        if number == closing_at:
            # What this message leaves over is a top-up.
            step = scene.start_close()
            covered += step.after - step.before
        if is_external:
            scene.claim_externally(total)
        else:
            scene.claim(total, source=source)
    best = max(total for total, _, _ in show)
    scene.claim(best)

    assert scene.state.claimed == max(0, min(best, covered))
    if closing_at < len(show):
        scene.chain.now += DELAY
        end = scene.finish_close()
        assert end.to(PAYER) == end.before - end.storage_fee + ATTACHED - end.cost
        assert end.to(PAYEE) == 0
