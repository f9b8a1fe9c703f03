"""Wishes for more than text: refused where they make no sense, and engines judged where they make none."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from cocoon_p2p.inference import wishes
from cocoon_p2p.inference.engine import EngineError, Feature, Finish, GenerateRequest, Piece, PromptCount
from cocoon_p2p.protocols.contents import ChatTurn, RequestContent, encode_answer
from cocoon_p2p.protocols.ids import ARGUMENTS_MAX_BYTES, VECTOR_MAX_BYTES, Kind, Outcome, Reason
from cocoon_p2p.protocols.messages import Usage
from cocoon_p2p.protocols.wishes import Audio, Constraint, Grammar, Tool
from cocoon_p2p.testing.engine import ScriptedEngine, scripted_model
from cocoon_p2p.worker.spelling import answer_content, engine_request
from tests.protocols.samples import REQUEST, TOOL_REQUEST
from tests.protocols.shapes import values
from tests.worker.scene import CONTENT, PRICE, scene

PRICES = {"scripted": PRICE, "vectors": PRICE}
MODELS = (scripted_model(features=Feature), scripted_model("vectors", kind=Kind.EMBEDDING))
EMBED = replace(
    CONTENT, kind=Kind.EMBEDDING, model="vectors", messages=(), completion_tokens_max=0, inputs=("a b", "c")
)
OF_VECTORS = {"kind": Kind.EMBEDDING, "model": "vectors", "completion_tokens_max": 0}
TOOL = Tool("weather", "", "{}")
CALL = wishes.ToolCall("1", "weather", "{}")
LIKELY = wishes.Likelihood(b"a", -0.5)


@pytest.mark.parametrize(
    "content",
    [
        replace(CONTENT, constraint=Constraint(Grammar.JSON_SCHEMA, "[" * 60_000)),
        replace(CONTENT, constraint=Constraint(Grammar.JSON_SCHEMA, "secret")),
        replace(CONTENT, tools=(TOOL, TOOL)),
        replace(CONTENT, tools=(replace(TOOL, name="a secret"),)),
        replace(CONTENT, tools=(replace(TOOL, parameters='"secret"'),)),
        replace(CONTENT, messages=(ChatTurn("user", "", images=(b"secret",)),)),
        replace(CONTENT, audio=Audio(b"secret")),
        replace(CONTENT, prompt="secret"),
        replace(CONTENT, completion_tokens_max=0),
        EMBED,
    ],
)
async def test_what_makes_no_sense_never_comes_to_the_engine_and_is_refused_in_words_that_quote_nothing(
    content: RequestContent, autojump_clock: MockClock
) -> None:
    class Untouched(ScriptedEngine):
        async def count(self, request: GenerateRequest) -> PromptCount:
            pytest.fail("the engine was asked")

    async with scene(Untouched(models=MODELS), prices=PRICES) as here:
        ask = await here.run(here.ask(), content=content)

        assert ask.refused.reason is Reason.MALFORMED
        assert "secret" not in ask.refused.detail
        assert here.worker.slots.free == here.worker.slots.total


async def test_an_embedding_is_charged_by_its_prompt_alone(autojump_clock: MockClock) -> None:
    async with scene(ScriptedEngine(models=MODELS), prices=PRICES) as here:
        ask = await here.run(here.ask(**OF_VECTORS), content=EMBED)  # type: ignore[arg-type]

        assert [len(vector) for content in ask.contents for vector in content.vectors] == [16, 16]
        assert (ask.receipt.outcome, ask.receipt.usage) == (Outcome.COMPLETED, Usage(5, 0, 0, 0))
        assert ask.receipt.amount == 5


@pytest.mark.parametrize(("amount_max", "is_taken"), [(4, False), (5, True)])
async def test_an_embedding_that_the_money_does_not_cover_is_refused_with_its_price(
    amount_max: int, is_taken: bool, autojump_clock: MockClock
) -> None:
    async with scene(ScriptedEngine(models=MODELS), prices=PRICES) as here:
        asked = here.ask(amount_max=amount_max, **OF_VECTORS)  # type: ignore[arg-type]
        ask = await here.run(asked, content=EMBED)

        if is_taken:
            assert ask.receipt.amount == 5
        else:
            assert (ask.refused.reason, ask.refused.need) == (Reason.PRICE_ABOVE_LIMIT, 5)


class Sloppy(ScriptedEngine):
    """Says one thing that it was not asked for, or that cannot be sent."""

    def __init__(self, piece: Piece) -> None:
        super().__init__(lambda request: ("It ",), models=MODELS)
        self._piece = piece

    async def _pieces(self, request: GenerateRequest, number: int) -> Any:
        if not request.inputs:
            yield Piece("It ", 1, 5)
        yield self._piece


@pytest.mark.parametrize(
    ("piece", "changes"),
    [
        (Piece("", 2, 5, calls=(CALL,)), {}),
        (Piece("", 2, 5, calls=(CALL, CALL)), {"tools": (TOOL,)}),
        (
            Piece("", 2, 5, calls=(replace(CALL, arguments="x" * (ARGUMENTS_MAX_BYTES + 1)),)),
            {"tools": (TOOL,)},
        ),
        (Piece("", 2, 5, calls=(replace(CALL, name="\ud800"),)), {"tools": (TOOL,)}),
        (Piece("", 2, 5, logprobs=(wishes.TokenLogprob(LIKELY),)), {}),
        (Piece("", 2, 5, logprobs=(wishes.TokenLogprob(LIKELY, (LIKELY,) * 2),)), {"logprobs": 1}),
        (Piece("", 2, 5, logprobs=(wishes.TokenLogprob(wishes.Likelihood(b"", math.nan)),)), {"logprobs": 1}),
        (Piece("", 2, 5, vectors=(bytes(8),)), {}),
        (Piece("\ud800", 2, 5), {}),
    ],
)
async def test_what_an_engine_was_not_asked_for_is_its_failure_and_never_sent(
    piece: Piece, changes: dict[str, Any], autojump_clock: MockClock
) -> None:
    async with scene(Sloppy(piece), prices=PRICES) as here:
        ask = await here.run(here.ask(), content=replace(CONTENT, **changes))

        assert (ask.receipt.outcome, ask.text) == (Outcome.FAILED, "It ")
        assert (ask.receipt.usage.prompt, ask.receipt.usage.completion) == (0, 1)


@pytest.mark.parametrize(
    "vectors",
    [
        (bytes(VECTOR_MAX_BYTES + 4),) * 2,
        (bytes(8),),
        (bytes(8),) * 3,
        (bytes(8), bytes(4)),
        (b"\xff" * 8,) * 2,
    ],
    ids=["too long", "too few", "too many", "of two lengths", "not numbers"],
)
async def test_vectors_that_will_not_do_are_the_engine_s_failure_and_cost_nothing(
    vectors: tuple[bytes, ...], autojump_clock: MockClock
) -> None:
    async with scene(Sloppy(Piece("", 0, 5, finish=Finish.STOP, vectors=vectors)), prices=PRICES) as here:
        ask = await here.run(here.ask(**OF_VECTORS), content=EMBED)  # type: ignore[arg-type]

        assert (ask.receipt.outcome, ask.receipt.amount) == (Outcome.FAILED, 0)
        assert ask.contents == []


# ---------------------------------------------------------------- between the wire and the engine


def test_what_was_wished_for_is_said_in_the_engine_s_terms() -> None:
    request = engine_request(TOOL_REQUEST, cache_scope=b"")

    assert request.constraint == wishes.Constraint(wishes.Grammar.JSON_SCHEMA, '{"type":"object"}')
    assert request.logit_bias == ((1734, -100.0), (88, 1.5))
    assert (request.frequency_penalty, request.presence_penalty) == (0.5, -1.0)
    assert request.tool_use is wishes.ToolUse.AUTO
    assert [tool.name for tool in request.tools] == ["weather"]
    assert request.messages[1].calls == (wishes.ToolCall("call_1", "weather", '{"town": "Tashkent"}'),)
    assert (request.messages[2].call_id, request.logprobs, request.banned) == ("call_1", 1, ("As an AI",))


def test_a_request_for_text_alone_wishes_for_nothing_more() -> None:
    request = engine_request(REQUEST, cache_scope=b"")

    assert request.features == {Feature.SEED, Feature.STOP, Feature.TEMPERATURE}


@given(values(RequestContent))
@settings(max_examples=25, deadline=None)
def test_every_request_has_its_terms(content: RequestContent) -> None:
    assert engine_request(content, cache_scope=b"").model == content.model


@pytest.mark.parametrize(
    ("nats", "micro"),
    [(0.0, 0), (-0.693147, 693_147), (1e-6, 0), (-math.inf, 9_999_000_000), (-12_000.0, 9_999_000_000)],
)
def test_a_likelihood_is_spelled_in_millionths_however_unlikely(nats: float, micro: int) -> None:
    told = wishes.TokenLogprob(wishes.Likelihood(b"t" * 600, nats))

    (one,) = answer_content(Piece("", 1, logprobs=(told,))).logprobs

    assert (one.chosen.micro, len(one.chosen.token)) == (micro, 512)


LIKELIHOODS = st.builds(wishes.Likelihood, st.binary(max_size=9), st.floats())
PIECES = st.builds(
    Piece,
    st.text(max_size=9) | st.just("\ud800"),
    st.integers(0, 9),
    finish=st.none() | st.sampled_from(Finish),
    calls=st.lists(st.builds(wishes.ToolCall, st.text(), st.text(), st.text()), max_size=3).map(tuple),
    logprobs=st.lists(st.builds(wishes.TokenLogprob, LIKELIHOODS), max_size=3).map(tuple),
    vectors=st.lists(st.binary(max_size=9), max_size=3).map(tuple),
)


@given(PIECES)
def test_whatever_an_engine_says_can_be_spelled_or_is_its_failure(piece: Piece) -> None:
    try:
        content = answer_content(piece)
    except EngineError:
        return
    assert encode_answer(content)
