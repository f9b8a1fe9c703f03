"""What comes back: OpenAI's shapes, from a real server on a real socket."""

import json
import struct
from base64 import b64decode
from typing import Any

import pytest

from cocoon_p2p.client import Policy
from cocoon_p2p.inference.engine import Feature
from cocoon_p2p.inference.wishes import ToolCall
from cocoon_p2p.protocols.ids import Kind, Trust
from cocoon_p2p.testing.engine import FEATURES, ScriptedEngine, scripted_model, scripted_vector
from cocoon_p2p.units import Nano
from tests.gateway.scene import chunks_of, error_of, open_gateway

pytestmark = pytest.mark.slow

NOTHING: dict[str, Any] = {"content": []}
CALL = ToolCall("call-1", "look", '{"at": "sky"}')
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
PROMPT, TOKEN = 1_050, 2_100
"What a token costs in nanoTON, of the prompt and of the answer: the overlay's price and five per cent."


def _rich_engine() -> ScriptedEngine:
    """One that can do all, under three names: what it says depends on what is asked."""
    able = FEATURES | {Feature.TOOLS, Feature.LOGPROBS, Feature.STOP, Feature.JSON_SCHEMA}
    return ScriptedEngine(
        lambda request: ("Let me look. ", CALL) if request.tools else ("Hello", ", ", "wörld", "."),
        models=(
            scripted_model("scripted", features=able),
            scripted_model("vectors", kind=Kind.EMBEDDING),
            scripted_model("speech", kind=Kind.TRANSCRIPTION),
        ),
        delay_seconds=0,
    )


async def test_answers_have_openais_shapes_and_say_what_they_cost() -> None:
    async with open_gateway(_rich_engine()) as scene:
        whole = await scene.chat(logprobs=True, top_logprobs=1)
        stream = await scene.chat(stream=True, stream_options={"include_usage": True}, logprobs=True)
        bare = await scene.chat(stream=True)
        called = await scene.chat(tools=[TOOL])
        calling = await scene.chat(tools=[TOOL], stream=True)

        _check_whole(whole, scene.overlay)
        _check_stream(stream)
        _check_bare(bare)
        _check_called(called)
        _check_calling(calling)
        assert scene.charged == sum(
            said["cost"]
            for said in (
                whole.json()["cocoon"],
                chunks_of(stream)[-1]["cocoon"],
                chunks_of(bare)[-1]["cocoon"],
                called.json()["cocoon"],
                chunks_of(calling)[-1]["cocoon"],
            )
        )


def _check_whole(response: Any, overlay: Any) -> None:
    said, headers = response.json(), response.headers
    (choice,) = said["choices"]
    exchange = said["cocoon"]["exchange"]
    assert (said["id"], said["object"], said["created"]) == (
        f"chatcmpl-{exchange}",
        "chat.completion",
        1_800_000_000,
    )
    assert choice["message"] == {"role": "assistant", "content": "Hello, wörld.", "refusal": None}
    assert choice["finish_reason"] == "stop"
    told = choice["logprobs"]["content"]
    assert [one["token"] for one in told] == ["Hello", ", ", "wörld", "."]
    assert told[2]["bytes"] == list("wörld".encode())
    assert [len(one["top_logprobs"]) for one in told] == [1] * 4
    assert said["usage"]["total_tokens"] == said["usage"]["prompt_tokens"] + 4
    cost = said["usage"]["prompt_tokens"] * PROMPT + 4 * TOKEN
    assert said["cocoon"] | {"worker": "", "proxy": "", "exchange": ""} == {
        "cost": cost,
        "trust": "open",
        "worker": "",
        "proxy": "",
        "exchange": "",
        "is_demo_model": True,
    }
    assert headers["x-cocoon-cost"] == str(cost)
    assert headers["x-cocoon-trust"] == "open"
    assert headers["x-cocoon-exchange"] == headers["x-request-id"] == exchange


