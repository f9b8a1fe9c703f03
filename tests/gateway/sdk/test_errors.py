"""Each of the SDK's error classes, as a program that catches it meets it."""

import socket
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import openai
import pytest

from cocoon_p2p.client import Budget
from cocoon_p2p.gateway import Settings
from cocoon_p2p.gateway.keys import ApiKey, Keys
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.units import Nano
from tests.gateway.sdk.scene import GENEROUS_SECONDS, HELLO, GatedEngine, Served, served

WORDS = tuple(f"word{number} " for number in range(400))


class TwoKeys(Keys):
    """One that may ask, and one that may ask no more."""

    def __init__(self) -> None:
        self.known = {
            "sk-cocoon-often": ApiKey("often", "often", "key/often", None, 0),
            "sk-cocoon-seldom": ApiKey("seldom", "seldom", "key/seldom", 1, 0),
        }

    def find(self, secret: str) -> ApiKey | None:
        return self.known.get(secret)

    def admit(self, key: ApiKey, now: float) -> float | None:
        return None if key.requests_per_minute is None else 42.0

    def list(self) -> tuple[ApiKey, ...]:
        return tuple(self.known.values())


@pytest.fixture(scope="module")
def gateway() -> Iterator[Served]:
    """Run a gateway that nothing happens to."""
    with served(ScriptedEngine(delay_seconds=0)) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def locked() -> Iterator[Served]:
    """Run one with keys."""
    with served(ScriptedEngine(delay_seconds=0), keys=TwoKeys()) as gateway:
        yield gateway


def ask(sdk: openai.OpenAI, **wishes: Any) -> Any:
    asked: dict[str, Any] = {"model": "scripted", "messages": HELLO, **wishes}
    return cast("Any", sdk.chat.completions).create(**asked)


@pytest.mark.parametrize(
    ("error", "code", "wishes"),
    [
        (openai.BadRequestError, "invalid-request", {"temperature": 5}),
        (openai.BadRequestError, "invalid-request", {"messages": [{"role": "king", "content": "Hello"}]}),
        (openai.BadRequestError, "invalid-request", {"extra_body": {"colour": "red"}}),
        (openai.BadRequestError, "unsupported-parameter", {"n": 2}),
        (openai.NotFoundError, "unknown-model", {"model": "gpt-9"}),
        (openai.UnprocessableEntityError, "attestation-failed", {"extra_body": {"trust": "tdx"}}),
        (
            openai.PermissionDeniedError,
            "origin-refused",
            {"extra_headers": {"Origin": "https://evil.example"}},
        ),
    ],
)
def test_what_cannot_be_had_is_refused_by_the_class_that_programs_catch(
    gateway: Served, error: type[openai.APIStatusError], code: str, wishes: dict[str, Any]
) -> None:
    before = gateway.charged

    with pytest.raises(error) as caught:
        ask(gateway.sdk(), **wishes)

    assert type(caught.value) is error
    assert caught.value.code == code
    assert gateway.charged == before


def test_the_field_that_is_wrong_is_named(gateway: Served) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(gateway.sdk(), temperature=5)

    assert (caught.value.param, caught.value.type) == ("temperature", "invalid_request_error")


@pytest.mark.parametrize("key", ["sk-cocoon-stolen", "none"])
def test_a_wrong_key_is_an_authentication_error(locked: Served, key: str) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        ask(locked.sdk(api_key=key))

    assert caught.value.code == "invalid_api_key"


def test_a_key_that_asks_too_often_is_told_when_to_come_again(locked: Served) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        ask(locked.sdk(api_key="sk-cocoon-seldom"))

    assert caught.value.response.headers["retry-after"] == "42"


def test_an_empty_budget_is_a_rate_limit_error_that_is_not_tried_again(locked: Served) -> None:
    locked.do(partial(locked.overlay.client.purses.allow, "key/often", Budget(Nano(1))))
    responses: list[object] = []
    http = openai.DefaultHttpxClient(event_hooks={"response": [responses.append]})

    with pytest.raises(openai.RateLimitError) as caught:
        ask(locked.sdk(api_key="sk-cocoon-often", max_retries=3, http_client=http))

    assert caught.value.code == "insufficient_quota"
    assert len(responses) == 1


def test_a_busy_gateway_is_an_internal_server_error() -> None:
    with served(GatedEngine(), settings=Settings(port=0, requests_max=1)) as gateway:
        sdk = gateway.sdk()
        with gateway.asking(sdk) as asked, pytest.raises(openai.InternalServerError) as caught:
            ask(sdk)

        assert asked.result(GENEROUS_SECONDS).choices[0].message.content == "Hello, world."
    assert (caught.value.status_code, caught.value.code) == (503, "busy")


@pytest.mark.parametrize("is_stream", [False, True])
def test_an_engine_that_fails_at_once_is_an_internal_server_error(is_stream: bool) -> None:
    with (
        served(ScriptedEngine(delay_seconds=0, fail_at=0)) as gateway,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        ask(gateway.sdk(), stream=is_stream)

    assert caught.value.code == "engine-failed"


def test_an_answer_that_breaks_off_is_told_with_what_came_and_what_it_cost() -> None:
    with served(ScriptedEngine(WORDS, delay_seconds=0, fail_at=40)) as gateway:
        with pytest.raises(openai.InternalServerError) as caught:
            ask(gateway.sdk())

        gateway.until_idle()
        told = cast("dict[str, Any]", caught.value.body)["cocoon"]
        assert told["text"]
        assert "".join(WORDS[:40]).startswith(told["text"])
        assert told["charged"] == gateway.charged > 0


def test_a_stream_that_breaks_off_raises_where_it_is_read() -> None:
    with served(ScriptedEngine(WORDS, delay_seconds=0, fail_at=40)) as gateway:
        stream = ask(gateway.sdk(), stream=True)
        came: list[str] = []

        with pytest.raises(openai.APIError) as caught:
            came.extend(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)

    assert caught.value.code == "engine-failed"


def test_no_gateway_is_a_connection_error(gateway: Served) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        sdk = gateway.sdk(base_url=f"http://127.0.0.1:{nobody.getsockname()[1]}/v1")

        with pytest.raises(openai.APIConnectionError) as caught:
            ask(sdk)

    assert type(caught.value) is openai.APIConnectionError


def test_who_waits_no_longer_has_a_timeout_error_and_the_engine_stops() -> None:
    with served(GatedEngine()) as gateway:
        patience_seconds = 0.5
        while not gateway.engine.tokens_made:
            with pytest.raises(openai.APITimeoutError):
                ask(gateway.sdk(timeout=patience_seconds))
            # On a slow machine the engine may not have been asked by then.
            patience_seconds *= 2

        gateway.until_idle()
        assert not any(gateway.engine.tokens_made)
