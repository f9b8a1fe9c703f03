"""What a look-up costs that is proven and agreed on, beside pytoniq's own.

    python benchmarks/lite.py [--quick]

Two lite servers of the local chain, in processes of their own, answer over TCP on this machine.
Ours asks both for the newest block, and one for the account with proofs, from a trio program;
pytoniq's asks one server for the account, from asyncio, at its trust level 1, while it follows
the head of the chain in the background.
"""

import asyncio
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from multiprocessing.connection import Connection
from pathlib import Path

import trio
from _measure import milliseconds, print_machine, read_arguments, spread
from pytoniq import LiteClient
from pytoniq_core import Address

from cocoon_p2p.identity import Identity
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.devchain import AccountId as LocalAccountId
from cocoon_p2p.payments.devchain import DevChain, serve_liteserver
from cocoon_p2p.payments.devchain.network_config import GlobalConfig, global_config
from cocoon_p2p.payments.lite import LOCAL, Network, open_chain

NOW = 1_800_000_000
ACCOUNTS = 10_000
HOST = IPv4Address("127.0.0.1")
LOOKED_UP = (5_000).to_bytes(32, "big")
TWO_OPERATORS = Network("local", None, None, operators_min=2, is_of_now=False)


def main() -> None:
    quick: bool = read_arguments(__doc__).quick
    print_machine()
    rounds, calls = (3, 20) if quick else (15, 200)
    with tempfile.TemporaryDirectory() as folder, serving() as configs:
        merged = dict(configs[0])
        merged["liteservers"] = [
            {**config["liteservers"][0], "operator": f"operator {number}"}
            for number, config in enumerate(configs)
        ]
        path = Path(folder) / "global.config.json"
        path.write_text(json.dumps(merged))
        ours, one, theirs = trio.run(measure, path, configs[0], rounds, calls)
    print(f"{ACCOUNTS:,} accounts, {rounds} rounds of {calls} look-ups, one after the other")
    print(f"an account, two operators agreeing   {milliseconds(ours)}")
    print(f"an account, one server's word        {milliseconds(one)}")
    print(f"the same from pytoniq alone          {milliseconds(theirs)}")
    print(
        f"two agreeing / pytoniq               {spread([a / b for a, b in zip(ours, theirs, strict=True)])}"
    )


@contextmanager
def serving() -> Iterator[list[GlobalConfig]]:
    """Run two servers of one chain, each in its own process: the chain is the same wherever it is made."""
    started: list[tuple[multiprocessing.process.BaseProcess, Connection]] = []
    context = multiprocessing.get_context("spawn")
    for number in range(2):
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(number, theirs), daemon=True)
        process.start()
        started.append((process, ours))
    try:
        yield [pipe.recv() for _, pipe in started]
    finally:
        for process, _ in started:
            process.terminate()
            process.join()


def serve(number: int, pipe: Connection) -> None:
    chain = DevChain(now=NOW)
    for account in range(ACCOUNTS):
        chain.give(LocalAccountId(account.to_bytes(32, "big")), 10**9)
    chain.make_block()
    trio.run(listen, chain, Identity.from_seed(bytes((number,)) * 32), pipe)


async def listen(chain: DevChain, key: Identity, pipe: Connection) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host=str(HOST))
    port = listener.socket.getsockname()[1]
    pipe.send(global_config(HOST, port, key.public_key, chain.history.first))
    # No blocks of their own, so that both stay alike.
    await serve_liteserver(chain, listener, key, idle_seconds=1e6)


async def measure(
    path: Path, config: GlobalConfig, rounds: int, calls: int
) -> tuple[list[float], list[float], list[float]]:
    """Give the mean seconds of a look-up, for each round: two operators, one, and pytoniq alone."""
    ours: list[float] = []
    one: list[float] = []
    theirs: list[float] = []
    async with open_chain(path, TWO_OPERATORS) as two, open_chain(path, LOCAL) as single:
        for chain in (two, single):
            await chain.account(AccountId(LOOKED_UP))
        for _ in range(rounds):
            for chain, seconds in ((two, ours), (single, one)):
                started = time.perf_counter()
                for _ in range(calls):
                    await chain.account(AccountId(LOOKED_UP))
                seconds.append((time.perf_counter() - started) / calls)
            theirs.append(await trio.to_thread.run_sync(asyncio.run, pytoniq_alone(config, calls)))
    return ours, one, theirs


async def pytoniq_alone(config: GlobalConfig, calls: int) -> float:
    client = LiteClient.from_config(config, trust_level=1)
    client.delta = 0.002
    await client.connect()
    place = Address((0, LOOKED_UP))
    try:
        started = time.perf_counter()
        for _ in range(calls):
            await client.get_account_state(place)
        return (time.perf_counter() - started) / calls
    finally:
        await client.close()


if __name__ == "__main__":
    main()
