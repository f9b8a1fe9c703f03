"""What goes over the line between a node and an engine's process."""

import contextlib
import itertools
from dataclasses import fields

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.inference.engine import (
    Audio,
    Capabilities,
    ChatMessage,
    EngineError,
    Feature,
    FeatureMissing,
    Finish,
    GenerateRequest,
    ModelCard,
    ModelUnknown,
    Piece,
    PromptCount,
    PromptTooLong,
    RequestMalformed,
)
from cocoon_p2p.inference.isolated.faults import engine_error_of, error_of, fault_of
from cocoon_p2p.inference.isolated.frames import (
    FRAME_SIZE_MAX_BYTES,
    FROM_CHILD,
    HEAD,
    TO_CHILD,
    Beat,
    Begun,
    Count,
    Counted,
    Failed,
    Fault,
    Frames,
    FromChild,
    Grant,
    Leave,
    Left,
    LineBroken,
    Logged,
    Open,
    Opened,
    OpenFailed,
    Progress,
    Said,
    Start,
    ToChild,
    encode_frame,
)
from cocoon_p2p.inference.wishes import (
    Constraint,
    Grammar,
    Likelihood,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolUse,
)

REQUEST = GenerateRequest(
    "model",
    (ChatMessage("user", "Hi 🦋", images=(b"\xff",)), ChatMessage("tool", "4", call_id="1")),
    prompt=None,
    answer_prefix="so",
    completion_tokens_max=7,
    temperature=0.5,
    seed=2**64 - 1,
    stop=("x",),
    cache_scope=b"scope",
    constraint=Constraint(Grammar.REGEX, "a+"),
    tools=(Tool("add", "adds", "{}"),),
    tool_use=ToolUse.REQUIRED,
    logit_bias=((3, -100.0),),
    banned=("bad",),
    logprobs=0,
    inputs=("one", "two"),
    audio=Audio(b"RIFF", "en"),
)
PIECE = Piece(
    "text",
    3,
    9,
    1,
    Finish.TOOL_CALLS,
    (ToolCall("1", "add", "{}"),),
    (TokenLogprob(Likelihood(b"te", -0.5), (Likelihood(b"xt", -1.5),)),),
    (b"\x00\x00\x80?",),
)
CARD = ModelCard("m", bytes(32), bytes(32), 4096, frozenset(Feature), is_demo=True)

TO: list[ToChild] = [
    Open(msgspec.Raw(b"\x90"), "/hashes.json", 30),
    Count(1, REQUEST),
    Start(2, REQUEST, 65536),
    Grant(2, 10),
    Leave(2),
]
FROM: list[FromChild] = [
    Progress(1, 2),
    Opened(Capabilities("engine 1", (CARD,), 4)),
    OpenFailed(Fault("ConfigurationError", "no", "do")),
    Counted(1, PromptCount(4, 3)),
    Begun(2),
    Said(2, PIECE),
    Failed(2, Fault("EngineError", "no", "")),
    Left(2),
    Beat(),
    Logged(30, "cocoon_p2p.x", "phrase", {"slot": 1, "why": "x", "share": 0.5, "is": True, "none": None}),
]


@pytest.mark.parametrize("message", TO, ids=lambda message: type(message).__name__)
def test_what_a_node_says_arrives_as_it_was(message: ToChild) -> None:
    frame = encode_frame(message)

    assert Frames(TO_CHILD).feed(frame) == [(message, len(frame))]


@pytest.mark.parametrize("message", FROM, ids=lambda message: type(message).__name__)
def test_what_a_child_says_arrives_as_it_was(message: FromChild) -> None:
    frame = encode_frame(message)

    assert Frames(FROM_CHILD).feed(frame) == [(message, len(frame))]


def test_the_request_and_the_piece_of_these_tests_use_every_field() -> None:
    """So that a field that cannot travel is found here."""
    unused = {
        field.name
        for value in (REQUEST, PIECE)
        for field in fields(value)
        if getattr(value, field.name) == field.default
    }

    assert unused <= {"prompt", "top_p", "ignore_eos", "frequency_penalty", "presence_penalty"}


@given(cuts=st.lists(st.integers(0, 2000), max_size=12))
def test_frames_arrive_however_they_are_cut(cuts: list[int]) -> None:
    data = b"".join(map(encode_frame, FROM))
    frames = Frames(FROM_CHILD)
    came: list[FromChild] = []
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})

    for start, end in itertools.pairwise(places):
        came += [message for message, _ in frames.feed(data[start:end])]

    assert came == FROM


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_break_the_line(data: bytes) -> None:
    with contextlib.suppress(LineBroken):
        Frames(FROM_CHILD).feed(data)
    with contextlib.suppress(LineBroken):
        Frames(FROM_CHILD).feed(HEAD.pack(len(data)) + data)


def test_a_frame_that_says_to_be_too_large_is_refused_before_it_has_come() -> None:
    with pytest.raises(LineBroken, match="too large"):
        Frames(FROM_CHILD).feed(HEAD.pack(FRAME_SIZE_MAX_BYTES + 1))


def test_a_message_of_the_other_direction_breaks_the_line() -> None:
    with pytest.raises(LineBroken):
        Frames(FROM_CHILD).feed(encode_frame(Leave(1)))


def test_a_message_that_is_too_large_is_not_sent() -> None:
    with pytest.raises(ValueError, match="too large"):
        encode_frame(Said(1, Piece("", 0, vectors=(bytes(FRAME_SIZE_MAX_BYTES),))))


@pytest.mark.parametrize(
    "kind",
    [
        ConfigurationError,
        Unavailable,
        EngineError,
        PromptTooLong,
        ModelUnknown,
        RequestMalformed,
        FeatureMissing,
    ],
)
def test_an_error_arrives_with_its_class_its_text_and_its_hint(kind: type[EngineError]) -> None:
    error = error_of(fault_of(kind("what is wrong", hint="what to do")))

    assert type(error) is kind
    assert (str(error), error.hint) == ("what is wrong", "what to do")


def test_a_subclass_arrives_as_the_nearest_class_that_is_known() -> None:
    class NewlyThought(FeatureMissing):
        pass

    assert type(error_of(fault_of(NewlyThought("no grammar")))) is FeatureMissing


def test_an_error_that_nobody_foresaw_arrives_without_its_text() -> None:
    error = error_of(fault_of(ValueError("the prompt was: my secret")))

    assert type(error) is EngineError
    assert "ValueError" in str(error)
    assert "secret" not in str(error)


def test_what_a_child_calls_the_failure_of_a_call_is_an_engine_s_error() -> None:
    assert type(engine_error_of(Fault("ConfigurationError", "x", ""))) is EngineError
    assert type(engine_error_of(Fault("SystemExit", "x", ""))) is EngineError


def test_an_error_s_text_that_is_no_text_is_made_one() -> None:
    assert encode_frame(Failed(1, fault_of(EngineError("\ud800" * 10_000))))
