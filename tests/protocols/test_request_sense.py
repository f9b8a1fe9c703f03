"""What no honest client seals, and no engine should see."""

import contextlib
import json
import struct
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.protocols.contents import ChatTurn, RequestContent, decode_request, encode_request
from cocoon_p2p.protocols.ids import IMAGES_MAX, JSON_DEPTH_MAX, Kind
from cocoon_p2p.protocols.image_size import pixels_of
from cocoon_p2p.protocols.json_text import check_depth, read_json_object
from cocoon_p2p.protocols.request_sense import check_request
from cocoon_p2p.protocols.wishes import Audio, Constraint, Grammar, Tool, ToolCall, ToolUse
from tests.protocols.samples import EMBEDDING_REQUEST, REQUEST, SPEECH_REQUEST
from tests.protocols.shapes import values


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(9)


def jpeg(width: int, height: int, frame: int = 0xC0) -> bytes:
    # What a camera tells of itself, a fill byte, a Huffman table, and the frame header.
    before = b"\xff\xe1" + struct.pack(">H", 10) + bytes(8) + b"\xff\xff\xc4" + struct.pack(">H", 4) + b"xy"
    return b"\xff\xd8" + before + struct.pack(">BBHBHH", 0xFF, frame, 17, 8, height, width) + bytes(10)


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


TOOL = Tool("weather", "", "{}")
COMPLETION = replace(REQUEST, kind=Kind.COMPLETION, messages=(), prompt="Once")


def seeing(*images: bytes) -> RequestContent:
    return replace(REQUEST, messages=(ChatTurn("user", "", images=images),))


def calling(*calls: ToolCall) -> RequestContent:
    return replace(REQUEST, messages=(ChatTurn("assistant", "", calls=calls),))


def many_calls(count: int) -> RequestContent:
    calls = tuple(ToolCall(str(number), "f", "{}") for number in range(count))
    turns = tuple(ChatTurn("assistant", "", calls=calls[at : at + 64]) for at in range(0, count, 64))
    return replace(REQUEST, messages=turns)


def schema(text: str) -> RequestContent:
    return replace(REQUEST, constraint=Constraint(Grammar.JSON_SCHEMA, text))


@pytest.mark.parametrize(
    "content",
    [
        REQUEST,
        COMPLETION,
        EMBEDDING_REQUEST,
        SPEECH_REQUEST,
        replace(SPEECH_REQUEST, prompt=None),
        replace(REQUEST, tools=(TOOL,), tool_use=ToolUse.REQUIRED),
        replace(REQUEST, constraint=Constraint(Grammar.JSON_OBJECT, "")),
        replace(REQUEST, constraint=Constraint(Grammar.REGEX, "a*")),
        schema(nested(JSON_DEPTH_MAX)),
        calling(ToolCall("1", "f", '{"cut": [off')),
        calling(ToolCall("1", "f", "no JSON at all")),
        seeing(png(8000, 6000), jpeg(640, 480)),
    ],
)
def test_what_makes_sense_is_taken(content: RequestContent) -> None:
    check_request(content)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (replace(REQUEST, messages=()), "a chat has messages"),
        (replace(REQUEST, prompt="and a prompt"), "a chat has messages"),
        (replace(COMPLETION, prompt=None), "a completion a prompt"),
        (replace(EMBEDDING_REQUEST, inputs=()), "an embedding inputs"),
        (replace(EMBEDDING_REQUEST, prompt="x"), "an embedding inputs"),
        (replace(SPEECH_REQUEST, audio=None), "a transcription audio"),
        (replace(SPEECH_REQUEST, inputs=("x",)), "a transcription audio"),
        (replace(SPEECH_REQUEST, audio=Audio(b"")), "audio: it is empty"),
        (replace(REQUEST, audio=SPEECH_REQUEST.audio), "a chat has messages"),
        (replace(REQUEST, completion_tokens_max=0), "no completion tokens"),
        (replace(EMBEDDING_REQUEST, completion_tokens_max=1), "no completion tokens"),
        (replace(COMPLETION, tools=(TOOL,)), "tools are for chats"),
        (replace(REQUEST, tool_use=ToolUse.AUTO), "tool use without tools"),
        (replace(REQUEST, tools=(TOOL, TOOL)), "one name"),
        (replace(REQUEST, tools=(replace(TOOL, name="a b"),)), "letters, digits"),
        (replace(REQUEST, tools=(replace(TOOL, name=""),)), "letters, digits"),
        (replace(REQUEST, tools=(replace(TOOL, name="weather\n"),)), "letters, digits"),
        (replace(REQUEST, tools=(replace(TOOL, parameters="[]"),)), "no JSON object"),
        (replace(REQUEST, tools=(replace(TOOL, parameters=nested(33)),)), "nests too deep"),
        (
            replace(
                REQUEST, tools=tuple(replace(TOOL, name=str(n), description="x" * 16_000) for n in range(17))
            ),
            "too long together",
        ),
        (schema(""), "no JSON"),
        (schema("{"), "no JSON"),
        (schema('{"a": NaN}'), "no JSON"),
        (schema('{"a": "\\ud800"}'), "no JSON"),
        (schema('{"a": 1e999}'), "no JSON"),
        (schema('{"a": ' + "1" * 5_000 + "}"), "no JSON"),
        (schema("[[" * 30_000), "nests too deep"),
        (schema(nested(JSON_DEPTH_MAX + 1 + JSON_DEPTH_MAX // 2)), "nests too deep"),
        (replace(REQUEST, constraint=Constraint(Grammar.JSON_OBJECT, "x")), "a text beside"),
        (replace(REQUEST, constraint=Constraint(Grammar.REGEX, "")), "empty"),
        (replace(REQUEST, constraint=Constraint(Grammar.GBNF, "")), "empty"),
        (calling(ToolCall("1", "f", "[" * 33_000)), "nests too deep"),
        (calling(ToolCall("1", "f g", "{}")), "letters, digits"),
        (calling(*(ToolCall("1", "f", " " * 32_000) for _ in range(33))), "too long together"),
        (many_calls(4097), "too many"),
        (seeing(*(png(1, 1),) * (IMAGES_MAX + 1)), "too many"),
        (seeing(png(50_000, 1_001)), "pixels"),
        (seeing(jpeg(65_535, 65_535)), "pixels"),
        (seeing(b"GIF89a"), "neither PNG nor JPEG"),
        (seeing(b""), "neither PNG nor JPEG"),
        (seeing(png(0, 5)), "of no size"),
    ],
)
def test_what_makes_none_is_refused_by_name(content: RequestContent, says: str) -> None:
    with pytest.raises(MalformedMessage, match=says):
        check_request(content)


@given(content=values(RequestContent))
@settings(max_examples=60, deadline=None)
def test_whatever_can_be_spelled_is_judged(content: RequestContent) -> None:
    assert encode_request(content)

    with contextlib.suppress(MalformedMessage):
        check_request(content)


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=3), st.booleans())
def test_json_of_few_levels_is_read_as_it_is(value: dict[str, Any], is_ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii, indent=1)

    assert read_json_object("it", text) == value


