"""How a node stands in its network, as its operator is shown it and programs read it.

Every field keeps its name and meaning; new ones may come.
"""

import msgspec


class BucketHealth(msgspec.Struct, frozen=True):
    """One bucket of the routing table."""

    bucket: int
    "256 is for the farthest half of all servers, 255 for the next quarter, and so on towards us."

    servers: int
    standing_by: int
    "Servers that wait for a place in it."

    heard_seconds_ago: float
    "Since one of its servers last answered."

    looked_up_seconds_ago: float | None
    "Since a search last went there; None: none did yet."


class BootstrapHealth(msgspec.Struct, frozen=True):
    """One configured bootstrap."""

    peer: str
    addresses: list[str]
    is_reached: bool | None
    "Whether it answered when it was last asked; None: it was not asked yet."


class RangeHealth(msgspec.Struct, frozen=True):
    """Connections with one address range."""

    range: str
    "IPv4 /24 or IPv6 /48, of the peer or of the relay in between; empty where it is not known."

    connections: int


class Connections(msgspec.Struct, frozen=True):
    """The connections that stand."""

    number: int
    inbound: int
    outbound: int
    ranges: list[RangeHealth]
    "The most crowded ones, twenty at most."


class Kept(msgspec.Struct, frozen=True):
    """What a server of the directory keeps for others."""

    records: int
    announcements: int


class Health(msgspec.Struct, frozen=True):
    """A node and the network around it."""

    peer: str
    addresses: list[str]
    "What it tells others of where it is."

    reachability: str
    "What others found: `public`, `private`, or `unknown` while nobody has tried."

    servers: int
    "Servers of the directory that it knows, each dialled and heard."

    looked_up_seconds_ago: float | None
    "Since it last searched the directory for anything; None: not yet."

    buckets: list[BucketHealth]
    "Those that hold servers, the farthest first."

    bootstraps: list[BootstrapHealth]
    connections: Connections
    kept: Kept | None
    "None: it serves nobody."

    peers_for_restart: int
    "Servers that are written down, so that the next start needs no bootstrap."
