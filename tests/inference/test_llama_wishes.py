"""What may be wished for beyond text, in the real llama.cpp: forms, calls, likelihoods, biases, penalties.

The model has random weights: it would say anything, so what keeps a form does so by the engine.
"""

import json
import math
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from cocoon_p2p.inference.catalogue import DEMO_NAME, demo_model
from cocoon_p2p.inference.engine import (
    ChatMessage,
    Engine,
    EngineError,
    Feature,
    FeatureMissing,
    Finish,
    GenerateRequest,
    Piece,
    RequestMalformed,
)
from cocoon_p2p.inference.llamacpp import open_llamacpp
from cocoon_p2p.inference.tools.forms import GRANITE, HERMES, LLAMA, MISTRAL, MISTRAL_NAMED, CallForm
from cocoon_p2p.inference.wishes import Constraint, Grammar, Tool, ToolCall, ToolUse
from tests.inference.random_gguf import CONTROL, write_chat_model

BOUND_SECONDS = 60
"A bound for a test that hangs; none waits for it."

_WRITES: Final = "{% for m in messages %}{{ m | tojson }}{% endfor %}{{ tools | tojson if tools }}"
TEMPLATES: Final = {
    HERMES: _WRITES + "{# <tool_call> #}",
    MISTRAL: _WRITES + "{# [TOOL_CALLS] #}",
    MISTRAL_NAMED: _WRITES + "{# [TOOL_CALLS] [ARGS] #}",
    GRANITE: _WRITES + "{# <|tool_call|> #}",
    LLAMA: _WRITES + '{# "parameters": dictionary of argument name and its value #}',
}

WHOLE: Final = {"type": "integer", "minimum": 0}
POSITIVE: Final = {"type": "integer", "minimum": 1}
MANY: Final = {"minItems": 999, "items": {"minItems": 999, "items": WHOLE}}

PERSON: Final = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["a", 'b"\n', "ü", 3]}, "maxItems": 3},
        "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/code"}]},
    },
    "required": ["name", "tags"],
    "$defs": {"code": {"type": "string", "pattern": r"^[A-Z]{2}-\d{3}$"}},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("random"), HERMES)


def random_model(folder: Path, form: CallForm) -> Path:
    file = folder / "random.gguf"
    write_chat_model(file, TEMPLATES[form])
    return file


@pytest.fixture
async def engine(model: Path) -> AsyncIterator[Engine]:
    with trio.fail_after(BOUND_SECONDS):
        async with open_llamacpp(model, slots=4, threads=1) as engine:
            yield engine


@pytest.fixture
async def demo() -> AsyncIterator[Engine]:
    with trio.fail_after(BOUND_SECONDS):
        async with open_llamacpp(demo_model(), slots=1, threads=1) as engine:
            yield engine


def ask(**wishes: Any) -> GenerateRequest:
    wishes = {"completion_tokens_max": 400, "temperature": 1.0, **wishes}
    return GenerateRequest("random", (ChatMessage("user", "Hi"),), **wishes)


def say(**wishes: Any) -> GenerateRequest:
    return GenerateRequest(DEMO_NAME, (ChatMessage("user", "Hello"),), **wishes)


async def pieces_of(engine: Engine, request: GenerateRequest) -> list[Piece]:
    counted = await engine.count(request)
    async with engine.generate(request) as pieces:
        found = [piece async for piece in pieces]
    assert found[-1].prompt_tokens == counted.prompt_tokens
    return found


