"""What goes wrong, when the plan says."""

from contextlib import suppress

import trio

from cocoon_p2p.protocols.ids import CHANNEL, EXCHANGE
from cocoon_p2p.testing.memory import Fate, Fault, Write
from cocoon_p2p.testing.simulation.nodes import Nodes
from cocoon_p2p.testing.simulation.plan import Deed, Trouble
from cocoon_p2p.testing.store import MemoryDisk


class Troublemaker:
    """Does what the plan says to the nodes and the links."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._fault: Fault | None = None
        self._busy: set[str] = set()
        self.restored: set[str] = set()
        "Nodes that once went on from an older disk: not all that they owed can be explained."

    async def run(self, troubles: tuple[Trouble, ...]) -> None:
        """Do everything, and undo it in its time."""
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for trouble in troubles:
                await trio.sleep_until(began + trouble.at)
                nursery.start_soon(self._do, trouble)

    def fault(self, write: Write) -> tuple[Fate, float]:
        """Decide the fate of a write (the network's fault)."""
        return (Fate.DELIVER, 0.0) if self._fault is None else self._fault(write)

    async def _do(self, trouble: Trouble) -> None:
        nodes, links = self._nodes, self._nodes.links
        near = nodes.homes[trouble.node].identity.peer_id
        far = nodes.homes[trouble.other].identity.peer_id
        match trouble.deed:
            case Deed.KILL:
                await self._kill(trouble.node, trouble.seconds, None)
            case Deed.RESTORE:
                backup = nodes.homes[trouble.node].disk.copy()
                await trio.sleep(trouble.seconds)
                await self._kill(trouble.node, 1.0, backup)
            case Deed.CUT:
                links.cut(near, far)
            case Deed.PARTITION:
                links.partition(near, far)
                await trio.sleep(trouble.seconds)
                links.heal(near, far)
            case Deed.RESET:
                self._fault = _hit(trouble.amount, Fate.RESET, 0.0)
            case Deed.LATE:
                self._fault = _hit(trouble.amount, Fate.DELIVER, trouble.seconds)
            case Deed.REPRICE:
                nodes.reprice(trouble.node, trouble.amount)
            case Deed.FAIL:
                nodes.engines[trouble.node].fail_at = trouble.amount
                await trio.sleep(trouble.seconds)
                nodes.engines[trouble.node].fail_at = None
            case Deed.STALL:
                nodes.engines[trouble.node].stall_at = trouble.amount
                await trio.sleep(trouble.seconds)
                nodes.engines[trouble.node].stall_at = None

    async def _kill(self, name: str, seconds: float, backup: MemoryDisk | None) -> None:
        if name not in self._nodes.lives or name in self._busy:
            return
        self._busy.add(name)
        self._nodes.kill(name)
        if backup is not None:
            self.restored.add(name)
            self._nodes.restore(name, backup)
        await trio.sleep(seconds)
        await self._nodes.start(name)
        self._busy.remove(name)


def _hit(target: int, fate: Fate, late_seconds: float) -> Fault:
    """Let this happen to the exchange's or the channel's write of this number, counted from now."""
    left = target

    def fault(write: Write) -> tuple[Fate, float]:
        nonlocal left
        with suppress(ValueError):
            (EXCHANGE, CHANNEL).index(write.protocol)
            left -= 1
            if not left:
                return fate, late_seconds
        return Fate.DELIVER, 0.0

    return fault
