"""What a server says, step by step, whatever it says."""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.inference.engine import EngineError, Finish, Piece
from cocoon_p2p.inference.upstream.calls import Calls
from cocoon_p2p.inference.upstream.generation import STEPS_SPARE, Terms, UpstreamGeneration
from cocoon_p2p.inference.upstream.steps import (
    CallDelta,
    Choice,
    Delta,
    FunctionDelta,
    Logprobs,
    Progress,
    Step,
    Timings,
    TokenEntry,
    TopEntry,
    Usage,
    decode_step,
)
from cocoon_p2p.inference.upstream.wire import stream_steps
from cocoon_p2p.inference.wishes import ToolCall
from cocoon_p2p.protocols.ids import ARGUMENTS_MAX_BYTES, CALLS_MAX
from tests.inference.upstream.scene import DONE, say, step

TEXTS = st.text(max_size=4)
LIKELY = st.builds(
    Logprobs,
    content=st.none()
    | st.lists(
        st.builds(
            TokenEntry,
            TEXTS,
            st.floats(-10, 0.02),
            st.none() | st.lists(st.integers(0, 255), max_size=3),
            st.none() | st.lists(st.builds(TopEntry, TEXTS, st.floats(-10, 0)), max_size=3),
        ),
        max_size=2,
    ),
    tokens=st.none() | st.lists(TEXTS, max_size=2),
    token_logprobs=st.none() | st.lists(st.none() | st.floats(-10, 0), max_size=2),
)
CALLS = st.lists(
    st.builds(
        CallDelta,
        st.integers(-1, 3),
        st.none() | TEXTS,
        st.none()
        | st.builds(FunctionDelta, st.sampled_from((None, "look", "look", "other")), st.none() | TEXTS),
    ),
    max_size=2,
)
FINISHES = st.sampled_from((None, None, None, "stop", "length", "tool_calls", "abort", "odd"))
CHOICES = st.builds(
    Choice,
    text=st.none() | TEXTS,
    delta=st.none() | st.builds(Delta, st.none() | TEXTS, st.none() | TEXTS, tool_calls=st.none() | CALLS),
    finish_reason=FINISHES,
    logprobs=st.none() | LIKELY,
)
STEPS = st.builds(
    Step,
    st.lists(CHOICES, max_size=2),
    usage=st.none() | st.builds(Usage, st.integers(-5, 50), st.none() | st.integers(-5, 50)),
    timings=st.none() | st.builds(Timings, st.integers(-5, 50)),
    prompt_progress=st.none() | st.builds(Progress, st.integers(-5, 50)),
)
TERMS = st.builds(
    Terms,
    st.just(3),
    st.integers(1, 20),
    st.lists(TEXTS, max_size=2).map(tuple),
    st.sampled_from((frozenset[str](), frozenset({"look"}))),
    st.none() | st.integers(0, 2),
)


def pieces_of(terms: Terms, steps: list[Step]) -> list[Piece]:
    """Translate an answer, as far as it makes sense."""
    generation, pieces = UpstreamGeneration(terms), list[Piece]()
    try:
        for said in steps:
            piece = generation.take(said)
            pieces += [piece] if piece else []
            if piece and piece.finish:
                return pieces
        pieces.append(generation.end())
    except EngineError:
        pass
    return pieces


@given(st.lists(STEPS, max_size=12), TERMS)
def test_whatever_a_server_says_no_count_falls_and_none_is_above_the_limit(
    steps: list[Step], terms: Terms
) -> None:
    pieces = pieces_of(terms, steps)

    counts = [piece.completion_tokens for piece in pieces]
    prefilled = [piece.prompt_tokens for piece in pieces]
    assert counts == sorted(counts)
    assert prefilled == sorted(prefilled)
    assert all(0 <= count <= terms.completion_tokens_max for count in counts)
    assert all(0 <= count <= terms.prompt_tokens for count in prefilled)
    text = "".join(piece.text for piece in pieces)
    assert "".join(said.text for said in steps).startswith(text)
    assert not any(string in text for string in terms.stop if string)
    assert sum(len(piece.logprobs) for piece in pieces) <= max(counts, default=0)
    assert all(call.name in terms.tools for piece in pieces for call in piece.calls)
    assert [piece.finish for piece in pieces[:-1]] == [None] * (len(pieces) - 1)


class Bytes(httpx.AsyncByteStream):
    """A response's body, cut as a test says."""

    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


async def read(chunks: list[bytes]) -> list[Step]:
    """Read a stream of steps that comes in these chunks."""
    kind = {"Content-Type": "text/event-stream"}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, headers=kind, stream=Bytes(chunks)))
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://server") as http,
        stream_steps(http, "/v1/completions", {}) as steps,
    ):
        return [said async for said in steps]


GOOD = [
    step("a", tokens=1),
    b": a comment\n\n",
    step("\u00e9\u4e16", tokens=2),
    step("", tokens=2, finish="stop"),
    DONE,
]


