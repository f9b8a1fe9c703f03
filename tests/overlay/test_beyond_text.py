"""Tools, forms, likelihoods, pictures, vectors, speech: from the client to the engine and back, and paid."""

import json
import struct
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from cocoon_p2p.errors import AnswerBroken, Refused
from cocoon_p2p.inference import wishes
from cocoon_p2p.inference.engine import Audio, Feature, GenerateRequest
from cocoon_p2p.protocols.exchange.findings import Subject
from cocoon_p2p.protocols.exchange.verification import verify_bundle
from cocoon_p2p.protocols.ids import Kind
from cocoon_p2p.protocols.messages import Usage
from cocoon_p2p.protocols.wishes import ToolCall
from cocoon_p2p.testing.engine import ScriptedEngine, scripted_model, scripted_vector
from cocoon_p2p.testing.overlay import Overlay, open_overlay
from tests.overlay.test_exchanges import check_sums, settle

HOW_WARM = ({"role": "user", "content": "How warm is it?"},)
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a town.",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}},
    },
}
CALL = wishes.ToolCall("call_1", "weather", '{"town": "Tashkent"}')
PICTURE = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 640, 480) + bytes(9)
MODELS = (
    scripted_model(features=Feature),
    scripted_model("plain", features=()),
    scripted_model("vectors", features=(), kind=Kind.EMBEDDING),
    scripted_model("speech", features=(), kind=Kind.TRANSCRIPTION),
)


def script(request: GenerateRequest) -> tuple[str | wishes.ToolCall, ...]:
    """Ask for the tool, and talk about what it said."""
    if request.tools and not any(message.role == "tool" for message in request.messages):
        return "Let me ", "look.", CALL
    return "It ", "is ", "31 ", "degrees."


@asynccontextmanager
async def network(**options: object) -> AsyncIterator[tuple[Overlay, ScriptedEngine]]:
    engine = ScriptedEngine(script, models=MODELS, **options)  # type: ignore[arg-type]
    async with open_overlay(engines=[engine]) as overlay:
        yield overlay, engine


async def test_a_tool_is_asked_for_and_its_answer_is_talked_about(autojump_clock: trio.abc.Clock) -> None:
    async with network() as (overlay, engine):
        async with overlay.client.chat("scripted", HOW_WARM, tools=[WEATHER]) as asking:
            assert await asking.read() == "Let me look."
        said = {"role": "assistant", "content": asking.text, "tool_calls": list(asking.tool_calls)}
        told = {"role": "tool", "tool_call_id": "call_1", "content": '{"celsius": 31}'}
        async with overlay.client.chat("scripted", [*HOW_WARM, said, told], tools=[WEATHER]) as answer:
            assert await answer.read() == "It is 31 degrees."

        assert asking.finish == "tool_calls"
        assert asking.tool_calls == (ToolCall("call_1", "weather", '{"town": "Tashkent"}'),)
        assert asking.usage.completion == 3
        (tool,) = engine.requests[0].tools
        assert json.loads(tool.parameters) == WEATHER["function"]["parameters"]  # type: ignore[index]
        assert engine.requests[1].messages[1].calls == (CALL,)
        assert engine.requests[1].messages[2].call_id == "call_1"
        await settle(overlay)
        check_sums(overlay)


