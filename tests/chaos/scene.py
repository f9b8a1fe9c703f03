"""The demo's network on a chain, each process at a place of its own, and what must hold in any case.

    async with open_town(lab, place) as town:
        async with town.client() as client:
            ...

When the block ends, all channels are closed, and every ledger and the chain must tell of the same money.
"""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from cocoon_p2p.cli.books import who_paid_whom
from cocoon_p2p.cli.chain_books import ChainBooks
from cocoon_p2p.cli.demo_chain import PROXY_KEYS, DemoChain
from cocoon_p2p.client import Answer, Client
from cocoon_p2p.config import ClientFile, load
from cocoon_p2p.control import follow
from cocoon_p2p.errors import CocoonError
from cocoon_p2p.identity import peer_id_text
from cocoon_p2p.node import CONTROL_SOCKET, OpenedClient, open_paying_client
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.overview import CHANNELS, ChannelView, ListChannels
from cocoon_p2p.payments.chain import AccountSeen
from cocoon_p2p.testing.processes import LocalNetwork, NodeProcess, Site, open_local_network
from tests.end_to_end.test_on_chain import assert_on_chain
from tests.nat.lab import Lab
from tests.nat.scene import are_agreed

MODEL = "cocoon-demo"
QUESTION = [{"role": "user", "content": "What is this network?"}]
TOKENS_PER_SECOND = 12
"So slow that what is done falls in the midst of an answer: it has some twenty tokens."

IN_THE_MIDST = 6
"Tokens after which it is done."

BOUND_SECONDS = 120.0
"For any one thing, on a machine with far too much to do: beyond it something hangs."

CAPACITY = 10**9
WORKERS = ("worker-1", "worker-2")
SLOTS = 2

PORT = 4001
PLACES = {
    "bootstrap": "203.0.113.10",
    "proxy": "203.0.113.20",
    "worker-1": "203.0.113.31",
    "worker-2": "203.0.113.32",
    "chain": "203.0.113.40",
    "client": "203.0.113.50",
}


