"""What bodies mean: each field is honoured, refused by its name, or ignored where no answer depends on it."""

import json
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cocoon_p2p.client import Wishes
from cocoon_p2p.client.messages import read_messages
from cocoon_p2p.client.wishes import read_constraint, read_tools
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.gateway.chat_request import ChatRequest, chat_messages, chat_wishes
from cocoon_p2p.gateway.completion_request import CompletionRequest, completion_prompt, completion_wishes
from cocoon_p2p.gateway.embedding import EmbeddingRequest, embedding_inputs
from cocoon_p2p.gateway.fields import read_json
from cocoon_p2p.gateway.refusals import Refusal, RequestRefused
from cocoon_p2p.identity import parse_peer_id, peer_id_text
from cocoon_p2p.protocols.ids import Trust
from cocoon_p2p.testing.overlay import MemoryNode

MINIMAL = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
PEER = peer_id_text(MemoryNode.named("worker").identity.peer_id)
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
DESCRIBED = {"name": "n", "schema": SCHEMA, "description": "d"}
TOOL = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": SCHEMA}}


def _chat(**fields: Any) -> ChatRequest:
    return read_json(ChatRequest, json.dumps(MINIMAL | fields).encode())


def _wishes(**fields: Any) -> Wishes:
    return chat_wishes(_chat(**fields))


def _refused(**fields: Any) -> Refusal:
    with pytest.raises(RequestRefused) as caught:
        body = _chat(**fields)
        chat_messages(body)
        chat_wishes(body)
    return caught.value.refusal


@pytest.mark.parametrize(
    ("fields", "wishes"),
    [
        ({"temperature": 0}, {"temperature": 0}),
        ({"top_p": 0.5}, {"top_p": 0.5}),
        ({"seed": 7}, {"seed": 7}),
        ({"stop": "end"}, {"stop": ["end"]}),
        ({"stop": ["one", "two"]}, {"stop": ["one", "two"]}),
        ({"max_tokens": 5}, {"completion_tokens_max": 5}),
        ({"max_completion_tokens": 5}, {"completion_tokens_max": 5}),
        ({"frequency_penalty": -1.5}, {"frequency_penalty": -1.5}),
        ({"presence_penalty": 2}, {"presence_penalty": 2}),
        ({"logit_bias": {"12": -100}}, {"logit_bias": {12: -100}}),
        ({"logprobs": True}, {"logprobs": 0}),
        ({"logprobs": True, "top_logprobs": 3}, {"logprobs": 3}),
        ({"response_format": {"type": "json_object"}}, {"json_object": True}),
        ({"response_format": {"type": "text"}}, {}),
        ({"tools": [TOOL], "tool_choice": "required"}, {"tool_choice": "required"}),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "look"}}},
            {"tool_choice": "look"},
        ),
        ({"trust": "tdx+gpu"}, {"trust": Trust.TDX_GPU}),
        ({"prefer": PEER}, {"prefer": [parse_peer_id(PEER)]}),
        ({"prefer": [PEER]}, {"prefer": [parse_peer_id(PEER)]}),
    ],
)
def test_a_field_comes_to_this_wish(fields: dict[str, Any], wishes: dict[str, Any]) -> None:
    said = _wishes(**fields)

    assert wishes.items() <= said.items()


def test_nothing_said_is_openais_temperature_and_nothing_else() -> None:
    assert _wishes() == {"temperature": 1.0}


def test_a_schema_and_tools_are_what_the_client_takes() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}
    wishes = _wishes(response_format=form, tools=[TOOL])

    constraint = read_constraint(wishes)
    (tool,), _ = read_tools(wishes)

    assert constraint is not None
    assert json.loads(constraint.text) == SCHEMA
    assert (tool.name, tool.description, json.loads(tool.parameters)) == ("look", "Looks.", SCHEMA)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"n": 0}, "n"),
        ({"audio": {"voice": "alloy"}}, "audio"),
        ({"functions": []}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"moderation": {}}, "moderation"),
        ({"store": True}, "store"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"verbosity": "low"}, "verbosity"),
        ({"parallel_tool_calls": False, "tools": [TOOL]}, "parallel_tool_calls"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "none"}}},
            "tool_choice",
        ),
        (
            {"tools": [{**TOOL, "function": {**TOOL["function"], "strict": True}}]},  # type: ignore[dict-item]
            "tools[0].function.strict",
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": {}, "description": "d"},
                }
            },
            "response_format.json_schema.description",
        ),
        (
            {"stream": True, "stream_options": {"include_obfuscation": True}},
            "stream_options.include_obfuscation",
        ),
        ({"messages": [{"role": "user", "content": "x", "name": "Ann"}]}, "messages[0].name"),
    ],
)
def test_a_field_that_cannot_be_honoured_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    refusal = _refused(**fields)

    assert (refusal.status, refusal.code, refusal.param) == (400, "unsupported-parameter", param)
    assert param in refusal.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temprature": 1}, "temprature"),
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "max_tokens"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, None),
        ({"model": ""}, "model"),
        ({"max_price": 0}, "max_price"),
        ({"max_price": 1.5}, "max_price"),
        ({"trust": "much"}, "trust"),
        ({"prefer": "somebody"}, "prefer"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str | None) -> None:
    refusal = _refused(**fields)

    assert (refusal.status, refusal.code) == (400, "invalid-request")
    assert param is None or refusal.param == param


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "u", "safety_identifier": "s", "metadata": {"a": "b"}, "prompt_cache_key": "k"},
        {"store": False, "service_tier": "auto", "verbosity": "medium", "modalities": ["text"], "n": 1},
        {"parallel_tool_calls": True, "tools": [TOOL]},
        {"prediction": {"type": "content", "content": "x"}},
        dict.fromkeys(("temperature", "stop", "tools", "response_format", "seed", "n", "stream", "audio")),
    ],
)
def test_what_no_answer_depends_on_is_ignored(fields: dict[str, Any]) -> None:
    body = _chat(**fields)

    chat_messages(body)
    wishes = chat_wishes(body)

    assert wishes.keys() <= {"temperature", "tools"}


