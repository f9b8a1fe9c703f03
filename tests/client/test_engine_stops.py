"""Whoever goes, and however: the engine stops within a bound, its slot is free, nothing stays set aside."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import CocoonError
from cocoon_p2p.protocols.ids import HEARTBEAT_SECONDS, HEARTBEATS_MISSED_MAX
from cocoon_p2p.testing.engine import ScriptedEngine
from tests.client.nodes import PROXY, WORKERS, Nodes, nodes
from tests.client.scene import CLIENT, POLICY, QUESTION

pytestmark = pytest.mark.slow

SILENCE_SECONDS = HEARTBEATS_MISSED_MAX * HEARTBEAT_SECONDS
BOUND_SECONDS = SILENCE_SECONDS + 2 * HEARTBEAT_SECONDS
"Until a silence is noticed, with a heartbeat of slack for each of two hops."

WORDS = tuple(f"word{number} " for number in range(2000))
"A hundred seconds of them."

CLIENT_ID, PROXY_ID, WORKER_ID = CLIENT.peer_id, PROXY.peer_id, WORKERS[0].peer_id
LOSSES: dict[str, Callable[[Nodes], None]] = {
    "the client dies": lambda running: running.network.crash(CLIENT_ID),
    "the proxy dies": lambda running: running.network.crash(PROXY_ID),
    "the line from client to proxy breaks": lambda running: running.network.cut(CLIENT_ID, PROXY_ID),
    "the line from proxy to worker breaks": lambda running: running.network.cut(PROXY_ID, WORKER_ID),
    "nothing comes through between client and proxy": lambda running: running.network.partition(
        CLIENT_ID, PROXY_ID
    ),
    "nothing comes through between proxy and worker": lambda running: running.network.partition(
        PROXY_ID, WORKER_ID
    ),
}


async def ask(running: Nodes, begun: trio.Event, cancelled: trio.CancelScope) -> None:
    with suppress(CocoonError), cancelled:
        async with running.client.chat("scripted", QUESTION, completion_tokens_max=2000) as answer:
            async for piece in answer:
                if piece.completion_tokens >= 20:
                    begun.set()


async def stops(script: ScriptedEngine) -> None:
    """Assert that the engine stops within the bound, and makes nothing more."""
    with trio.fail_after(BOUND_SECONDS):
        while script.running:  # noqa: ASYNC110 (of the mock clock)
            await trio.sleep(0.01)
    made = list(script.tokens_made)
    await trio.sleep(5)
    assert (script.tokens_made, script.running) == (made, 0)


@pytest.mark.parametrize("is_reading_its_prompt", [False, True], ids=["in mid-answer", "in its prompt"])
@pytest.mark.parametrize("loss", LOSSES)
async def test_a_worker_stops_for_whoever_is_lost(
    loss: str, is_reading_its_prompt: bool, autojump_clock: MockClock
) -> None:
    prefill = {"prefill_seconds": 100, "prefill_steps": 1000} if is_reading_its_prompt else {}
    script = ScriptedEngine(WORDS, delay_seconds=0.05, **prefill)  # type: ignore[arg-type]
    policy = replace(POLICY, breaks_max=0, attempts_max=1, wait_seconds=0, timeout_seconds=600)
    async with nodes(script, policy=policy) as running, trio.open_nursery() as nursery:
        begun = trio.Event()
        nursery.start_soon(ask, running, begun, trio.CancelScope())
        if is_reading_its_prompt:
            await trio.sleep(5)
        else:
            await begun.wait()
        assert script.running == 1

        LOSSES[loss](running)

        await stops(script)
        (accounts,) = running.worker_accounts
        assert [account.accrued for account in accounts.payers()] == [0]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("is_reading_its_prompt", [False, True], ids=["in mid-answer", "in its prompt"])
async def test_a_worker_stops_within_a_step_for_a_client_that_leaves(
    is_reading_its_prompt: bool, autojump_clock: MockClock
) -> None:
    prefill = {"prefill_seconds": 100, "prefill_steps": 1000} if is_reading_its_prompt else {}
    script = ScriptedEngine(WORDS, delay_seconds=0.05, **prefill)  # type: ignore[arg-type]
    policy = replace(POLICY, timeout_seconds=600)
    async with nodes(script, policy=policy) as running, trio.open_nursery() as nursery:
        begun, leaving = trio.Event(), trio.CancelScope()
        nursery.start_soon(ask, running, begun, leaving)
        if is_reading_its_prompt:
            await trio.sleep(5)
        else:
            await begun.wait()

        leaving.cancel()

        # Two hops of 20 ms each, and a step.
        await trio.sleep(0.2)
        assert script.running == 0
        await running.agreed()
