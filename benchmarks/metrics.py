"""What watching a proxy costs it: the journal, a scrape each second, an open page, by the token.

    python benchmarks/metrics.py [--quick]

One proxy, a process of its own, relays short answers one after another, so that exchanges end often. In each
round it does so for a while with everything, and for a while without: the journal notes nothing,
nobody scrapes and nobody has the page open. Who comes first takes turns. Everything is one of three
ways, and in each the journal is on:

    journal          nobody looks
    scraped          /metrics each second (Prometheus mostly asks each 15)
    watched          the same, and a page open

The page's server is there in both; unasked it takes a look each five seconds. Processor time is the kernel's
own account of all of the proxy's threads, in nanoseconds.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import trio
from _measure import print_machine, read_arguments, spread
from _network import scripted_worker, wait_offered

from cocoon_p2p.client import Client
from cocoon_p2p.config import ClientFile, load
from cocoon_p2p.node import open_client
from cocoon_p2p.testing.processes import LocalNetwork, Site, open_local_network

STREAMS = 12
ANSWER_TOKENS = 100
PAUSE_SECONDS = 0.0105
"""Just above the worker's 10 ms, within which it would put two tokens into one frame: some thousand tokens a
second, and ten exchanges, which is far from what the proxy can carry."""

GOAL_PERCENT = 1.0
WATCHED_PROXY = Path(__file__).with_name("_watched_proxy.py")
WAYS = ("journal", "scraped", "watched")


@dataclass(frozen=True, slots=True)
class Scene:
    """A proxy under load."""

    pid: int
    host: str
    port: int
    tokens: Callable[[], int]


def main() -> None:
    arguments = read_arguments(__doc__)
    print_machine()
    rounds, seconds = (2, 2.0) if arguments.quick else (12, 10.0)
    with tempfile.TemporaryDirectory() as folder:
        trio.run(measure, Path(folder), rounds, seconds)


async def measure(place: Path, rounds: int, seconds: float) -> None:
    more = {"proxy": {"page": {"listen": "127.0.0.1:0"}}}
    sites = {"proxy": Site(within=(sys.executable, str(WATCHED_PROXY)))}
    async with (
        open_local_network(place, workers=0, more=more, sites=sites) as network,
        scripted_worker(network, "short", delay_seconds=PAUSE_SECONDS, step_tokens=1, slots=2 * STREAMS),
        open_client(load(ClientFile, network.client_file, {})) as client,
    ):
        await wait_offered(client, "short")
        tally = [0]
        # The sealing session with the worker is made before so many answers would each make one.
        async with client.complete("short", "go", completion_tokens_max=1, ignore_eos=True):
            pass
        async with trio.open_nursery() as nursery:
            for _ in range(STREAMS):
                nursery.start_soon(_keep_asking, client, tally)
            scene = await _scene(network, lambda: tally[0])
            while not tally[0]:  # noqa: ASYNC110
                await trio.sleep(0.1)
            # A proxy that has just begun is dearer.
            await _cost(scene, "watched", 2 * seconds)
            for way in WAYS:
                await _compare(scene, way, rounds, seconds)
            nursery.cancel_scope.cancel()


async def _scene(network: LocalNetwork, tokens: Callable[[], int]) -> Scene:
    proxy = network.nodes["proxy"]
    await proxy.wait_for("page")
    address = urlsplit(str(proxy.steps["page"]["url"]))
    assert address.hostname is not None
    assert address.port is not None
    return Scene(proxy.pid, address.hostname, address.port, tokens)


async def _keep_asking(client: Client, tally: list[int]) -> None:
    while True:
        before = 0
        async with client.complete(
            "short", "go", completion_tokens_max=ANSWER_TOKENS, ignore_eos=True, timeout_seconds=60
        ) as answer:
            async for piece in answer:
                tally[0] += piece.completion_tokens - before
                before = piece.completion_tokens


async def _compare(scene: Scene, way: str, rounds: int, seconds: float) -> None:
    """Measure rounds of both, and tell what the one costs more than the other."""
    ratios: list[float] = []
    plain: list[float] = []
    for number in range(rounds):
        costs: dict[bool, float] = {}
        for is_with in (True, False) if number % 2 else (False, True):
            costs[is_with] = await _cost(scene, way if is_with else None, seconds)
        plain.append(costs[False])
        ratios.append(100 * (costs[True] / costs[False] - 1))
    print(f"{way}: {spread(plain, 'us a token', 1)} without")
    verdict = "within" if median(ratios) <= GOAL_PERCENT else "above"
    print(
        f"  with it, more by {spread(ratios, '%', 2)}; {verdict} the goal of {GOAL_PERCENT:g} %", flush=True
    )


async def _cost(scene: Scene, way: str | None, seconds: float) -> float:
    """Say what a token costs the proxy, in microseconds."""
    os.kill(scene.pid, signal.SIGUSR1 if way is None else signal.SIGUSR2)
    async with trio.open_nursery() as nursery:
        if way in ("scraped", "watched"):
            nursery.start_soon(_scrape, scene)
        if way == "watched":
            nursery.start_soon(_watch, scene)
        # What came before is not to be paid for here.
        await trio.sleep(seconds / 10)
        tokens, processor = scene.tokens(), _processor_seconds(scene.pid)
        await trio.sleep(seconds)
        cost = 1e6 * (_processor_seconds(scene.pid) - processor) / (scene.tokens() - tokens)
        nursery.cancel_scope.cancel()
    return cost


async def _scrape(scene: Scene) -> None:
    """Scrape each second, as Prometheus does: on one connection."""
    stream = await trio.open_tcp_stream(scene.host, scene.port)
    async with stream:
        while True:
            await stream.send_all(_get(scene, "/metrics"))
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.receive_some(65_536)
            top, _, body = head.partition(b"\r\n\r\n")
            assert b" 200 " in top[:16], top[:100]
            (length,) = (
                int(line[15:]) for line in top.lower().split(b"\r\n") if line[:15] == b"content-length:"
            )
            while len(body) < length:
                body += await stream.receive_some(65_536)
            assert b"cocoon_exchanges_total" in body
            await trio.sleep(1.0)


async def _watch(scene: Scene) -> None:
    """Have the page open: read what has changed on it, as it comes."""
    stream = await trio.open_tcp_stream(scene.host, scene.port)
    async with stream:
        await stream.send_all(_get(scene, "/events"))
        while await stream.receive_some(65_536):
            pass


def _get(scene: Scene, path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {scene.host}:{scene.port}\r\n\r\n".encode()


def _processor_seconds(pid: int) -> float:
    """Say how much processor time all threads of a process have had; one that has ended does not count."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


if __name__ == "__main__":
    main()