def test_what_is_not_read_takes_no_more_than_its_own_bytes() -> None:
    many = b"[" + b"{}," * 100_000 + b"{}]"
    ignored = ("user", "safety_identifier", "metadata", "prediction", "prompt_cache_key")
    fields = b"".join(b',"%s":%s' % (name.encode(), many) for name in ignored)
    call = b'{"id":"a","function":{"name":"f","arguments":"{}"},"index":' + many + b"}"
    turn = b'{"role":"assistant","tool_calls":[' + call + b"]}"
    body = b'{"model":"scripted","messages":[' + turn + b"]" + fields + b"}"

    tracemalloc.start()
    try:
        asked = read_json(ChatRequest, body)
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert asked.model == "scripted"
    assert held_bytes < len(body)


def test_a_chat_that_was_had_comes_to_the_clients_turns() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    body = _chat(
        messages=[
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What?"},
                    picture,
                ],
            },
            {"role": "assistant", "content": None, "refusal": None, "annotations": [], "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "name": "look", "content": "a cat"},
        ]
    )

    system, user, assistant, tool = read_messages(chat_messages(body))

    assert (system.role, system.content) == ("system", "Be brief.")
    assert (user.content, user.images) == ("What?", (b"\x89PNG\r\n\x1a\n",))
    assert [(one.id, one.name, one.arguments) for one in assistant.calls] == [("c1", "look", "{}")]
    assert (tool.call_id, tool.content) == ("c1", "a cat")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "expected `object`"),
        (b'{"model":"m","metadata":' + b"[" * 100_000, "nested"),
        (b"{}", "missing field: `model`"),
    ],
)
def test_a_body_that_is_none_is_refused_in_words(body: bytes, said: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        read_json(ChatRequest, body)

    assert said in caught.value.refusal.message


def _completion(**fields: Any) -> CompletionRequest:
    return read_json(CompletionRequest, json.dumps({"model": "m", **fields}).encode())


def test_a_bare_prompt_has_openais_default_length() -> None:
    body = _completion(prompt=["Once"], logprobs=2)

    assert completion_prompt(body) == "Once"
    assert completion_wishes(body) == {"temperature": 1.0, "completion_tokens_max": 16, "logprobs": 2}


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": ["a", "b"]},
        {"prompt": [1, 2]},
        {"prompt": [[1], [2]]},
        {"prompt": []},
        {"prompt": "a", "suffix": "b"},
        {"prompt": "a", "echo": True},
        {"prompt": "a", "best_of": 3},
        {"prompt": "a", "n": 2},
    ],
)
def test_a_completion_that_cannot_be_had_is_refused(fields: dict[str, Any]) -> None:
    body = _completion(**fields)

    with pytest.raises(RequestRefused) as caught:
        completion_prompt(body)
        completion_wishes(body)
    assert caught.value.refusal.param in fields


@pytest.mark.parametrize("given", [[1, 2], [[1], [2]], ["text", 3]])
def test_tokens_cannot_be_embedded(given: list[Any]) -> None:
    body = read_json(EmbeddingRequest, json.dumps({"model": "m", "input": given}).encode())

    with pytest.raises(RequestRefused, match="text, not tokens"):
        embedding_inputs(body)


@pytest.mark.parametrize("given", ["", [], ["x"] * 2049])
def test_a_number_of_inputs_out_of_range_is_refused(given: Any) -> None:
    with pytest.raises(RequestRefused, match="input"):
        read_json(EmbeddingRequest, json.dumps({"model": "m", "input": given}).encode())


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from([field for field in ChatRequest.__struct_fields__ if field != "messages"]) | st.text(
    max_size=8
)
MESSAGES: st.SearchStrategy[list[Any]] = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool", "system"]) | st.text(max_size=4)},
        optional={"content": VALUES, "tool_calls": VALUES, "tool_call_id": VALUES, "name": VALUES},
    ),
    max_size=3,
)


PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"A machine that does something else meanwhile is no fault of what is tried."


@pytest.mark.slow
@settings(PATIENT, max_examples=50)
@given(st.dictionaries(NAMES, VALUES, max_size=5), MESSAGES)
def test_whatever_is_asked_is_understood_or_refused_in_words(
    fields: dict[str, Any], messages: list[Any]
) -> None:
    said = json.dumps({"model": "m", "messages": messages} | fields).encode()
    with suppress(ConfigurationError):
        body = read_json(ChatRequest, said)
        read_messages(chat_messages(body))
        chat_wishes(body)


@PATIENT
@given(st.binary(max_size=200))
def test_whatever_bytes_come_are_refused_in_words(body: bytes) -> None:
    with pytest.raises(RequestRefused):
        read_json(ChatRequest, body)
