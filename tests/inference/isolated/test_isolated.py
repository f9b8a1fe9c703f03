"""Engines in processes of their own, and what becomes of those processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.catalogue import DEMO_NAME, demo_model
from cocoon_p2p.inference.engine import ChatMessage, EngineError, GenerateRequest
from cocoon_p2p.inference.isolated import IsolatedEngine, lives, open_isolated
from cocoon_p2p.inference.isolated.frames import LineBroken
from cocoon_p2p.inference.isolated.process import describe_end, environment
from cocoon_p2p.inference.openings import LlamaCppOpening
from tests.inference.isolated.scripted_child import Orders

BOUND_SECONDS = 60
"A bound for a test that hangs; none waits for it."

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def quick_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(lives, "REST_FIRST_SECONDS", 0.01)
    monkeypatch.setattr(lives, "REST_LAST_SECONDS", 0.01)


@pytest.fixture
def orders(tmp_path: Path) -> Orders:
    return Orders(tmp_path / "starts")


@asynccontextmanager
async def puppet(orders: Orders, *, patience_seconds: float = BOUND_SECONDS) -> AsyncIterator[IsolatedEngine]:
    with trio.fail_after(BOUND_SECONDS):
        async with open_isolated(
            orders, module="tests.inference.isolated.scripted_child", patience_seconds=patience_seconds
        ) as engine:
            yield engine


def request(prompt: str) -> GenerateRequest:
    return GenerateRequest("scripted", prompt=prompt)


async def process_of(engine: IsolatedEngine) -> int:
    """A puppet's count is its process's number."""
    return (await engine.count(request(""))).prompt_tokens


async def text_of(engine: IsolatedEngine, asked: GenerateRequest) -> str:
    async with engine.generate(asked) as pieces:
        return "".join([piece.text async for piece in pieces])


async def serves_again(engine: IsolatedEngine) -> None:
    while not engine.capabilities.slots:
        await engine.wait_for_change(engine.capabilities)


def is_gone(process: int) -> bool:
    """Whether the system knows nothing of it any more, not even as a zombie."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
async def test_a_llama_cpp_that_is_killed_in_mid_answer_answers_the_next_request() -> None:
    opening = LlamaCppOpening(model=demo_model(), slots=2, threads=1)
    endless = GenerateRequest(DEMO_NAME, prompt="Hello", completion_tokens_max=2000, ignore_eos=True)
    hello = GenerateRequest(DEMO_NAME, (ChatMessage("user", "Hello"),))
    with trio.fail_after(BOUND_SECONDS):
        async with open_isolated(opening) as engine:
            before = engine.capabilities
            (child,) = children(b"isolated.child")
            with pytest.raises(EngineError, match="SIGKILL"):
                async with engine.generate(endless) as pieces:
                    async for piece in pieces:
                        if piece.completion_tokens == 5:
                            os.kill(child, signal.SIGKILL)
            down = engine.capabilities
            with pytest.raises(EngineError, match="being started again"):
                await engine.count(hello)
            await serves_again(engine)

            assert await text_of(engine, hello) == "Hello! How can I help you?"
            assert engine.capabilities == before

    assert (down.slots, down.models) == (0, before.models)
    assert is_gone(child)
    assert children(b"isolated.child") == []


def children(program: bytes) -> list[int]:
    """The processes that this one has now and that run so."""
    numbers = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(number) for number in numbers if program in Path(f"/proc/{number}/cmdline").read_bytes()]


@pytest.mark.slow
async def test_all_that_runs_in_a_process_fails_when_it_aborts_and_a_new_one_serves(orders: Orders) -> None:
    failed: list[EngineError] = []

    async def wait(engine: IsolatedEngine) -> None:
        with pytest.raises(EngineError) as caught:
            await text_of(engine, request("wait"))
        failed.append(caught.value)

    async with puppet(orders) as engine:
        first = await process_of(engine)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, engine)
            with pytest.raises(EngineError, match="SIGABRT"):
                await text_of(engine, request("abort"))
        await serves_again(engine)
        second = await process_of(engine)

        assert await text_of(engine, request("speak")) == "firstlast"

    assert len(failed) == 1
    assert first != second
    assert is_gone(first)
    assert is_gone(second)


@pytest.mark.slow
async def test_a_process_that_hangs_is_killed_and_another_started(orders: Orders) -> None:
    async with puppet(orders, patience_seconds=2) as engine:
        first = await process_of(engine)
        with pytest.raises(EngineError):
            await text_of(engine, request("freeze"))
        while await engine.wait_for_change(engine.capabilities):
            if engine.capabilities.slots and orders.starts.stat().st_size == 2:
                break

        assert await process_of(engine) != first
        assert is_gone(first)


@pytest.mark.slow
async def test_what_is_wrong_with_a_model_arrives_with_its_class_text_and_hint(tmp_path: Path) -> None:
    orders = Orders(tmp_path / "starts", refuses=True)
    with pytest.raises(ConfigurationError, match="no such model") as caught:
        async with puppet(orders):
            pass

    assert caught.value.hint == "take another"
    assert orders.starts.stat().st_size == 1


@pytest.mark.slow
async def test_an_engine_that_offers_nothing_is_not_believed(tmp_path: Path) -> None:
    with pytest.raises(LineBroken, match="offers nothing"):
        async with puppet(Orders(tmp_path / "starts", slots=-1)):
            pass


