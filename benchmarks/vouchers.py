"""What a voucher costs: made, checked, and all the way from one ledger to the other.

    python benchmarks/vouchers.py [--quick]

Made and checked are beside bare libsodium signing and opening 32 bytes, in the same round. The
way is from a payer's `hold` until the payee's credit counts the voucher: signed, on disk, sent over
a network in memory, checked, on disk again. One fdatasync is measured beside it, because each
way has two in it.
"""

import hashlib
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

import trio
from _measure import flush_seconds, milliseconds, print_machine, read_arguments, spread
from nacl import bindings

from cocoon_p2p.identity import Identity, network_id
from cocoon_p2p.payments.settlement import PayingAccount, ReceivingAccount, open_accounts
from cocoon_p2p.payments.voucher import check_voucher, sign_voucher
from cocoon_p2p.protocols.messages import ChannelId, ExchangeId, Voucher
from cocoon_p2p.store import open_store
from cocoon_p2p.testing.memory import MemoryNetwork
from cocoon_p2p.units import Nano

KEY, SECRET = bindings.crypto_sign_seed_keypair(bytes(32))
CHANNEL = ChannelId(hashlib.sha256(b"channel").digest())
EXCHANGE = ExchangeId(bytes(16))
NETWORK = network_id("bench")
CAPACITY = Nano(10**15)
EXCHANGES = 64


def main() -> None:
    quick: bool = read_arguments(__doc__).quick
    rounds, count, ways = (3, 300, 20) if quick else (20, 2000, 300)
    print_machine()
    measure_crypto(rounds, count)
    with tempfile.TemporaryDirectory() as folder:
        trio.run(measure_ways, Path(folder), ways)


def measure_crypto(rounds: int, count: int) -> None:
    message = bytes(32)
    signed = bindings.crypto_sign(message, SECRET)
    total = Nano(10**9)
    voucher = Voucher(CHANNEL, 1, total, sign_voucher(SECRET, CHANNEL, 1, total))
    subjects: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "made": (
            lambda: sign_voucher(SECRET, CHANNEL, 1, total),
            lambda: bindings.crypto_sign(message, SECRET),
        ),
        "checked": (
            lambda: check_voucher(KEY, CHANNEL, 1, voucher, paid=Nano(0)),
            lambda: bindings.crypto_sign_open(signed, KEY),
        ),
    }
    for name, (ours, bare) in subjects.items():
        pairs = [(rate(ours, count), rate(bare, count)) for _ in range(rounds)]
        print(f"vouchers {name}      {spread([mine for mine, _ in pairs], 'a second', 0)}")
        print(f"  bare libsodium     {spread([theirs for _, theirs in pairs], 'a second', 0)}")
        print(f"  ours of bare       {spread([mine / theirs for mine, theirs in pairs], 'times')}")


def rate(call: Callable[[], object], count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        call()
    return count / (time.perf_counter() - started)


async def measure_ways(folder: Path, ways: int) -> None:
    payer, payee = Identity.from_seed(b"\1" * 32), Identity.from_seed(b"\2" * 32)
    async with AsyncExitStack() as stack:
        network = await stack.enter_async_context(MemoryNetwork())
        transports = network.transport(payer), network.transport(payee)
        accounts = []
        for identity, transport in zip((payer, payee), transports, strict=True):
            store = await stack.enter_async_context(open_store(folder / f"{identity.public_key.hex()}.db"))
            opened = open_accounts(transport, identity, NETWORK, store, grant_policy=lambda _: Nano(0))
            accounts.append(await stack.enter_async_context(opened))
        await transports[0].dial(transports[1].addresses)
        paying = await accounts[0].paying(payee.peer_id, capacity=CAPACITY)
        receiving = accounts[1].receiving(paying.channel, payer.peer_id)
        await measure_alone(folder, paying, receiving, ways)
        await measure_many(paying, receiving, ways // 4)
        await measure_path(paying, receiving, 100 * ways)


async def measure_alone(folder: Path, paying: PayingAccount, receiving: ReceivingAccount, ways: int) -> None:
    took: list[float] = []
    flushes: list[float] = []
    for number in range(1, ways + 1):
        flushes.append(flush_seconds(folder))
        started = time.perf_counter()
        paying.hold(EXCHANGE, Nano(1000 * number))
        await receiving.cover(EXCHANGE, Nano(1000 * number))
        took.append(time.perf_counter() - started)
    print(f"one voucher, both disks  {milliseconds(took)}")
    print(f"  one fdatasync          {milliseconds(flushes)}")
    rests = [1e3 * (way - 2 * flush) for way, flush in zip(took, flushes, strict=True)]
    print(f"  less two of them       median {median(rests):.1f} ms")


async def measure_many(paying: PayingAccount, receiving: ReceivingAccount, chunks: int) -> None:
    """Many exchanges on one channel, each covered a chunk ahead: the holds of a while share a voucher."""
    vouchers = 0

    async def count_vouchers() -> None:
        nonlocal vouchers
        while True:
            await receiving.vouchered_changed.wait()
            vouchers += 1

    async def converse(exchange: ExchangeId) -> None:
        for number in range(1, chunks + 1):
            paying.hold(exchange, Nano(1000 * (number + 1)))
            await receiving.cover(exchange, Nano(1000 * number))

    started = time.perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_vouchers)
        async with trio.open_nursery() as conversations:
            for number in range(1, EXCHANGES + 1):
                conversations.start_soon(converse, ExchangeId(number.to_bytes(16)))
        nursery.cancel_scope.cancel()
    took, total = time.perf_counter() - started, EXCHANGES * chunks
    rate, share = total / took, total / vouchers
    print(f"{EXCHANGES} exchanges at once       {rate:.0f} chunks a second, {share:.0f} a voucher")


async def measure_path(paying: PayingAccount, receiving: ReceivingAccount, chunks: int) -> None:
    """What a chunk costs on both ends where it is covered already, with all those exchanges running."""
    window, accrued = Nano(10**9), Nano(10**8)
    paying.hold(EXCHANGE, window)
    await receiving.cover(EXCHANGE, Nano(window - 1))
    receiving.release(EXCHANGE)
    begun = time.perf_counter()
    for number in range(chunks):
        paying.hold(EXCHANGE, Nano(window - chunks + number))
        receiving.covered(EXCHANGE, Nano(accrued + number))
    print(
        f"hold and covered           {1e6 * (time.perf_counter() - begun) / chunks:.1f} us a chunk, both ends"
    )


if __name__ == "__main__":
    main()
