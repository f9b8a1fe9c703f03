"""What settling a request adds to its first token: a model that is paid for beside the same one for nothing.

    python benchmarks/settlement.py [--quick]

A local chain, a bootstrap node, a proxy and two workers with the demo model run as real processes;
the client is this process, and all channels are contracts. One worker asks for its price, the other for
none: its requests go the same way, and nothing is held, vouchered or saved for them before their first
token. Each round asks both the same new prompt, in turn; who begins alternates.

Printed beside it: the processor time that client, proxy and workers together spend until the first token,
which a busy machine inflates less.

The goal is 2 ms more at the median, and one flush of the disk, which is measured in the same round.
"""

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import trio
from _measure import flush_seconds, milliseconds, print_machine, read_arguments, spread, working_seconds
from _network import wait_offered

from cocoon_p2p.client import Client
from cocoon_p2p.config import ClientFile, load
from cocoon_p2p.node import open_paying_client
from cocoon_p2p.testing.processes import open_local_network
from cocoon_p2p.units import Nano

GOAL_MILLISECONDS = 2
TOKENS = 4
"Of each answer: only the first is measured."

PAUSE_SECONDS = 0.05

PAID, FREE = "paid", "free"
NOTHING = dict.fromkeys(("prompt", "cached", "completion", "reasoning"), 0)
WORKERS = {
    "worker-1": {"worker": {"name": PAID}},
    "worker-2": {"worker": {"name": FREE}, "price": NOTHING},
}


@dataclass(frozen=True, slots=True)
class First:
    """A first token, in seconds."""

    after: float
    work: float
    "Processor time of client, proxy and workers until then, all their threads together."


@dataclass(frozen=True, slots=True)
class Round:
    """One prompt asked of both."""

    paid: First
    free: First
    flush: float
    "In seconds."

    @property
    def more(self) -> float:
        return self.paid.after - self.free.after


def main() -> None:
    arguments = read_arguments(__doc__)
    print_machine()
    with tempfile.TemporaryDirectory() as folder:
        trio.run(measure, Path(folder), 5 if arguments.quick else 200)


async def measure(place: Path, count: int) -> None:
    async with (
        open_local_network(place, on_chain=True, proxy_keys={"open_after": 0}, more=WORKERS) as network,
        open_paying_client(load(ClientFile, network.client_file, {})) as opened,
    ):
        client, treasury = opened.client, opened.parts.treasury
        assert treasury is not None
        await wait_offered(client, PAID, FREE)
        account = await client.account()
        await treasury.fund(account, Nano(10**9))
        while not account.capacity:  # noqa: ASYNC110  (the proxy has to see it, too)
            await trio.sleep(0.05)
        pids = [os.getpid(), *(network.nodes[name].pid for name in ("proxy", *WORKERS))]
        # The first ones greet the workers, and have the proxy open its channel.
        for _ in range(5):
            await _round(client, "Hello", pids, place, paid_first=True)
            await trio.sleep(1)
        rounds = [
            await _round(client, _prompt(number), pids, place, paid_first=bool(number % 2))
            for number in range(1, count + 1)
        ]
    _report(rounds)


def _prompt(number: int) -> str:
    return f"Question {number}: what is the sum of {number} and {7 * number}?"


async def _round(client: Client, prompt: str, pids: list[int], place: Path, *, paid_first: bool) -> Round:
    flush = flush_seconds(place)
    if paid_first:
        paid = await _first_token(client, PAID, prompt, pids)
        return Round(paid, await _first_token(client, FREE, prompt, pids), flush)
    free = await _first_token(client, FREE, prompt, pids)
    return Round(await _first_token(client, PAID, prompt, pids), free, flush)


async def _first_token(client: Client, model: str, prompt: str, pids: list[int]) -> First:
    """Time the first token of an answer, which is read and settled before this returns."""
    worked = sum(map(working_seconds, pids))
    started = time.perf_counter()
    async with client.chat(
        model,
        [{"role": "user", "content": prompt}],
        completion_tokens_max=TOKENS,
        ignore_eos=True,
        timeout_seconds=60,
    ) as answer:
        after = time.perf_counter() - started
        first = First(after, sum(map(working_seconds, pids)) - worked)
        await answer.read()
    # The last papers of one are not to be work of the next.
    await trio.sleep(PAUSE_SECONDS)
    assert (answer.cost > 0) is (model == PAID)
    return first


def _report(rounds: list[Round]) -> None:
    print(f"first token, {len(rounds)} prompts each way; median (least to most):")
    print(f"  for nothing         {milliseconds([each.free.after for each in rounds])}")
    print(f"  paid for            {milliseconds([each.paid.after for each in rounds])}")
    print(f"  more                {milliseconds([each.more for each in rounds])}")
    rests = [each.more - each.flush for each in rounds]
    print(f"    less one flush    {milliseconds(rests)}, goal {GOAL_MILLISECONDS} ms")
    print(f"  ratio               {spread([each.paid.after / each.free.after for each in rounds])}")
    print(f"  work for nothing    {milliseconds([each.free.work for each in rounds])}")
    print(f"    more if paid for  {milliseconds([each.paid.work - each.free.work for each in rounds])}")
    print(f"  one flush of disk   {milliseconds([each.flush for each in rounds])}")


if __name__ == "__main__":
    main()
