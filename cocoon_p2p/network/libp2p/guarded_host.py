"""libp2p's host, with every stream of a peer's making under guard.

A subclass, so that nothing but our own hosts is changed. Faults of 0.8.1 that it cures:

* an exception in a stream's task ended the host, also one that the peer's reset, or text
  that is no UTF-8, caused before any of our code ran;
* a peer's protocols were asked for once and believed for ever, also after it restarted
  in another role.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio
from libp2p.abc import INetConn, INetStream
from libp2p.host.basic_host import BasicHost
from libp2p.host.observed_addr_manager import ObservedAddrManager
from libp2p.identity.identify_push.identify_push import ID_PUSH, push_identify_to_peers
from libp2p.peer.id import ID
from multiaddr import Multiaddr  # type: ignore[import-untyped]  # it ships no types

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import PeerId
from cocoon_p2p.network.libp2p.addresses import Address, parse_address
from cocoon_p2p.network.libp2p.announced import Announced
from cocoon_p2p.network.libp2p.limits import Limits
from cocoon_p2p.network.libp2p.swarm import RuledSwarm

log = logging.getLogger(__name__)

PUSH_SECONDS = 30.0
"How long peers together may take to hear what changed about us; who missed it asks us anyway."


class GuardedHost(BasicHost):
    """The protocols of one node.

    Args:
        swarm: Its connections.
        announced: What it tells others of where it is reached.
        limits: See there.
    """

    def __init__(self, swarm: RuledSwarm, announced: Announced, limits: Limits) -> None:
        # Upstream would tell what any stranger claims to have seen of us.
        super().__init__(
            swarm,
            addrs_factory=lambda _: [Multiaddr(address) for address in announced.addresses],
            disable_identify_address_discovery=True,
        )
        self.on_observed: Callable[[INetConn, Address], None] | None = None
        "Told where each peer that was identified sees us."

        self._observed_addr_manager = _Ear(self)
        self.identified = trio.Event()
        "Set when a peer has said what it speaks; ask for it again after each wait."

        self.on_identified: Callable[[ID], Awaitable[None]] | None = None
        self._limits = limits
        self._streams: Counter[ID] = Counter()

    async def push_identify(self) -> None:
        """Send everybody who is connected and wants to know what we say of ourselves now."""
        peers = {conn.muxed_conn.peer_id for conn in self.get_network().get_connections()}
        listening = {peer for peer in peers if self.is_known_to_speak(PeerId(peer.to_bytes()), ID_PUSH)}
        with trio.move_on_after(PUSH_SECONDS):
            await push_identify_to_peers(self, listening)

    def is_known_to_speak(self, peer: PeerId, protocol: str) -> bool:
        """Say whether the peer told us, on the connection that stands, that it accepts this protocol."""
        if ID(peer) not in self._identified_peers:
            return False
        return protocol in self.peerstore.get_protocols(ID(peer))

    async def _swarm_stream_handler(self, net_stream: INetStream) -> None:
        peer_id = net_stream.muxed_conn.peer_id
        if self._streams[peer_id] >= self._limits.streams_per_peer_max:
            log.debug("peer opens too many streams", extra={"peer": str(peer_id)})
            await net_stream.reset()
            return
        self._streams[peer_id] += 1
        try:
            await super()._swarm_stream_handler(net_stream)
        except Exception:
            log.debug("accepted stream failed", extra={"peer": str(peer_id)}, exc_info=True)
            await net_stream.reset()
        finally:
            self._streams[peer_id] -= 1
            if not self._streams[peer_id]:
                del self._streams[peer_id]

    async def _identify_peer(self, peer_id: ID, *, reason: str) -> None:
        # It runs in a system task of trio's, where an exception ends the process.
        try:
            await super()._identify_peer(peer_id, reason=reason)
            identified, self.identified = self.identified, trio.Event()
            identified.set()
            if self.on_identified is not None and peer_id in self._identified_peers:
                await self.on_identified(peer_id)
        except Exception:
            log.debug("peer not identified", extra={"peer": str(peer_id)}, exc_info=True)

    def _has_cached_protocols(self, peer_id: ID) -> bool:
        return peer_id in self._identified_peers


class _Ear(ObservedAddrManager):
    """Hands on where others see us, and tells nobody by itself."""

    def __init__(self, host: GuardedHost) -> None:
        super().__init__()
        self._host = host

    def record_observation(self, conn: INetConn, observed_addr: object, local_addrs: object) -> None:
        if self._host.on_observed is None:
            return
        with suppress(ConfigurationError):
            address, _ = parse_address(str(observed_addr))
            if not address.is_name and not address.is_wildcard:
                self._host.on_observed(conn, address)
