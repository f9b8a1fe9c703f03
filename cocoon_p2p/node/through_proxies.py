"""A worker's way to its proxies: found in the directory or named in its file, joined, and told as steps."""

import time

import trio

from cocoon_p2p.errors import RemoteProtocolError
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.node.parts import Parts
from cocoon_p2p.node.steps import Steps
from cocoon_p2p.protocols.ids import Role
from cocoon_p2p.protocols.papers import decode_signed
from cocoon_p2p.records import check_record
from cocoon_p2p.worker import Worker

LOOK_FIRST_SECONDS = 0.5
LOOK_LAST_SECONDS = 60.0
"A worker looks for proxies this often: soon while it has none, seldom once it has."

PUNCH_LOOKS = 30
PUNCH_LOOK_SECONDS = 1.0
"How long it is looked whether a relayed connection to a proxy becomes a direct one."


class ThroughProxies:
    """Tells of each proxy that takes the worker's record; the first makes the worker ready."""

    def __init__(self, worker: Worker, parts: Parts, steps: Steps, nursery: trio.Nursery) -> None:
        self._worker = worker
        self._parts = parts
        self._steps = steps
        self._nursery = nursery
        self._first = trio.Event()

    async def run(self, *, finds: bool) -> None:
        """Tell of the worker's proxies for as long as it runs, and find them if its file names none."""
        self._nursery.start_soon(self._wait_first)
        for proxy in self._worker.proxies:
            self._joined(proxy)
        if finds:
            await self._find()

    async def _wait_first(self) -> None:
        with self._steps.expect("registered", self._why_none):
            await self._first.wait()

    def _why_none(self) -> str:
        standings = self._worker.standings
        if not standings:
            return "no proxy is found: does one run in this network? or name one: [worker] proxies"
        troubles = sorted({each.trouble for each in standings if each.trouble})
        said = f" ({'; '.join(troubles[:2])})" if troubles else ""
        return f"none of {len(standings)} proxies takes this worker{said}: `cocoon doctor` looks the way over"

    def _joined(self, proxy: PeerId) -> None:
        """Wait in the background for a proxy that was joined."""
        self._nursery.start_soon(self._tell, proxy)

    async def _tell(self, proxy: PeerId) -> None:
        if not await self._worker.wait_registered(proxy):
            return
        way = self._parts.transport.way_to(proxy)
        self._steps("registered", proxy=peer_id_text(proxy), way=way)
        if not self._first.is_set():
            self._first.set()
            self._steps("ready")
        if way == "relay":
            await self._tell_punched(proxy)

    async def _tell_punched(self, proxy: PeerId) -> None:
        """Tell if a connection through a relay becomes a direct one."""
        for _ in range(PUNCH_LOOKS):
            await trio.sleep(PUNCH_LOOK_SECONDS)
            if self._parts.transport.way_to(proxy) == "direct":
                self._steps("registered", proxy=peer_id_text(proxy), way="direct, where a relay was before")
                return

    async def _find(self) -> None:
        """Join every proxy that the directory names, for as long as the worker runs."""
        worker, pause = self._worker, LOOK_FIRST_SECONDS
        while True:
            for found in await self._parts.directory.find_proxies():
                try:
                    record = check_record(
                        decode_signed(found), network=self._parts.network, now=time.time(), role=Role.PROXY
                    )
                except RemoteProtocolError:
                    # Nothing that others put into the directory is to be relied on.
                    continue
                if worker.join(PeerId(record.peer), record.addresses):
                    self._joined(PeerId(record.peer))
            pause = LOOK_FIRST_SECONDS if not worker.registered else min(2 * pause, LOOK_LAST_SECONDS)
            await trio.sleep(pause)
