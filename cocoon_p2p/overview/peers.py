"""A running node's place in the network, as its owner is shown it: whom it knows, and what it keeps."""

from collections.abc import Callable
from typing import Literal

import msgspec

from cocoon_p2p.control import Request, Verb
from cocoon_p2p.network.health import Health
from cocoon_p2p.network.reachability import ReachabilityView

Role = Literal["client", "proxy", "worker", "bootstrap"]


class ShowPeers(Request, tag="peers", frozen=True):
    """Ask how the node stands in its network."""


class Peers(msgspec.Struct, frozen=True):
    """A node, its network and how it stands there."""

    role: Role
    network: str
    health: Health
    reach: ReachabilityView
    "Where others reach it, and what to do if they do not."


PEERS = Verb(ShowPeers, Peers)


async def show_peers(
    role: Role,
    network: str,
    health: Callable[[], Health],
    reach: Callable[[], ReachabilityView],
    _request: ShowPeers,
) -> Peers:
    """Say how a running node stands."""
    import trio

    await trio.lowlevel.checkpoint()
    return Peers(role, network, health(), reach())
