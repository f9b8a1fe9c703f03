"""Wishes beyond text as applications have them, what they come to, and what cannot be meant."""

import json
import math
import struct
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.client import Policy, Wishes
from cocoon_p2p.client.bounds import speech_seconds_max
from cocoon_p2p.client.messages import read_messages
from cocoon_p2p.client.request import Request, build_request
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.protocols.contents import ChatTurn, encode_request
from cocoon_p2p.protocols.ids import Kind
from cocoon_p2p.protocols.wishes import Audio, Constraint, Grammar, LogitBias, Tool, ToolCall, ToolUse

PARAMETERS = {"type": "object", "properties": {"town": {"type": "string"}}}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "Of a town.", "parameters": PARAMETERS},
}
CLOCK = {"type": "function", "function": {"name": "clock"}}
PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 640, 480) + bytes(9)
DATA_URI = "data:image/png;base64," + b64encode(PNG).decode()


def request(*messages: Any, **wishes: Any) -> Request:
    turns = read_messages(messages or [{"role": "user", "content": "x"}])
    return build_request("m", Wishes(**wishes), Policy(), messages=turns)


@pytest.mark.parametrize(
    ("wishes", "constraint", "feature"),
    [
        ({"schema": {"type": "object"}}, (Grammar.JSON_SCHEMA, '{"type":"object"}'), "json-schema"),
        ({"schema": '{ "a": 1 }'}, (Grammar.JSON_SCHEMA, '{ "a": 1 }'), "json-schema"),
        ({"json_object": True}, (Grammar.JSON_OBJECT, ""), "json-schema"),
        ({"regex": "(yes|no)"}, (Grammar.REGEX, "(yes|no)"), "regex"),
        ({"grammar": "root ::= x"}, (Grammar.GBNF, "root ::= x"), "grammar"),
    ],
)
def test_a_form_is_spelled_and_asked_for_by_name(
    wishes: dict[str, Any], constraint: tuple[Grammar, str], feature: str
) -> None:
    made = request(**wishes)

    assert made.content.constraint == Constraint(*constraint)
    assert made.features == (feature,)


def test_tools_are_openai_s() -> None:
    made = request(tools=[WEATHER, CLOCK])

    weather, clock = made.content.tools
    assert (weather.name, weather.description, json.loads(weather.parameters)) == (
        "weather",
        "Of a town.",
        PARAMETERS,
    )
    assert clock == Tool("clock", "", '{"type":"object","properties":{}}')
    assert (made.content.tool_use, made.features) == (None, ("tools",))


@pytest.mark.parametrize(
    ("choice", "use", "names"),
    [
        ("auto", ToolUse.AUTO, ["weather", "clock"]),
        ("none", ToolUse.NONE, ["weather", "clock"]),
        ("required", ToolUse.REQUIRED, ["weather", "clock"]),
        ("clock", ToolUse.REQUIRED, ["clock"]),
    ],
)
def test_a_tool_that_must_be_called_is_offered_alone(choice: str, use: ToolUse, names: list[str]) -> None:
    content = request(tools=[WEATHER, CLOCK], tool_choice=choice).content

    assert (content.tool_use, [tool.name for tool in content.tools]) == (use, names)


def test_numbers_are_spelled_upwards_in_thousandths() -> None:
    content = request(
        logit_bias={5: -100, 6: 0.25}, frequency_penalty=-2, presence_penalty=0, logprobs=0, banned=["x"]
    ).content

    assert content.logit_bias == (LogitBias(5, 0), LogitBias(6, 100_250))
    assert (content.frequency_penalty_milli, content.presence_penalty_milli) == (0, None)
    assert (content.logprobs, content.banned) == (0, ("x",))


def test_parts_of_a_message_become_its_text_and_pictures() -> None:
    parts = [
        {"type": "text", "text": "What"},
        {"type": "image_url", "image_url": {"url": DATA_URI}},
        {"type": "text", "text": "is it?"},
    ]
    made = request({"role": "user", "content": parts})

    assert made.content.messages == (ChatTurn("user", "What\nis it?", images=(PNG,)),)
    assert made.features == ("images",)


