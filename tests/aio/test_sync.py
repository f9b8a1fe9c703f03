"""The client for scripts: calls that wait, and Ctrl-C."""

import gc
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from threading import Event, Thread

import pytest
import trio

from cocoon_p2p import client as on_trio
from cocoon_p2p import sync
from cocoon_p2p.aio.portal import Portal
from cocoon_p2p.client import Budget
from cocoon_p2p.errors import AnswerBroken, ConfigurationError, Refused
from cocoon_p2p.sync import Client, _Pending, open_portal
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.units import Nano
from tests.aio.scene import HELLO, Desk, Threads, open_bought, open_desk

WORDS = tuple(f"w{number} " for number in range(2_000))


@contextmanager
def bought(*engines: ScriptedEngine) -> Iterator[Client]:
    with open_portal(partial(open_bought, engines)) as portal:
        yield Client(portal)


def test_requests_are_paid_from_purses_as_on_trio() -> None:
    with bought() as client:
        client.purses.allow("script", Budget(Nano(10**9)))
        with client.chat("scripted", HELLO, purse="script") as answer:
            answer.read()
        view = client.purses.top_up("script", Nano(5))
        assert (view.spent, view.reserved, view.credit) == (answer.cost, 0, 5)
        assert client.purses.list() == (client.purses.look("script"),) == (view,)
        client.purses.allow("empty", Budget(Nano(0)))
        with pytest.raises(Refused, match="over budget"), client.chat("scripted", HELLO, purse="empty"):
            raise AssertionError("there is nothing in it")


def test_an_answer_is_iterated_read_and_settled(trio_threads: Threads) -> None:
    with bought() as client:
        with client.chat("scripted", HELLO) as answer:
            assert "".join(piece.text for piece in answer) == "Hello, world."
        assert answer.receipt is not None
        with client.complete("scripted", "Hello") as answer:
            assert answer.read() == "Hello, world."
        assert [offered.model.name for offered in client.models()] == ["scripted"]
        assert len(client.quote("scripted", HELLO)) == 1
    assert trio_threads() == []


def test_all_that_the_trio_client_can_ask_the_waiting_client_can() -> None:
    public = {name for name in dir(on_trio.Client) if name[0] != "_"}
    # How a client is opened, and what lies beneath it, are the trio thread's own business; `vectors` is
    # `embed` before it is read.
    assert public - set(dir(Client)) == {"account", "connect", "ledger", "open", "vectors"}


def test_errors_are_those_of_the_trio_client() -> None:
    with bought(ScriptedEngine(WORDS, delay_seconds=0, fail_at=40)) as client:
        with pytest.raises(ConfigurationError), client.chat("scripted", []):
            raise AssertionError("nothing was asked")
        with (
            client.chat("scripted", HELLO, completion_tokens_max=2_000) as answer,
            pytest.raises(AnswerBroken) as caught,
        ):
            answer.read()
        assert caught.value.text == answer.text != ""
        assert "".join(WORDS[:40]).startswith(answer.text)


def test_leaving_early_frees_the_worker() -> None:
    engine = ScriptedEngine(WORDS, delay_seconds=0.001)
    with bought(engine) as client:
        with client.chat("scripted", HELLO, completion_tokens_max=2_000) as answer:
            next(answer)
        assert engine.running == 0


def test_several_threads_use_one_client() -> None:
    texts: list[str] = []
    with bought(ScriptedEngine(WORDS[:100], delay_seconds=0)) as client:

        def ask() -> None:
            with client.chat("scripted", HELLO) as answer:
                texts.append(answer.read())

        threads = [Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert texts == ["".join(WORDS[:100])] * 4


def the_desk(portal: Portal[Desk]) -> Desk:
    async def itself(desk: Desk) -> Desk:
        return desk

    return _Pending[Desk, Desk](portal).run(itself)


def test_an_interrupt_just_after_a_call_was_made_cancels_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_portal(open_desk) as portal:
        desk = the_desk(portal)
        post = portal.post

        def post_and_be_interrupted(function: Callable[[], None]) -> None:
            monkeypatch.setattr(portal, "post", post)
            post(function)
            assert desk.began.wait(30)
            raise KeyboardInterrupt

        monkeypatch.setattr(portal, "post", post_and_be_interrupted)
        with pytest.raises(KeyboardInterrupt):
            _Pending[Desk, None](portal).run(lambda desk: desk.wait())
        assert desk.left.wait(30)


def test_a_call_that_nobody_has_any_more_is_cancelled() -> None:
    with open_portal(open_desk) as portal:
        desk = the_desk(portal)
        pending = _Pending[Desk, None](portal)
        pending.begin(lambda desk: desk.wait())
        assert desk.began.wait(30)
        del pending
        assert desk.left.wait(30)


def test_an_interrupt_while_it_opens_waits_until_that_has_ended(
    monkeypatch: pytest.MonkeyPatch, trio_threads: Threads
) -> None:
    began, left = Event(), Event()

    @asynccontextmanager
    async def hang() -> AsyncIterator[Desk]:
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
            left.set()
        yield Desk()

    def be_interrupted(_told: object) -> None:
        assert began.wait(30)
        raise KeyboardInterrupt

    monkeypatch.setattr(sync._Told, "wait", be_interrupted)
    with pytest.raises(KeyboardInterrupt), open_portal(hang):
        raise AssertionError("it was not opened")
    assert left.is_set()
    assert trio_threads() == []


def test_what_is_collected_in_the_network_s_own_thread_does_not_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # It would wait for itself: longer than this test waits.
    monkeypatch.setattr(sync, "GRACE_SECONDS", 60.0)
    collected = Event()

    def collect() -> None:
        gc.collect()
        collected.set()

    def abandon(portal: Portal[Desk]) -> None:
        def block() -> Iterator[None]:
            pending = _Pending[Desk, None](portal)
            try:
                pending.begin(lambda desk: desk.wait())
                yield
            finally:
                pending.cancel()

        cycle: list[object] = [block()]
        cycle.append(cycle)
        next(cycle[0])  # type: ignore[call-overload]

    with open_portal(open_desk) as portal:
        desk = the_desk(portal)
        gc.disable()
        try:
            abandon(portal)
            assert desk.began.wait(30)
            portal.post(collect)
            assert collected.wait(30)
        finally:
            gc.enable()
        assert desk.left.wait(30)


def test_a_forked_process_leaves_the_block_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "GRACE_SECONDS", 600.0)
    with ExitStack() as stack:
        portal = stack.enter_context(open_portal(open_desk))
        the_desk(portal)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                stack.close()
                os.write(write, b"left")
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as told:
            assert told.read() == b"left"
        os.waitpid(child, 0)
        assert _Pending[Desk, int](portal).run(lambda desk: desk.double(2)) == 4


@pytest.mark.slow
def test_a_program_that_never_leaves_the_block_ends_all_the_same() -> None:
    program = """
from contextlib import ExitStack
from cocoon_p2p import sync
from tests.aio.scene import open_desk

sync.GRACE_SECONDS = 600
kept = ExitStack()
kept.enter_context(sync.open_portal(open_desk))
"""
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], timeout=280, check=True)
