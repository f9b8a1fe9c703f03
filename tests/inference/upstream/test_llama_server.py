"""An engine in front of llama.cpp's own server: the real one, with the demo model."""

import math
import re
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import httpx
import pytest
import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.catalogue import demo_model
from cocoon_p2p.inference.engine import (
    ChatMessage,
    Engine,
    Feature,
    Finish,
    GenerateRequest,
    Piece,
    PromptTooLong,
    RequestMalformed,
)
from cocoon_p2p.inference.llamacpp import open_llamacpp
from cocoon_p2p.inference.upstream import Upstream, open_upstream, trying
from cocoon_p2p.inference.upstream.dialects import LlamaCppDialect
from cocoon_p2p.inference.upstream.generating import Served
from cocoon_p2p.inference.upstream.probing import Found, probe
from cocoon_p2p.inference.upstream.proofs import answer
from cocoon_p2p.inference.wishes import Constraint, Grammar, Tool, ToolCall
from cocoon_p2p.protocols.ids import Kind
from tests.inference.upstream.scene import KEY, llama_server

NAME = "cocoon-demo"
BOUND_SECONDS = 60
"A bound for a test that hangs; none waits for it."


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with llama_server() as address:
        yield address


@pytest.fixture(scope="module")
def found() -> list[Found]:
    """What the server was seen to do, once it was."""
    return []