@given(depth=st.integers(0, 200), letters=st.text('[]{}"\\a', max_size=30))
def test_brackets_inside_of_strings_do_not_count_and_all_others_do(depth: int, letters: str) -> None:
    quoted = json.dumps("[" * depth + letters)

    check_depth("it", f"[{quoted}]")
    if depth > 2 * JSON_DEPTH_MAX:
        with pytest.raises(MalformedMessage):
            check_depth("it", "[" * depth + quoted + "]" * depth)


@given(st.text('[]{}"\\, a1', max_size=200))
def test_what_passes_is_shallow_enough_for_whoever_recurses(text: str) -> None:
    try:
        check_depth("it", text)
    except MalformedMessage:
        return
    depth = deepest = 0
    is_text = is_escaped = False
    for letter in text:
        if is_text:
            is_text = is_escaped or letter != '"'
            is_escaped = letter == "\\" and not is_escaped
        elif letter == '"':
            is_text = True
        else:
            depth = max(0, depth + (letter in "[{") - (letter in "]}"))
            deepest = max(deepest, depth)
    assert deepest <= 2 * JSON_DEPTH_MAX


@pytest.mark.parametrize("frame", [0xC0, 0xC1, 0xC2, 0xCF])
def test_a_picture_s_size_is_read_from_its_header(frame: int) -> None:
    assert pixels_of(jpeg(640, 480, frame)) == 640 * 480
    assert pixels_of(png(3, 5)) == 15


@given(
    st.binary(max_size=60), st.sampled_from((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"")), st.integers(0, 50)
)
def test_a_picture_of_any_bytes_is_measured_or_refused(tail: bytes, head: bytes, cut: int) -> None:
    for data in (head + tail, jpeg(7, 7)[:cut] + tail, png(7, 7)[:cut]):
        try:
            assert pixels_of(data) > 0
        except MalformedMessage:
            continue


def test_a_request_of_too_many_calls_is_not_even_read() -> None:
    assert decode_request(encode_request(many_calls(4096))) == many_calls(4096)
    with pytest.raises(MalformedMessage, match="tool calls: too many"):
        decode_request(encode_request(many_calls(4097)))


def test_a_frame_header_is_not_hidden_behind_what_some_decoders_take_for_garbage() -> None:
    large, small = jpeg(65_535, 65_535)[2:], jpeg(7, 7)[2:]

    with pytest.raises(MalformedMessage, match="no frame header"):
        pixels_of(b"\xff\xd8\xff\x00" + struct.pack(">H", 2 + len(large)) + large + small)


def test_a_picture_of_endless_segments_is_given_up() -> None:
    with pytest.raises(MalformedMessage, match="no frame header"):
        pixels_of(b"\xff\xd8" + b"\xff\xe0\x00\x02" * 2_000_000)
    with pytest.raises(MalformedMessage, match="no frame header"):
        pixels_of(b"\xff\xd8\xff" + b"\xff" * 8_000_000)
