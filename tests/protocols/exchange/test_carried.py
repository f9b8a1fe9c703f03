"""What an answer may carry beyond text, and what of it nobody asked for."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.errors import Miscounted
from cocoon_p2p.protocols.contents import AnswerContent, FinishReason, RequestContent
from cocoon_p2p.protocols.exchange.carried import Carried, Wanted, carry, wanted_by
from cocoon_p2p.protocols.ids import CALLS_MAX, Kind
from cocoon_p2p.protocols.wishes import Likelihood, TokenLogprob, ToolCall, ToolUse
from tests.protocols.samples import EMBEDDING_REQUEST, REQUEST, TOOL_REQUEST

LIKELY = Likelihood(b"a", 1)
TOKEN = TokenLogprob(LIKELY, (LIKELY, LIKELY))
NOTHING = Wanted()


def vector(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def call(name: str) -> ToolCall:
    return ToolCall(name, "f", "{}")


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (REQUEST, Wanted(logprobs_max=256)),
        (EMBEDDING_REQUEST, Wanted(vectors=2)),
        (TOOL_REQUEST, Wanted(logprobs=1, logprobs_max=256, may_call=True)),
    ],
)
def test_a_request_says_what_its_answer_may_carry(content: RequestContent, wanted: Wanted) -> None:
    assert wanted_by(content) == wanted


def test_tools_that_must_not_be_called_are_as_none() -> None:
    request = RequestContent(
        Kind.CHAT, "m", (), 1, 0, 1000, (), False, "", tools=TOOL_REQUEST.tools, tool_use=ToolUse.NONE
    )

    assert not wanted_by(request).may_call


@pytest.mark.parametrize(
    ("wanted", "contents", "says"),
    [
        (NOTHING, [AnswerContent("", calls=(call("a"),))], "where none was allowed"),
        (Wanted(may_call=True), [AnswerContent("", calls=(call("a"), call("a")))], "id of its own"),
        (Wanted(may_call=True), [AnswerContent("", calls=(call("a"),))] * 2, "id of its own"),
        (Wanted(may_call=True), [AnswerContent("", calls=(call(""),))], "id of its own"),
        (
            Wanted(may_call=True),
            [AnswerContent("", calls=tuple(call(str(number)) for number in range(CALLS_MAX + 1)))],
            "too many tool calls",
        ),
        (NOTHING, [AnswerContent("", logprobs=(TokenLogprob(LIKELY),))], "asked=None got=0"),
        (Wanted(logprobs=1, logprobs_max=9), [AnswerContent("", logprobs=(TOKEN,))], "asked=1 got=2"),
        (
            Wanted(logprobs=2, logprobs_max=3),
            [AnswerContent("", logprobs=(TOKEN,) * 2)] * 2,
            "of more tokens",
        ),
        (NOTHING, [AnswerContent("", vectors=(vector(1),))], "more vectors than inputs"),
        (Wanted(vectors=2), [AnswerContent("", vectors=(vector(1),) * 3)], "more vectors than inputs"),
        (Wanted(vectors=2), [AnswerContent("", vectors=(vector(1), vector(1, 2)))], "wrong length"),
        (Wanted(vectors=2), [AnswerContent("", vectors=(vector(1)[:3],))], "wrong length"),
        (Wanted(vectors=2), [AnswerContent("", vectors=(b"",))], "wrong length"),
        (Wanted(vectors=1), [AnswerContent("", vectors=(vector(1, float("nan")),))], "not finite"),
        (Wanted(vectors=1), [AnswerContent("", vectors=(vector(float("inf")),))], "not finite"),
        (
            Wanted(vectors=1),
            [AnswerContent("", vectors=(vector(float("inf"), float("-inf")),))],
            "not finite",
        ),
        (
            Wanted(vectors=2),
            [AnswerContent("", FinishReason.STOP, vectors=(vector(1),))],
            r"fewer vectors than inputs \(inputs=2 got=1\)",
        ),
    ],
)
def test_what_was_not_asked_for_is_the_worker_s_fault(
    wanted: Wanted, contents: list[AnswerContent], says: str
) -> None:
    carried = Carried()

    with pytest.raises(Miscounted, match=says) as raised:
        for content in contents:
            carried = carry(carried, content, wanted)

    assert raised.value.is_by_worker


def test_what_was_asked_for_is_taken_piece_by_piece() -> None:
    wanted = Wanted(vectors=2, logprobs=2, logprobs_max=2, may_call=True)
    carried = carry(Carried(), AnswerContent("", calls=(call("a"),), logprobs=(TOKEN,)), wanted)
    carried = carry(carried, AnswerContent("", vectors=(vector(1, 2),)), wanted)
    final = AnswerContent("", FinishReason.STOP, vectors=(vector(3, 4),), calls=(call("b"),))

    assert carry(carried, final, wanted) == Carried(2, 8, 1, frozenset({"a", "b"}))


@given(st.lists(st.floats(width=32), min_size=1, max_size=40))
def test_a_vector_is_taken_just_where_all_its_numbers_are_finite(numbers: list[float]) -> None:
    content = AnswerContent("", vectors=(vector(*numbers),))

    if all(map(math.isfinite, numbers)):
        assert carry(Carried(), content, Wanted(vectors=1)).vectors == 1
    else:
        with pytest.raises(Miscounted, match="not finite"):
            carry(Carried(), content, Wanted(vectors=1))