@pytest.fixture
async def engine(address: str, found: list[Found], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    async def probe_once(served: Served) -> Found:
        if not found:
            found.append(await probe(served))
        known = found[0]
        return replace(known, served=replace(served, constrainings=known.served.constrainings))

    monkeypatch.setattr(trying, "probe", probe_once)
    with trio.fail_after(BOUND_SECONDS):
        async with open_upstream(Upstream(address, api_key=KEY), slots=2) as engine:
            yield engine


def chat(
    text: str, *, tokens: int = 256, stop: tuple[str, ...] = (), answer_prefix: str = ""
) -> GenerateRequest:
    return GenerateRequest(
        NAME,
        (ChatMessage("user", text),),
        completion_tokens_max=tokens,
        stop=stop,
        answer_prefix=answer_prefix,
    )


async def pieces_of(engine: Engine, request: GenerateRequest) -> list[Piece]:
    async with engine.generate(request) as pieces:
        return [piece async for piece in pieces]


def text(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


async def test_it_is_named_by_its_file_and_is_as_long_as_the_server_says(engine: Engine) -> None:
    (card,) = engine.capabilities.models

    assert card.name == NAME
    assert card.context_tokens == 512
    assert engine.capabilities.engine == "upstream (llama.cpp)"


async def test_a_model_that_nobody_here_can_see_is_never_taken_for_the_demo_model(engine: Engine) -> None:
    async with open_llamacpp(demo_model(), slots=1, threads=1) as own:
        assert engine.capabilities.models[0].weights_hash != own.capabilities.models[0].weights_hash
        assert not engine.capabilities.models[0].is_demo


@pytest.mark.parametrize(
    "request_",
    [
        chat("Translate to Spanish: the red house"),
        chat("What is a worker?"),
        chat("What is a worker?", tokens=5),
        chat("What is a worker?", stop=("network",)),
        chat("What is a worker?", answer_prefix="A worker is a computer"),
        chat("Hello", answer_prefix="<|im_end|> is text here"),
        chat("Translate to Russian: Good morning."),
        GenerateRequest(NAME, prompt="<|im_start|>user\nHi<|im_end|>\n", completion_tokens_max=20),
    ],
)
async def test_an_answer_is_the_one_that_the_engine_in_our_own_process_gives(
    engine: Engine, request_: GenerateRequest
) -> None:
    async with open_llamacpp(demo_model(), name=NAME, slots=1, threads=1) as own:
        expected = await pieces_of(own, request_)
        counted = (await own.count(request_)).prompt_tokens

    got = await pieces_of(engine, request_)

    assert text(got) == text(expected)
    assert got[-1].finish is expected[-1].finish
    assert got[-1].completion_tokens == expected[-1].completion_tokens
    assert (await engine.count(request_)).prompt_tokens == counted == got[-1].prompt_tokens


async def test_leaving_frees_the_server_for_others(engine: Engine) -> None:
    endless = GenerateRequest(
        NAME, prompt="Hello", temperature=1.0, ignore_eos=True, completion_tokens_max=500
    )
    for _ in range(6):
        async with engine.generate(endless) as pieces:
            await anext(pieces)

    assert text(await pieces_of(engine, chat("Hello"))) == "Hello! How can I help you?"


async def test_a_prompt_that_fills_the_context_is_refused_before_it_is_paid(engine: Engine) -> None:
    with pytest.raises(PromptTooLong, match="context=512"):
        await engine.count(chat("word " * 600))


async def test_half_of_a_character_is_refused(engine: Engine) -> None:
    with pytest.raises(RequestMalformed, match="half of a character"):
        await engine.count(chat("\ud800"))


async def test_many_at_once_get_their_own_answers(engine: Engine) -> None:
    questions = {"Translate to Spanish: the red house": "la casa roja", "Hello": "Hello! How can I help you?"}
    answers = dict[tuple[str, int], str]()

    async def ask(question: str, number: int) -> None:
        answers[question, number] = text(await pieces_of(engine, chat(question)))

    async with trio.open_nursery() as nursery:
        for number in range(8):
            for question in questions:
                nursery.start_soon(ask, question, number)

    assert answers == {(q, number): a for q, a in questions.items() for number in range(8)}


async def test_the_end_of_the_limit_is_said(engine: Engine) -> None:
    pieces = await pieces_of(engine, chat("What is a worker?", tokens=3))

    assert (pieces[-1].finish, pieces[-1].completion_tokens) == (Finish.LENGTH, 3)


async def test_a_wrong_key_is_said_before_anything_is_advertised(address: str) -> None:
    with pytest.raises(ConfigurationError, match="status=401") as raised:
        async with open_upstream(Upstream(address, api_key="another")):
            raise AssertionError("it must not open")

    assert raised.value.hint is not None
    assert "key" in raised.value.hint


async def test_a_longer_context_than_the_server_has_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="wanted=1000 there=512"):
        async with open_upstream(Upstream(address, api_key=KEY), context_tokens=1000):
            raise AssertionError("it must not open")


# ---------------------------------------------------------------- wishes


async def test_what_the_real_server_can_is_found_out(engine: Engine) -> None:
    assert engine.capabilities.models[0].features == {
        Feature.CONTINUE,
        Feature.GRAMMAR,
        Feature.IGNORE_EOS,
        Feature.JSON_SCHEMA,
        Feature.LOGIT_BIAS,
        Feature.LOGPROBS,
        Feature.PENALTIES,
        Feature.REGEX,
        Feature.SEED,
        Feature.STOP,
        Feature.TEMPERATURE,
    }


FORMS = {
    Constraint(Grammar.REGEX, "(cat|dog)-[0-9]{3}"): "(cat|dog)-[0-9]{3}",
    Constraint(Grammar.GBNF, 'root ::= "a" [0-9] "z"'): "a[0-9]z",
    Constraint(Grammar.JSON_SCHEMA, '{"enum": ["Oslo", "Rome"]}'): '"(Oslo|Rome)"',
}


async def test_an_answer_has_the_form_that_was_asked_for(engine: Engine) -> None:
    for constraint, form in FORMS.items():
        request = replace(chat("Hello", tokens=32), constraint=constraint)

        assert re.fullmatch(form, text(await pieces_of(engine, request)))


async def test_likelihoods_are_those_of_the_tokens_delivered(engine: Engine) -> None:
    pieces = await pieces_of(engine, replace(chat("Hello"), logprobs=2))

    tokens = [token for piece in pieces for token in piece.logprobs]
    assert b"".join(token.chosen.token for token in tokens).decode().startswith(text(pieces))
    assert all(len(token.top) == 2 for token in tokens)
    # It was chosen because none was likelier.
    assert all(token.chosen.logprob == token.top[0].logprob for token in tokens)


async def test_a_seed_gives_the_same_answer_again(engine: Engine) -> None:
    one, two, other = [
        text(await pieces_of(engine, replace(chat("Hello", tokens=24), temperature=1.5, seed=seed)))
        for seed in (1, 1, 2)
    ]

    assert one == two != other


async def test_a_prompt_is_told_as_it_is_computed(engine: Engine) -> None:
    request = GenerateRequest(NAME, prompt="word " * 100, completion_tokens_max=2)

    pieces = await pieces_of(engine, request)

    prefilled = [piece.prompt_tokens for piece in pieces]
    assert prefilled == sorted(prefilled)
    assert prefilled[-1] == (await engine.count(request)).prompt_tokens
    assert [piece for piece in pieces if not piece.text and piece.finish is None]


@pytest.mark.slow
async def test_a_real_server_that_embeds_is_served_as_one() -> None:
    with llama_server(embeds=True, kv_unified=True) as address, trio.fail_after(BOUND_SECONDS):
        async with open_upstream(Upstream(address, api_key=KEY)) as engine:
            (card,) = engine.capabilities.models
            request = GenerateRequest(NAME, inputs=("Hello world", "Hello there", "Hello world"))
            counted = await engine.count(request)
            pieces = await pieces_of(engine, request)

    first, second, again = [struct.unpack("<256f", vector) for piece in pieces for vector in piece.vectors]
    assert card.kind is Kind.EMBEDDING
    # Alike but for the last digits, which what else is in the batch moves.
    assert math.dist(first, again) < 0.01 < math.dist(first, second)
    assert pieces[-1].prompt_tokens == counted.prompt_tokens > 3


@pytest.mark.slow
async def test_a_real_server_whose_vectors_depend_on_what_else_it_embeds_is_refused() -> None:
    with llama_server(embeds=True) as address, pytest.raises(ConfigurationError) as raised:
        async with open_upstream(Upstream(address, api_key=KEY)):
            raise AssertionError("it must not open")

    assert "--kv-unified" in raised.value.hint


TEMPLATE = """{% if tools %}<|im_start|>system
{% for tool in tools %}{{ tool | tojson }}{% endfor %}<|im_end|>
{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}{% for call in m.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


@pytest.mark.slow
async def test_a_prompt_with_tools_is_counted_as_a_real_server_computes_it() -> None:
    """The demo model never calls a tool, so that is all that it can show."""
    tool = Tool("look", "Look something up.", '{"type": "object", "properties": {"a": {"type": "integer"}}}')
    called = ChatMessage("assistant", "", calls=(ToolCall("c1", "look", '{"a": 1}'),))
    messages = (ChatMessage("user", "Hello"), called, ChatMessage("tool", "found", call_id="c1"))
    with llama_server(template=TEMPLATE, key="") as address, trio.fail_after(BOUND_SECONDS):
        async with httpx.AsyncClient(base_url=address) as http:
            served = Served(http, NAME, LlamaCppDialect(http, NAME), {})
            request = GenerateRequest(NAME, messages, tools=(tool,), completion_tokens_max=4)
            plain = await served.split(replace(request, tools=()))
            counted = await served.split(request)
            answered = await answer(served, request, counted)

    assert counted.sent is None
    assert counted.tokens == answered.prompt_tokens > plain.tokens
