"""What all requests of one client share."""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from cocoon_p2p.attestation.doorkeeper import Doorkeeper
from cocoon_p2p.client.link import Link
from cocoon_p2p.client.policy import Policy
from cocoon_p2p.client.proxies import ProxyView
from cocoon_p2p.errors import Refused, RemoteProtocolError, Unavailable
from cocoon_p2p.identity import NetworkId, PeerId, peer_id_text
from cocoon_p2p.network.transport import Transport
from cocoon_p2p.payments.settlement import Accounts
from cocoon_p2p.protocols.exchange.terms import Rules
from cocoon_p2p.protocols.ids import Role, Trust
from cocoon_p2p.protocols.messages import KeyStatement, Quote, Record, Signed
from cocoon_p2p.protocols.papers import check
from cocoon_p2p.records import check_pair, check_record

log = logging.getLogger(__name__)


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
    doorkeeper: Doorkeeper | None = None
    "Finds out what machines prove; None: nothing is proven."

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
                doorkeeper=self.doorkeeper,
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
            appraise=self._appraise,
        )

    def _appraise(self, record: Record, _statement: KeyStatement) -> Trust:
        """Say what was found out about a worker's machine; `learn` comes before."""
        if self.doorkeeper is None:
            return Trust.OPEN
        return self.doorkeeper.level(record, now=self.clock())

    async def learn(self, signed: Signed, *, via: PeerId) -> None:
        """Find out about the worker of a quote, as far as that is possible; the quote is not judged here.

        A cancel leaves nothing but, perhaps, a verdict.
        """
        if self.doorkeeper is None:
            return
        try:
            quote = check(Quote, signed, signer=via, network=self.network)
            now, network = self.clock(), self.network
            record = check_record(quote.worker_record, network=network, now=now, role=Role.WORKER)
            check_pair(record, quote.worker_statement, network=network, now=now, role=Role.WORKER)
            if record.evidence_hash is not None:
                await self.doorkeeper.learn(record, quote.worker_statement, via=via)
        except (RemoteProtocolError, Refused, Unavailable) as exc:
            # Whoever asked for proof is told that there is none.
            log.info("nothing learnt of a worker", extra={"proxy": peer_id_text(via), "why": str(exc)})

    def close(self) -> None:
        """Give up the streams that are kept open."""
        for link in self.links.values():
            link.close()