def test_calls_and_what_they_came_to_are_openai_s_messages() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    made = request(
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "assistant", "tool_calls": [ToolCall("2", "clock", "{}")]},
        {"role": "tool", "tool_call_id": "1", "content": "noon"},
    )

    assert made.content.messages == (
        ChatTurn("assistant", "", calls=(ToolCall("1", "clock", "{}"),)),
        ChatTurn("assistant", "", calls=(ToolCall("2", "clock", "{}"),)),
        ChatTurn("tool", "noon", call_id="1"),
    )
    assert made.features == ("tools",)


@pytest.mark.parametrize(
    ("wishes", "says"),
    [
        ({"schema": {}, "regex": "a"}, "one form"),
        ({"schema": "[]"}, "schema: no JSON object"),
        ({"schema": {"a": math.nan}}, "not JSON"),
        ({"schema": {"a": {1, 2}}}, "not JSON"),
        ({"schema": "x" * 65_537}, "too long"),
        ({"regex": "a" * 65_537}, "too long"),
        ({"regex": 5}, "not text"),
        ({"tools": [{"name": "weather"}]}, "of type `function`"),
        ({"tools": [{"type": "retrieval", "function": {"name": "a"}}]}, "of type `function`"),
        ({"tools": [{"function": {"name": 5}}]}, "of type `function`"),
        ({"tools": [CLOCK, CLOCK]}, "one name"),
        ({"tools": [CLOCK] * 129}, "number of tools"),
        ({"tools": [{"function": {"name": "a b"}}]}, "letters, digits"),
        ({"tools": [{"function": {"name": "a", "description": "x" * 16_385}}]}, "too long"),
        ({"tools": [{"function": {"name": "a", "parameters": [1]}}]}, "no JSON object"),
        ({"tool_choice": "auto"}, "without tools"),
        ({"tools": [CLOCK], "tool_choice": "weather"}, "names no tool"),
        ({"tools": [CLOCK], "tool_choice": {"type": "function"}}, "names no tool"),
        ({"stop": "end"}, "stop is a list"),
        ({"banned": "end"}, "banned is a list"),
        ({"logit_bias": {-1: 0}}, "out of range"),
        ({"logit_bias": {1: 100.5}}, "out of range"),
        ({"logit_bias": {"1": 1}}, "not a number"),
        ({"logit_bias": {1: math.nan}}, "out of range"),
        ({"logit_bias": dict.fromkeys(range(1025), 0)}, "number of biased tokens"),
        ({"banned": ["x"] * 129}, "number of banned strings"),
        ({"banned": ["x" * 257]}, "too long"),
        ({"logprobs": 21}, "out of range"),
        ({"frequency_penalty": -2.1}, "out of range"),
        ({"presence_penalty": math.nan}, "out of range"),
    ],
)
def test_a_wish_that_cannot_be_meant_is_named(wishes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        request(**wishes)


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"role": "user", "content": [{"type": "video"}]}, "of type `text` or `image_url`"),
        ({"role": "user", "content": ["x"]}, "of type `text` or `image_url`"),
        (
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}],
            },
            "`data:` URI",
        ),
        (
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,!"}}],
            },
            "not base64",
        ),
        ({"role": "user", "content": 5}, "content"),
        ({"role": "user"}, "a `role` and a `content`"),
        ({"role": 5, "content": "x"}, "role is not text"),
        ({"role": "assistant", "tool_calls": [{"id": "1"}]}, "an `id` and a `function`"),
        ({"role": "tool", "content": "x", "tool_call_id": 5}, "tool call id is not text"),
        (ChatTurn("user", "x", images=(b"GIF",)), "neither PNG nor JPEG"),
        (ChatTurn("user", "x", images=(PNG,) * 17), "16 images at most"),
        (ChatTurn("user", "x", images=(PNG + bytes(8 * 1024 * 1024),)), "image is too long"),
    ],
)
def test_a_message_that_cannot_be_meant_is_named(message: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        request(message)


# ---------------------------------------------------------------- what a prompt can come to


def wav(seconds: float, rate: int = 16_000) -> bytes:
    sound = bytes(2 * int(seconds * rate))
    head = struct.pack(
        "<4sI8sIHHIIHH", b"RIFF", 36 + len(sound), b"WAVEfmt ", 16, 1, 1, rate, 2 * rate, 2, 16
    )
    return head + struct.pack("<4sI", b"data", len(sound)) + sound


def opus(*ends: float, size: int = 30_000) -> bytes:
    """Spell one page with the header and one that ends there, and this again for each end."""

    def page(granule: int, body: bytes) -> bytes:
        return b"OggS" + struct.pack("<BBqIIIB", 0, 0, granule, 1, 0, 0, 1) + b"\1" + body

    return b"".join(page(0, b"OpusHead" + bytes(11)) + page(int(end * 48_000), bytes(size)) for end in ends)


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        (opus(4.5), 5),
        (opus(60, size=15_000), 60),
        (opus(4.5, 4.5), 81),
        (opus(-1.0), 41),
        (opus(4.5)[:40], 1),
        (wav(1.0), 2),
        (wav(2.5), 3),
        (wav(2.5, 48_000), 3),
        (b"OggS" + bytes(7_500 - 4), 10),
        (b"", 0),
        (wav(1.0)[:20] + b"\x55\x00" + wav(1.0)[22:], 43),
        (wav(1.0)[:28] + bytes(4) + wav(1.0)[32:], 43),
    ],
    ids=[
        "opus",
        "mostly silence",
        "two recordings",
        "a page that ends nowhere",
        "cut short",
        "wav",
        "begun seconds",
        "a higher rate",
        "by size",
        "nothing",
        "compressed wav",
        "a rate of nothing",
    ],
)
def test_how_long_a_recording_can_be_follows_from_its_size(data: bytes, seconds: int) -> None:
    assert speech_seconds_max(data) == seconds


