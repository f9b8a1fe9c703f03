"""Four times more asked than there are slots for: what is got done, how soon no is said, and who has to wait.

    python benchmarks/overload.py [--quick]

Proxy and worker are processes of their own; the clients, each with a ledger and channels of its own, share
this one. The worker's engine is scripted and paced: eight slots, each answer takes one for two seconds, so
what it can do is known. Each round has three parts, one after the other:

    quiet      one client asks now and then, and nobody else does. In between it asks for a price that
               nobody takes: how soon a proxy with nothing to do says no
    capacity   eight requests at once, all the time: as many as there are slots
    overload   four clients ask together for four times as much, at even intervals, whatever comes of it:
               two of them wait for a slot for some seconds, two want an answer or a no at once. The first
               client asks now and then, as in the quiet part

Ratios are taken within a round. A refusal's time is that of a whole try of a client that does not wait, with
its own share of this process, which reads all the others' answers.
"""

import math
import random
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
from _measure import milliseconds, print_machine, read_arguments, spread
from _network import scripted_worker, wait_offered

from cocoon_p2p.client import Client, Policy
from cocoon_p2p.config import ClientFile, load
from cocoon_p2p.errors import CocoonError, Refused
from cocoon_p2p.node import open_parts
from cocoon_p2p.protocols.ids import Trust
from cocoon_p2p.testing.processes import LocalNetwork, open_local_network
from cocoon_p2p.units import Nano

MODEL = "paced"
SLOTS = 8
TOKENS = 20
STEP_SECONDS = 0.1
ANSWER_SECONDS = TOKENS * STEP_SECONDS
OVERLOAD = 4
PATIENCE_SECONDS = 4.0
IMPATIENT, PATIENT = 2, 2
PAUSE_SECONDS = 0.5
"Between two requests of the client with a small load, on average."


@dataclass(frozen=True, slots=True)
class Buyer:
    """One of the clients."""

    client: Client
    wait_seconds: float
    "How long it waits where nobody has room."


@dataclass(slots=True)
class Tally:
    """What came of the requests of one part of a round."""

    tokens: int = 0
    seconds: list[float] = field(default_factory=list[float])
    "Of the client with a small load: whole answers."

    refused: list[float] = field(default_factory=list[float])
    "Of those that do not wait."

    given_up: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Round:
    quiet: Tally
    capacity_per_second: float
    goodput_per_second: float
    tally: Tally


def main() -> None:
    arguments = read_arguments(__doc__)
    print_machine()
    rounds, seconds = (1, 5.0) if arguments.quick else (5, 20.0)
    with tempfile.TemporaryDirectory() as folder:
        trio.run(measure, Path(folder), rounds, seconds)


async def measure(place: Path, rounds: int, seconds: float) -> None:
    async with (
        open_local_network(place, workers=0) as network,
        scripted_worker(network, MODEL, delay_seconds=STEP_SECONDS, step_tokens=1, slots=SLOTS),
        AsyncExitStack() as stack,
    ):
        waits = [10.0, *[0.0] * IMPATIENT, *[PATIENCE_SECONDS] * PATIENT]
        small, *crowd = [
            await stack.enter_async_context(open_buyer(network, f"buyer-{number}", wait_seconds))
            for number, wait_seconds in enumerate(waits)
        ]
        for buyer in (small, *crowd):
            await wait_offered(buyer.client, MODEL)
            # The channel and the sealing session are made once, not while something is measured.
            await ask(buyer, Tally())
        done = [await run_round(small, crowd, seconds) for _ in range(rounds)]
    report(done)


@asynccontextmanager
async def open_buyer(network: LocalNetwork, name: str, wait_seconds: float) -> AsyncIterator[Buyer]:
    """Open one more client of the network, which waits so long where nobody has room."""
    file = network.place / f"{name}.toml"
    file.write_text(network.client_file.read_text().replace("client-data", f"{name}-data"))
    policy = Policy(trust=Trust.SIM, wait_seconds=wait_seconds)
    async with (
        open_parts(load(ClientFile, file, {}), mode="client", grant=Nano(0)) as parts,
        Client.open(
            parts.transport,
            parts.directory,
            parts.accounts,
            parts.network,
            policy=policy,
            doorkeeper=parts.doorkeeper,
        ) as client,
    ):
        yield Buyer(client, wait_seconds)


# ---------------------------------------------------------------- a round


async def run_round(small: Buyer, crowd: Sequence[Buyer], seconds: float) -> Round:
    quiet, full, tally = Tally(), Tally(), Tally()
    with trio.move_on_after(seconds):
        await ask_now_and_then(small, quiet, is_also_cheap=True)
    capacity = await rate(full, seconds, (keep_asking, crowd[-1], SLOTS))
    goodput = await rate(
        tally,
        seconds,
        (ask_now_and_then, small),
        *((ask_steadily, buyer, OVERLOAD * SLOTS / ANSWER_SECONDS / len(crowd)) for buyer in crowd),
    )
    return Round(quiet, capacity, goodput, tally)


