"""What a relay in between costs: dialling, a round trip and throughput, beside the direct way.

    python benchmarks/relayed.py [--quick]

Three processes on loopback: who dials (this one), the relay, and who is dialled. In each round both ways
are measured one right after the other, each on a connection of its own: to dial (secured and multiplexed;
the relay is connected already), 64 bytes there and back (median of 200), and 16 MiB one way. The relay
has no limits here; by default it carries 1 MiB a second.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import trio
from _measure import milliseconds, print_machine, read_arguments, spread
from _relayed_nodes import ECHO, SINK

from cocoon_p2p.identity import Identity
from cocoon_p2p.network.libp2p.host import Libp2pTransport, open_transport
from cocoon_p2p.network.transport import Stream

NODES = Path(__file__).with_name("_relayed_nodes.py")
WAYS = ("direct", "relayed")
ROUND_TRIPS = 200
SIZE_BYTES = 16 << 20
BLOCK = bytes(1 << 16)


def main() -> None:
    arguments = read_arguments(__doc__)
    print_machine()
    with node("relay") as relay, node("target", relay["relay"][0]) as target:
        trio.run(measure, relay["relay"], target, 2 if arguments.quick else 9)


@contextmanager
def node(*arguments: str) -> Iterator[dict[str, list[str]]]:
    """Run a node, and give its addresses."""
    process = subprocess.Popen(
        [sys.executable, str(NODES), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(10)


async def measure(relay: list[str], target: dict[str, list[str]], rounds: int) -> None:
    found = [{way: await one_way(relay, target[way]) for way in WAYS} for _ in range(rounds)]
    names = ("to dial", "64 bytes there and back", "one stream")
    for number, name in enumerate(names):
        is_rate = number == 2
        for way in WAYS:
            values = [each[way][number] for each in found]
            shown = spread(values, "MB/s", 0) if is_rate else milliseconds(values)
            print(f"{name:24} {way:8} {shown}")
        ratios = [each["relayed"][number] / each["direct"][number] for each in found]
        print(f"{name:24} relayed / direct {spread(ratios)}")
    print_machine()


async def one_way(relay: list[str], addresses: list[str]) -> tuple[float, float, float]:
    """Dial once, and measure on that connection: seconds, seconds, megabytes a second."""
    async with open_transport(Identity.from_seed(b"\x63" * 32), punches_holes=False) as transport:
        await transport.dial(relay)
        began = time.perf_counter()
        peer = await transport.dial(addresses)
        dial_seconds = time.perf_counter() - began
        echoing = await transport.open_stream(peer, ECHO)
        await there_and_back(echoing)
        round_trips = [await there_and_back(echoing) for _ in range(ROUND_TRIPS)]
        return dial_seconds, median(round_trips), await pour(transport, addresses)


async def there_and_back(stream: Stream) -> float:
    began, left = time.perf_counter(), 64
    await stream.write(BLOCK[:64])
    while left:
        left -= len(await stream.read(left))
    return time.perf_counter() - began


async def pour(transport: Libp2pTransport, addresses: list[str]) -> float:
    stream = await transport.open_stream(await transport.dial(addresses), SINK)
    began = time.perf_counter()
    for _ in range(SIZE_BYTES // len(BLOCK)):
        await stream.write(BLOCK)
    await stream.close_write()
    await stream.read(1)
    return SIZE_BYTES / 1e6 / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