async def test_every_wish_comes_to_the_engine_as_it_was_meant(autojump_clock: trio.abc.Clock) -> None:
    url = "data:image/png;base64," + b64encode(PICTURE).decode()
    seen = {"role": "user", "content": [
        {"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}},
    ]}  # fmt: skip
    async with network() as (overlay, engine):
        async with overlay.client.chat(
            "scripted",
            [seen],
            schema={"type": "object"},
            logit_bias={7: -100, 8: 1.5},
            banned=["As an AI"],
            frequency_penalty=-2,
            presence_penalty=0.5,
        ) as answer:
            await answer.read()

        (request,) = engine.requests
        assert request.constraint == wishes.Constraint(wishes.Grammar.JSON_SCHEMA, '{"type":"object"}')
        assert request.logit_bias == ((7, -100.0), (8, 1.5))
        assert (request.banned, request.frequency_penalty, request.presence_penalty) == (
            ("As an AI",),
            -2.0,
            0.5,
        )
        assert (request.messages[0].content, request.messages[0].images) == ("What is this?", (PICTURE,))


async def test_each_token_comes_with_how_likely_it_was(autojump_clock: trio.abc.Clock) -> None:
    async with network() as (overlay, _):
        async with overlay.client.chat("scripted", HOW_WARM, logprobs=2) as answer:
            told = [one for piece in [piece async for piece in answer] for one in piece.logprobs]

        assert [one.chosen.token.decode() for one in told] == ["It ", "is ", "31 ", "degrees."]
        assert [likely.logprob for likely in told[0].top] == [-0.75, -1.5]


async def test_texts_are_embedded_and_only_their_tokens_are_paid(autojump_clock: trio.abc.Clock) -> None:
    async with network() as (overlay, engine):
        made = await overlay.client.embed("vectors", ["a cocoon", "a moth", "a cocoon"])

        expected = [
            struct.unpack("<4f", scripted_vector(text)) for text in ("a cocoon", "a moth", "a cocoon")
        ]
        assert [tuple(vector) for vector in made.vectors] == expected
        assert made.usage == Usage(prompt=9, cached=0, completion=0, reasoning=0)
        assert made.receipt is not None
        assert made.receipt.usage == made.usage
        assert made.cost > 0
        assert made.answer.bundle is not None
        verified = verify_bundle(made.answer.bundle)
        assert verified.holds
        assert "open to 0 characters, 3 vectors" in verified[Subject.ANSWER].words
        assert engine.requests[0].inputs == ("a cocoon", "a moth", "a cocoon")
        await settle(overlay)
        check_sums(overlay)


async def test_vectors_of_many_long_texts_come_whole_and_in_order(autojump_clock: trio.abc.Clock) -> None:
    def embed(text: str) -> bytes:
        return struct.pack("<4096f", *(float(text),) * 4096)

    texts = [str(number) for number in range(100)]
    async with network(embed=embed, delay_seconds=0.0) as (overlay, _):
        made = await overlay.client.embed("vectors", texts)

        assert [vector[0] for vector in made.vectors] == [float(text) for text in texts]
        assert {len(vector) for vector in made.vectors} == {4096}


async def test_speech_is_written_down_and_counted_by_the_second(autojump_clock: trio.abc.Clock) -> None:
    sound = bytes(70_000)
    async with network() as (overlay, engine):
        async with overlay.client.transcribe("speech", sound, language="uz", prompt="Tashkent") as answer:
            assert await answer.read() == "It is 31 degrees."

        assert engine.requests[0].audio == Audio(sound, "uz")
        assert engine.requests[0].prompt == "Tashkent"
        assert answer.usage.prompt == 3 * 50 + 2
        await settle(overlay)
        check_sums(overlay)


@pytest.mark.parametrize(
    ("wish", "feature"),
    [
        ({"schema": {}}, "json-schema"),
        ({"json_object": True}, "json-schema"),
        ({"regex": "a*"}, "regex"),
        ({"grammar": 'root ::= "a"'}, "grammar"),
        ({"tools": [WEATHER]}, "tools"),
        ({"logprobs": 0}, "logprobs"),
        ({"logit_bias": {1: 1}}, "logit-bias"),
        ({"banned": ["a"]}, "banned-strings"),
        ({"presence_penalty": 1}, "penalties"),
    ],
)
async def test_what_a_model_lacks_is_refused_by_name_before_anything_is_paid(
    wish: dict[str, object], feature: str, autojump_clock: trio.abc.Clock
) -> None:
    async with network() as (overlay, engine):
        with pytest.raises(Refused, match=feature) as refused:
            async with overlay.client.chat("plain", HOW_WARM, **wish):  # type: ignore[arg-type]
                pytest.fail("there can be no answer")

        assert refused.value.code == "unknown-feature"
        assert (refused.value.charged, engine.requests) == (0, [])


async def test_a_model_is_not_asked_for_what_another_kind_does(autojump_clock: trio.abc.Clock) -> None:
    async with network() as (overlay, engine):
        for name, kind in (("vectors", "embedding"), ("speech", "transcription")):
            with pytest.raises(Refused, match=f"unsupported kind: chat .*offered_for={kind}"):
                async with overlay.client.chat(name, HOW_WARM):
                    pytest.fail("there can be no answer")
        with pytest.raises(Refused, match="unsupported kind: embedding"):
            await overlay.client.embed("scripted", ["a"])
        with pytest.raises(Refused, match="unsupported kind: transcription"):
            async with overlay.client.transcribe("vectors", b"sound"):
                pytest.fail("there can be no answer")

        assert engine.requests == []


async def test_a_call_that_came_before_the_answer_broke_is_kept(autojump_clock: trio.abc.Clock) -> None:
    async with network(fail_at=3) as (overlay, _):
        async with overlay.client.chat("scripted", HOW_WARM, tools=[WEATHER]) as answer:
            with pytest.raises(AnswerBroken):
                await answer.read()

        assert [call.id for call in answer.tool_calls] == ["call_1"]
        await settle(overlay)
        check_sums(overlay)


async def test_an_engine_that_breaks_off_amid_vectors_is_not_paid_for_the_prompt(
    autojump_clock: trio.abc.Clock,
) -> None:
    def embed(text: str) -> bytes:
        return scripted_vector(text) if text != "c" else bytes(3)

    async with network(embed=embed) as (overlay, _):
        with pytest.raises(AnswerBroken):
            await overlay.client.embed("vectors", ["a", "b", "c"])

        await settle(overlay)
        assert overlay.paid() == (0, 0, 0)
