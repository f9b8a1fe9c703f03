"""The same request in each server's own words."""

import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest
import trio

from cocoon_p2p.inference.engine import ChatMessage, Feature, FeatureMissing, GenerateRequest, Piece
from cocoon_p2p.inference.upstream import Upstream, open_upstream, probing
from cocoon_p2p.inference.upstream.constraining import (
    Constraining,
    llama_words,
    sglang_words,
    tabby_words,
    vllm_old_words,
    vllm_words,
)
from cocoon_p2p.inference.wishes import Constraint, Grammar, Tool
from tests.inference.upstream.able import Able
from tests.inference.upstream.scene import DONE, Script, say, scripted_server

BOUND_SECONDS = 60
JSON = (("content-type", "application/json"),)
SCHEMA = '{"type": "object"}'
CONSTRAINTS = (
    Constraint(Grammar.JSON_OBJECT),
    Constraint(Grammar.JSON_SCHEMA, SCHEMA),
    Constraint(Grammar.REGEX, "a+"),
    Constraint(Grammar.GBNF, 'root ::= "a"'),
)

WORDS: dict[Constraining, tuple[str | None, ...]] = {
    vllm_words: ("structured_outputs",) * 4,
    vllm_old_words: ("guided_json", "guided_json", "guided_regex", "guided_grammar"),
    sglang_words: ("json_schema", "json_schema", "regex", "ebnf"),
    llama_words: ("grammar",) * 4,
    tabby_words: ("json_schema", "json_schema", "regex_pattern", None),
}


def test_a_constraint_is_said_in_each_servers_own_words() -> None:
    for way, words in WORDS.items():
        said = tuple(next(iter(way(constraint) or (None,))) for constraint in CONSTRAINTS)

        assert said == words


async def pieces_of(address: str, request: GenerateRequest) -> list[Piece]:
    async with (
        open_upstream(Upstream(address)) as engine,
        engine.generate(request) as pieces,
    ):
        return [piece async for piece in pieces]


async def test_sglang_is_told_in_its_own_words() -> None:
    able = Able()
    able.script.owner, able.script.context_tokens = "sglang", 4321
    able.understands["regex"] = "structured_outputs"
    request = GenerateRequest(
        "scripted", prompt="a", constraint=Constraint(Grammar.REGEX, "a+"), cache_scope=b"me"
    )
    with trio.fail_after(BOUND_SECONDS):
        async with scripted_server(able.script) as address:
            async with open_upstream(Upstream(address)) as engine:
                (card,) = engine.capabilities.models
            await pieces_of(address, request)

    assert engine.capabilities.engine == "upstream (sglang)"
    assert card.context_tokens == 4321
    asked = able.script.requests[-1]
    assert (asked["regex"], asked["top_k"], asked["cache_salt"]) == ("a+", -1, b"me".hex())


def tabby() -> Script:
    """A server that speaks like TabbyAPI: text in, counts at the end, and no answer holds what is banned."""

    def events(asked: Mapping[str, Any]) -> list[bytes]:
        prompt = len(asked["prompt"].split()) + asked["add_bos_token"]
        word = " good" if asked["banned_strings"] else " bad"
        steps = [say({"choices": [{"text": word}]}) for _ in range(asked["max_tokens"])]
        usage = {"prompt_tokens": prompt, "completion_tokens": asked["max_tokens"]}
        return [*steps, say({"choices": [{"text": "", "finish_reason": "length"}], "usage": usage}), DONE]

    def encoded(asked: Mapping[str, Any]) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
        tokens = [1] * asked["add_bos_token"] + [len(word) for word in asked["text"].split()]
        return 200, JSON, json.dumps({"tokens": tokens, "length": len(tokens)}).encode()

    template = "{{ bos_token }} {% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}"
    properties = {"chat_template": template, "default_generation_settings": {"n_ctx": 5000}}
    return Script(
        owner="tabbyAPI",
        events=events,
        answers={
            "/props": lambda _: (200, JSON, json.dumps(properties).encode()),
            "/v1/token/encode": encoded,
            "/v1/token/decode": lambda _: (200, JSON, b'{"text": "<s>"}'),
        },
    )


async def test_tabbyapi_is_given_text_that_is_rendered_here() -> None:
    script = tabby()
    chat = GenerateRequest("scripted", (ChatMessage("user", "Hello there"),), completion_tokens_max=2)
    with trio.fail_after(BOUND_SECONDS):
        async with scripted_server(script) as address, open_upstream(Upstream(address)) as engine:
            (card,) = engine.capabilities.models
            counted = await engine.count(chat)
            async with engine.generate(chat) as pieces:
                got = [piece async for piece in pieces]

    assert card.context_tokens == 5000
    assert card.features == {Feature.STOP, Feature.BANNED_STRINGS}
    assert script.requests[-1]["prompt"] == "<s> user Hello there "
    assert script.requests[-1]["add_bos_token"] is False
    assert counted.prompt_tokens == got[-1].prompt_tokens == 4
    assert "".join(piece.text for piece in got) == " bad bad"


async def test_tabbyapi_does_not_continue_nor_call_tools() -> None:
    chat = (ChatMessage("user", "Hello"),)
    with trio.fail_after(BOUND_SECONDS):
        async with scripted_server(tabby()) as address, open_upstream(Upstream(address)) as engine:
            for request in (
                GenerateRequest("scripted", chat, answer_prefix="Hi"),
                GenerateRequest("scripted", chat, tools=(Tool("a", "", "{}"),)),
            ):
                with pytest.raises(FeatureMissing):
                    await engine.count(request)


@pytest.mark.parametrize(("script", "is_shared"), [(tabby(), True), (Script(), False)])
async def test_a_prompt_cache_that_all_share_is_warned_of(
    script: Script, is_shared: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "PROBES_SECONDS", 0.0)
    with trio.fail_after(BOUND_SECONDS), caplog.at_level(logging.WARNING):
        async with scripted_server(script) as address, open_upstream(Upstream(address)):
            pass

    assert ("cache is shared" in caplog.text) is is_shared


async def test_a_server_that_does_not_say_what_it_is_is_found_out_by_how_it_splits() -> None:
    script = tabby()
    script.owner = "somebody"
    script.answers["/tokenize"] = lambda _: (404, JSON, b"{}")
    with trio.fail_after(BOUND_SECONDS):
        async with scripted_server(script) as address, open_upstream(Upstream(address)) as engine:
            assert engine.capabilities.engine == "upstream (tabbyapi)"
