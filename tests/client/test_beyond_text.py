"""Workers that send beyond text what nobody asked for, or less than was: found, named, held against them."""

import struct
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import AnswerBroken, CocoonError, Refused
from cocoon_p2p.inference.engine import Feature, Finish, GenerateRequest, Piece
from cocoon_p2p.inference.wishes import ToolCall as EngineCall
from cocoon_p2p.protocols.ids import CALLS_MAX, Kind, Outcome, Reason
from cocoon_p2p.protocols.wishes import Likelihood, TokenLogprob, ToolCall
from cocoon_p2p.testing.engine import ScriptedEngine, scripted_model
from tests.client.nodes import nodes
from tests.client.scene import POLICY, QUESTION, Scene, Script, Talk, scene

FEATURES = tuple(sorted(feature.value for feature in Feature))
TOOLS = [{"type": "function", "function": {"name": "weather"}}]
CALL = ToolCall("1", "weather", "{}")
LIKELY = Likelihood(b"a", 1)
ONE, TWO = struct.pack("<2f", 1, 2), struct.pack("<2f", 3, 4)
NAN = struct.pack("<2f", 1, float("nan"))


def sending(*carries: dict[str, Any], text: str = "", tokens: int = 0) -> Script:
    """Carry this in one chunk after the other, the last of them final, and send the bill."""

    async def script(talk: Talk) -> None:
        await talk.begin()
        for number, one in enumerate(carries, 1):
            await talk.chunk(text, tokens, carries=one, final=number == len(carries))
        await talk.settle()

    return script


def held_against(stage: Scene) -> float:
    return stage.client._desk.standings.faults(stage.proxy.worker.peer)


@pytest.mark.parametrize(
    ("wishes", "carries", "says"),
    [
        ({}, {"calls": (CALL,)}, "where none was allowed"),
        ({"tools": TOOLS, "tool_choice": "none"}, {"calls": (CALL,)}, "where none was allowed"),
        ({"tools": TOOLS}, {"calls": (CALL, CALL)}, "id of its own"),
        (
            {"tools": TOOLS},
            {"calls": tuple(ToolCall(str(number), "f", "") for number in range(CALLS_MAX + 1))},
            "too many tool calls",
        ),
        ({}, {"logprobs": (TokenLogprob(LIKELY),)}, "more logprobs"),
        ({"logprobs": 1}, {"logprobs": (TokenLogprob(LIKELY, (LIKELY,) * 2),)}, "more logprobs"),
        (
            {"logprobs": 0, "completion_tokens_max": 3},
            {"logprobs": (TokenLogprob(LIKELY),) * 4},
            "of more tokens",
        ),
        ({}, {"vectors": (ONE,)}, "more vectors"),
    ],
)
async def test_what_nobody_asked_for_ends_the_answer_and_is_held_against_the_worker(
    wishes: dict[str, Any], carries: dict[str, Any], says: str, autojump_clock: MockClock
) -> None:
    async with scene(sending({}, carries, text="It ", tokens=1), features=FEATURES) as stage:
        with pytest.raises(AnswerBroken, match=says) as raised:
            async with stage.client.chat("scripted", QUESTION, **wishes) as answer:
                await answer.read()

        assert (raised.value.code, raised.value.text) == ("miscounted", "It ")
        assert answer.tool_calls == ()
        assert held_against(stage) == 1.0


async def test_a_call_without_arguments_or_text_is_delivered(autojump_clock: MockClock) -> None:
    call = ToolCall("1", "weather", "")

    async with scene(sending({"calls": (call,)}, tokens=1), features=FEATURES) as stage:
        async with stage.client.chat("scripted", QUESTION, tools=TOOLS) as answer:
            await answer.read()

        assert answer.tool_calls == (call,)


async def test_a_call_of_more_tokens_than_are_paid_ahead_is_delivered_and_paid_for(
    autojump_clock: MockClock,
) -> None:
    class OfOneLongCall(ScriptedEngine):
        async def _pieces(self, request: GenerateRequest, number: int) -> Any:
            yield Piece("I look. ", 2, 3)
            yield Piece("", 2 + 4 * POLICY.window_tokens_max, 3, calls=(EngineCall("1", "weather", "{}"),))
            yield Piece("", 2 + 4 * POLICY.window_tokens_max, 3, finish=Finish.TOOL_CALLS)

    async with nodes(OfOneLongCall(models=[scripted_model(features=Feature)])) as all_:
        async with all_.client.chat(
            "scripted", QUESTION, tools=TOOLS, completion_tokens_max=5 * POLICY.window_tokens_max
        ) as answer:
            await answer.read()

        assert (answer.finish, answer.tool_calls) == ("tool_calls", (CALL,))
        assert answer.usage.completion == 2 + 4 * POLICY.window_tokens_max
        assert answer.cost == all_.paid > all_.earned
        await all_.agreed()


