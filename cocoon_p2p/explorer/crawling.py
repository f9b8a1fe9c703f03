"""Looks at a network's directory as any client may: finds proxies, checks records, asks what is proven.

Nothing is bought, and no request is made up to see what a proxy would answer. A proxy that names no evidence
is not even dialled; of one that does, it is asked for when its record or its evidence is new, or an hour old.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import trio

from cocoon_p2p.attestation.doorkeeper import Doorkeeper
from cocoon_p2p.attestation.verdict import trust_text
from cocoon_p2p.client.proxies import ProxyView
from cocoon_p2p.errors import CocoonError
from cocoon_p2p.explorer.sightings import NetworkSeen, ProxySeen, Trust, proxy_seen
from cocoon_p2p.identity import NetworkId, PeerId, peer_id_text
from cocoon_p2p.network.transport import Transport
from cocoon_p2p.protocols.ids import Role
from cocoon_p2p.protocols.messages import Record

log = logging.getLogger(__name__)

MEET_AT_ONCE_MAX = 4
MEET_SECONDS = 20.0
"How long one proxy may take to be reached and to show what it can."

MEET_ALL_SECONDS = 240.0
"And all of them at one look; who had no turn is unknown then, and has it at the next one."

MEET_AGAIN_SECONDS = 3600.0

_LEVELS: dict[str, Trust] = {"tdx+gpu": "tdx+gpu", "tdx": "tdx", "open": "open", "sim": "sim"}


class Surveyed(Protocol):
    """What a walk over the directory's servers found."""

    @property
    def answered(self) -> frozenset[PeerId]: ...
    @property
    def silent(self) -> int: ...
    @property
    def is_whole(self) -> bool: ...


class Directory(Protocol):
    """What a crawler needs of the directory."""

    async def publish(self, record: bytes) -> None: ...
    async def find_proxies(self) -> tuple[bytes, ...]: ...
    async def survey(self) -> Surveyed: ...


@dataclass(frozen=True, slots=True)
class _Met:
    """What a proxy proved, by which papers, and when it was asked, on trio's clock."""

    statement_hash: bytes
    evidence_hash: bytes | None
    trust: Trust
    at: float


class Crawler:
    """Looks at one network.

    Args:
        transport: Our place in it.
        directory: Where its proxies are found.
        doorkeeper: Asks them for proof, under the policy that its owner chose.
        network: Which records must be for.
        clock: Seconds since the Unix epoch.
    """

    def __init__(
        self,
        transport: Transport,
        directory: Directory,
        doorkeeper: Doorkeeper,
        network: NetworkId,
        clock: Callable[[], float],
    ) -> None:
        self._transport = transport
        self._directory = directory
        self._doorkeeper = doorkeeper
        self._view = ProxyView(directory, network, clock, refresh_seconds=0)
        self._met: dict[PeerId, _Met] = {}
        self._places = trio.CapacityLimiter(MEET_AT_ONCE_MAX)

    async def look(self) -> NetworkSeen:
        """Look once. Takes some minutes at most; a cancel leaves nothing behind."""
        self._view.take(await self._directory.find_proxies())
        surveyed = await self._directory.survey()
        records = self._view.records
        here = {PeerId(record.peer) for record in records}
        self._met = {peer: met for peer, met in self._met.items() if peer in here}
        seen: list[ProxySeen] = []
        until = trio.current_time() + MEET_ALL_SECONDS
        async with trio.open_nursery() as nursery:
            for record in records:
                nursery.start_soon(self._see, record, until, seen)
        return NetworkSeen(
            proxies=sorted(seen, key=lambda proxy: proxy.peer),
            servers=len(surveyed.answered - here),
            silent=surveyed.silent,
            is_whole=surveyed.is_whole,
        )

    async def _see(self, record: Record, until: float, seen: list[ProxySeen]) -> None:
        trust: Trust = "unknown"
        with trio.move_on_at(until):
            trust = await self._trust(record)
        seen.append(proxy_seen(record, trust))

    async def _trust(self, record: Record) -> Trust:
        if record.evidence_hash is None:
            return "open"
        peer, now = PeerId(record.peer), trio.current_time()
        met = self._met.get(peer)
        if (
            met is not None
            and (met.statement_hash, met.evidence_hash) == (record.statement_hash, record.evidence_hash)
            and now - met.at < MEET_AGAIN_SECONDS
        ):
            return met.trust
        async with self._places:
            trust = await self._meet(peer, record)
        self._met[peer] = _Met(record.statement_hash, record.evidence_hash, trust, now)
        return trust

    async def _meet(self, peer: PeerId, record: Record) -> Trust:
        """Ask a proxy for proof; what it cannot or will not show is unknown."""
        with trio.move_on_after(MEET_SECONDS):
            try:
                if not self._transport.is_connected(peer):
                    await self._transport.dial(record.addresses)
                verdict = await self._doorkeeper.meet(peer, Role.PROXY)
            except CocoonError as error:
                log.info("a proxy shows nothing", extra={"proxy": peer_id_text(peer), "error": error.code})
                return "unknown"
            return "unknown" if verdict.level is None else _LEVELS[trust_text(verdict.level)]
        return "unknown"
