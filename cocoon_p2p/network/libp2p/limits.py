"""What one node lets the world take of it: the bounds of the libp2p transport."""

from dataclasses import dataclass

from cocoon_p2p.network.libp2p.rates import Rate

_HANDSHAKE_RATE = Rate(per_second=100, burst=4)
_HANDSHAKE_RATE_PER_RANGE = Rate(per_second=50, burst=64)
_STREAM_RATE_PER_PEER = Rate(per_second=500, burst=2000)
_STREAM_RATE_OF_STRANGERS = Rate(per_second=1000, burst=2000)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one transport. The defaults suit a proxy on a small server."""

    connections_max: int = 1024
    "Connections in all. One takes about 120 KB at both ends together, so this is some 64 MB."

    strangers_max: int = 640
    "Of those, how many may be with peers that are not protected; the others are kept for peers that are."

    protected_per_tag_max: int = 256
    "Peers that are protected for one reason. One more, and the one confirmed longest ago is no longer."

    connections_per_peer_max: int = 4
    "Two arise when both ends dial at once; a peer that lost its network dials anew before we notice."

    connections_per_range_max: int = 256
    "Accepted ones from one IPv4 /24 or IPv6 /48: about what whoever hides behind many keys rents at once."

    handshakes_max: int = 256
    """Accepted sockets that have not yet proved a key. One more ends the oldest of the most crowded range.
    They have their turns in half the time that a dialler waits; with half as many a thousand peers that come
    back at once are turned away so often that they take a minute and a half."""

    handshakes_per_range_max: int = 64
    "The same from one address range, whose oldest is ended for one more."

    handshake_rate: Rate = _HANDSHAKE_RATE
    """How many accepted sockets may begin to prove a key. One takes some milliseconds of processor time, so
    this is less than half of what a thread has; a thousand peers come back in fifteen seconds."""

    handshake_rate_per_range: Rate = _HANDSHAKE_RATE_PER_RANGE
    "The same from one address range: half, so that somebody else always has a turn."

    handshake_seconds: float = 10.0
    "How long an accepted socket may take to prove its key, once it has its turn."

    streams_per_peer_max: int = 512
    "Streams one peer holds open towards us, over all its connections; the next one is reset."

    stream_rate_per_peer: Rate = _STREAM_RATE_PER_PEER
    "Streams one peer opens towards us. Who opens more is read from no more quickly than that."

    stream_rate_of_strangers: Rate = _STREAM_RATE_OF_STRANGERS
    "The same of all peers together that are not protected: one costs a quarter of a millisecond at least."

    strangers_a_pass_max: int = 4
    "Streams that they may open or reset between two steps of anybody else: a millisecond."

    negotiation_seconds: float = 10.0
    "How long a stream may take to agree on its protocol."

    dial_seconds: float = 5.0
    "How long one address may take to connect and prove its key: two lost SYNs, or ten round trips."

    dial_stagger_seconds: float = 0.25
    "Head start of an address before the next one is tried beside it (RFC 8305, section 5)."

    dial_addresses_max: int = 16
    "Addresses of one peer that are tried; a record with more is no better reachable."

    dial_direct_head_start_seconds: float = 1.0
    "Head start of a peer's own addresses before its relays are asked: three round trips around the world."

    dial_relayed_seconds: float = 10.0
    "How long one relay may take, to be reached itself and to reach the peer."

    dial_relays_max: int = 4
    "Relays of one peer that are asked; a node keeps two."

    relayed_max: int = 128
    "Connections that others made to us through relays. They cost as much as any; the relays cost nothing."
