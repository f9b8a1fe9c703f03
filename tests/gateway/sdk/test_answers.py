"""What OpenAI's SDK asks and reads, against llama.cpp behind the gateway."""

import json
from collections.abc import Iterable
from typing import Any, Literal, cast

import openai
import pytest
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from tests.aio.conftest import Run
from tests.gateway.sdk.scene import DEMO, GREETING, HELLO, Served
from tests.inference.random_gguf import END, HIDDEN

CALLER, EMBEDDER = "random", "random-embedder"

WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"enum": ["Rome"]}}, "required": ["city"]},
    },
}


ENDS_SOON = {str(END): 100}
"Random weights would call again and again."


class Place(BaseModel):
    city: Literal["Paris", "Rome"]
    is_far: bool


def cocoon(said: Any) -> dict[str, Any]:
    """Give what the gateway says beside OpenAI's fields."""
    facts: dict[str, Any] = said.cocoon
    return facts


def put_together(chunks: Iterable[ChatCompletionChunk]) -> tuple[str, list[str | None]]:
    """Give a stream's text, and why it ended."""
    choices = [choice for chunk in chunks for choice in chunk.choices]
    text = "".join(choice.delta.content or "" for choice in choices)
    return text, [choice.finish_reason for choice in choices if choice.finish_reason]


def test_the_models_are_listed_and_one_can_be_looked_up(gateway: Served) -> None:
    sdk = gateway.sdk()

    names = {model.id for model in sdk.models.list()}
    one = sdk.models.retrieve(DEMO)

    assert names == {DEMO, CALLER, EMBEDDER, "whisper"}
    assert one.id == DEMO
    assert cocoon(one)["is_demo_model"] is True


def test_a_chat_is_answered_and_says_what_it_cost(gateway: Served) -> None:
    raw = gateway.sdk().chat.completions.with_raw_response.create(model=DEMO, messages=HELLO, temperature=0)
    answer = raw.parse()

    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (GREETING, "stop")
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert cocoon(answer)["cost"] == int(raw.headers["x-cocoon-cost"]) > 0
    assert cocoon(answer)["trust"] == raw.headers["x-cocoon-trust"] == "open"
    assert cocoon(answer)["exchange"] == raw.headers["x-cocoon-exchange"] == raw.request_id


def test_a_chat_streams_and_ends_with_its_usage_where_that_is_wanted(gateway: Served) -> None:
    sdk = gateway.sdk()

    plain = list(sdk.chat.completions.create(model=DEMO, messages=HELLO, temperature=0, stream=True))
    counted = list(
        sdk.chat.completions.create(
            model=DEMO, messages=HELLO, temperature=0, stream=True, stream_options={"include_usage": True}
        )
    )

    assert put_together(plain) == put_together(counted) == (GREETING, ["stop"])
    assert all(chunk.usage is None for chunk in plain)
    assert counted[-1].choices == []
    assert counted[-1].usage is not None
    assert counted[-1].usage.completion_tokens > 0
    assert cocoon(plain[-1])["cost"] > 0


def test_the_sdk_puts_a_streamed_answer_together_by_itself(gateway: Served) -> None:
    with gateway.sdk().chat.completions.stream(model=DEMO, messages=HELLO, temperature=0) as stream:
        kinds = {event.type for event in stream}

        final = stream.get_final_completion()

    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content == GREETING


def test_an_asyncio_program_asks_and_streams(gateway: Served, run: Run) -> None:
    async def program() -> None:
        async with gateway.async_sdk() as sdk:
            whole = await sdk.chat.completions.create(model=DEMO, messages=HELLO, temperature=0)
            stream = await sdk.chat.completions.create(model=DEMO, messages=HELLO, temperature=0, stream=True)
            chunks = [chunk async for chunk in stream]

        assert whole.choices[0].message.content == GREETING
        assert put_together(chunks) == (GREETING, ["stop"])

    run(program())


def test_an_answer_keeps_to_the_schema_of_a_pydantic_model(gateway: Served) -> None:
    answer = gateway.sdk().chat.completions.parse(
        model=DEMO, messages=HELLO, temperature=0, response_format=Place
    )

    place = answer.choices[0].message.parsed
    assert isinstance(place, Place)
    assert json.loads(answer.choices[0].message.content or "") == place.model_dump()


def test_an_answer_is_some_json_object(gateway: Served) -> None:
    answer = gateway.sdk().chat.completions.create(
        model=DEMO, messages=HELLO, temperature=0, max_tokens=200, response_format={"type": "json_object"}
    )

    text = answer.choices[0].message.content or ""
    # The demo model knows no JSON, so it may write on until its tokens are used up.
    assert text.startswith("{")
    assert answer.choices[0].finish_reason == "length" or isinstance(json.loads(text), dict)