def test_speech_is_bounded_by_its_seconds_and_may_say_as_much_as_they_hold() -> None:
    made = build_request("m", {}, Policy(), audio=Audio(wav(99.5), "uz"), prompt="Toshkent")

    assert made.content.kind is Kind.TRANSCRIPTION
    assert made.prompt_tokens_bound == 100 * 50 + len("Toshkent") + 128
    assert made.content.completion_tokens_max == 800
    limited = build_request("m", {"completion_tokens_max": 7}, Policy(), audio=Audio(wav(99.5)))
    assert limited.content.completion_tokens_max == 7


def test_pictures_tools_and_calls_add_to_the_bound() -> None:
    plain = request({"role": "user", "content": "x"}).prompt_tokens_bound
    seen = request(ChatTurn("user", "x", images=(PNG, PNG))).prompt_tokens_bound
    tooled = request({"role": "user", "content": "x"}, tools=[CLOCK]).prompt_tokens_bound
    called = request(ChatTurn("user", "x", calls=(ToolCall("1", "clock", "{}"),))).prompt_tokens_bound

    assert seen == plain + 2 * (4096 + 24)
    assert tooled == plain + 512 + 64 + 2 * len('clock{"type":"object","properties":{}}')
    assert called == plain + 64 + 2 * len("1clock{}")


@given(st.lists(st.text(max_size=40), min_size=1, max_size=5))
def test_what_is_embedded_asks_for_no_token_and_is_bounded_by_its_bytes(inputs: list[str]) -> None:
    made = build_request("m", {}, Policy(), inputs=tuple(inputs))

    assert made.content.kind is Kind.EMBEDDING
    assert made.content.completion_tokens_max == 0
    assert made.prompt_tokens_bound == 128 + sum(len(text.encode()) + 24 for text in inputs)
    assert encode_request(made.content)


def test_wishes_about_tokens_are_none_that_an_embedding_could_grant() -> None:
    for wishes in ({"temperature": 0.5}, {"completion_tokens_max": 5}, {"tools": [CLOCK]}, {"stop": ["x"]}):
        with pytest.raises(ConfigurationError, match="makes no tokens to wish for"):
            build_request("m", Wishes(**wishes), Policy(), inputs=("x",))  # type: ignore[typeddict-item]