def _check_stream(response: Any) -> None:
    first, *middle, end, counted = chunks_of(response)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-cocoon-exchange"] == counted["cocoon"]["exchange"]
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in middle) == "Hello, wörld."
    told = [
        one["token"]
        for chunk in middle
        for one in (chunk["choices"][0]["logprobs"] or {"content": []})["content"]
    ]
    assert told == ["Hello", ", ", "wörld", "."]
    assert end["choices"][0]["finish_reason"] == "stop"
    assert all(chunk["usage"] is None for chunk in (first, *middle, end))
    assert counted["choices"] == []
    assert counted["usage"]["completion_tokens"] == 4


def _check_bare(response: Any) -> None:
    chunks = chunks_of(response)
    assert all("usage" not in chunk for chunk in chunks)
    assert ["cocoon" in chunk for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert {chunk["id"] for chunk in chunks} == {chunks[0]["id"]}


def _check_called(response: Any) -> None:
    (choice,) = response.json()["choices"]
    function = {"name": "look", "arguments": '{"at": "sky"}'}
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "Let me look. "
    assert choice["message"]["tool_calls"] == [{"id": "call-1", "type": "function", "function": function}]


def _check_calling(response: Any) -> None:
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks_of(response)]
    (calls,) = [delta["tool_calls"] for delta in deltas if "tool_calls" in delta]
    assert [(call["index"], call["id"], call["function"]["name"]) for call in calls] == [
        (0, "call-1", "look")
    ]
    assert chunks_of(response)[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_the_other_endpoints_answer_too() -> None:
    async with open_gateway(_rich_engine()) as scene:
        post = scene.http.post
        bare = {"model": "scripted", "prompt": "Once"}
        whole = (await post("/v1/completions", json={**bare, "logprobs": 1})).json()
        stream = chunks_of(await post("/v1/completions", json={**bare, "stream": True, "logprobs": 0}))
        numbers = (await post("/v1/embeddings", json={"model": "vectors", "input": ["a", "b"]})).json()
        packed = await post(
            "/v1/embeddings", json={"model": "vectors", "input": "a", "encoding_format": "base64"}
        )
        sound = {"file": ("speech.wav", bytes(64_000))}
        spoken = [
            await post(
                "/v1/audio/transcriptions",
                files=sound,
                data={"model": "speech", "language": "en", "response_format": form},
            )
            for form in ("json", "text", "verbose_json")
        ]
        # The bounds of a form are others each time it is sent, and it is the same request all the same.
        keyed = [
            await post(
                "/v1/audio/transcriptions",
                files=sound,
                data={"model": "speech"},
                headers={"idempotency-key": "one"},
            )
            for _ in range(2)
        ]
        models = (await scene.http.get("/v1/models")).json()
        one = (await scene.http.get("/v1/models/speech")).json()
        nobody = await scene.http.get("/v1/models/nobody/has-this")

        assert whole["choices"][0]["text"] == "Hello, wörld."
        assert whole["choices"][0]["logprobs"]["text_offset"] == [0, 5, 7, 12]
        assert "".join(chunk["choices"][0]["text"] for chunk in stream) == "Hello, wörld."
        offsets = [chunk["choices"][0]["logprobs"]["text_offset"] for chunk in stream[:-1]]
        assert [offset for some in offsets for offset in some] == [0, 5, 7, 12]
        wanted = [list(struct.unpack("<4f", scripted_vector(text))) for text in ("a", "b")]
        assert [item["embedding"] for item in numbers["data"]] == wanted
        assert b64decode(packed.json()["data"][0]["embedding"]) == scripted_vector("a")
        assert int(packed.headers["x-cocoon-cost"]) == packed.json()["cocoon"]["cost"] > 0
        assert spoken[0].json()["text"] == "Hello, wörld."
        assert spoken[1].text == "Hello, wörld.\n"
        assert spoken[1].headers["x-cocoon-cost"]
        assert (spoken[2].json()["duration"], spoken[2].json()["language"]) == (2.0, "en")
        assert keyed[0].content == keyed[1].content
        assert keyed[1].headers["x-cocoon-replay"] == "true"
        assert [item["id"] for item in models["data"]] == ["scripted", "speech", "vectors"]
        assert one["cocoon"]["kind"] == "transcription"
        assert one["cocoon"]["offers"][0]["price"]["prompt"] == 1_000_000
        assert (nobody.status_code, error_of(nobody)["code"]) == (404, "unknown-model")


async def test_what_goes_wrong_is_said_in_openais_shape() -> None:
    # Whoever asks for more trust than there is would wait for a worker that has it.
    hasty = Policy(trust=Trust.OPEN, max_cost=Nano(10**9), wait_seconds=0)
    async with open_gateway(client_policy=hasty) as scene:
        post = scene.http.post
        responses = {
            "unknown-model": await scene.chat(model="nobody-has-this"),
            "price-above-limit": await scene.chat(max_price=1),
            "attestation-failed": await scene.chat(trust="tdx"),
            "unknown-feature": await scene.chat(logprobs=True),
            "unsupported-kind": await post("/v1/embeddings", json={"model": "scripted", "input": "a"}),
            "configuration": await scene.chat(seed=-1),
            "unknown-address": await scene.http.get("/v1/nowhere"),
        }
        wrong_verb = await scene.http.get("/v1/chat/completions")
        no_json = await scene.http.post(
            "/v1/chat/completions", content="{}", headers={"content-type": "text/plain"}
        )

        statuses = {code: response.status_code for code, response in responses.items()}
        assert statuses == {
            "unknown-model": 404,
            "price-above-limit": 402,
            "attestation-failed": 422,
            "unknown-feature": 422,
            "unsupported-kind": 400,
            "configuration": 400,
            "unknown-address": 404,
        }
        assert [error_of(response)["code"] for response in responses.values()] == list(responses)
        assert (wrong_verb.status_code, no_json.status_code) == (405, 415)


def _breaking() -> ScriptedEngine:
    return ScriptedEngine(tuple(f"{number} " for number in range(40)), delay_seconds=0, fail_at=20)


async def test_an_answer_that_broke_off_is_an_error_with_what_was_paid_for() -> None:
    async with open_gateway(_breaking()) as scene:
        broken = await scene.chat()

        assert (broken.status_code, error_of(broken)["code"]) == (502, "engine-failed")
        assert error_of(broken)["cocoon"]["charged"] == scene.charged > 0
        assert error_of(broken)["cocoon"]["text"].startswith("0 1 2 ")
        assert broken.headers["x-should-retry"] == "false"
        assert broken.headers["x-cocoon-cost"] == str(scene.charged)
        assert scene.overlay.disagreements() == ()


async def test_a_stream_that_broke_off_ends_with_the_error() -> None:
    async with open_gateway(_breaking()) as scene:
        broken = await scene.chat(stream=True)

        first, *_, error, done = [line.removeprefix("data: ") for line in broken.text.split("\n\n") if line]
        assert broken.status_code == 200
        assert json.loads(first)["choices"][0]["delta"]["role"] == "assistant"
        assert json.loads(error)["error"]["code"] == "engine-failed"
        assert json.loads(error)["error"]["cocoon"]["charged"] == scene.charged
        assert done == "[DONE]"


async def test_nothing_that_was_said_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    engine = ScriptedEngine(("the secret answer",), delay_seconds=0)
    messages = [{"role": "user", "content": "the secret question"}]
    async with open_gateway(engine) as scene:
        whole = await scene.chat(messages=messages)
        await scene.chat(messages=messages, stream=True, max_price=1)
        await scene.chat(messages=[*messages, {"role": "the secret role"}])
        await scene.chat(messages=messages, temperature="the secret warmth")
        await scene.http.post(
            "/v1/completions", json={"model": "scripted", "prompt": ["the secret question"] * 2}
        )

        said = "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
        assert whole.json()["cocoon"]["exchange"] in said
        assert "secret" not in said