@given(st.lists(st.integers(0, sum(map(len, GOOD))), max_size=8))
async def test_a_stream_says_the_same_however_it_is_cut(cuts: list[int]) -> None:
    whole = b"".join(GOOD)
    edges = [0, *sorted(cuts), len(whole)]

    steps = await read([whole[a:b] for a, b in pairwise(edges)])

    assert [said.text for said in steps] == ["a", "\u00e9\u4e16", ""]


async def test_a_line_ends_nowhere_but_at_its_end() -> None:
    text = "a\u2028b\u2029c\x85d"

    (only,) = await read([b'data: {"choices": [{"text": "' + text.encode() + b'"}]}\n\n', DONE])

    assert only.text == text


JUNK = st.binary(max_size=40) | st.sampled_from(
    (
        b"data: ",
        b"\n",
        b"\n\n",
        b"data: {",
        b"}",
        b"event: error\n",
        b"\xff",
        b'data: {"choices": [{"text": "a"}]}\n\n',
        b'data: {"choices": [{"logprobs": {"content": [{"token": "a", "logprob": NaN}]}}]}\n\n',
        b'data: {"choices": [{"logprobs": {"content": [{"token": "a", "logprob": 1e999}]}}]}\n\n',
        b"data: " + b"[" * 5000 + b"\n\n",
        b'data: {"error": {"message": "no"}}\n\n',
    )
)


@given(st.lists(JUNK, max_size=8))
async def test_junk_is_an_error_of_the_engine_or_nothing(chunks: list[bytes]) -> None:
    with suppress(EngineError):
        pieces_of(Terms(3, 20), await read(chunks))


NAMES = ("choices", "delta", "text", "usage", "tool_calls", "logprobs", "index", "x")
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=12,
)


@given(JSON)
async def test_json_of_any_other_shape_is_an_error_of_the_engine_or_nothing(said: Any) -> None:
    with suppress(EngineError):
        pieces_of(Terms(3, 20), await read([b"data: " + json.dumps(said).encode() + b"\n\n"]))


# ---------------------------------------------------------------- tool calls


def delta(index: int, name: str | None = None, arguments: str | None = None) -> CallDelta:
    return CallDelta(index, None if name is None else f"id-{index}", FunctionDelta(name, arguments))


def test_a_call_is_put_together_from_its_pieces_and_given_once_the_next_begins() -> None:
    calls = Calls(frozenset({"look", "find"}))

    assert calls.take([delta(0, "look", ""), delta(0, None, '{"a"')]) == []
    assert calls.take([delta(0, None, ": 1}"), delta(1, "find")]) == [ToolCall("id-0", "look", '{"a": 1}')]
    assert calls.end() == [ToolCall("id-1", "find", "{}")]
    assert calls.end() == []


