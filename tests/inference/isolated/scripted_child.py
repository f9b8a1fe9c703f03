"""An engine's process that does what a test says, the worst included: opening and prompts are orders."""

import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import msgspec
import trio
import trio.testing

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.engine import Capabilities, Engine, Finish, GenerateRequest, Piece, PromptCount
from cocoon_p2p.inference.hash_memory import HashMemory
from cocoon_p2p.inference.isolated.child import run
from cocoon_p2p.inference.manifest import Progress
from cocoon_p2p.testing.engine import scripted_model


class Orders(msgspec.Struct, frozen=True):
    """What to do when it is opened."""

    starts: Path
    "A file that grows by one byte for each start."

    dies_at: tuple[int, ...] = ()
    "The starts that end in a crash."

    refuses: bool = False
    misleads: bool = False
    "It raises what nobody foresaw."

    loads_for_ever: bool = False
    slots: int = 2
    changes_at: int = 1000
    "From this start on it has another model."


class Puppet:
    def __init__(self, number: int, orders: Orders) -> None:
        name = "other" if number >= orders.changes_at else "scripted"
        self.capabilities = Capabilities("puppet 1", (scripted_model(name),), orders.slots)

    async def count(self, request: GenerateRequest) -> PromptCount:
        await trio.lowlevel.checkpoint()
        return PromptCount(os.getpid())

    @asynccontextmanager
    async def generate(self, request: GenerateRequest) -> AsyncIterator[AsyncIterator[Piece]]:
        yield self._pieces(request.prompt or "")

    async def _pieces(self, order: str) -> AsyncIterator[Piece]:
        yield Piece("first", 1)
        # What was said so far is then on its way.
        await trio.testing.wait_all_tasks_blocked()
        match order:
            case "abort":
                os.abort()
            case "leave a child behind":
                os.posix_spawnp("sleep", ["sleep", "1000"], os.environ)  # noqa: ASYNC221  # it is not waited for
                os.abort()
            case "freeze":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "spin":
                while True:
                    time.sleep(0.01)  # noqa: ASYNC251  # it hangs: that is the order
            case "wait":
                await trio.sleep_forever()
            case _:
                pass
        yield Piece("last", 2, finish=Finish.STOP)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def _open(orders: Orders, progress: Progress | None) -> AsyncIterator[Engine]:
    number = orders.starts.stat().st_size + 1 if orders.starts.exists() else 1
    with orders.starts.open("ab") as stream:
        stream.write(b".")
    assert progress is not None
    progress(number, 100)
    if orders.refuses:
        raise ConfigurationError("no such model", hint="take another")
    if orders.loads_for_ever:
        await trio.to_thread.run_sync(time.sleep, 3600)
    if number in orders.dies_at:
        os.kill(os.getpid(), signal.SIGSEGV)
    yield Puppet(number, orders)


def open_by_orders(
    opening: bytes, _memory: HashMemory | None, progress: Progress
) -> AbstractAsyncContextManager[Engine]:
    orders = msgspec.msgpack.decode(opening, type=Orders, dec_hook=lambda _, value: Path(value))
    if orders.misleads:
        raise LookupError(f"what nobody is to read: {orders.starts}")
    return _open(orders, progress)


if __name__ == "__main__":
    run(open_by_orders)
