"""How a node that was told to stop leaves: what runs ends, what is due is collected, channels stay open.

A restart is the commonest reason to stop, and a channel that is closed costs its payer a new deposit. So no
stop closes one: everything signed is on disk, and the node goes on from there. What it cannot do while it is
away is claim, and a payer may use that time to close alone. So it claims before, where fees allow.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.payments.treasury.rounds import Treasury
from cocoon_p2p.proxy import Proxy
from cocoon_p2p.worker import Worker

COLLECT_SECONDS = 60.0
"How long it then waits for claims to land: a few blocks. What has not landed is looked for when it is back."


@asynccontextmanager
async def stoppable(stop: trio.Event) -> AsyncIterator[trio.CancelScope]:
    """Cancel the block at a stop, until the scope that it is given is cancelled: nothing runs before that."""
    async with open_service_nursery() as nursery:
        waiting = trio.CancelScope()

        async def give_up() -> None:
            with waiting:
                await stop.wait()
                nursery.cancel_scope.cancel()

        nursery.start_soon(give_up)
        yield waiting
        waiting.cancel()


async def leave(seller: Proxy | Worker, treasury: Treasury | None, drain_seconds: float) -> None:
    """Take nothing new, let what runs end, and collect what is due. A cancel leaves the rest as it is.

    Args:
        seller: What was sold until now.
        treasury: What collects; None: there is no chain.
        drain_seconds: How long what runs may go on.
    """
    with trio.move_on_after(drain_seconds):
        await seller.drain()
    if treasury is not None:
        with trio.move_on_after(COLLECT_SECONDS):
            await treasury.leave()
