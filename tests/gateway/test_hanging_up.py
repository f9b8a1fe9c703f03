"""Who hangs up stops the paying; who tries again does not pay twice. On real sockets."""

import json
import logging
from functools import partial
from typing import Any

import httpx
import pytest
import trio

from cocoon_p2p.protocols.ids import Kind
from cocoon_p2p.testing.engine import ScriptedEngine, scripted_model, scripted_vector
from tests.gateway.scene import QUESTION, Scene, open_gateway, until

pytestmark = pytest.mark.slow

LONG = tuple(f"word{number} " for number in range(1000))
PROMPT_TOKENS = 4
PROMPT, TOKEN = 1_050, 2_100
"What a token costs in nanoTON, of the prompt and of the answer: the overlay's price and five per cent."


def _stalling(tokens: int) -> ScriptedEngine:
    return ScriptedEngine(LONG, delay_seconds=0, stall_at=tokens)


async def _ask_and_hang_up(scene: Scene, tokens: int, **wishes: Any) -> None:
    """Ask on a connection of its own, wait until so many tokens are made, and hang up."""
    headers = wishes.pop("headers", None)
    body = {"model": "scripted", "messages": QUESTION, **wishes}
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            async with httpx.AsyncClient(base_url=scene.url, timeout=None) as http:
                await http.post("/v1/chat/completions", json=body, headers=headers)

        nursery.start_soon(ask)
        await scene.stalled(tokens)
        nursery.cancel_scope.cancel()


async def _settled(scene: Scene) -> None:
    """Wait until nothing is made or settled any more."""

    async def running() -> int:
        count: int = (await scene.http.get("/healthz")).json()["running"]
        return count

    with trio.fail_after(60):
        while await running():  # noqa: ASYNC110 (nobody announces it)
            await trio.sleep(0.005)


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_hang_up_stops_the_engine_and_costs_what_was_made(is_stream: bool) -> None:
    async with open_gateway(_stalling(16)) as scene:
        await _ask_and_hang_up(scene, 16, stream=is_stream)

        await until(lambda: scene.engine.running == 0)
        await _settled(scene)
        assert scene.engine.tokens_made == [16]
        assert 0 < scene.charged <= PROMPT_TOKENS * PROMPT + 16 * TOKEN
        assert scene.overlay.disagreements() == ()


async def test_a_hang_up_on_vectors_is_known_by_its_exchange_and_its_cost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "cocoon_p2p.gateway")
    embedded: list[str] = []

    def embed(text: str) -> bytes:
        embedded.append(text)
        return scripted_vector(text)

    model = scripted_model("vectors", kind=Kind.EMBEDDING)
    engine = ScriptedEngine(models=(model,), delay_seconds=0, stall_at=0, embed=embed)
    async with open_gateway(engine) as scene:
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                async with httpx.AsyncClient(base_url=scene.url, timeout=None) as http:
                    await http.post("/v1/embeddings", json={"model": "vectors", "input": ["a", "b"]})

            nursery.start_soon(ask)
            await until(lambda: embedded == ["a", "b"])
            nursery.cancel_scope.cancel()
        await until(lambda: scene.engine.running == 0)
        await _settled(scene)

        (ended,) = [one for one in caplog.records if one.getMessage() == "answer ended"]
        facts = vars(ended)
        assert facts["exchange"] is not None
        assert facts["charged"] == scene.charged > 0


async def test_a_retry_under_one_key_spends_what_the_hang_up_left_and_is_then_told_again() -> None:
    key = {"idempotency-key": "one"}
    # A worker must be able to count on 256 prompt tokens, which is what short prompts are told as.
    most = 256 * PROMPT + 30 * TOKEN
    async with open_gateway(_stalling(16)) as scene:
        await _ask_and_hang_up(scene, 16, headers=key, max_price=most)
        await until(lambda: scene.engine.running == 0)
        await _settled(scene)
        first, scene.engine.stall_at = scene.charged, None

        second = await scene.chat(headers=key, max_price=most)
        both = scene.charged
        third = await scene.chat(headers=key, max_price=most)

        # The money ends the answer, where both tries together have spent it.
        assert second.json()["choices"][0]["finish_reason"] == "length"
        assert first < both <= most
        assert third.content == second.content
        assert third.headers["x-cocoon-replay"] == "true"
        assert scene.charged == both
        other = await scene.chat(headers=key, max_price=most + 1)
        assert other.status_code == 422


@pytest.mark.parametrize("is_stream", [False, True])
async def test_requests_with_one_key_at_once_are_one_answer(is_stream: bool) -> None:
    key = {"idempotency-key": "one"}
    engine = ScriptedEngine(LONG[:50], delay_seconds=0.002)
    async with open_gateway(engine) as scene:
        responses: list[httpx.Response] = []

        async def ask() -> None:
            responses.append(await scene.chat(headers=key, stream=is_stream))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)

        assert len({response.content for response in responses}) == 1
        assert len(scene.engine.requests) == 1


async def test_the_sdks_time_out_and_its_next_try_are_one_answer() -> None:
    async with open_gateway(_stalling(16)) as scene:
        said = {"x-stainless-retry-count": "0", "x-stainless-read-timeout": "0.01"}
        await _ask_and_hang_up(scene, 16, headers=said)
        async with trio.open_nursery() as nursery:
            again = {**said, "x-stainless-retry-count": "1"}
            nursery.start_soon(partial(_ask_and_hang_up, scene, 16, headers=again))

        await until(lambda: scene.engine.running == 0)
        assert len(scene.engine.requests) == 1


async def test_a_hang_up_is_heard_behind_another_request() -> None:
    body = json.dumps({"model": "scripted", "messages": QUESTION}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    async with open_gateway(_stalling(16)) as scene:
        host, _, port = scene.url.removeprefix("http://").partition(":")
        stream = await trio.open_tcp_stream(host, int(port))
        await stream.send_all(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body + b"GET /")
        await scene.stalled(16)
        await stream.aclose()

        await until(lambda: scene.engine.running == 0)
        assert scene.engine.tokens_made == [16]
