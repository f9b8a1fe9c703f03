"""What an order makes of a model's numbers, token by token."""

from dataclasses import replace

import pytest
import torch

from cocoon_p2p.inference.exllama.generator import Order
from cocoon_p2p.inference.exllama.shaping import NEVER, Shaping

ORDER = Order([1, 2, 2, 3], 10, 0.0, 1.0, None, False, b"scope")


def shaping(order: Order) -> Shaping:
    return Shaping(order, lambda token: b"%d" % token, torch)


def shaped(of: Shaping) -> list[float]:
    logits = torch.zeros(8)
    of.shape(logits)
    return [round(value, 4) for value in logits.tolist()]


def test_penalties_are_openai_s_and_leave_the_prompt_alone() -> None:
    of = shaping(replace(ORDER, frequency_penalty=0.5, presence_penalty=0.25))
    assert shaped(of) == [0] * 8
    for token in (5, 5, 6):
        of.draw(token)

    assert shaped(of) == [0, 0, 0, 0, 0, -1.25, -0.75, 0]


def test_penalties_go_on_from_what_was_answered_before_a_failover() -> None:
    of = shaping(replace(ORDER, presence_penalty=1.0, answered=2))

    assert shaped(of) == [0, 0, -1, -1, 0, 0, 0, 0]


def test_what_was_unsaid_is_not_counted_and_not_drawn_there_again() -> None:
    of = shaping(replace(ORDER, presence_penalty=1.0))
    for token in (4, 5, 6):
        of.draw(token)
    of.unsay(1)

    assert shaped(of) == [0, 0, 0, 0, -1, NEVER, 0, 0]
    of.draw(7)
    assert shaped(of) == [0, 0, 0, 0, -1, 0, 0, -1]


def test_likelihoods_are_those_before_anything_was_changed() -> None:
    of = shaping(replace(ORDER, logprobs=2, logit_bias=((3, 50.0), (0, -100.0))))
    logits = torch.tensor([2.0, 1.0, 0.0, 0.0])
    before = torch.log_softmax(logits, -1).tolist()
    of.shape(logits)
    of.draw(3)

    assert logits.tolist() == [NEVER, 1, 0, 50]
    (told,) = of.logprobs(0, 9)
    assert (told.chosen.token, told.chosen.logprob) == (b"3", pytest.approx(before[3]))
    assert [each.token for each in told.top] == [b"0", b"1"]
    assert told.top[0].logprob == pytest.approx(before[0])
