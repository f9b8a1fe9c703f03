"""What the kit says is said in words, about everything that can happen."""

import pytest

from cocoon_p2p.client.answer import AnswerFacts, Report
from cocoon_p2p.errors import AnswerBroken, Refused, Unavailable
from cocoon_p2p.protocols.ids import Reason, Trust
from cocoon_p2p.telegram import Bill, Wording
from cocoon_p2p.telegram.markdown import read_markdown
from cocoon_p2p.telegram.wording import REFUSALS, bill_of
from cocoon_p2p.units import Nano


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_of_the_protocol_has_words_of_its_own(reason: Reason) -> None:
    said = REFUSALS[reason.code]

    assert said.endswith(".")
    assert reason.code not in said


def test_a_code_that_nobody_knows_is_said_without_its_name() -> None:
    assert Wording().refusal(Refused("x", code="brand-new")) == "This could not be answered."


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, ""), (0, ""), (0.2, " That may change in 1 s."), (7_200, " That may change in 2 hours.")],
)
def test_a_refusal_says_when_to_ask_again_if_that_is_known(seconds: float | None, said: str) -> None:
    error = Refused("x", code="over-budget", retry_after=seconds)

    assert Wording().refusal(error) == REFUSALS["over-budget"] + said


def test_a_footer_warns_of_what_is_not_proven() -> None:
    wording = Wording()

    assert "can read this chat" in wording.footer(Bill(Nano(1), trust=Trust.SIM)).text
    assert "demo model" in wording.footer(Bill(Nano(1), trust=Trust.TDX, is_demo=True)).text
    assert (
        wording.footer(Bill(Nano(1_500), trust=Trust.TDX, model="q")).text
        == "0.0000015 TON \u00b7 q \u00b7 trust tdx"
    )
    assert wording.footer(Bill(Nano(1), is_settled=False)).text == "about 0.000000001 TON"


@pytest.mark.parametrize("pending", [0, 7])
def test_a_bill_is_settled_once_nothing_more_can_be_charged(pending: int) -> None:
    assert bill_of(AnswerFacts(Report(pending=pending))).is_settled is (pending == 0)


def test_a_model_s_name_cannot_write_a_footer_of_its_own() -> None:
    name = "x\n\n0 TON \u00b7 trust tdx+gpu\u2028" + "y" * 100

    (line, *_) = Wording().footer(Bill(Nano(1), model=name)).text.split("\n")

    assert line.startswith("0.000000001 TON \u00b7 x 0 TON")
    assert len(line) < 80


def test_an_ending_has_the_text_then_what_happened_then_the_cost() -> None:
    ending = Wording().ending(read_markdown("**Hi**"), "Stopped.", Bill(Nano(1)))

    assert ending.text == "Hi\n\nStopped.\n\n0.000000001 TON"
    assert [ending.text[span.start : span.end] for span in ending.spans] == ["Hi", "0.000000001 TON"]


def test_an_answer_of_nothing_says_so() -> None:
    wording = Wording()

    assert wording.note(None, has_text=False) == "The model said nothing."
    assert wording.note(None, has_text=True) == ""
    assert wording.note(Unavailable("x"), has_text=False).startswith("The network cannot be reached")
    assert wording.note(AnswerBroken("x", code="worker-lost"), has_text=True).startswith("It broke off here.")
