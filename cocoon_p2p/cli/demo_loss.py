"""What the demo does to show a loss: it kills the worker that answers, and has it come back to be paid."""

import signal
from collections.abc import Awaitable, Callable

import trio

from cocoon_p2p.cli.demo_chain import PATIENCE_SECONDS, ask_proxy
from cocoon_p2p.client import Answer
from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import peer_id_text
from cocoon_p2p.overview import CHANNELS, ListChannels
from cocoon_p2p.testing.processes import LocalNetwork

LOOK_SECONDS = 0.05


class Loss:
    """A worker is killed in the midst of its answer.

    Args:
        network: Whose worker.
        after: Tokens of the answer that are let through.
    """

    def __init__(self, network: LocalNetwork, after: int) -> None:
        self._network = network
        self._after = after
        self.victim: str | None = None
        "Which worker it was."

    def look(self, answer: Answer, tokens: int) -> None:
        """Kill whoever answers, if it is time."""
        if self.victim is None and tokens >= self._after and answer.worker is not None:
            self.victim = self._network.name_of(peer_id_text(answer.worker))
            self._network.nodes[self.victim].signal(signal.SIGKILL)

    async def undo(self, nursery: trio.Nursery, answer: Answer) -> None:
        """Start the worker again over its ledger, and wait until it has been paid by its last signed Meter.

        Raises:
            Unavailable: It does not come back, or the proxy does not pay it in time.
        """
        if self.victim is None:
            return
        node = self._network.nodes[self.victim]
        await node.start(nursery)
        peer = (await node.wait_for("ready")) and node.steps["identity"]["peer"]
        owed = sum(
            part.bill.settlement.worker_amount
            for part in answer.parts
            if part.bill is not None and peer_id_text(part.worker) == peer
        )

        async def is_paid() -> bool:
            views = await ask_proxy(self._network, CHANNELS, ListChannels())
            return owed <= sum(view.charged_nano for view in views if view.peer == peer)

        await _until(is_paid, f"the proxy has not paid {self.victim} what its meter says")


async def _until(holds: Callable[[], Awaitable[bool]], otherwise: str) -> None:
    with trio.move_on_after(PATIENCE_SECONDS):
        while not await holds():  # noqa: ASYNC110  (what another process has booked has no event)
            await trio.sleep(LOOK_SECONDS)
        return
    raise Unavailable(otherwise, hint="run it again with --serve, and read the logs in that folder")