@dataclass
class Town:
    """A network that is up, and what was bought of it."""

    lab: Lab
    network: LocalNetwork
    nursery: trio.Nursery
    before: Mapping[str, AccountSeen] = field(default_factory=dict[str, AccountSeen])
    text: str = ""
    "The answer, as it is when nobody is harmed."

    paid: int = 0
    "What the answers cost whose bills their reader had, in nanoTON."

    at_most: int = 0
    "What the others may have cost, as their reader was told, in nanoTON."

    patience_seconds: float = BOUND_SECONDS
    "Within this long whoever came back works again."

    @asynccontextmanager
    async def paying(self) -> AsyncIterator[tuple[OpenedClient, DemoChain]]:
        """Be the client, at its place; the first one opens its channel."""
        with self.lab.places["client"].entered():
            async with open_paying_client(load(ClientFile, self.network.client_file, {})) as opened:
                chain = DemoChain(self.network, opened, lambda _node, _step: None)
                chain.before = self.before
                yield opened, chain

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Be the client, at its place."""
        async with self.paying() as (opened, _):
            await wait_offered(opened.client)
            yield opened.client

    def place_of(self, name: str) -> str:
        return self.lab.places[name].address

    def node_of(self, answer: Answer) -> NodeProcess:
        """Say who works on an answer."""
        assert answer.worker is not None
        return self.network.nodes[self.network.name_of(peer_id_text(answer.worker))]

    def is_whole(self, answer: Answer) -> None:
        """Hold an answer against the undisturbed one."""
        assert answer.text == self.text
        self.count(answer)

    def count(self, answer: Answer) -> None:
        """Note what an answer cost that was left."""
        for part in answer.parts:
            if part.bill is None:
                self.at_most += part.cost
            else:
                self.paid += part.cost

    async def answered_again(self, client: Client) -> None:
        """Ask until there is a whole answer: whoever came back works, and nobody had to do anything.

        Meanwhile it may be refused, or break off.
        """
        with trio.fail_after(self.patience_seconds):
            while True:
                asked = client.chat(MODEL, QUESTION)
                try:
                    async with asked as answer:
                        await answer.read()
                except CocoonError:
                    self.at_most += asked.charged_max
                    await trio.sleep(0.2)
                else:
                    self.is_whole(answer)
                    return

    async def all_slots_are_free(self, client: Client) -> None:
        """Have every worker work on as much at once as it says that it can."""
        under_way = 0
        all_are = trio.Event()

        async def occupy() -> None:
            nonlocal under_way
            while True:
                # So long that none ends before all have begun.
                asked = client.chat(MODEL, QUESTION, ignore_eos=True, completion_tokens_max=900)
                try:
                    async with asked as answer:
                        await anext(answer)
                        under_way += 1
                        if under_way == SLOTS * len(WORKERS):
                            all_are.set()
                        await all_are.wait()
                except CocoonError:
                    # Whoever came back a moment ago may not be known yet.
                    self.at_most += asked.charged_max
                    await trio.sleep(0.2)
                else:
                    self.count(answer)
                    return

        with trio.fail_after(self.patience_seconds):
            async with trio.open_nursery() as nursery:
                for _ in range(SLOTS * len(WORKERS)):
                    nursery.start_soon(occupy)

    async def wait_agreed(self) -> None:
        """Wait until nothing runs, and both ends of every channel say the same."""
        sockets = [
            self.network.data_directory(name) / CONTROL_SOCKET for name in ("client", "proxy", *WORKERS)
        ]
        with trio.fail_after(self.patience_seconds):
            while True:
                views: list[ChannelView] = []
                for socket in sockets:
                    views += await trio.to_thread.run_sync(channels_at, socket, abandon_on_cancel=True)
                if are_agreed([view for view in views if view.charged_nano or view.running_nano]):
                    return
                await trio.sleep(0.2)

    @asynccontextmanager
    async def asking(self, config: Path, *environment: str) -> AsyncIterator[trio.Process]:
        """Ask with the command, in a process at the client's place, which is killed when the block ends."""
        command = [sys.executable, "-m", "cocoon_p2p.cli", "ask", QUESTION[0]["content"]]
        process = await trio.lowlevel.open_process(
            [*self.lab.places["client"].within, "env", *environment, *command, "--config", str(config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            yield process
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()

    def stranger(self, name: str) -> Path:
        """Write the file of a client that knows nobody but the bootstrap node, and has no money."""
        bootstrap = self.network.nodes["bootstrap"].steps["listening"]["addresses"]
        file = self.network.place / f"{name}.toml"
        file.write_text(
            f'[client]\ntrust = "sim"\n[trust]\ndemo = true\n[data]\ndirectory = "{name}-data"\n'
            f'[network]\nname = "{self.network.name}"\nbootstrap = {json.dumps(bootstrap)}\nupnp = false\n'
        )
        return file


async def end_of(process: trio.Process) -> tuple[int, str, str]:
    """Wait for a process: its exit code, and what it wrote to stdout and stderr."""
    assert process.stdout is not None
    assert process.stderr is not None
    written: dict[trio.abc.ReceiveStream, bytes] = {}

    async def collect(stream: trio.abc.ReceiveStream) -> None:
        written[stream] = b"".join([data async for data in stream])

    with trio.fail_after(BOUND_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect, process.stdout)
            nursery.start_soon(collect, process.stderr)
        code = await process.wait()
    return code, written[process.stdout].decode(), written[process.stderr].decode()


def channels_at(socket: Path) -> list[ChannelView]:
    return list(follow(socket, CHANNELS, ListChannels()))


@dataclass
class Disturbance:
    """What an answer's reader saw of what was done in its midst."""

    gap_seconds: float = 0.0
    "The longest time without a piece since."


@asynccontextmanager
async def disturbed(town: Town, client: Client) -> AsyncIterator[tuple[Answer, Disturbance]]:
    """Enter the block in the midst of an answer, and when it is left read the rest.

    Raises:
        CocoonError: The answer broke off. What it may have cost is counted.
    """
    seen = Disturbance()
    asked = client.chat(MODEL, QUESTION)
    try:
        with trio.fail_after(BOUND_SECONDS):
            async with asked as answer:
                while (await anext(answer)).completion_tokens < IN_THE_MIDST:
                    pass
                yield answer, seen
                last_at = trio.current_time()
                async for _piece in answer:
                    now = trio.current_time()
                    seen.gap_seconds, last_at = max(seen.gap_seconds, now - last_at), now
    except CocoonError:
        town.at_most += asked.charged_max
        raise


async def lose_the_proxy(town: Town, client: Client, harm: Callable[[], object]) -> str | None:
    """Harm the only proxy, or the way to it, in the midst of an answer; give what its reader is told.

    None: on a slow machine all of the answer was under way by then, and it is whole.
    """
    try:
        async with disturbed(town, client) as (answer, _):
            harm()
    except CocoonError as exc:
        print(f"proxy lost: {exc}")
        return str(exc)
    town.is_whole(answer)
    return None


async def wait_offered(client: Client) -> None:
    with trio.fail_after(BOUND_SECONDS):
        while not await client.models():  # noqa: ASYNC110  (each look is a search)
            await trio.sleep(0.1)


@asynccontextmanager
async def open_town(
    lab: Lab,
    place: Path,
    *,
    environment: Mapping[str, tuple[str, ...]] | None = None,
) -> AsyncIterator[Town]:
    """Bring the demo's network up, with a channel of the client's; all books must agree when the block ends.

    Args:
        lab: Where; the client runs there too, in this process.
        place: An empty folder.
        environment: `NAME=VALUE` for a node's process.
    """
    sites: dict[str, Site] = {}
    for name, address in PLACES.items():
        within = lab.add(name, address).within
        variables = (environment or {}).get(name, ())
        sites[name] = Site(address, PORT, (*within, *(("env", *variables) if variables else ())))
    # No router here answers UPnP, and asking takes its time.
    files = {name: {"network": {"upnp": False}} for name in PLACES}
    keys = {"tokens_per_second": TOKENS_PER_SECOND, "slots": SLOTS, "context_tokens": 1024}
    async with open_service_nursery() as nursery:
        async with open_local_network(
            place,
            workers=len(WORKERS),
            worker_keys=keys,
            proxy_keys=PROXY_KEYS,
            on_chain=True,
            more=files,
            sites=sites,
        ) as network:
            town = Town(lab, network, nursery)
            await begin(town)
            yield town
            chain_books = await end(town)
        nursery.cancel_scope.cancel()
    await assert_books_agree(town, chain_books)


async def begin(town: Town) -> None:
    """Open the client's channel, and have an answer while all is well."""
    async with town.paying() as (opened, chain):
        await wait_offered(opened.client)
        await chain.begin(CAPACITY)
        town.before = chain.before
        async with opened.client.chat(MODEL, QUESTION) as answer:
            town.text = await answer.read()
        town.is_whole(answer)


async def end(town: Town) -> ChainBooks:
    """See that all are back and nothing is stuck; close all channels."""
    async with town.paying() as (opened, chain):
        await wait_offered(opened.client)
        await town.answered_again(opened.client)
        await town.all_slots_are_free(opened.client)
        await town.wait_agreed()
        await chain.see_proxy_open()
        return await chain.end()


async def assert_books_agree(town: Town, chain_books: ChainBooks) -> None:
    """Both ends of each channel, all ledgers and the chain say the same, and nothing was charged twice."""
    books = await who_paid_whom(town.network.place, list(town.network.nodes))
    assert books.faults == ()
    assert chain_books.faults(books) == ()
    assert_on_chain(town.network, chain_books)
    spent = -books.earned("client")
    assert town.paid <= spent <= town.paid + town.at_most
