"""Nodes of a directory over real sockets on loopback, and records as simple as they can be."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import trio

from cocoon_p2p.errors import RecordRejected
from cocoon_p2p.identity import Identity, PeerId
from cocoon_p2p.network.libp2p.host import Libp2pTransport, open_transport
from cocoon_p2p.network.libp2p.kad import KadDirectory, open_directory
from cocoon_p2p.network.libp2p.kad_keys import KadKeys
from cocoon_p2p.network.libp2p.kad_server import Select, Validate
from cocoon_p2p.nursery import open_service_nursery

LOOPBACK = "/ip4/127.0.0.1/tcp/0"
KEYS = KadKeys("demo")


def identity(number: int) -> Identity:
    return Identity.from_seed(number.to_bytes(32, "big"))


def record(number: int, sequence: int = 0) -> bytes:
    """Stand in for a signed record: it names its peer and has a sequence."""
    return identity(number).peer_id + sequence.to_bytes(2, "big")


def validate(peer: PeerId, value: bytes) -> float:
    if value[:-2] != peer:
        raise RecordRejected("record of another peer")
    return time.time() + 3600


def select(values: Sequence[bytes]) -> int:
    return max(range(len(values)), key=lambda index: values[index][-2:])


class Nodes:
    """Nodes of one test, closed together at its end."""

    def __init__(self, stack: AsyncExitStack, lives: trio.Nursery) -> None:
        self.enter = stack.enter_async_context
        self._lives = lives

    async def start(
        self,
        number: int,
        bootstrap: Sequence[str] = (),
        *,
        listen: str = LOOPBACK,
        network_name: str = "demo",
        validate: Validate | None = validate,
        select: Select = select,
        keep_in: Path | None = None,
        announce: Sequence[str] = (),
    ) -> tuple[Libp2pTransport, KadDirectory]:
        """Start a node: it serves if it listens."""
        listening = [listen] if listen else []
        transport = await self.enter(open_transport(identity(number), listen=listening, announce=announce))
        directory = await self.enter(
            open_directory(
                transport,
                network_name=network_name,
                mode="server" if listen else "client",
                bootstrap=bootstrap,
                validate=validate,
                select=select,
                keep_in=keep_in,
            )
        )
        return transport, directory

    async def client(
        self, number: int, bootstrap: Sequence[str], network_name: str = "demo"
    ) -> tuple[Libp2pTransport, KadDirectory]:
        return await self.start(number, bootstrap, listen="", network_name=network_name)

    async def mortal(
        self,
        number: int,
        bootstrap: Sequence[str] = (),
        *,
        listen: str = LOOPBACK,
        keep_in: Path | None = None,
        announce: Sequence[str] = (),
    ) -> "Mortal":
        """Start a node that can end before the test does."""

        async def live(task_status: trio.TaskStatus[Mortal]) -> None:
            async with AsyncExitStack() as stack:
                nodes = Nodes(stack, self._lives)
                started = await nodes.start(
                    number, bootstrap, listen=listen, keep_in=keep_in, announce=announce
                )
                mortal = Mortal(*started)
                task_status.started(mortal)
                await mortal.told.wait()
            mortal.ended.set()

        mortal: Mortal = await self._lives.start(live)
        return mortal


@asynccontextmanager
async def network() -> AsyncIterator[Nodes]:
    with trio.fail_after(60):
        async with open_service_nursery() as lives, AsyncExitStack() as stack:
            yield Nodes(stack, lives)


class Mortal:
    """A node that ends before its test does. It lives in a task of its own, since lives do not nest."""

    def __init__(self, transport: Libp2pTransport, directory: KadDirectory) -> None:
        self.transport = transport
        self.directory = directory
        self.told = trio.Event()
        self.ended = trio.Event()

    async def end(self) -> None:
        """End it, and wait until it has."""
        self.told.set()
        await self.ended.wait()


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that happens on other nodes' sockets."""
    while not is_so():  # noqa: ASYNC110  nobody there sets an event for us
        await trio.sleep(0.02)


async def until_found(directory: KadDirectory, *records: bytes) -> None:
    """Search until these records are found, and no others."""
    while set(await directory.find_proxies()) != set(records):  # noqa: ASYNC110  as above
        await trio.sleep(0.05)


def knows(directory: KadDirectory, *numbers: int) -> Callable[[], bool]:
    """Say whether these servers are in a node's table."""
    wanted = {identity(number).peer_id for number in numbers}
    return lambda: wanted <= {entry.peer for entry in directory.table}
