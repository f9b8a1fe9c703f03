"""One process a role over real sockets: what is kept from the proxy, and what survives a loss."""

import signal
import socket
from pathlib import Path

import pytest
import trio

from cocoon_p2p.cli.books import who_paid_whom
from cocoon_p2p.config import ClientFile, load
from cocoon_p2p.errors import CocoonError, Unavailable
from cocoon_p2p.node import open_client
from cocoon_p2p.testing.processes import open_local_network
from tests.end_to_end.scene import client_of, seen_in, seen_in_memory

MARKER = "kQ7vX2mZ9pLw4RtY6uBn1CdE8fGh3JsA"
HELLO = [{"role": "user", "content": "Hello"}]


async def test_the_proxy_never_holds_a_word_in_memory_on_disk_or_in_its_log(tmp_path: Path) -> None:
    async with open_local_network(tmp_path, workers=1) as network, client_of(network) as client:
        question = [{"role": "user", "content": f"What is this network? {MARKER}"}]
        async with client.chat("cocoon-demo", question) as answer:
            text = await answer.read()
        # What form an answer must have is as secret as the answer.
        async with client.chat("cocoon-demo", HELLO, regex=MARKER, logprobs=1) as formed:
            pieces = [piece async for piece in formed]
        assert formed.text == MARKER
        assert b"".join(one.chosen.token for piece in pieces for one in piece.logprobs) == MARKER.encode()
        proxy = network.nodes["proxy"]
        assert len(text) > 20
        # The search itself is shown to work on words that the proxy does hold.
        assert seen_in_memory(proxy.pid, network.name.encode())
        for words in (MARKER.encode(), text.encode()):
            assert not seen_in_memory(proxy.pid, words)

    assert seen_in(tmp_path, network.name.encode())
    assert seen_in(tmp_path, MARKER.encode()) == []
    assert seen_in(tmp_path, text.encode()) == []


async def test_both_ends_of_every_channel_agree_after_answers_cancels_and_a_drain(tmp_path: Path) -> None:
    async with open_local_network(tmp_path, workers=2) as network, client_of(network) as client:
        async with client.chat("cocoon-demo", HELLO) as answer:
            await answer.read()
        async with client.chat("cocoon-demo", HELLO, ignore_eos=True, completion_tokens_max=900) as answer:
            async for _piece in answer:
                break
        settled = answer.settlement
        assert settled is not None
        async with client.chat("cocoon-demo", HELLO, ignore_eos=True, completion_tokens_max=200) as answer:
            await anext(answer)
            # Both are asked to go while one of them is at work: what runs is finished.
            network.nodes["worker-1"].signal(signal.SIGTERM)
            network.nodes["worker-2"].signal(signal.SIGTERM)
            await answer.read()
        assert answer.finish == "length"
        assert answer.usage.completion == 200

    books = await who_paid_whom(tmp_path, list(network.nodes))
    assert books.faults == ()
    spent = sum(entry.row.charged for entry in books.entries if entry.node == "client")
    earned = sum(entry.row.charged for entry in books.entries if entry.node.startswith("worker"))
    received = sum(
        entry.row.charged
        for entry in books.entries
        if entry.node == "proxy" and (other := books.other_end(entry)) and other.node == "client"
    )
    assert spent == received > earned > 0


async def test_a_killed_worker_costs_only_what_it_delivered_and_the_network_goes_on(tmp_path: Path) -> None:
    async with open_local_network(tmp_path, workers=1) as network, client_of(network) as client:
        worker = network.nodes["worker-1"]
        with pytest.raises(CocoonError) as caught:
            async with client.chat(
                "cocoon-demo", HELLO, ignore_eos=True, completion_tokens_max=900
            ) as answer:
                async for piece in answer:
                    if piece.completion_tokens >= 100:
                        worker.signal(signal.SIGKILL)
        assert caught.value.code == "worker-lost"
        price = answer.model
        assert price is not None
        tokens = answer.usage.completion
        most = tokens * price.price.completion // 1000 * 10_500 // 10_000
        assert 0 < caught.value.charged <= most
        async with trio.open_nursery() as nursery:
            await worker.start(nursery)
            await worker.wait_for("ready")
            async with client.chat("cocoon-demo", HELLO) as again:
                assert await again.read()
            await worker.stop()


async def test_garbage_on_the_port_and_a_peer_that_says_nothing_leave_a_node_unharmed(tmp_path: Path) -> None:
    async with open_local_network(tmp_path, workers=1) as network:
        silent: list[socket.socket] = []
        for node in ("bootstrap", "proxy"):
            address = network.nodes[node].steps["listening"]["addresses"][0]
            port = int(address.split("/")[4])
            for garbage in (b"GET / HTTP/1.1\r\n\r\n", bytes(4096), b"\x13/multistream/1.0.0\n" * 100):
                with socket.create_connection(("127.0.0.1", port)) as stream:
                    stream.sendall(garbage)
            silent += [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
        async with client_of(network) as client, client.chat("cocoon-demo", HELLO) as answer:
            assert await answer.read()
        for stream in silent:
            stream.close()


async def test_a_client_of_another_network_finds_nobody(tmp_path: Path) -> None:
    async with open_local_network(tmp_path, workers=1) as network:
        environment = {"COCOON_NETWORK__NAME": "another"}
        async with open_client(load(ClientFile, network.client_file, environment)) as client:
            with pytest.raises(Unavailable):
                async with client.chat("cocoon-demo", HELLO, timeout_seconds=5):
                    pass