def test_a_tool_is_called_with_arguments_that_fit(gateway: Served) -> None:
    answer = gateway.sdk().chat.completions.create(
        model=CALLER, messages=HELLO, tools=[WEATHER], tool_choice="required", logit_bias=ENDS_SOON
    )

    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    call = choice.message.tool_calls[0]
    assert call.type == "function"
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"city": "Rome"}


def test_a_streamed_tool_call_is_put_together_by_the_sdk(gateway: Served) -> None:
    with gateway.sdk().chat.completions.stream(
        model=CALLER,
        messages=HELLO,
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        logit_bias=ENDS_SOON,
    ) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()

    assert "tool_calls.function.arguments.done" in kinds
    calls = final.choices[0].message.tool_calls
    assert calls
    assert json.loads(calls[0].function.arguments) == {"city": "Rome"}


def test_what_a_tool_said_goes_back_into_the_chat(gateway: Served) -> None:
    sdk = gateway.sdk()
    first = sdk.chat.completions.create(
        model=CALLER, messages=HELLO, tools=[WEATHER], tool_choice="required", logit_bias=ENDS_SOON
    )
    asked = first.choices[0].message
    assert asked.tool_calls
    told: ChatCompletionMessageParam = {
        "role": "tool",
        "tool_call_id": asked.tool_calls[0].id,
        "content": "Rain.",
    }
    chat = [*HELLO, cast("ChatCompletionMessageParam", asked), told]

    second = sdk.chat.completions.create(
        model=CALLER,
        messages=chat,
        tools=[WEATHER],
        max_tokens=4,
    )

    assert second.choices[0].finish_reason in ("stop", "length", "tool_calls")


def test_how_likely_each_token_was_is_told(gateway: Served) -> None:
    answer = gateway.sdk().chat.completions.create(
        model=DEMO, messages=HELLO, temperature=0, logprobs=True, top_logprobs=2
    )

    told = answer.choices[0].logprobs
    assert told is not None
    assert told.content
    assert "".join(token.token for token in told.content).strip() == GREETING
    assert all(len(token.top_logprobs) == 2 and token.logprob <= 0 for token in told.content)


def test_a_bare_prompt_is_continued_whole_and_streamed(gateway: Served) -> None:
    sdk = gateway.sdk()

    whole = sdk.completions.create(model=DEMO, prompt="The red", temperature=0, max_tokens=4)
    stream = sdk.completions.create(model=DEMO, prompt="The red", temperature=0, max_tokens=4, stream=True)

    assert whole.usage is not None
    assert whole.usage.completion_tokens == 4
    assert "".join(chunk.choices[0].text for chunk in stream if chunk.choices) == whole.choices[0].text != ""


def test_vectors_are_the_same_in_base64_as_in_numbers(gateway: Served) -> None:
    sdk, texts = gateway.sdk(), ["hello", "the red house"]

    packed = sdk.embeddings.create(model=EMBEDDER, input=texts)
    plain = sdk.embeddings.create(model=EMBEDDER, input=texts, encoding_format="float")

    assert [one.index for one in packed.data] == [0, 1]
    assert [len(one.embedding) for one in packed.data] == [HIDDEN, HIDDEN]
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, rel=1e-5)
    assert packed.data[0].embedding != packed.data[1].embedding
    assert cocoon(packed)["cost"] > 0


def test_speech_is_written_down(gateway: Served) -> None:
    sdk, speech = gateway.sdk(), ("speech.wav", bytes(40_000), "audio/wav")

    said = sdk.audio.transcriptions.create(model="whisper", file=speech)
    text = sdk.audio.transcriptions.create(model="whisper", file=speech, response_format="text")

    assert said.text == str(text).strip() == "Hello, world."
    assert cocoon(said)["cost"] > 0


def test_what_an_answer_may_cost_and_must_prove_goes_along(gateway: Served) -> None:
    sdk = gateway.sdk()

    answer = sdk.chat.completions.create(
        model=DEMO, messages=HELLO, temperature=0, extra_body={"max_price": 900_000_000, "trust": "open"}
    )
    again = sdk.chat.completions.create(
        model=DEMO, messages=HELLO, temperature=0, extra_body={"prefer": cocoon(answer)["worker"]}
    )

    assert cocoon(again)["worker"] == cocoon(answer)["worker"]
    with pytest.raises(openai.APIStatusError, match="price") as caught:
        sdk.chat.completions.create(model=DEMO, messages=HELLO, extra_body={"max_price": 1})
    assert (caught.value.status_code, caught.value.code) == (402, "price-above-limit")
