"""An engine that is killed in the midst of an answer costs that answer, and not the node."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from cocoon_p2p.errors import CocoonError
from cocoon_p2p.testing.processes import open_local_network
from tests.end_to_end.scene import client_of

BOUND_SECONDS = 280
MODEL = "cocoon-demo"
HELLO = [{"role": "user", "content": "Hello"}]


def engines_of(node: int) -> list[int]:
    """The engine processes that a node has now."""
    return [
        int(child)
        for task in Path(f"/proc/{node}/task").iterdir()
        for child in (task / "children").read_text().split()
        if b"inference.isolated.child" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


@pytest.mark.long
async def test_a_worker_whose_engine_is_killed_in_mid_answer_sells_the_next_one(tmp_path: Path) -> None:
    keys = {"measure_seconds": 0, "slots": 2, "context_tokens": 2048}
    with trio.fail_after(BOUND_SECONDS):
        async with (
            open_local_network(tmp_path, workers=1, worker_keys=keys) as network,
            client_of(network) as client,
        ):
            node = network.nodes["worker-1"].pid
            (engine,) = engines_of(node)
            pieces = 0
            # The client may go on from where it was, once the worker has slots again; it may also give up.
            with suppress(CocoonError):
                async with client.chat(MODEL, HELLO, ignore_eos=True, completion_tokens_max=900) as answer:
                    async for _ in answer:
                        pieces += 1
                        if pieces == 3:
                            os.kill(engine, signal.SIGKILL)
            text = ""
            while not text:
                # Until the engine is back its worker has no slots, and says so.
                with suppress(CocoonError):
                    async with client.chat(MODEL, HELLO) as answer:
                        text = await answer.read()
                await trio.sleep(0.2)
            (another,) = engines_of(node)

    assert pieces >= 3
    assert text == "Hello! How can I help you?"
    assert another != engine