@pytest.mark.slow
async def test_a_process_that_dies_while_it_loads_is_a_mistake_that_is_told(tmp_path: Path) -> None:
    orders = Orders(tmp_path / "starts", dies_at=(1,))
    with pytest.raises(ConfigurationError, match=r"died while it loaded the model \(signal=SIGSEGV\)"):
        async with puppet(orders):
            pass


@pytest.mark.slow
async def test_a_process_that_fails_by_itself_is_not_taken_for_one_without_memory(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigurationError, match=r"died while it loaded the model \(exit=1\)"):
        async with puppet(Orders(tmp_path / "starts", misleads=True)):
            pass

    told = capfd.readouterr().err
    assert told.rstrip().endswith("LookupError")
    assert "in open_by_orders" in told
    assert str(tmp_path) not in told


@pytest.mark.slow
async def test_a_death_is_heard_although_what_the_engine_started_lives_on(orders: Orders) -> None:
    async with puppet(orders) as engine:
        with pytest.raises(EngineError, match="SIGABRT"):
            await text_of(engine, request("leave a child behind"))


@pytest.mark.long
async def test_a_storm_of_deaths_ends_in_an_engine_without_models(tmp_path: Path) -> None:
    orders = Orders(tmp_path / "starts", dies_at=tuple(range(2, 100)))
    async with puppet(orders) as engine:
        with pytest.raises(EngineError, match="SIGABRT"):
            await text_of(engine, request("abort"))
        while engine.capabilities.models:
            await engine.wait_for_change(engine.capabilities)

        with pytest.raises(EngineError, match="given up after 6 deaths"):
            await engine.count(request(""))
        assert engine.capabilities.slots == 0

    assert orders.starts.stat().st_size == lives.DEATHS_MAX


@pytest.mark.slow
async def test_a_model_that_is_another_after_a_restart_is_not_served(tmp_path: Path) -> None:
    async with puppet(Orders(tmp_path / "starts", changes_at=2)) as engine:
        with pytest.raises(EngineError, match="SIGABRT"):
            await text_of(engine, request("abort"))
        while engine.capabilities.models:
            await engine.wait_for_change(engine.capabilities)

        with pytest.raises(EngineError, match="not what it was"):
            await text_of(engine, request("speak"))


@pytest.mark.slow
async def test_a_cancel_while_it_loads_leaves_no_process(tmp_path: Path) -> None:
    orders = Orders(tmp_path / "starts", loads_for_ever=True)
    loading = trio.Event()
    with trio.fail_after(BOUND_SECONDS):
        async with trio.open_nursery() as nursery:

            async def load() -> None:
                async with open_isolated(
                    orders,
                    module="tests.inference.isolated.scripted_child",
                    progress=lambda done, total: loading.set(),
                ):
                    pass

            nursery.start_soon(load)
            await loading.wait()
            nursery.cancel_scope.cancel()

    assert children(b"scripted_child") == []


@pytest.mark.slow
async def test_closing_fails_what_runs_and_needs_nothing_of_a_process_that_hangs(orders: Orders) -> None:
    async with puppet(orders) as engine:
        process = await process_of(engine)
        with pytest.raises(EngineError, match="closed"):
            async with engine.generate(request("freeze")) as pieces:
                await anext(pieces)
                await engine.aclose()
                async for _ in pieces:
                    pass
        with pytest.raises(EngineError, match="closed"):
            await engine.count(request(""))
        assert is_gone(process)


@pytest.mark.slow
async def test_a_service_manager_s_signals_are_left_to_the_node(orders: Orders) -> None:
    """They come to every process of a service at once, and the node lets answers finish."""
    async with puppet(orders) as engine:
        process = await process_of(engine)
        for signal_ in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(process, signal_)

        assert await text_of(engine, request("speak")) == "firstlast"
        assert await process_of(engine) == process


PARENT = """
import os, sys, trio
from pathlib import Path
from cocoon_p2p.inference.isolated import open_isolated
from tests.inference.isolated.scripted_child import Orders
from cocoon_p2p.inference.engine import GenerateRequest

async def main():
    orders = Orders(Path(sys.argv[1]))
    async with open_isolated(orders, module="tests.inference.isolated.scripted_child") as engine:
        print((await engine.count(GenerateRequest("scripted", prompt=""))).prompt_tokens, flush=True)
        async with engine.generate(GenerateRequest("scripted", prompt="spin")) as pieces:
            async for piece in pieces:
                print("spins", flush=True)

trio.run(main)
"""


@pytest.mark.slow
def test_a_process_that_hangs_ends_with_a_node_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "starts")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert parent.stdout.readline() == b"spins\n"
        os.kill(child, signal.SIGTERM)
        parent.kill()

    # It is not our child, so there is nothing to wait for but its end.
    until = time.monotonic() + BOUND_SECONDS
    while not is_gone(child) and time.monotonic() < until:
        time.sleep(0.01)
    assert is_gone(child)


def test_a_child_is_told_no_secret_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COCOON_WALLET__FILE", "PGPASSWORD", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")

    told = environment()

    assert "secret" not in told.values()
    assert told["TOKENIZERS_PARALLELISM"] == "false"
    assert told["PATH"]


@pytest.mark.parametrize(
    ("code", "words"), [(None, "still ending"), (0, "exit=0"), (-11, "signal=SIGSEGV"), (-99, "signal=99")]
)
def test_how_a_process_ended_is_said_in_words(code: int | None, words: str) -> None:
    assert describe_end(code) == words
