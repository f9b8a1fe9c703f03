"""The FastAPI backend on a real socket, before a network in memory: who hangs up stops the paid work."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import httpx
import pytest
import uvicorn

from cocoon_p2p import aio
from cocoon_p2p.testing.engine import ScriptedEngine, scripted_model
from tests.aio.conftest import Run
from tests.aio.conftest import run as run  # the fixture
from tests.examples.scene import bought, example

MODELS = (scripted_model("cocoon-demo"),)
ENDLESS = ("word ",) * 3_900

pytestmark = pytest.mark.slow


@asynccontextmanager
async def serving(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the example with a client of a network whose only worker has this engine."""

    def open_client(_file: str) -> AbstractAsyncContextManager[aio.Client]:
        return bought(engine)

    monkeypatch.setenv("COCOON_CLIENT", "client.toml")
    monkeypatch.setattr(aio, "open_client", open_client)
    config = uvicorn.Config(example("fastapi_backend").app, port=0, lifespan="on", log_level="critical")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        assert not serving.done(), serving.exception()
        await asyncio.sleep(0.001)
    host, port = server.servers[0].sockets[0].getsockname()
    try:
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        await serving


async def until_idle(engine: ScriptedEngine) -> None:
    while engine.running:  # noqa: ASYNC110 (it runs in another thread)
        await asyncio.sleep(0.001)


async def until_running(engine: ScriptedEngine) -> None:
    while not engine.running:  # noqa: ASYNC110 (it runs in another thread)
        await asyncio.sleep(0.001)


def test_an_answer_streams_as_events_and_ends_with_its_cost(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def program() -> None:
        async with serving(ScriptedEngine(models=MODELS), monkeypatch) as client:
            response = await client.post("/chat", json={"text": "Hello"})

        *pieces, end = response.text.strip().split("\n\n")
        assert (
            "".join(json.loads(piece.removeprefix("data: "))["text"] for piece in pieces) == "Hello, world."
        )
        told = json.loads(end.removeprefix("event: end\ndata: "))
        assert told.pop("cost") > 0
        assert told == {"trust": "open", "finish": "stop"}

    run(program())


def test_a_text_is_summed_up(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ScriptedEngine(models=MODELS)

    async def program() -> None:
        async with serving(engine, monkeypatch) as client:
            response = await client.post("/summarize", json={"text": "It was a sunny day.", "sentences": 1})

        assert response.json()["summary"] == "Hello, world."
        assert "sunny day" in engine.requests[0].messages[-1].content

    run(program())


def test_hanging_up_in_the_middle_stops_the_worker(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ScriptedEngine(ENDLESS, models=MODELS, delay_seconds=0.005)

    async def program() -> None:
        async with serving(engine, monkeypatch) as client:
            async with client.stream("POST", "/chat", json={"text": "Hello"}) as response:
                await anext(response.aiter_bytes())
            await until_idle(engine)

        assert 0 < engine.tokens_made[0] < len(ENDLESS)

    run(program())


@pytest.mark.parametrize("path", ["/chat", "/summarize"])
def test_hanging_up_before_anything_was_said_stops_the_worker(
    path: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ScriptedEngine(models=MODELS, stall_at=0)

    async def program() -> None:
        async with serving(engine, monkeypatch) as client:
            asking = asyncio.create_task(client.post(path, json={"text": "Hello"}))
            await until_running(engine)
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
            await until_idle(engine)

        # Nobody else may have ended it: it says nothing, for ever.
        assert engine.tokens_made == [0]

    run(program())


def test_what_is_refused_has_a_status_and_says_why(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def program() -> None:
        async with serving(ScriptedEngine(), monkeypatch) as client:
            nobody = await client.post("/chat", json={"text": "Hello"})
            empty = await client.post("/chat", json={"text": ""})

        assert (nobody.status_code, nobody.json()["error"]) == (502, "unknown-model")
        assert empty.status_code == 422

    run(program())


def test_an_answer_that_breaks_ends_with_what_it_cost(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ScriptedEngine(ENDLESS, models=MODELS, delay_seconds=0, fail_at=40)

    async def program() -> None:
        async with serving(engine, monkeypatch) as client:
            response = await client.post("/chat", json={"text": "Hello"})

        told = json.loads(response.text.strip().rpartition("data: ")[2])
        assert told["error"] == "engine-failed"
        assert told["cost"] > 0

    run(program())
