"""What the parts of one proxy share."""

from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from cocoon_p2p.attestation.proving import Proving
from cocoon_p2p.identity import Identity, NetworkId
from cocoon_p2p.journal import Journal
from cocoon_p2p.network.transport import Transport
from cocoon_p2p.payments.settlement import Accounts
from cocoon_p2p.proxy.policy import ProxyPolicy
from cocoon_p2p.proxy.workers import Workers


@dataclass(frozen=True, slots=True)
class Agency:
    """The proxy's name, tools and workers."""

    identity: Identity
    network: NetworkId
    transport: Transport
    accounts: Accounts
    policy: ProxyPolicy
    workers: Workers
    now: Callable[[], float]
    "Seconds since the Unix epoch, for the dates of papers."

    proving: Proving | None
    "How it proves itself, and what its workers must; None: nothing is proven."

    draw: Callable[[int], bytes]
    "Draws random bytes."

    nursery: trio.Nursery
    "Owns what outlives a client's stream: running exchanges, and streams to workers."

    journal: Journal = field(default_factory=Journal)
