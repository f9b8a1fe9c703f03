"""Real processes: a worker that stands still is late with its first token, and another one answers."""

import signal
from pathlib import Path

import pytest

from cocoon_p2p.cli.books import who_paid_whom
from cocoon_p2p.client import Answer, Client
from cocoon_p2p.identity import peer_id_text
from cocoon_p2p.testing.processes import open_local_network
from tests.end_to_end.scene import client_of

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

HELLO = [{"role": "user", "content": "What is this network?"}]


async def ask(client: Client) -> Answer:
    async with client.chat("cocoon-demo", HELLO, prefer="fast") as answer:
        await answer.read()
    return answer


async def test_a_worker_that_stands_still_is_not_waited_for_and_all_books_agree(tmp_path: Path) -> None:
    network = open_local_network(
        tmp_path, workers=2, proxies=2, are_shared=False, proxy_keys={"canary_budget": 0}
    )
    async with network as running:
        async with client_of(running) as client:
            first = await ask(client)
            assert first.worker is not None
            still = running.nodes[running.name_of(peer_id_text(first.worker))]

            # The client asks the same proxy again, and that has no other worker.
            still.signal(signal.SIGSTOP)
            answer = await ask(client)

            still.signal(signal.SIGCONT)
            assert (answer.text, answer.attempts) == (first.text, 2)
            assert answer.worker not in (None, first.worker)
            assert answer.proxy not in (None, first.proxy)
            assert answer.first_token_seconds is not None
            print(f"first token after {answer.first_token_seconds:.2f} s")
        names = list(running.nodes)

    books = await who_paid_whom(tmp_path, names)
    assert books.faults == ()
    assert -books.earned("client") == first.cost + answer.cost