@pytest.mark.parametrize(
    "deltas",
    [
        [delta(0, "other", "")],
        [delta(1, "look", "")],
        [delta(0, None, "{}")],
        [delta(0, "look", ""), delta(1, "look", ""), delta(0, None, "")],
        [delta(at, "look", "{}") for at in range(CALLS_MAX + 1)],
        [delta(0, "look", ""), *[delta(0, None, "\u00e9" * 512)] * (ARGUMENTS_MAX_BYTES // 1024 + 1)],
    ],
    ids=["not offered", "skipped", "nameless", "returned to", "too many", "endless"],
)
def test_calls_that_cannot_be_are_refused(deltas: list[CallDelta]) -> None:
    calls = Calls(frozenset({"look"}))

    with pytest.raises(EngineError):
        for said in deltas:
            calls.take([said])


def test_an_id_that_does_not_travel_is_replaced() -> None:
    calls = Calls(frozenset({"look"}))

    calls.take([CallDelta(0, "\u202e" * 3, FunctionDelta("look", "{}"))])

    assert calls.end() == [ToolCall("call-0", "look", "{}")]


@pytest.mark.parametrize("ids", [("a", "a", "a"), ("call-1", None, None), ("", "call-2", "\n")])
def test_no_two_calls_of_an_answer_have_one_id(ids: tuple[str | None, ...]) -> None:
    calls = Calls(frozenset({"look"}))

    given = calls.take([CallDelta(at, said, FunctionDelta("look")) for at, said in enumerate(ids)])

    assert len({call.id for call in [*given, *calls.end()]}) == len(ids)


def chunk(**delta: object) -> Step:
    return Step([Choice(delta=Delta(**delta))])  # type: ignore[arg-type]  # a test's own fields


TOOLS = Terms(3, 20, tools=frozenset({"look"}))


def test_calls_end_the_answer_as_calls_also_where_the_server_says_stop() -> None:
    called = chunk(tool_calls=[delta(0, "look", "{}")])

    pieces = pieces_of(TOOLS, [chunk(content="So: "), called, Step([Choice(finish_reason="stop")])])

    assert [(piece.text, piece.calls) for piece in pieces] == [
        ("So: ", ()), ("", (ToolCall("id-0", "look", "{}"),))
    ]  # fmt: skip
    assert pieces[-1].finish is Finish.TOOL_CALLS
    assert pieces[-1].completion_tokens == 2


def test_a_call_that_the_limit_cut_off_is_none() -> None:
    called = chunk(tool_calls=[delta(0, "look", '{"a": ')])

    (*_, last) = pieces_of(TOOLS, [called, Step([Choice(finish_reason="length")])])

    assert (last.finish, last.calls) == (Finish.LENGTH, ())


def test_a_thought_is_not_delivered_and_counts_with_what_follows() -> None:
    thoughts = [chunk(reasoning="hm"), chunk(reasoning_content="hm")]

    pieces = pieces_of(TOOLS, [*thoughts, chunk(content="Yes"), Step([Choice(finish_reason="stop")])])

    assert [(piece.text, piece.completion_tokens) for piece in pieces] == [("Yes", 3), ("", 3)]


# ---------------------------------------------------------------- counts


def said(text: str, tokens: int, finish: str | None = None) -> Step:
    return Step([Choice(text, finish_reason=finish)], usage=Usage(3, tokens))


def test_tokens_of_a_character_that_was_never_finished_are_not_charged() -> None:
    cut = [said("a", 1), said("", 2), said("", 3, "length")]

    assert [piece.completion_tokens for piece in pieces_of(Terms(3, 3), cut)] == [1, 1]


def test_of_tokens_without_text_only_the_one_that_ends_the_answer_counts() -> None:
    ended = [said("a", 1), said("", 2), said("", 3, "stop")]

    assert [piece.completion_tokens for piece in pieces_of(Terms(3, 9), ended)] == [1, 2]


def test_tokens_beyond_the_end_that_was_to_be_ignored_count() -> None:
    beyond = [said("a", 1), *[said("", at) for at in range(2, 9)], said("", 9, "length")]

    assert [piece.completion_tokens for piece in pieces_of(Terms(3, 9), beyond)] == [1, 9]


def test_a_usage_that_says_nothing_of_the_answer_counts_none_of_it() -> None:
    steps = [decode_step('{"choices": [{"text": "a"}], "usage": {"prompt_tokens": 3}}')] * 2

    assert [piece.completion_tokens for piece in pieces_of(Terms(3, 9), steps)] == [1, 2]


def test_a_prompt_counts_as_far_as_the_server_says_until_the_first_token() -> None:
    steps = [Step(prompt_progress=Progress(at)) for at in (0, 1, 1, 9)]

    pieces = pieces_of(Terms(3, 9), [*steps, said("a", 1, "stop")])

    assert [piece.prompt_tokens for piece in pieces] == [1, 3, 3, 3]


def test_an_answer_of_nothing_for_ever_ends() -> None:
    generation = UpstreamGeneration(Terms(3, 9))

    with pytest.raises(EngineError, match="no end"):
        for _ in range(STEPS_SPARE + 100):
            generation.take(Step([Choice("")]))


# ---------------------------------------------------------------- likelihoods


def likely(number: int, *, text: str = "a") -> Step:
    top = [TopEntry(f"t{at}", -float(at)) for at in range(5)]
    entry = TokenEntry(text, -0.5, None, top)
    return Step([Choice(text, logprobs=Logprobs([entry] * number))], usage=Usage(3, 1))


def test_likelihoods_come_with_their_token_and_as_many_as_were_asked_for() -> None:
    held = [said("b", 1), likely(1, text="c")]

    pieces = pieces_of(Terms(3, 9, stop=("cd",), logprobs=2), [likely(1), *held, said("", 3, "length")])

    assert [len(piece.logprobs) for piece in pieces] == [1, 0, 0]
    assert [top.token for top in pieces[0].logprobs[0].top] == [b"t0", b"t1"]


def test_more_likelihoods_than_tokens_are_refused() -> None:
    generation = UpstreamGeneration(Terms(3, 9, logprobs=0))

    with pytest.raises(EngineError, match="likely"):
        generation.take(likely(10))


def test_likelihoods_that_nobody_asked_for_are_left_out() -> None:
    (first, *_) = pieces_of(Terms(3, 9), [likely(1), said("", 1, "length")])

    assert first.logprobs == ()


@pytest.mark.parametrize("logprob", [b"1.5", b"NaN", b"-Infinity", b"1e999"])
def test_a_likelihood_that_is_none_is_an_error(logprob: bytes) -> None:
    data = b'{"choices": [{"logprobs": {"content": [{"token": "a", "logprob": ' + logprob + b"}]}}]}"

    with pytest.raises((EngineError, ValueError)):
        _ = decode_step(data.decode()).likelihoods


def test_old_completions_say_likelihoods_as_a_table() -> None:
    table = {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{"b": -2.0, "a": -0.5}]}

    (token,) = decode_step(json.dumps({"choices": [{"text": "a", "logprobs": table}]})).likelihoods

    assert (token.chosen.token, token.chosen.logprob) == (b"a", -0.5)
    assert [top.token for top in token.top] == [b"a", b"b"]


async def test_what_follows_an_answers_end_is_not_read() -> None:
    steps = await read([step("a", tokens=1), DONE, say({"error": "x"})])

    assert [said.text for said in steps] == ["a"]
