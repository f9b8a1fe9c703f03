"""The proxy as one trio service: its workers' sessions, its clients' streams, its record.

SESSION streams  --> workers     one task each: Register, Load, Drain
EXCHANGE streams --> clients     one task each: Ask, then a relay an exchange
directory        <-- storefront  one task: the record, kept fresh
"""

import os
import time
from collections.abc import Callable
from functools import partial

import trio

from cocoon_p2p.attestation.proving import Proving
from cocoon_p2p.identity import Identity, NetworkId, PeerId
from cocoon_p2p.journal import Journal
from cocoon_p2p.ledger import Store
from cocoon_p2p.network.directory import Directory
from cocoon_p2p.network.transport import Stream, StreamAcceptor, Transport
from cocoon_p2p.payments.settlement import Accounts
from cocoon_p2p.protocols.ids import EVIDENCE, EXCHANGE, SESSION
from cocoon_p2p.protocols.messages import Ask, Signed
from cocoon_p2p.proxy.agency import Agency
from cocoon_p2p.proxy.broken import FORGOTTEN_SECONDS, settle_broken
from cocoon_p2p.proxy.canary.round import Canaries
from cocoon_p2p.proxy.clients import Clients
from cocoon_p2p.proxy.contain import contain
from cocoon_p2p.proxy.policy import ProxyPolicy
from cocoon_p2p.proxy.storefront import Storefront
from cocoon_p2p.proxy.workers import Workers
from cocoon_p2p.scheduling import Decision, WorkerStanding


class Proxy:
    """A running proxy, for whoever started it: what it does, and how to end that gently."""

    def __init__(
        self, workers: Workers, clients: Clients, storefront: Storefront, canaries: Canaries
    ) -> None:
        self._canaries = canaries
        self._workers = workers
        self._clients = clients
        self._storefront = storefront

    @property
    def workers(self) -> tuple[WorkerStanding, ...]:
        """The workers that stand with it."""
        return tuple(session.standing for session in self._workers)

    @property
    def running(self) -> int:
        """How many exchanges run, quotes that nobody has used yet included."""
        return self._clients.running

    @property
    def waiting(self) -> int:
        """How many Asks wait for a slot."""
        return self._clients.waiting

    @property
    def is_draining(self) -> bool:
        """Whether it takes nothing new."""
        return self._workers.is_draining

    @property
    def canaries(self) -> Canaries:
        """Its own questions to its workers."""
        return self._canaries

    @property
    def record(self) -> Signed | None:
        """The newest record that was published."""
        return self._storefront.record

    @property
    def statement_expires(self) -> float | None:
        """When what it says of itself ends, and its proof with it; None: nothing is said yet."""
        return self._storefront.statement_expires

    def explain(self, ask: Ask, client: PeerId | None = None) -> Decision:
        """Say which worker an Ask would get now, why, and why not the others. Nothing is reserved.

        Args:
            ask: The question.
            client: Whose it is: a worker that this client was at lately is the quicker for it.
        """
        return self._clients.explain(ask, client)

    async def wait_workers(self, count: int) -> None:
        """Return once so many workers stand with it and have told their load."""
        while sum(standing.slots_free > 0 for standing in self.workers) < count:
            await self._workers.changed.wait()

    async def drain(self) -> None:
        """Take nothing new, send elsewhere who waits, and return once nothing runs.

        A cancel leaves it draining.
        """
        self._clients.drain()
        await self._workers.drain()
        await self._clients.wait_idle()


async def serve_proxy(
    *,
    transport: Transport,
    directory: Directory,
    identity: Identity,
    network: NetworkId,
    accounts: Accounts,
    policy: ProxyPolicy | None = None,
    proving: Proving | None = None,
    store: Store | None = None,
    journal: Journal | None = None,
    now: Callable[[], float] = time.time,
    draw: Callable[[int], bytes] = os.urandom,
    task_status: trio.TaskStatus[Proxy] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a proxy until it is cancelled.

    Args:
        transport: Where it listens; takes `/cocoon/exchange/1` and `/cocoon/session/1` for it.
        directory: Where its record is published.
        identity: Who it is; the transport's own.
        network: The network that all papers are for.
        accounts: Where its clients pay it and it pays its workers.
        policy: How it does business.
        proving: How it proves itself, and what its workers must; None: nothing is proven.
        store: The ledger, for what is known of workers; None: it is forgotten when the proxy stops.
        journal: Where exchanges are noted once they have ended; None: nobody looks.
        now: Seconds since the Unix epoch.
        draw: Draws random bytes, for the nonce of its statement and among workers that are equally good.
        task_status: Given the `Proxy` once it takes streams.

    A cancel ends running exchanges as if their workers had been lost: what was delivered is
    charged, and saved before it returns. To finish them instead, `drain` first.
    """
    doors = _Doors()
    try:
        async with trio.open_nursery() as nursery:
            chosen = policy or ProxyPolicy()
            workers = Workers(network, chosen, now, transport, proving, store)
            await workers.load_known()
            noted = Journal() if journal is None else journal
            agency = Agency(
                identity, network, transport, accounts, chosen, workers, now, proving, draw, nursery, noted
            )
            clients = Clients(agency)
            canaries = Canaries(agency, chosen.canary_budget)
            storefront = Storefront(agency, directory, draw)
            settle = partial(settle_broken, agency, clients)
            accounts.settle_broken_by(settle, forgotten_seconds=FORGOTTEN_SECONDS)
            if proving is not None:
                transport.accept_streams(EVIDENCE, doors.lead_to(proving.showcase.accept))
            transport.accept_streams(SESSION, doors.lead_to(workers.accept))
            transport.accept_streams(EXCHANGE, doors.lead_to(clients.accept))
            nursery.start_soon(contain, "waiting room", clients.waiting_room.run)
            nursery.start_soon(storefront.keep_fresh)
            nursery.start_soon(contain, "reputation", workers.keep_known)
            nursery.start_soon(contain, "canaries", canaries.run)
            task_status.started(Proxy(workers, clients, storefront, canaries))
            await trio.sleep_forever()
    finally:
        doors.close()


class _Doors:
    """The streams that peers have opened: their tasks are the transport's, their end is ours."""

    def __init__(self) -> None:
        self._scopes: set[trio.CancelScope] = set()
        self._is_closed = False

    def lead_to(self, acceptor: StreamAcceptor) -> StreamAcceptor:
        """Let peers' streams come to this acceptor while we are open."""

        async def accept(stream: Stream) -> None:
            if self._is_closed:
                stream.reset()
                return
            with trio.CancelScope() as scope:
                self._scopes.add(scope)
                try:
                    await acceptor(stream)
                finally:
                    self._scopes.remove(scope)

        return accept

    def close(self) -> None:
        """End every stream, and take no other."""
        self._is_closed = True
        for scope in self._scopes:
            scope.cancel()
