"""A worker in front of a server that runs the model: bought from like any other."""

from pathlib import Path

import pytest

from cocoon_p2p.cli.books import who_paid_whom
from cocoon_p2p.testing.processes import open_local_network
from tests.end_to_end.scene import client_of
from tests.inference.upstream.scene import llama_server


@pytest.mark.slow
async def test_an_answer_of_a_server_is_bought_and_a_cancel_is_paid_for_what_came(tmp_path: Path) -> None:
    with llama_server(key="") as address:
        keys = {"model": address, "name": "elsewhere"}
        async with (
            open_local_network(tmp_path, workers=1, worker_keys=keys) as network,
            client_of(network) as client,
        ):
            hello = [{"role": "user", "content": "Hello"}]
            async with client.chat("elsewhere", hello) as answer:
                assert await answer.read() == "Hello! How can I help you?"
            receipt = answer.receipt
            async with client.chat("elsewhere", hello, ignore_eos=True, completion_tokens_max=400) as left:
                await anext(left)
            # The server is free again.
            async with client.chat("elsewhere", hello) as again:
                assert await again.read() == "Hello! How can I help you?"

    assert receipt is not None
    assert receipt.engine == "upstream (llama.cpp)"
    assert 0 < left.usage.completion < 400
    books = await who_paid_whom(tmp_path, list(network.nodes))
    assert books.faults == ()
