"""What one node lets the world take of it: the bounds of the libp2p transport."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one transport. The defaults suit a proxy on a small server."""

    connections_max: int = 1024
    "Connections in all. One takes about 120 KB at both ends together, so this is some 64 MB."

    connections_per_peer_max: int = 4
    "Two arise when both ends dial at once; a peer that lost its network dials anew before we notice."

    connections_per_range_max: int = 256
    "Accepted ones from one IPv4 /24 or IPv6 /48: about what whoever hides behind many keys rents at once."

    handshakes_max: int = 128
    "Accepted sockets that have not yet proved a key. One more ends the oldest of the most crowded range."

    handshakes_per_range_max: int = 64
    "The same from one address range, whose oldest is ended for one more."

    handshake_seconds: float = 10.0
    "How long an accepted socket may take to prove its key."

    streams_per_peer_max: int = 512
    "Streams one peer holds open towards us, over all its connections; the next one is reset."

    negotiation_seconds: float = 10.0
    "How long a stream may take to agree on its protocol."

    dial_seconds: float = 5.0
    "How long one address may take to connect and prove its key: two lost SYNs, or ten round trips."

    dial_stagger_seconds: float = 0.25
    "Head start of an address before the next one is tried beside it (RFC 8305, section 5)."

    dial_addresses_max: int = 16
    "Addresses of one peer that are tried; a record with more is no better reachable."
