"""What all requests of one client share."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from cocoon_p2p.client.link import Link
from cocoon_p2p.client.policy import Policy
from cocoon_p2p.client.proxies import ProxyView
from cocoon_p2p.identity import NetworkId, PeerId
from cocoon_p2p.network.transport import Transport
from cocoon_p2p.payments.settlement import Accounts
from cocoon_p2p.protocols.exchange.terms import Rules
from cocoon_p2p.protocols.messages import Record


@dataclass(slots=True)
class Desk:
    """The parts that a client was given, and the links that it has made with them."""

    transport: Transport
    accounts: Accounts
    network: NetworkId
    policy: Policy
    view: ProxyView
    nursery: trio.Nursery
    "Lives as long as the client; tasks in it raise nothing."

    clock: Callable[[], float] = time.time
    draw: Callable[[int], bytes] = os.urandom
    links: dict[PeerId, Link] = field(default_factory=dict[PeerId, Link])

    def link(self, record: Record) -> Link:
        """Give the link to a proxy, with its newest record."""
        peer = PeerId(record.peer)
        link = self.links.get(peer)
        if link is None:
            link = self.links[peer] = Link(
                record,
                transport=self.transport,
                accounts=self.accounts,
                policy=self.policy,
                clock=self.clock,
                nursery=self.nursery,
            )
        link.record = record
        return link

    def rules(self, record: Record) -> Rules:
        """Say what is insisted on with this proxy: it may not take more than its own record says."""
        policy = self.policy
        return Rules(
            commission_basis_points_max=min(
                policy.commission_basis_points_max, record.commission_basis_points
            ),
            window_tokens_max=policy.window_tokens_max,
            appraise=policy.appraise,
        )

    def close(self) -> None:
        """Give up the streams that are kept open."""
        for link in self.links.values():
            link.close()
