"""What goes wrong, when the plan says, and how often it truly did."""

from collections import Counter
from contextlib import suppress

import trio

from cocoon_p2p.client import Client
from cocoon_p2p.protocols.ids import CHANNEL, EXCHANGE
from cocoon_p2p.testing.memory import Fate, Fault, Write
from cocoon_p2p.testing.simulation.nodes import Nodes
from cocoon_p2p.testing.simulation.plan import Deed, Trouble
from cocoon_p2p.testing.store import MemoryDisk

AIM_SECONDS = 5.0
"How long what is to strike in the midst of an answer waits for one; then it strikes all the same."


class Troublemaker:
    """Does what the plan says to the nodes and the links."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._fault: Fault | None = None
        self._busy: set[str] = set()
        self._cut_off: Counter[frozenset[str]] = Counter()
        self.struck: Counter[Deed] = Counter()
        "How often each kind changed something: a connection that was not there cannot break."

        self.restored: set[str] = set()
        "Nodes that once went on from an older disk: not all that they owed can be explained."

        self.killed: set[str] = set()
        "Nodes that died once, those among them."

    async def run(self, troubles: tuple[Trouble, ...]) -> None:
        """Do everything, and undo it in its time."""
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for trouble in troubles:
                await trio.sleep_until(began + trouble.at)
                nursery.start_soon(self._do, trouble)
        for engine in self._nodes.engines.values():
            self.struck[Deed.LIE] += len(engine.lied_to)
            self.struck[Deed.FAIL] += engine.has_failed
            self.struck[Deed.STALL] += engine.has_stalled

    def fault(self, write: Write) -> tuple[Fate, float]:
        """Decide the fate of a write (the network's fault)."""
        return (Fate.DELIVER, 0.0) if self._fault is None else self._fault(write)

    async def _do(self, trouble: Trouble) -> None:
        if trouble.aim is not None:
            with trio.move_on_after(AIM_SECONDS):
                await self._nodes.in_the_midst(trouble.node, trouble.aim)
        match trouble.deed:
            case Deed.KILL | Deed.RESTORE | Deed.DRAIN:
                await self._end_a_life(trouble)
            case Deed.CUT | Deed.PARTITION | Deed.ISOLATE:
                await self._break_a_link(trouble)
            case Deed.RESET:
                self._fault = self._hit(trouble, Fate.RESET, 0.0)
            case Deed.LATE:
                self._fault = self._hit(trouble, Fate.DELIVER, trouble.seconds)
            case Deed.REPRICE:
                self._nodes.reprice(trouble.node, trouble.amount)
                self.struck[Deed.REPRICE] += 1
            case Deed.FAIL | Deed.STALL | Deed.LIE:
                await self._break_an_engine(trouble)

    # ------------------------------------------------------------ nodes

    async def _end_a_life(self, trouble: Trouble) -> None:
        nodes, name = self._nodes, trouble.node
        backup: MemoryDisk | None = None
        if trouble.deed is Deed.RESTORE:
            backup = nodes.homes[name].disk.copy()
            await trio.sleep(trouble.seconds)
        if name not in nodes.lives or name in self._busy:
            return
        self._busy.add(name)
        role = nodes.lives[name].role
        if trouble.deed is Deed.DRAIN and not isinstance(role, Client):
            with trio.move_on_after(trouble.seconds):
                await role.drain()
        self.struck[trouble.deed] += 1
        self.killed.add(name)
        nodes.kill(name)
        if backup is not None:
            self.restored.add(name)
            nodes.restore(name, backup)
        await trio.sleep(1.0 if backup is not None else trouble.seconds)
        await nodes.start(name)
        self._busy.remove(name)

    # ------------------------------------------------------------ links

    async def _break_a_link(self, trouble: Trouble) -> None:
        nodes, links = self._nodes, self._nodes.links
        peers = {name: home.identity.peer_id for name, home in nodes.homes.items()}
        near, far = peers[trouble.node], peers[trouble.other]
        if trouble.deed is Deed.CUT:
            self.struck[Deed.CUT] += frozenset((near, far)) in links.connections
            links.cut(near, far)
            return
        others = [trouble.other] if trouble.deed is Deed.PARTITION else [*peers]
        pairs = [frozenset((trouble.node, other)) for other in others if other != trouble.node]
        self.struck[trouble.deed] += 1
        for pair in pairs:
            self._cut_off[pair] += 1
            links.partition(*(peers[name] for name in pair))
        await trio.sleep(trouble.seconds)
        for pair in pairs:
            self._cut_off[pair] -= 1
            if not self._cut_off[pair]:
                links.heal(*(peers[name] for name in pair))

    def _hit(self, trouble: Trouble, fate: Fate, late_seconds: float) -> Fault:
        """Let this happen to the exchange's or the channel's write of this number, counted from now."""
        left = trouble.amount

        def fault(write: Write) -> tuple[Fate, float]:
            nonlocal left
            with suppress(ValueError):
                (EXCHANGE, CHANNEL).index(write.protocol)
                left -= 1
                if not left:
                    self.struck[trouble.deed] += 1
                    return fate, late_seconds
            return Fate.DELIVER, 0.0

        return fault

    # ------------------------------------------------------------ engines

    async def _break_an_engine(self, trouble: Trouble) -> None:
        engine = self._nodes.engines[trouble.node]
        match trouble.deed:
            case Deed.FAIL:
                engine.fail_at = trouble.amount
            case Deed.STALL:
                engine.stall_at = trouble.amount
            case _:
                engine.lies = True
        await trio.sleep(trouble.seconds)
        match trouble.deed:
            case Deed.FAIL:
                engine.fail_at = None
            case Deed.STALL:
                engine.stall_at = None
            case _:
                engine.lies = False
