"""What a server can is found out by having it done; and every wish then reaches it in its own words."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from cocoon_p2p.inference.engine import (
    ChatMessage,
    Engine,
    Feature,
    FeatureMissing,
    Finish,
    GenerateRequest,
    Piece,
    RequestMalformed,
)
from cocoon_p2p.inference.upstream import Upstream, open_upstream
from cocoon_p2p.inference.upstream.pictures import png
from cocoon_p2p.inference.wishes import Constraint, Grammar, Tool, ToolCall, ToolUse
from cocoon_p2p.protocols.ids import Kind
from tests.inference.upstream.able import CALL, Able
from tests.inference.upstream.scene import scripted_server

ALL = frozenset(Feature) - {Feature.BANNED_STRINGS}
"vLLM has no words for banned strings."

BOUND_SECONDS = 60
pytestmark = pytest.mark.slow
LOOK = Tool("zq_look", "Look.", '{"type": "object"}')


@asynccontextmanager
async def opened(able: Able) -> AsyncIterator[Engine]:
    with trio.fail_after(BOUND_SECONDS):
        async with scripted_server(able.script) as address, open_upstream(Upstream(address)) as engine:
            yield engine


async def pieces_of(engine: Engine, request: GenerateRequest) -> list[Piece]:
    async with engine.generate(request) as pieces:
        return [piece async for piece in pieces]


async def test_what_a_server_does_is_promised() -> None:
    async with opened(Able()) as engine:
        (card,) = engine.capabilities.models

    assert card.features == ALL
    assert card.kind is Kind.CHAT


DEAF = {
    "seed": {Feature.SEED},
    "temperature": {Feature.SEED, Feature.TEMPERATURE},
    "ignore_eos": {Feature.IGNORE_EOS},
    "logprobs": {Feature.LOGPROBS},
    "logit_bias": {Feature.LOGIT_BIAS},
    "frequency_penalty": {Feature.PENALTIES},
    "presence_penalty": {Feature.PENALTIES},
    "structured_outputs": {Feature.JSON_SCHEMA, Feature.REGEX, Feature.GRAMMAR},
    "tools": {Feature.TOOLS},
    "tool_choice": {Feature.TOOLS},
}


@pytest.mark.parametrize(("wish", "missing"), DEAF.items(), ids=DEAF.keys())
async def test_what_a_server_leaves_out_without_a_word_is_not_promised(
    wish: str, missing: set[Feature]
) -> None:
    async with opened(Able(deaf=frozenset({wish}))) as engine:
        (card,) = engine.capabilities.models

    assert card.features == ALL - missing


async def test_of_a_server_that_rolls_dice_anyway_no_other_answer_proves_anything() -> None:
    async with opened(Able(rolls=True)) as engine:
        (card,) = engine.capabilities.models

    by_dice = {Feature.SEED, Feature.TEMPERATURE, Feature.PENALTIES, Feature.IGNORE_EOS}
    assert card.features == ALL - by_dice


async def test_a_server_that_splits_some_text_into_nothing_proves_nothing_by_it() -> None:
    able = Able()
    able.script.split = lambda text: [] if text == "7" else [len(word) for word in text.split()]
    async with opened(able) as engine:
        (card,) = engine.capabilities.models

    assert card.features == ALL - {Feature.LOGIT_BIAS}


async def test_pictures_that_cost_by_their_size_are_not_promised() -> None:
    async with opened(Able(picture_tokens=None)) as engine:
        (card,) = engine.capabilities.models

    assert Feature.IMAGES not in card.features


async def test_an_older_way_of_saying_a_constraint_is_found() -> None:
    able = Able(deaf=frozenset({"structured_outputs"}))
    able.understands["guided_json"] = able.understands["guided_regex"] = "structured_outputs"
    async with opened(able) as engine:
        (card,) = engine.capabilities.models
        constraint = Constraint(Grammar.REGEX, "a+")
        await pieces_of(engine, GenerateRequest("scripted", prompt="a", constraint=constraint))

    assert ALL - card.features == {Feature.GRAMMAR}
    assert able.script.requests[-1]["guided_regex"] == "a+"


# ---------------------------------------------------------------- wishes in the server's words


async def test_every_wish_reaches_the_server() -> None:
    able = Able()
    request = GenerateRequest(
        "scripted",
        prompt="one three",
        temperature=0.5,
        top_p=0.9,
        seed=2**32 + 4,
        logit_bias=((3, -100.0),),
        logprobs=0,
        frequency_penalty=0.5,
        presence_penalty=-0.5,
        constraint=Constraint(Grammar.JSON_SCHEMA, '{"type": "object"}'),
        completion_tokens_max=2,
        cache_scope=b"mine",
    )
    async with opened(able) as engine:
        pieces = await pieces_of(engine, request)

    asked = able.script.requests[-1]
    expected = {
        "prompt": [3, 5],
        "max_tokens": 2,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 5,
        "ignore_eos": False,
        "logit_bias": {"3": -100.0},
        "logprobs": 1,
        "frequency_penalty": 0.5,
        "presence_penalty": -0.5,
        "structured_outputs": {"json": {"type": "object"}},
        "cache_salt": b"mine".hex(),
        "stream": True,
    }
    assert {wish: asked[wish] for wish in expected} == expected
    assert [token.top for piece in pieces for token in piece.logprobs] == [()]


def asks_for_tools(use: ToolUse, *tools: Tool) -> GenerateRequest:
    earlier = (
        ChatMessage("assistant", "", calls=(ToolCall("1", "zq_look", "{}"),)),
        ChatMessage("tool", "found", call_id="1"),
    )
    chat = (ChatMessage("user", "Hello"), *earlier)
    return GenerateRequest("scripted", chat, tools=tools or (LOOK,), tool_use=use)


async def test_a_tool_call_comes_whole_and_its_prompt_is_counted_with_its_tools() -> None:
    able, request = Able(), asks_for_tools(ToolUse.REQUIRED)
    async with opened(able) as engine:
        counted = await engine.count(request)
        pieces = await pieces_of(engine, request)

    assert [piece.calls for piece in pieces if piece.calls] == [
        (ToolCall("call-abc", CALL["name"], CALL["arguments"]),)
    ]
    assert pieces[-1].finish is Finish.TOOL_CALLS
    assert pieces[-1].prompt_tokens == counted.prompt_tokens == 3
    asked: Any = able.script.requests[-1]
    assert asked["tools"][0]["function"]["parameters"] == {"type": "object"}
    assert asked["messages"][1]["tool_calls"][0]["function"] == {"name": "zq_look", "arguments": "{}"}
    assert asked["messages"][2]["tool_call_id"] == "1"


async def test_a_model_that_must_not_call_tools_is_not_told_of_them() -> None:
    able = Able()
    async with opened(able) as engine:
        await pieces_of(engine, asks_for_tools(ToolUse.NONE))

    assert "tools" not in able.script.requests[-1]
    assert "prompt" in able.script.requests[-1]


async def test_a_picture_is_sent_and_counted() -> None:
    able = Able()
    message = ChatMessage("user", "What is it?", images=(png(2, 2), b"\xff\xd8\xff"))
    async with opened(able) as engine:
        counted = await engine.count(GenerateRequest("scripted", (message,)))
        await pieces_of(engine, GenerateRequest("scripted", (message,)))

    asked: Any = able.script.requests[-1]
    first, second, text = asked["messages"][0]["content"]
    assert first["image_url"]["url"].startswith("data:image/png;base64,")
    assert second["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert text == {"type": "text", "text": "What is it?"}
    assert counted.prompt_tokens == 3 + 2 * (1 + 7)


CHAT = (ChatMessage("user", "a"),)
REFUSED = {
    "banned-strings": GenerateRequest("scripted", prompt="a", banned=("b",)),
    "continue": GenerateRequest("scripted", CHAT, tools=(LOOK,), answer_prefix="b"),
    "logprobs": GenerateRequest("scripted", CHAT, tools=(LOOK,), logprobs=1),
    "constraint": GenerateRequest(
        "scripted", CHAT, tools=(LOOK,), constraint=Constraint(Grammar.JSON_OBJECT)
    ),
}


async def test_what_cannot_be_granted_is_refused_by_name_before_it_is_paid() -> None:
    async with opened(Able()) as engine:
        for name, request in REFUSED.items():
            with pytest.raises(FeatureMissing, match=name):
                await engine.count(request)


HOSTILE = (
    asks_for_tools(ToolUse.AUTO, Tool("a", "", "[]")),
    asks_for_tools(ToolUse.AUTO, Tool("a", "", '{"a": ')),
    asks_for_tools(ToolUse.AUTO, Tool("a", "", '{"a":' * 5000 + "1" + "}" * 5000)),
    GenerateRequest("scripted", prompt="a", constraint=Constraint(Grammar.REGEX, "(")),
    GenerateRequest("scripted", prompt="a", constraint=Constraint(Grammar.JSON_SCHEMA, "true")),
    GenerateRequest("scripted", prompt="a", constraint=Constraint(Grammar.JSON_SCHEMA, '{"type": "frob"}')),
    GenerateRequest("scripted", prompt="a", constraint=Constraint(Grammar.GBNF, "root ::= root")),
)


async def test_hostile_wishes_never_reach_the_server() -> None:
    able = Able()
    async with opened(able) as engine:
        asked = len(able.script.requests)
        for request in HOSTILE:
            with pytest.raises(RequestMalformed):
                await engine.count(request)

    assert len(able.script.requests) == asked
