"""Processes that are killed, or fall silent, in the midst of an answer; and come back."""

import signal
from pathlib import Path

import pytest
import trio

from cocoon_p2p.client import Client
from cocoon_p2p.testing.processes import NodeProcess
from tests.chaos.scene import BOUND_SECONDS, Town, disturbed, end_of, lose_the_proxy, open_town
from tests.nat.lab import Lab

STOPPED_SECONDS = 12.0
"Longer than anybody waits for a client's next word (protocols/ids.py, COVER_SECONDS)."


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
async def test_whoever_is_lost_in_mid_answer_comes_back_and_nobody_pays_twice(
    lab: Lab, tmp_path: Path, how: signal.Signals
) -> None:
    async with open_town(lab, tmp_path) as town, town.client() as client:
        await an_answer_goes_on_without(town, client, None, how)
        await an_answer_goes_on_without(town, client, "chain", how)
        await whoever_loses_the_proxy_is_told(town, client, how)
        await nodes_find_one_another_without_a_bootstrap(town, client, how)


async def an_answer_goes_on_without(
    town: Town, client: Client, victim: str | None, how: signal.Signals
) -> None:
    """Nobody who reads an answer sees that a node is lost: None is the worker that answers."""
    lost: list[NodeProcess] = []
    async with disturbed(town, client) as (answer, disturbance):
        lost.append(town.network.nodes[victim] if victim else town.node_of(answer))
        lost[0].signal(how)
    town.is_whole(answer)
    print(f"{lost[0].name}, {how.name}: at most {disturbance.gap_seconds:.2f} s without a piece")
    await come_back(town, lost[0], how)
    await town.answered_again(client)


async def whoever_loses_the_proxy_is_told(town: Town, client: Client, how: signal.Signals) -> None:
    """There is no other proxy: the answer breaks off with an error that says so."""
    proxy = town.network.nodes["proxy"]
    told = await lose_the_proxy(town, client, lambda: proxy.signal(how))
    assert told is None or "it did not go on elsewhere" in told
    await come_back(town, proxy, how)
    await town.answered_again(client)


async def nodes_find_one_another_without_a_bootstrap(town: Town, client: Client, how: signal.Signals) -> None:
    """Who was there before needs none; a new one says what is the matter."""
    bootstrap = town.network.nodes["bootstrap"]
    async with disturbed(town, client) as (answer, _):
        bootstrap.signal(how)
    town.is_whole(answer)
    async with town.asking(town.stranger("stranger")) as stranger:
        worker = town.network.nodes["worker-2"]
        await worker.stop()
        await worker.start(town.nursery)
        await worker.wait_for("ready")
        code, _, told = await end_of(stranger)
    assert code == 3
    assert "no server of the directory answers" in told
    assert "check [network] bootstrap in the client's file" in told
    await come_back(town, bootstrap, how)
    await town.answered_again(client)


async def come_back(town: Town, node: NodeProcess, how: signal.Signals) -> None:
    """Start a killed node over its data, or let a stopped one go on."""
    if how is signal.SIGSTOP:
        node.signal(signal.SIGCONT)
        return
    await node.start(town.nursery)
    await node.wait_for("config" if node.name == "chain" else "ready")


@pytest.mark.timeout(600)
async def test_a_client_that_stops_or_dies_in_mid_answer_holds_no_slot_and_pays_once(
    lab: Lab, tmp_path: Path
) -> None:
    async with open_town(lab, tmp_path) as town:
        whole = town.paid
        async with town.asking(town.network.client_file) as client:
            begun = await first_words(client)
            client.send_signal(signal.SIGSTOP)
            await trio.sleep(STOPPED_SECONDS)
            client.send_signal(signal.SIGCONT)
            code, rest, told = await end_of(client)
            print(f"stopped for {STOPPED_SECONDS:.0f} s: {code}, {told}")
            if code:
                assert "cocoon: " in told
                assert town.text.startswith(begun + rest)
            else:
                assert (begun + rest).strip() == town.text
        async with town.asking(town.network.client_file) as client:
            begun = await first_words(client)
            client.send_signal(signal.SIGKILL)
            await client.wait()
        assert town.text.startswith(begun)
        town.at_most += 2 * whole


async def first_words(process: trio.Process) -> str:
    """Read until a process has written a little."""
    assert process.stdout is not None
    words = b""
    with trio.fail_after(BOUND_SECONDS):
        while len(words) < 10:
            data = await process.stdout.receive_some()
            assert data, "it ended before"
            words += data
    return words.decode()