def text(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def calls(pieces: Sequence[Piece]) -> list[ToolCall]:
    return [call for piece in pieces for call in piece.calls]


async def answers(engine: Engine, constraint: Constraint, *, count: int = 12) -> list[str]:
    """Different answers of one form, all of which came to their end."""
    found = list[list[Piece]]()

    async def one(seed: int) -> None:
        found.append(await pieces_of(engine, ask(constraint=constraint, seed=seed, temperature=2.0)))

    async with trio.open_nursery() as nursery:
        for seed in range(count):
            nursery.start_soon(one, seed)
    return [text(pieces) for pieces in found if pieces[-1].finish is Finish.STOP]


@pytest.mark.slow
async def test_every_answer_fits_its_schema(engine: Engine) -> None:
    found = await answers(engine, Constraint(Grammar.JSON_SCHEMA, json.dumps(PERSON)))

    assert len(set(found)) > 6
    for person in map(json.loads, found):
        assert person.keys() <= PERSON["properties"].keys()  # type: ignore[attr-defined]
        # Bytes that are no UTF-8 count as the characters that they would have been.
        assert len(person["name"]) <= 8 or "\ufffd" in person["name"]
        assert 0 <= person.get("age", 0) <= 120
        assert len(person["tags"]) <= 3
        assert all(tag in ("a", 'b"\n', "ü", 3) for tag in person["tags"])
        assert person.get("next") is None or re.fullmatch(r"[A-Z]{2}-\d{3}", person["next"])


async def test_any_json_object_is_one_as_far_as_it_comes(engine: Engine) -> None:
    for seed in range(4):
        pieces = await pieces_of(engine, ask(constraint=Constraint(Grammar.JSON_OBJECT), seed=seed))

        assert text(pieces).startswith("{")
        if pieces[-1].finish is Finish.STOP:
            assert isinstance(json.loads(text(pieces)), dict)


async def test_every_answer_matches_its_expression(engine: Engine) -> None:
    for expression in (r"\d{4}-\d\d", "(yes|no)", "[ab]{1,9}ü🦋?", r'"\\"', ""):
        found = await answers(engine, Constraint(Grammar.REGEX, expression), count=3)

        assert len(found) == 3
        assert all(re.fullmatch(expression, answer) for answer in found)


async def test_every_answer_is_of_its_grammar(engine: Engine) -> None:
    grammar = 'root ::= e "="\ne ::= t ([-+] t){0,3}\nt ::= [1-9] [0-9]{0,2} | "(" e ")"'

    for answer in await answers(engine, Constraint(Grammar.GBNF, grammar)):
        assert isinstance(eval(answer.removesuffix("=")), int)


TAKEN: Final = [
    Constraint(Grammar.JSON_SCHEMA, json.dumps({"items": {"maxLength": 1000}, "maxItems": 1000})),
    Constraint(Grammar.JSON_SCHEMA, json.dumps({"additionalProperties": {"items": POSITIVE}})),
    Constraint(Grammar.JSON_SCHEMA, json.dumps(MANY)),
    Constraint(Grammar.JSON_SCHEMA, json.dumps({"properties": {str(n): {} for n in range(60)}})),
    Constraint(Grammar.JSON_SCHEMA, json.dumps({"properties": {'"\\\n\x01ü': {"const": '"\\\n\x7f'}}})),
    Constraint(Grammar.REGEX, "a{2000}"),
    Constraint(Grammar.GBNF, 'root ::= "[" ("x"{0,2000} ";" | ("yz"{2}){3} "." | root){1,} "]"'),
]  # fmt: skip


@pytest.mark.slow
async def test_what_is_taken_is_read_by_the_library(engine: Engine) -> None:
    """It would print a grammar that it cannot read, and count as failed."""
    for constraint in TAKEN:
        pieces = await pieces_of(engine, ask(constraint=constraint, completion_tokens_max=4))

        assert pieces[-1].finish is not None


@pytest.mark.slow
@pytest.mark.parametrize("form", list(TEMPLATES), ids=lambda form: form.name)
async def test_a_model_that_must_call_calls_what_is_offered(form: CallForm, tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Oslo", "Lima"]}}, "required": ["city"]}
    tools = (Tool("weather", "What it is like outside.", json.dumps(schema)), Tool("time", "", "{}"))
    request = ask(tools=tools, tool_use=ToolUse.REQUIRED, completion_tokens_max=250)

    async with open_llamacpp(random_model(tmp_path, form), slots=1, threads=1) as engine:
        found = [await pieces_of(engine, replace(request, seed=seed)) for seed in range(3)]

    ended = [pieces for pieces in found if pieces[-1].finish is not Finish.LENGTH]
    assert ended
    for pieces in ended:
        assert pieces[-1].finish is Finish.TOOL_CALLS
        assert text(pieces) == ""
        assert pieces[-1].completion_tokens > 10
        for call in calls(pieces):
            arguments = json.loads(call.arguments)
            assert call.name == "time" or arguments["city"] in ("Oslo", "Lima")
    assert len({call.id for pieces in ended for call in calls(pieces)}) == sum(map(len, map(calls, ended)))


async def test_a_call_that_begins_by_a_control_token_is_read_too(tmp_path: Path) -> None:
    file = tmp_path / "random.gguf"
    write_chat_model(file, TEMPLATES[HERMES], control=HERMES.begin)
    request = ask(tools=(Tool("time", "", '{"type": "object", "additionalProperties": false}'),), seed=3)

    async with open_llamacpp(file, slots=1, threads=1) as engine:
        required = replace(
            request, tool_use=ToolUse.REQUIRED, logit_bias=((CONTROL, 100.0),), temperature=0.0
        )
        called = await pieces_of(engine, required)
        free = await pieces_of(engine, replace(required, tool_use=ToolUse.AUTO, completion_tokens_max=3))

    assert [call.name for call in calls(called)][:1] == ["time"]
    assert text(free) == HERMES.begin * 3


async def test_a_conversation_with_calls_is_counted_as_the_model_reads_it(engine: Engine) -> None:
    tools = (Tool("time", "What time it is.", '{"type": "object"}'),)
    conversation = (
        ChatMessage("user", "Hi"),
        ChatMessage("assistant", "", calls=(ToolCall("a1B2c3D4e", "time", '{"zone": "UTC"}'),)),
        ChatMessage("tool", "12:00", call_id="a1B2c3D4e"),
    )

    short = await engine.count(ask())
    offered = await engine.count(ask(tools=tools))
    forbidden = await engine.count(ask(tools=tools, tool_use=ToolUse.NONE))
    answered = await engine.count(replace(ask(tools=tools), messages=conversation))

    assert short.prompt_tokens == forbidden.prompt_tokens < offered.prompt_tokens < answered.prompt_tokens


async def test_a_model_without_a_known_way_of_calling_offers_no_tools(demo: Engine) -> None:
    (card,) = demo.capabilities.models

    assert Feature.TOOLS not in card.features
    with pytest.raises(FeatureMissing, match="tools"):
        await demo.count(say(tools=(Tool("time", "", "{}"),)))


async def test_likelihoods_come_with_the_tokens_whose_text_is_delivered(demo: Engine) -> None:
    pieces = await pieces_of(demo, say(logprobs=3))

    told = [token for piece in pieces for token in piece.logprobs]
    assert b"".join(token.chosen.token for token in told).decode() == text(pieces)
    assert all(piece.text.encode() == b"".join(t.chosen.token for t in piece.logprobs) for piece in pieces)
    for token in told:
        assert token.chosen == token.top[0], "greedy"
        assert len(token.top) == 3
        assert sum(math.exp(each.logprob) for each in token.top) <= 1.0001


async def test_likelihoods_are_those_before_temperature_bias_and_form(demo: Engine) -> None:
    forced = say(logprobs=2, constraint=Constraint(Grammar.REGEX, "zebra"), temperature=1.5, seed=1)

    plain = await pieces_of(demo, say(logprobs=2))
    (first, *_) = [token for piece in await pieces_of(demo, forced) for token in piece.logprobs]

    assert first.top[0] == next(piece.logprobs[0].top[0] for piece in plain if piece.logprobs)
    assert first.chosen.logprob < -3
    assert first.chosen.token.startswith(b"z")


async def test_only_the_chosen_token_is_told_if_no_other_is_asked_for(demo: Engine) -> None:
    pieces = await pieces_of(demo, say(logprobs=0))

    assert {token.top for piece in pieces for token in piece.logprobs} == {()}


async def test_no_likelihood_is_told_of_text_that_a_stop_string_cut(demo: Engine) -> None:
    pieces = await pieces_of(demo, say(logprobs=1, stop=(" can",)))

    told = b"".join(token.chosen.token for piece in pieces for token in piece.logprobs)
    assert told.decode() == text(pieces) == "Hello! How"


async def test_wishes_for_nothing_change_nothing(demo: Engine) -> None:
    plain = await pieces_of(demo, say())

    told = await pieces_of(
        demo, say(logprobs=5, logit_bias=((5, 0.0),), constraint=Constraint(Grammar.REGEX, "(?:.|\n)*"))
    )

    assert text(told) == text(plain)
    assert told[-1].completion_tokens == plain[-1].completion_tokens


async def test_a_bias_forces_and_forbids(engine: Engine) -> None:
    """Of this model, a token's id is its byte."""
    all_but_b = tuple((token, -100.0) for token in range(288) if token != ord("B"))

    forced = await pieces_of(engine, ask(logit_bias=((ord("A"), 100.0),), completion_tokens_max=4))
    left_over = await pieces_of(engine, ask(logit_bias=all_but_b, completion_tokens_max=4))

    assert (text(forced), text(left_over)) == ("AAAA", "BBBB")


@pytest.mark.slow
async def test_penalties_keep_a_model_from_repeating_itself(demo: Engine) -> None:
    endless = GenerateRequest(DEMO_NAME, prompt="Hello", ignore_eos=True, completion_tokens_max=120)

    plain = text(await pieces_of(demo, endless)).split()
    frequency = text(await pieces_of(demo, replace(endless, frequency_penalty=2.0))).split()
    presence = text(await pieces_of(demo, replace(endless, presence_penalty=2.0))).split()

    assert len(set(frequency)) / len(frequency) > len(set(plain)) / len(plain)
    assert presence != plain


REFUSED: list[tuple[GenerateRequest, type[EngineError], str]] = [
    (ask(constraint=Constraint(Grammar.JSON_SCHEMA, '{"not": {}}')), RequestMalformed, "here: not"),
    (ask(constraint=Constraint(Grammar.REGEX, "(a?b?){500}")), RequestMalformed, "too much work"),
    (ask(constraint=Constraint(Grammar.GBNF, "%llguidance {}")), RequestMalformed, "line=1"),
    (ask(constraint=Constraint(Grammar.JSON_OBJECT), ignore_eos=True), RequestMalformed, "a form"),
    (ask(constraint=Constraint(Grammar.JSON_OBJECT), answer_prefix="{"), FeatureMissing, "go on"),
    (ask(logprobs=21), RequestMalformed, "asked=21"),
    (ask(logprobs=-1), RequestMalformed, "asked=-1"),
    (ask(frequency_penalty=2.1), RequestMalformed, "frequency=2.1"),
    (ask(presence_penalty=math.nan), RequestMalformed, "presence=nan"),
    (ask(logit_bias=((0, 101.0),)), RequestMalformed, "logit bias"),
    (ask(logit_bias=((0, math.nan),)), RequestMalformed, "logit bias"),
    (ask(logit_bias=((-1, 1.0),)), RequestMalformed, "logit bias"),
    (ask(logit_bias=((288, 1.0),)), RequestMalformed, "asked=288 vocabulary=288"),
    (ask(logit_bias=((1, 1.0),) * 1025), RequestMalformed, "count=1025"),
    (ask(banned=("a",)), FeatureMissing, "banned-strings"),
    (ask(tool_use=ToolUse.REQUIRED), RequestMalformed, "none is offered"),
    (ask(tools=(Tool("a b", "", "{}"),)), RequestMalformed, "name"),
    (ask(tools=(Tool("a", "", "{}"),) * 2), RequestMalformed, "two of one name"),
    (ask(tools=(Tool("a", "", "[]"),)), RequestMalformed, "no JSON object"),
    (replace(ask(tools=(Tool("a", "", "{}"),)), messages=(), prompt="x"), RequestMalformed, "for chats"),
]  # fmt: skip


async def test_what_cannot_be_granted_is_refused_by_name_before_it_costs(engine: Engine) -> None:
    for request, error, words in REFUSED:
        with pytest.raises(error, match=words):
            await engine.count(request)


async def test_an_engine_that_refused_and_failed_much_answers_as_before(demo: Engine) -> None:
    refused: list[Callable[[], GenerateRequest]] = [
        lambda: say(constraint=Constraint(Grammar.REGEX, "(")),
        lambda: say(constraint=Constraint(Grammar.JSON_SCHEMA, "[" * 9999)),
    ]
    for make in refused * 5:
        with pytest.raises(EngineError):
            await demo.count(make())

    assert text(await pieces_of(demo, say())) == "Hello! How can I help you?"