async def rate(tally: Tally, seconds: float, *tasks: tuple[Any, ...]) -> float:
    """Run these for so long, after some seconds to get going, and say how many tokens a second came of it."""
    async with trio.open_nursery() as nursery:
        for task, buyer, *arguments in tasks:
            nursery.start_soon(task, buyer, tally, *arguments)
        await trio.sleep(3 * ANSWER_SECONDS)
        tally.seconds.clear()
        tally.refused.clear()
        before, began = tally.tokens, time.perf_counter()
        await trio.sleep(seconds)
        tokens, took = tally.tokens - before, time.perf_counter() - began
        nursery.cancel_scope.cancel()
    return tokens / took


async def ask_now_and_then(buyer: Buyer, tally: Tally, *, is_also_cheap: bool = False) -> None:
    """Ask, again and again, with pauses of no fixed length; in between for a price that nobody takes."""
    while True:
        if is_also_cheap:
            began = time.perf_counter()
            with suppress(Refused):
                async with buyer.client.complete(MODEL, "go", max_cost=1):
                    pass
            tally.refused.append(time.perf_counter() - began)
        began = time.perf_counter()
        if await ask(buyer, tally):
            tally.seconds.append(time.perf_counter() - began)
        # So that it meets what else is under way at any point.
        await trio.sleep(PAUSE_SECONDS * 2 * random.random())


async def keep_asking(buyer: Buyer, tally: Tally, count: int) -> None:
    """Have so many requests under way at any time."""

    async def again() -> None:
        while True:
            await ask(buyer, tally)

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(again)


async def ask_steadily(buyer: Buyer, tally: Tally, per_second: float) -> None:
    """Ask at even intervals, whatever becomes of what was asked before."""
    async with trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(ask, buyer, tally)
            await trio.sleep(1 / per_second)


async def ask(buyer: Buyer, tally: Tally) -> bool:
    """Ask once, and say whether a whole answer came. Tokens count as they come, of whole answers or not."""
    began, count = time.perf_counter(), 0
    try:
        async with buyer.client.complete(
            MODEL, "go", completion_tokens_max=TOKENS, ignore_eos=True
        ) as answer:
            async for piece in answer:
                tally.tokens += piece.completion_tokens - count
                count = piece.completion_tokens
    except Refused:
        if buyer.wait_seconds:
            tally.given_up += 1
        else:
            tally.refused.append(time.perf_counter() - began)
        return False
    except CocoonError:
        tally.failed += 1
        return False
    return True


# ---------------------------------------------------------------- the report


def high(values: Sequence[float], percent: float) -> float:
    """Give the value that so many percent are not above."""
    return sorted(values)[min(len(values) - 1, math.ceil(len(values) * percent / 100) - 1)]


def report(rounds: Sequence[Round]) -> None:
    quiet = [second for each in rounds for second in each.quiet.seconds]
    idle = [second for each in rounds for second in each.quiet.refused]
    loaded = [second for each in rounds for second in each.tally.seconds]
    refused = [second for each in rounds for second in each.tally.refused]
    print(f"{SLOTS} slots, answers of {ANSWER_SECONDS:g} s, {len(rounds)} rounds, {OVERLOAD} x asked for")
    print(f"  capacity          {spread([each.capacity_per_second for each in rounds], 'tokens/s', 0)}")
    print(f"  goodput           {spread([each.goodput_per_second for each in rounds], 'tokens/s', 0)}")
    shares = [100 * each.goodput_per_second / each.capacity_per_second for each in rounds]
    print(f"  of capacity       {spread(shares, '%', 1)}, goal 90")
    print(f"  idle: refused after {milliseconds(idle)}, p95 {1e3 * high(idle, 95):.1f} ms")
    print(f"  refused after     {milliseconds(refused)}, p95 {1e3 * high(refused, 95):.1f} ms, goal 100")
    print(f"  within 100 ms     {100 * sum(each <= 0.1 for each in refused) / len(refused):.1f} % of them")
    print(f"  small load, quiet {spread(quiet, 's')}, p95 {high(quiet, 95):.2f} s")
    print(f"  small load, beside {spread(loaded, 's')}, p95 {high(loaded, 95):.2f} s")
    ratios = [high(each.tally.seconds, 95) / high(each.quiet.seconds, 50) for each in rounds]
    print(f"  its p95, to quiet {spread(ratios, '', 2)}, goal 2")
    given_up = [each.tally.given_up for each in rounds]
    failed = sum(each.tally.failed for each in rounds)
    print(f"  waited in vain    {spread(given_up, 'a round', 0)}; failed otherwise: {failed}", flush=True)


if __name__ == "__main__":
    main()
