"""How a node of the directory stands, read off its parts."""

import time
from collections import Counter

import trio
from libp2p.rcmgr import Direction

from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.network.health import (
    BootstrapHealth,
    BucketHealth,
    Connections,
    Health,
    Kept,
    RangeHealth,
)
from cocoon_p2p.network.libp2p.kad_node import KadNode

RANGES_SHOWN = 20


def health_of(node: KadNode) -> Health:
    """Say how a node stands now."""
    return Health(
        peer=peer_id_text(node.transport.peer_id),
        addresses=list(node.transport.addresses),
        reachability=node.transport.announced.reachability,
        servers=len(node.table),
        looked_up_seconds_ago=_ago(node.refresh.last_looked_up_at, trio.current_time()),
        buckets=_buckets(node),
        bootstraps=[
            BootstrapHealth(
                peer_id_text(peer),
                [str(address) for address in node.bootstrap_addresses(peer)],
                node.reached.get(peer),
            )
            for peer in node.bootstraps
        ],
        connections=_connections(node),
        kept=_kept(node),
        peers_for_restart=len(node.kept.peers),
    )


def _buckets(node: KadNode) -> list[BucketHealth]:
    return [
        BucketHealth(
            bucket.number,
            bucket.servers,
            bucket.standing_by,
            # A clock that was set back makes nobody heard in the future.
            max(0.0, round(time.time() - bucket.heard, 1)),
            _ago(node.refresh.looked_up_at(bucket.number), trio.current_time()),
        )
        for bucket in node.table.buckets()
    ]


def _connections(node: KadNode) -> Connections:
    swarm = node.transport.swarm
    conns = [conn for conn in swarm.get_connections() if not conn.is_closed]
    directions = Counter(getattr(conn, "direction", Direction.UNKNOWN) for conn in conns)
    ranges = Counter(swarm.range_of(PeerId(conn.muxed_conn.peer_id.to_bytes())) for conn in conns)
    return Connections(
        number=len(conns),
        inbound=directions[Direction.INBOUND],
        outbound=directions[Direction.OUTBOUND],
        ranges=[RangeHealth(where, number) for where, number in ranges.most_common(RANGES_SHOWN)],
    )


def _kept(node: KadNode) -> Kept | None:
    if node.server is None:
        return None
    return Kept(node.server.records, node.server.announcements(now=time.time()))


def _ago(at: float | None, now: float) -> float | None:
    return None if at is None else round(now - at, 1)
