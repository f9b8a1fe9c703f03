"""The asyncio client on a whole network in memory: answers, cancels, losses, slow readers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from cocoon_p2p import client as on_trio
from cocoon_p2p.aio.client import Client
from cocoon_p2p.aio.flow import Flow
from cocoon_p2p.aio.opening import open_portal
from cocoon_p2p.client import Budget
from cocoon_p2p.errors import AnswerBroken, ConfigurationError, Refused, Unavailable
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.units import Nano
from tests.aio.conftest import Run
from tests.aio.scene import HELLO, open_bought

WORDS = tuple(f"w{number} " for number in range(2_000))


@asynccontextmanager
async def bought(*engines: ScriptedEngine) -> AsyncIterator[Client]:
    async with open_portal(partial(open_bought, engines)) as portal:
        yield Client(portal)


def test_an_answer_streams_and_is_settled_when_it_is_left(run_on_both: Run, tmp_path: Path) -> None:
    async def program() -> None:
        async with bought() as client:
            async with client.chat("scripted", HELLO) as answer:
                pieces = [piece.text async for piece in answer]
            assert "".join(pieces) == answer.text == "Hello, world."
            assert answer.receipt is not None
            assert answer.cost > 0
            assert answer.finish == "stop"
            await answer.save_bundle(tmp_path / "bundle")
            assert (tmp_path / "bundle").stat().st_size > 0

    run_on_both(program())


def test_all_that_the_trio_client_can_ask_the_asyncio_client_can() -> None:
    public = {name for name in dir(on_trio.Client) if name[0] != "_"}
    # How a client is opened, and what lies beneath it, are the trio thread's own business; `vectors` is
    # `embed` before it is read.
    assert public - set(dir(Client)) == {"account", "connect", "ledger", "open", "vectors"}


def test_requests_are_paid_from_purses_as_on_trio(run_on_both: Run) -> None:
    async def program() -> None:
        async with bought() as client:
            await client.purses.allow("telegram/1/2", Budget(Nano(10**9)))
            async with client.chat("scripted", HELLO, purse="telegram/1/2") as answer:
                await answer.read()
            view = await client.purses.look("telegram/1/2")
            assert (view.spent, view.reserved) == (answer.cost, 0)
            assert await client.purses.list("telegram/") == (view,)
            await client.purses.allow("telegram/1/3", Budget(Nano(0)))
            assert (await client.purses.top_up("telegram/1/3", Nano(5))).left == 5
            with pytest.raises(Refused) as raised:
                await client.embed("scripted", ["one"], purse="telegram/1/3", max_cost=1)
            assert raised.value.code != "over-budget"
            await client.purses.allow("empty", Budget(Nano(0)))
            with pytest.raises(Refused) as raised:
                async with client.chat("scripted", HELLO, purse="empty"):
                    raise AssertionError("there is nothing in it")
            assert raised.value.code == "over-budget"

    run_on_both(program())


def test_models_prices_and_refusals_come_as_on_trio(run: Run) -> None:
    async def program() -> None:
        async with bought() as client:
            assert [offered.model.name for offered in await client.models()] == ["scripted"]
            (quote,) = await client.quote("scripted", HELLO)
            assert quote.cost_max > 0
            with pytest.raises(Refused, match="nobody-has-this"):
                async with client.chat("nobody-has-this", HELLO):
                    raise AssertionError("nobody has it")
            with pytest.raises(ConfigurationError, match="role"):
                async with client.chat("scripted", [{"content": "who says this?"}]):
                    raise AssertionError("nobody said it")

    run(program())


def test_leaving_an_answer_early_frees_the_worker(run: Run) -> None:
    engine = ScriptedEngine(WORDS, delay_seconds=0.001)

    async def program() -> None:
        async with bought(engine) as client:
            async with client.chat("scripted", HELLO, completion_tokens_max=2_000) as answer:
                await anext(answer)
            assert engine.running == 0
            assert 0 < answer.usage.completion < 2_000

    run(program())


def test_a_cancelled_reader_stops_the_paid_work_before_it_is_gone(run: Run) -> None:
    engine = ScriptedEngine(WORDS, delay_seconds=0.001)

    async def program() -> None:
        async with bought(engine) as client:
            reading = asyncio.Event()

            async def read() -> None:
                async with client.chat("scripted", HELLO, completion_tokens_max=2_000) as answer:
                    async for _ in answer:
                        reading.set()

            task = asyncio.create_task(read())
            await reading.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert engine.running == 0

    run(program())


def test_a_cancel_before_the_first_piece_stops_it_too(run: Run) -> None:
    engine = ScriptedEngine(stall_at=0)

    async def program() -> None:
        async with bought(engine) as client:

            async def ask() -> None:
                async with client.chat("scripted", HELLO):
                    raise AssertionError("it said nothing")

            task = asyncio.create_task(ask())
            while not engine.running:  # noqa: ASYNC110 (it runs in another thread)
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert engine.running == 0

    run(program())


class Thinking(ScriptedEngine):
    """Reads the prompt, and says nothing."""

    has_read = False

    async def _break_down_at(self, count: int) -> None:
        # Whoever asks for the first token has been told that the prompt is read.
        self.has_read = True
        await super()._break_down_at(count)


def test_what_was_stopped_before_its_first_piece_says_what_it_has_cost(run: Run) -> None:
    engine = Thinking(stall_at=0, prefill_steps=1)

    async def program() -> None:
        async with bought(engine) as client:
            await client.purses.allow("p", Budget(Nano(10**9)))
            asked = client.chat("scripted", HELLO, purse="p")

            async def ask() -> None:
                async with asked:
                    raise AssertionError("it said nothing")

            assert asked.charged_max == 0
            task = asyncio.create_task(ask())
            while not engine.has_read:  # noqa: ASYNC110 (it runs in another thread)
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

            purse = await client.purses.look("p")
            assert 0 < asked.charged_max == purse.spent + purse.reserved

    run(program())


def test_an_answer_that_breaks_says_so_and_keeps_what_came(run: Run) -> None:
    async def program() -> None:
        async with bought(ScriptedEngine(WORDS, delay_seconds=0, fail_at=40)) as client:
            async with client.chat("scripted", HELLO, completion_tokens_max=2_000) as answer:
                with pytest.raises(AnswerBroken) as caught:
                    await answer.read()
            assert caught.value.text == answer.text != ""
            assert "".join(WORDS[:40]).startswith(answer.text)

    run(program())


def test_a_fault_of_the_library_s_own_comes_to_the_reader_as_it_is(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_flow: Flow, _piece: on_trio.Piece) -> None:
        raise KeyError("mislaid")

    async def program() -> None:
        async with bought() as client:
            monkeypatch.setattr(Flow, "put", fail)
            async with client.chat("scripted", HELLO) as answer:
                with pytest.raises(KeyError, match="mislaid"):
                    await answer.read()

    run(program())


def test_a_reader_that_stops_reading_stops_its_own_answer_only(run: Run) -> None:
    engine = ScriptedEngine(WORDS, delay_seconds=0)

    async def program() -> None:
        async with (
            bought(engine) as client,
            client.chat("scripted", HELLO, completion_tokens_max=2_000) as idle,
        ):
            async with client.chat("scripted", HELLO, completion_tokens_max=2_000) as answer:
                assert await answer.read() == "".join(WORDS)
            assert await idle.read() == "".join(WORDS)

    run(program())


def test_a_burst_of_pieces_leaves_the_loop_s_other_tasks_their_turns(run: Run) -> None:
    async def program() -> None:
        async with bought(ScriptedEngine(WORDS, delay_seconds=0)) as client:
            turns = 0

            async def count() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            async with client.chat("scripted", HELLO, completion_tokens_max=2_000) as answer:
                counting = asyncio.create_task(count())
                pieces = [piece async for piece in answer]
                counting.cancel()
            assert turns >= len(pieces) // 32

    run(program())


def test_closing_the_client_ends_an_answer_that_is_read(run: Run) -> None:
    engine = ScriptedEngine(WORDS, delay_seconds=0.01)

    async def program() -> None:
        reading = asyncio.Event()

        async def read(client: Client) -> None:
            async with client.chat("scripted", HELLO, completion_tokens_max=2_000) as answer:
                async for _ in answer:
                    reading.set()

        async with bought(engine) as client:
            task = asyncio.create_task(read(client))
            await reading.wait()
        with pytest.raises(Unavailable):
            await task
        assert engine.running == 0

    run(program())
