"""Who leaves an answer early, as OpenAI's SDK lets a program do it, stops the engine and the paying."""

import asyncio

import pytest

from cocoon_p2p.testing.engine import ScriptedEngine
from tests.aio.conftest import Run
from tests.gateway.sdk.scene import HELLO, Served, served, until

ENDLESS = ("word ",) * 4_000


def endless() -> ScriptedEngine:
    """Make an engine that is done after many seconds."""
    return ScriptedEngine(ENDLESS, delay_seconds=0.01)


def test_closing_a_stream_stops_the_engine() -> None:
    with served(endless()) as gateway:
        with gateway.sdk().chat.completions.create(model="scripted", messages=HELLO, stream=True) as stream:
            next(iter(stream))

        gateway.until_idle()
        _assert_paid_for_what_was_made(gateway)


def test_leaving_an_asyncio_stream_stops_the_engine(run: Run) -> None:
    with served(endless()) as gateway:

        async def program() -> None:
            async with gateway.async_sdk() as sdk:
                stream = await sdk.chat.completions.create(model="scripted", messages=HELLO, stream=True)
                async with stream:
                    await anext(aiter(stream))
                await asyncio.to_thread(gateway.until_idle)

        run(program())
        _assert_paid_for_what_was_made(gateway)


@pytest.mark.parametrize("is_stream", [False, True])
def test_cancelling_an_asyncio_task_stops_the_engine(is_stream: bool, run: Run) -> None:
    with served(endless()) as gateway:

        async def program() -> None:
            async with gateway.async_sdk() as sdk:

                async def read() -> None:
                    if not is_stream:
                        await sdk.chat.completions.create(model="scripted", messages=HELLO)
                        return
                    stream = await sdk.chat.completions.create(model="scripted", messages=HELLO, stream=True)
                    async for _ in stream:
                        pass

                reading = asyncio.create_task(read())
                await asyncio.to_thread(until, lambda: gateway.engine.tokens_made[-1:] >= [4])
                reading.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reading
                await asyncio.to_thread(gateway.until_idle)

        run(program())
        _assert_paid_for_what_was_made(gateway)


def _assert_paid_for_what_was_made(gateway: Served) -> None:
    (made,) = gateway.engine.tokens_made
    assert 0 < made < len(ENDLESS)
    assert 0 < gateway.charged < 2_100 * len(ENDLESS)
