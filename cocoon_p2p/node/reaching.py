"""How a node finds out where others reach it, and says so to whoever started it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cocoon_p2p.config import NetworkSection
from cocoon_p2p.network.reachability import Reachability
from cocoon_p2p.node.steps import Steps

if TYPE_CHECKING:
    from cocoon_p2p.network.libp2p.host import Libp2pTransport
    from cocoon_p2p.network.libp2p.reachability_check import ReachabilityCheck


@asynccontextmanager
async def open_reach(
    transport: "Libp2pTransport", network: NetworkSection, *, is_server: bool
) -> AsyncIterator["ReachabilityCheck"]:
    """Find out where others reach this node, for as long as the block lasts.

    Args:
        transport: Its own.
        network: What its file says.
        is_server: Whether it is one that everybody dials, and so helps others find out too. Such a node
            has the router at home forward its port, if it needs that and its file does not say otherwise:
            its owner would have to do the same by hand.
    """
    from cocoon_p2p.network.libp2p.reachability_check import open_reachability
    from cocoon_p2p.network.libp2p.upnp import wants_mapping

    maps_ports = network.upnp
    if maps_ports is None:
        maps_ports = is_server and wants_mapping(transport.announced)
    async with open_reachability(transport, is_server=is_server, maps_ports=maps_ports) as check:
        yield check


async def tell_reachability(check: "ReachabilityCheck", steps: Steps, *, listens: bool = True) -> None:
    """Tell of each change of how others reach this node, with what to do about it, until cancelled.

    Args:
        check: Finds it out.
        steps: Told.
        listens: Whether it wants to be reached: who only dials says so, and nothing changes about that.
    """
    if not listens:
        steps("reachability", state="dials only", addresses=[], advice="")
        return
    found: Reachability = "unknown"
    while True:
        view = await check.wait_found(found)
        found = view.reachability
        addresses, is_relayed = list(view.told), any("/p2p-circuit" in address for address in view.told)
        if found == "private" and not is_relayed:
            steps.failed(
                "reachability",
                view.advice,
                state=found,
                way="nobody",
                addresses=addresses,
                advice=view.advice,
            )
        else:
            way = "relay" if found == "private" else "direct" if found == "public" else ""
            steps("reachability", state=found, way=way, addresses=addresses, advice=view.advice)