async def test_arguments_without_end_are_more_text_than_the_tokens_can_hold(
    autojump_clock: MockClock,
) -> None:
    calls = tuple(ToolCall(str(number), "f", "x" * 30_000) for number in range(2))
    script = sending({}, *({"calls": (call,)} for call in calls), text="It ", tokens=1)

    async with scene(script, features=FEATURES) as stage:
        with pytest.raises(AnswerBroken, match="more text than the tokens"):
            async with stage.client.chat(
                "scripted", QUESTION, tools=TOOLS, completion_tokens_max=60
            ) as answer:
                await answer.read()


@pytest.mark.parametrize(
    ("carries", "says"),
    [
        (({"vectors": (ONE,)},), "fewer vectors"),
        (({},), "fewer vectors"),
        (({"vectors": (ONE, TWO, ONE)},), "more vectors"),
        (({"vectors": (ONE,)}, {"vectors": (ONE[:4],)}), "wrong length"),
        (({"vectors": (ONE, NAN)},), "not finite"),
        (({"vectors": (ONE, b"")},), "wrong length"),
        (({"vectors": (ONE, TWO), "calls": (CALL,)},), "where none was allowed"),
    ],
)
async def test_vectors_that_will_not_do_are_no_embedding(
    carries: tuple[dict[str, Any], ...], says: str, autojump_clock: MockClock
) -> None:
    async with scene(sending(*carries), kind=Kind.EMBEDDING, features=()) as stage:
        with pytest.raises(CocoonError, match=says) as raised:
            await stage.client.embed("scripted", ["a", "b"])

        assert (raised.value.code, raised.value.charged) == ("miscounted", 0)
        assert held_against(stage) == 1.0


async def test_words_in_an_embedding_are_more_than_was_asked_for(autojump_clock: MockClock) -> None:
    async with scene(sending({"vectors": (ONE,)}, text="psst"), kind=Kind.EMBEDDING, features=()) as stage:
        with pytest.raises(CocoonError, match="more text"):
            await stage.client.embed("scripted", ["a"])


async def test_tokens_in_an_embedding_are_not_paid(autojump_clock: MockClock) -> None:
    async with scene(sending({"vectors": (ONE,)}, tokens=1), kind=Kind.EMBEDDING, features=()) as stage:
        with pytest.raises(CocoonError, match=r"more tokens than were asked for \(limit=0 got=1\)"):
            await stage.client.embed("scripted", ["a"])

        assert held_against(stage) == 1.0


async def test_an_honest_embedding_costs_its_prompt(autojump_clock: MockClock) -> None:
    async with scene(
        sending({"vectors": (ONE,)}, {"vectors": (TWO,)}), kind=Kind.EMBEDDING, features=()
    ) as stage:
        made = await stage.client.embed("scripted", ["a", "b"])

        assert [vector.tolist() for vector in made.vectors] == [[1, 2], [3, 4]]
        assert (made.usage.prompt, made.usage.completion) == (10, 0)
        assert made.cost == stage.paying().charged > 0
        assert made.answer.bundle is not None
        await stage.agreed()


async def test_an_embedding_that_failed_half_way_costs_nothing(autojump_clock: MockClock) -> None:
    async def script(talk: Talk) -> None:
        await talk.begin()
        await talk.chunk("", 0, carries={"vectors": (ONE,)})
        await talk.settle(Outcome.FAILED, Reason.ENGINE_FAILED)

    async with scene(script, kind=Kind.EMBEDDING, features=()) as stage:
        with pytest.raises(AnswerBroken) as raised:
            await stage.client.embed("scripted", ["a", "b"])

        assert (raised.value.code, raised.value.charged) == ("engine-failed", 0)
        await stage.agreed()


async def test_a_proxy_that_bills_an_embedding_s_prompt_though_the_worker_failed_is_not_paid(
    autojump_clock: MockClock,
) -> None:
    async def script(talk: Talk) -> None:
        await talk.begin()
        await talk.chunk("", 0, carries={"vectors": (ONE,)})
        await talk.settle(Outcome.CANCELLED)

    async with scene(script, kind=Kind.EMBEDDING, features=()) as stage:
        with pytest.raises(AnswerBroken):
            await stage.client.embed("scripted", ["a", "b"])

        assert stage.paying().charged == 0


async def test_an_embedding_whose_prompt_alone_is_too_dear_is_not_begun(autojump_clock: MockClock) -> None:
    async with scene(sending({"vectors": (ONE,)}), kind=Kind.EMBEDDING, features=()) as stage:
        with pytest.raises(Refused, match="price above limit") as raised:
            await stage.client.embed("scripted", ["a"], max_cost=1)

        assert raised.value.charged == 0


async def test_a_worker_of_another_kind_or_without_a_feature_is_not_accepted_from_a_proxy_that_quotes_it(
    autojump_clock: MockClock,
) -> None:
    async def quoting(talk: Talk) -> None:
        await talk.quote()
        await talk.hear()

    async with scene(quoting, features=("stop",)) as stage:
        with pytest.raises(CocoonError, match=r"lacks a feature \(features=tools\)"):
            async with stage.client.chat("scripted", QUESTION, tools=TOOLS):
                pytest.fail("there can be no answer")
        assert stage.proxy.talks[0].heard == []
        await trio.sleep(1)
        assert (stage.paying().charged, stage.paying().held) == (0, 0)
