"""What a charge's paper says was delivered, whatever stands in it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.frozen import replace
from cocoon_p2p.ledger import ChannelName, Delivery, Side
from cocoon_p2p.payments.delivered import COMMISSION_MAX, TOKENS_MAX, delivered
from cocoon_p2p.protocols.ids import Outcome
from cocoon_p2p.protocols.messages import Meter, Receipt, Settlement, Signed, Usage
from cocoon_p2p.protocols.papers import sign
from cocoon_p2p.protocols.schema import decode_paper
from cocoon_p2p.units import NANO_MAX
from tests.payments.parties import CHANNEL, NETWORK, ONE, PAYER, receipt

NAME = ChannelName(Side.PAYEE, CHANNEL.id)
USAGE = Usage(prompt=1, cached=2, completion=3, reasoning=4)
RECEIPT = replace(decode_paper(Receipt, receipt(ONE, 200).body), usage=USAGE, model="m")
METER = Meter(ONE, bytes(32), USAGE)


def signed(paper: Receipt | Meter | Settlement) -> Signed:
    return sign(PAYER, NETWORK, paper)


def settlement(*, of: Receipt | Meter | None, commission: int = 5) -> Signed:
    made = Settlement(ONE, bytes(32), Outcome.COMPLETED, 200, commission, 205, 200)
    if isinstance(of, Receipt):
        made = replace(made, receipt=signed(of))
    elif isinstance(of, Meter):
        made = replace(made, meter=signed(of))
    return signed(made)


@pytest.mark.parametrize(
    ("paper", "model", "commission"),
    [
        (signed(RECEIPT), "m", 0),
        (signed(METER), "", 0),
        (settlement(of=RECEIPT), "m", 5),
        (settlement(of=METER), "", 5),
    ],
)
def test_each_kind_of_paper_says_what_was_delivered(paper: Signed, model: str, commission: int) -> None:
    (told,) = delivered(NAME, ONE, paper, 9)

    assert told == Delivery(NAME, ONE, model, 1, 2, 3, 4, commission, 9)  # type: ignore[arg-type]


def test_a_settlement_of_nothing_says_nothing() -> None:
    assert delivered(NAME, ONE, settlement(of=None), 9) == ()


def test_figures_that_no_exchange_has_are_cut_to_what_can_be_added_up() -> None:
    usage = Usage(NANO_MAX, NANO_MAX, NANO_MAX, NANO_MAX)

    (told,) = delivered(NAME, ONE, settlement(of=replace(RECEIPT, usage=usage), commission=NANO_MAX), 9)

    assert {told.prompt, told.cached, told.completion, told.reasoning} == {TOKENS_MAX}
    assert told.commission == COMMISSION_MAX


def test_a_name_that_no_database_keeps_is_kept_without_what_it_does_not() -> None:
    (told,) = delivered(NAME, ONE, signed(replace(RECEIPT, model="a\0b")), 9)

    assert told.model == "a\N{REPLACEMENT CHARACTER}b"


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_a_paper_that_cannot_be_read_says_nothing_and_stops_no_charge(body: bytes) -> None:
    assert delivered(NAME, ONE, Signed(body, bytes(64)), 9) == ()
