"""What the local chain costs on top of the bare virtual machine, and whether it slows as it grows.

    python benchmarks/devchain.py [--quick]

Each round delivers messages to accounts drawn at random, with a block every twenty, and then
has the bare machine run as many of the same messages; the ratio is taken within the round.
Times are processor time of this one thread, so that a busy machine disturbs them little. The
chain has 10,000 accounts from the start and forgets what is older than its limits.
"""

import gc
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from _measure import print_machine, read_arguments, spread

from cocoon_p2p.payments.devchain import FAUCET, AccountId, DevChain, Limits, internal_message
from cocoon_p2p.payments.devchain.moment import Moment
from cocoon_p2p.payments.devchain.native import from_boc, tonpy

NOW = 1_800_000_000
BLOCK = 20
ROUND = 1_000
LIMITS = Limits(blocks=500, transactions=20_000)


def main() -> None:
    quick: bool = read_arguments(__doc__).quick
    print_machine()
    accounts, rounds = (500, 6) if quick else (10_000, 50)
    chain, addresses = grown(accounts)
    print(f"{accounts:,} accounts, {rounds * ROUND:,} transactions, a block every {BLOCK}")
    measure_rate(chain, addresses, rounds)
    measure_blocks(chain, addresses)


def grown(count: int) -> tuple[DevChain, list[AccountId]]:
    chain = DevChain(now=NOW, limits=LIMITS)
    draw = random.Random(1)
    addresses = [AccountId(draw.randbytes(32)) for _ in range(count)]
    for address in addresses:
        chain.give(address, 10**9)
    chain.make_block()
    return chain, addresses


def measure_rate(chain: DevChain, addresses: Sequence[AccountId], rounds: int) -> None:
    draw = random.Random(2)
    ours: list[float] = []
    bare: list[float] = []
    resident: list[float] = []
    for _ in range(rounds):
        messages = [
            internal_message(FAUCET, draw.choice(addresses), 10**6, bounce=False) for _ in range(ROUND)
        ]
        ours.append(ROUND / _processor_seconds(lambda batch=messages: deliver(chain, batch)))
        bare.append(ROUND / _bare(chain, messages))
        resident.append(_resident_mb())
    ratios = [mine / theirs for mine, theirs in zip(ours, bare, strict=True)]
    assert chain.history.last.shard.id.seqno == 1 + rounds * ROUND // BLOCK
    fifth = max(1, rounds // 5)
    print(f"  chain, transactions a second         {spread(ours, digits=0)}")
    print(f"  bare machine, the same messages      {spread(bare, digits=0)}")
    print(f"  chain / bare                         {spread(ratios, digits=3)}")
    slower = 1 - median(ratios[-fifth:]) / median(ratios[:fifth])
    print(f"  slower in the last fifth than in the first, beside bare   {slower:.0%}")
    print(f"  resident after a fifth, in the end   {resident[fifth - 1]:.0f} MB, {resident[-1]:.0f} MB")


def deliver(chain: DevChain, messages: Sequence[bytes]) -> None:
    for number, message in enumerate(messages, 1):
        chain.deliver(message)
        if number % BLOCK == 0:
            chain.now += 1
            chain.make_block()


def _bare(chain: DevChain, messages: Sequence[bytes]) -> float:
    """Time the library alone: no reading of what came out, no accounts kept, no blocks."""
    emulator = tonpy().PyEmulator(from_boc(chain.tvm.config.boc))
    cells = [from_boc(message) for message in messages]
    account = chain.account(AccountId(bytes(32))).shard_account
    moment = Moment(NOW, 10**15, bytes(32))

    def run() -> None:
        for cell in cells:
            emulator.emulate_transaction(account, cell, str(moment.now), str(moment.lt), 0, False)

    return _processor_seconds(run)


def measure_blocks(chain: DevChain, addresses: Sequence[AccountId]) -> None:
    draw = random.Random(3)
    for changed in (0, 1, 100):
        spans: list[float] = []
        for _ in range(20):
            for address in draw.sample(addresses, changed):
                chain.give(address, 1)
            spans.append(1e3 * _processor_seconds(chain.make_block))
        print(f"  a block with {changed:3} accounts changed      {spread(spans, 'ms')}")


def _processor_seconds(run: Callable[[], object]) -> float:
    gc.collect()
    begun = time.thread_time()
    run()
    return time.thread_time() - begun


def _resident_mb() -> float:
    """Read this process's resident memory from Linux's /proc."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


if __name__ == "__main__":
    main()
