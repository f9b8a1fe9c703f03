"""Which proxies there are, as far as the network's directory said lately.

The view is kept fresh in the background. A request reads it and never waits for the directory,
unless not a single proxy is known yet; then it waits a bounded time.
"""

import logging
from collections.abc import Callable, Iterable

import trio

from cocoon_p2p.errors import CocoonError, RemoteProtocolError
from cocoon_p2p.identity import NetworkId, PeerId, peer_id_text
from cocoon_p2p.network.directory import Directory
from cocoon_p2p.protocols.ids import Role
from cocoon_p2p.protocols.messages import Record
from cocoon_p2p.protocols.papers import decode_signed
from cocoon_p2p.records import check_record, is_newer

log = logging.getLogger(__name__)

PROXIES_MAX = 512
"Proxies that a client keeps in mind; the directory gives some hundreds at most."

FIND_SECONDS = 30.0
"How long one search of the directory may take."

SEARCH_AGAIN_SECONDS = 1.0
"Pause between searches while no proxy is known, or while requests ask for what none offers."


class ProxyView:
    """The proxies that are known, each by its newest valid record.

    Args:
        directory: Where they are found. What it gives is checked here again.
        network: The network that records must be for.
        clock: Seconds since the Unix epoch.
        refresh_seconds: How old the view may become.
    """

    def __init__(
        self, directory: Directory, network: NetworkId, clock: Callable[[], float], refresh_seconds: float
    ) -> None:
        self._directory = directory
        self._network = network
        self._clock = clock
        self._refresh_seconds = refresh_seconds
        self._records: dict[PeerId, Record] = {}
        self._found = trio.Event()
        self._wanted = trio.Event()
        self._searched = trio.Event()

    @property
    def records(self) -> tuple[Record, ...]:
        """The records that hold now."""
        now = self._clock()
        return tuple(record for record in self._records.values() if record.expires > now)

    def refresh_soon(self) -> None:
        """Let the next search begin now: what the view says was found wrong."""
        self._wanted.set()

    async def known(self, timeout_seconds: float) -> tuple[Record, ...]:
        """Give the view at once if there is one, else wait for it, but no longer than this."""
        with trio.move_on_after(timeout_seconds):
            while not self.records:
                if self._found.is_set():
                    # Once for all who wait: none of them is left behind at an event that nobody sets.
                    self._found = trio.Event()
                self.refresh_soon()
                await self._found.wait()
        return self.records

    async def refreshed(self, timeout_seconds: float) -> tuple[Record, ...]:
        """Give the view after a search that begins now or later, but wait no longer than this."""
        searched = self._searched
        self.refresh_soon()
        with trio.move_on_after(timeout_seconds):
            await searched.wait()
        return self.records

    async def keep_fresh(self) -> None:
        """Search, again and again, until cancelled."""
        while True:
            self._wanted = trio.Event()
            searched, self._searched = self._searched, trio.Event()
            try:
                with trio.move_on_after(FIND_SECONDS):
                    self.take(await self._directory.find_proxies())
            except CocoonError as error:
                log.warning("no view of the network's proxies", extra={"error": str(error)})
            searched.set()
            pause = self._refresh_seconds if self.records else SEARCH_AGAIN_SECONDS
            # A request that finds nobody asks for a search, but not for one without a pause.
            await trio.sleep(min(pause, SEARCH_AGAIN_SECONDS))
            with trio.move_on_after(pause - SEARCH_AGAIN_SECONDS):
                await self._wanted.wait()

    def take(self, found: Iterable[bytes]) -> None:
        """Put what a search found into the view; what does not verify is left out."""
        now = self._clock()
        self._records = {peer: record for peer, record in self._records.items() if record.expires > now}
        for data in found:
            try:
                record = check_record(decode_signed(data), network=self._network, now=now, role=Role.PROXY)
            except RemoteProtocolError as error:
                log.debug("record left out", extra={"error": str(error)})
                continue
            peer = PeerId(record.peer)
            known = self._records.get(peer)
            if known is None and len(self._records) < PROXIES_MAX:
                log.info("proxy found", extra={"proxy": peer_id_text(peer), "models": len(record.models)})
                self._records[peer] = record
            elif known is not None and is_newer(record, known):
                self._records[peer] = record
        if self._records:
            self._found.set()
