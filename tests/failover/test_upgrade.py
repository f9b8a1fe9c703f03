"""Nodes are stopped in order and started again, one after the other, while clients ask: no answer is lost."""

import random
from functools import partial
from pathlib import Path

import pytest
import trio

from cocoon_p2p.cli.books import who_paid_whom
from cocoon_p2p.client import Client
from cocoon_p2p.control import ask as ask_node
from cocoon_p2p.node import CONTROL_SOCKET
from cocoon_p2p.overview.snapshot import SNAPSHOT, ShowSnapshot
from cocoon_p2p.testing.processes import LocalNetwork, Site, open_local_network
from tests.end_to_end.scene import client_of
from tests.failover.gates import (
    GATES,
    WORKERS,
    all_are_paid,
    all_is_settled,
    all_sell,
    check_books,
    free_ports,
)
from tests.failover.killing import BOUND_SECONDS, MODEL, PROMPTS, TOKENS_PER_SECOND, Account, Undisturbed, ask

pytestmark = pytest.mark.long

ASKING = 3
"Questions at a time: a slot is free for each even while one worker is away."


@pytest.mark.timeout(900)
async def test_an_upgrade_of_one_node_after_the_other_loses_no_answer_and_books_agree(tmp_path: Path) -> None:
    account, dice = Account(), random.Random(9)
    keys = {"tokens_per_second": TOKENS_PER_SECOND, "slots": 4, "context_tokens": 1024}
    # Who comes back listens where it did.
    sites = {gate: Site(port=port) for gate, port in zip(GATES, free_ports(len(GATES)), strict=True)}
    opening = open_local_network(tmp_path, workers=WORKERS, proxies=len(GATES), worker_keys=keys, sites=sites)
    asked, came, are_upgraded = 0, trio.Event(), trio.Event()

    async def keep_asking(client: Client, known: dict[str, Undisturbed]) -> None:
        nonlocal asked, came
        while not are_upgraded.is_set():
            prompt = dice.choice(PROMPTS)
            await ask_whole(client, prompt, known[prompt], account)
            asked += 1
            came.set()
            came = trio.Event()

    async with trio.open_nursery() as nursery:
        async with opening as network, client_of(network) as client:
            await all_stand(network, client)
            known = {prompt: await ask(client, prompt, account) for prompt in PROMPTS}
            async with trio.open_nursery() as load:
                for _ in range(ASKING):
                    load.start_soon(keep_asking, client, known)
                for name in ("worker-1", "worker-2", *GATES):
                    # Something runs when it is told to stop, and something comes while it is away.
                    assert await network.nodes[name].stop(within_seconds=120) == 0
                    await network.nodes[name].start(nursery)
                    await network.nodes[name].wait_for("ready")
                    await all_stand(network, client)
                    before = asked
                    with trio.fail_after(BOUND_SECONDS):
                        while asked < before + ASKING:
                            await came.wait()
                are_upgraded.set()
            await all_are_paid(network, account)
        nursery.cancel_scope.cancel()
    check_books(await who_paid_whom(tmp_path, list(network.nodes)), account)

    assert account.faults == []


async def all_stand(network: LocalNetwork, client: Client) -> None:
    """Wait until each proxy has every worker, and the client both proxies."""
    with trio.fail_after(BOUND_SECONDS):
        for gate in GATES:
            control = network.data_directory(gate) / CONTROL_SOCKET
            look = partial(ask_node, control, SNAPSHOT, ShowSnapshot())
            sellers = list[int]()
            while sellers != [WORKERS]:
                await trio.sleep(0.2)
                sellers = [offer.sellers for offer in (await trio.to_thread.run_sync(look)).offers]
        await all_sell(client)


async def ask_whole(client: Client, prompt: str, whole: Undisturbed, account: Account) -> None:
    """Ask, and hold the answer against the one that nobody disturbed."""
    with trio.fail_after(BOUND_SECONDS):
        async with client.chat(MODEL, [{"role": "user", "content": prompt}]) as answer:
            text = "".join([piece.text async for piece in answer])
        await all_is_settled(answer)
    account.hold(text == whole.text, f"another text: {text!r} for {whole.text!r}")
    account.client_paid += answer.cost
    account.workers_earned += sum(
        part.bill.settlement.worker_amount for part in answer.parts if part.bill is not None
    )
