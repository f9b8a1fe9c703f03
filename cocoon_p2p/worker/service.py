"""The worker as one trio service: its proxies, its papers, its exchanges.

proxies' addresses --> registration (one task each): dial, Register, Load, Drain
streams from them  --> exchanges (one task each):   Assign ... Receipted
clock              --> papers: records and statements renewed at half life
"""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import trio

from cocoon_p2p.attestation.proving import Proving
from cocoon_p2p.errors import ConfigurationError, RecordRejected, Unavailable
from cocoon_p2p.identity import Identity, NetworkId, PeerId, parse_peer_id, peer_id_text
from cocoon_p2p.inference.engine import Capabilities, ChangingEngine, Engine
from cocoon_p2p.inference.measuring.levels import Speeds
from cocoon_p2p.journal import Journal
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.network.transport import Stream, Transport
from cocoon_p2p.payments.settlement import Accounts
from cocoon_p2p.protocols.ids import EVIDENCE, EXCHANGE
from cocoon_p2p.protocols.messages import ModelOffer, Price, Signed
from cocoon_p2p.worker.broken import settle_broken
from cocoon_p2p.worker.exchanges import serve_exchanges
from cocoon_p2p.worker.gauge import Gauge
from cocoon_p2p.worker.papers import Papers
from cocoon_p2p.worker.registration import ProxyStanding, stay_registered
from cocoon_p2p.worker.seals import Seals
from cocoon_p2p.worker.slots import Slots
from cocoon_p2p.worker.work import Workshop

log = logging.getLogger(__name__)

STREAMS_SPARE = 8
"Exchange streams that a proxy may hold open beyond two a slot: idle ones cost little, but not nothing."


PROXIES_MAX = 32
"Proxies that one worker serves through. A slot is sold once, so more of them bring it little."


class Worker:
    """A running worker, for whoever started it: what it does, and how to change or end that."""

    def __init__(self, shop: Workshop, stay: Callable[[ProxyStanding], None]) -> None:
        self._shop = shop
        self._stay = stay
        self._standings: dict[PeerId, ProxyStanding] = {}
        self._streams: dict[PeerId, set[trio.CancelScope]] = {}
        self._is_over = False
        self._left = trio.Event()

    @property
    def slots(self) -> Slots:
        return self._shop.slots

    @property
    def record(self) -> Signed:
        """What it offers now."""
        return self._shop.papers.record

    @property
    def offers(self) -> tuple[ModelOffer, ...]:
        """Its models with their prices."""
        return self._shop.papers.offers

    @property
    def statement_expires(self) -> float:
        """When what it says of its keys ends, and its proof with it; it is renewed at half its life."""
        return self._shop.papers.statement_expires

    @property
    def registered(self) -> frozenset[PeerId]:
        """The proxies that offer it to clients."""
        return frozenset(peer for peer, standing in self._standings.items() if standing.is_registered)

    @property
    def proxies(self) -> frozenset[PeerId]:
        """The proxies that it serves through, or tries to."""
        return frozenset(self._standings)

    @property
    def standings(self) -> tuple[ProxyStanding, ...]:
        """How each of them takes it."""
        return tuple(self._standings.values())

    def join(self, proxy: PeerId, addresses: Sequence[str]) -> bool:
        """Serve through this proxy too, from now on. If it is one of ours, its newest addresses count.

        Of more than `PROXIES_MAX` the one is left that has not taken our record for the longest time, so
        that dead names in the directory hold no place for ever.

        Returns:
            Whether it was joined: not if it is one of ours, or if all of ours have our record.
        """
        known = self._standings.get(proxy)
        if known is not None:
            known.move(addresses)
            return False
        if len(self._standings) >= PROXIES_MAX and not self._leave_one():
            return False
        standing = ProxyStanding(proxy, addresses, since=trio.current_time())
        self._standings[proxy] = standing
        self._streams.setdefault(proxy, set())
        self._stay(standing)
        return True

    def _leave_one(self) -> bool:
        waiting = [standing for standing in self._standings.values() if not standing.is_registered]
        if not waiting:
            return False
        left = min(waiting, key=lambda standing: standing.since)
        left.scope.cancel()
        left.changed.set()
        del self._standings[left.peer]
        if not self._streams[left.peer]:
            del self._streams[left.peer]
        return True

    async def wait_registered(self, proxy: PeerId) -> bool:
        """Return once this proxy has taken the record (True), or is none of ours any more (False)."""
        standing = self._standings.get(proxy)
        if standing is None:
            # Left already: of many that the directory names at once, before whoever waits came to run.
            return False
        while not standing.is_registered and not standing.scope.cancel_called:
            await standing.changed.wait()
        return standing.is_registered

    def set_prices(self, prices: Mapping[str, Price]) -> None:
        """Offer at other prices from now on: every proxy is told. What was quoted is honoured.

        Raises:
            ConfigurationError: A model has no price.
        """
        self._shop.papers.set_prices(prices)

    def set_speeds(self, model: str, speeds: Speeds) -> None:
        """Say how quick a model is, now that it was measured: every proxy is told."""
        self._shop.gauge.state(model, speeds)

    async def drain(self) -> None:
        """Tell the proxies, take nothing new, and return once nothing runs. A cancel leaves it draining."""
        log.info("draining", extra={"running": self.slots.running})
        await self.slots.drain()

    async def accept(self, stream: Stream) -> None:
        """Serve a proxy's exchange stream (the transport's acceptor)."""
        scopes, standing = self._streams.get(stream.peer), self._standings.get(stream.peer)
        is_stranger = standing is not None and not standing.is_admitted
        is_full = scopes is not None and len(scopes) >= 2 * self.slots.total + STREAMS_SPARE
        if self._is_over or scopes is None or is_stranger or is_full:
            log.warning("exchange stream refused", extra={"peer": peer_id_text(stream.peer)})
            stream.reset()
            return
        with trio.CancelScope() as scope:
            scopes.add(scope)
            try:
                await serve_exchanges(self._shop, MessageStream(stream))
            except* Unavailable as group:
                # Only the ledger is left to be unavailable here: the operator must look.
                log.error("receipt not saved", extra={"why": str(group.exceptions[0])})
            finally:
                scopes.remove(scope)
                self._left.set()

    async def stop(self) -> None:
        """End every stream, and return once the receipts of what ran are saved."""
        self._is_over = True
        while scopes := [scope for scopes in self._streams.values() for scope in scopes]:
            for scope in scopes:
                scope.cancel()
            self._left = trio.Event()
            await self._left.wait()


async def serve_worker(
    *,
    transport: Transport,
    identity: Identity,
    network: NetworkId,
    engine: Engine,
    accounts: Accounts,
    proxies: Sequence[Sequence[str]],
    prices: Mapping[str, Price],
    proving: Proving | None = None,
    speeds: Mapping[str, Speeds] | None = None,
    journal: Journal | None = None,
    now: Callable[[], float] = time.time,
    draw: Callable[[int], bytes] = os.urandom,
    task_status: trio.TaskStatus[Worker] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a worker until it is cancelled.

    Args:
        transport: Where it dials; takes `/cocoon/exchange/1` for it.
        identity: Who it is; the transport's own.
        network: The network that all papers are for.
        engine: Runs the models. Not closed here.
        accounts: Where it is paid.
        proxies: To serve through, for each its multiaddrs, all with the same `/p2p/<peer id>`; more
            may `join` later.
        prices: For each model of the engine.
        proving: How it proves itself, and what its proxies must prove; None: nothing is proven.
        speeds: What was measured of the models: advertised, and corrected when requests see something else.
        journal: Where exchanges are noted once they have ended; None: nobody looks.
        now: Seconds since the Unix epoch.
        draw: Draws random bytes: sealing keys, nonces, session ids, pauses.
        task_status: Given the `Worker` once it dials its proxies.

    A cancel ends running exchanges as failed: their receipts for the tokens delivered are saved
    before it returns. To finish them instead, `drain` first.

    Raises:
        ConfigurationError: A model has no price, or a proxy's addresses name no one peer.
        Unavailable: The machine does not speak for its keys, or its engine serves no model any more.
    """
    offered = await _first_offered(engine)
    papers = Papers(
        identity,
        network,
        offered.models,
        prices,
        now=now,
        draw=draw,
        proving=proving,
        speeds=speeds,
    )
    if proving is not None:
        await papers.prove()
        transport.accept_streams(EVIDENCE, proving.showcase.accept)
    slots = Slots(offered.slots)
    seals = Seals(identity, network, papers, now=now, draw=draw)
    gauge = Gauge(papers, speeds or {}, slots.total)
    noted = Journal() if journal is None else journal
    shop = Workshop(identity, network, engine, accounts, papers, seals, slots, gauge, now, noted)
    named = [_name_proxy(addresses) for addresses in proxies]
    async with trio.open_nursery() as nursery:

        async def run(standing: ProxyStanding) -> None:
            transport.protect(standing.peer, "proxy")
            try:
                with standing.scope:
                    await stay_registered(standing, transport, papers, slots, proving=proving, draw=draw)
            finally:
                transport.unprotect(standing.peer, "proxy")

        def stay(standing: ProxyStanding) -> None:
            nursery.start_soon(run, standing)

        worker = Worker(shop, stay)
        accounts.settle_broken_by(partial(settle_broken, shop))
        transport.accept_streams(EXCHANGE, worker.accept)
        try:
            for peer, addresses in named:
                worker.join(peer, addresses)
            nursery.start_soon(papers.keep_fresh)
            if isinstance(engine, ChangingEngine):
                nursery.start_soon(_follow, engine, papers, slots)
            task_status.started(worker)
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await worker.stop()


async def _first_offered(engine: Engine) -> Capabilities:
    """Return what the engine offers, once it computes anything: it may have failed since it was opened."""
    offered = engine.capabilities
    while isinstance(engine, ChangingEngine) and offered.models and not offered.slots:
        offered = await engine.wait_for_change(offered)
    return offered


async def _follow(engine: ChangingEngine, papers: Papers, slots: Slots) -> None:
    """Offer what the engine offers, for as long as it offers anything.

    Raises:
        Unavailable: It has no models any more.
    """
    offered = engine.capabilities
    while offered.models:
        papers.offer(offered.models)
        slots.limit(offered.slots)
        offered = await engine.wait_for_change(offered)
    slots.limit(0)
    raise Unavailable(
        "no engine is left that serves a model",
        hint="the log says why each was given up; start the worker again",
    )


def _name_proxy(addresses: Sequence[str]) -> tuple[PeerId, Sequence[str]]:
    """Say whose addresses these are."""
    try:
        peers = {parse_peer_id(address.rpartition("/p2p/")[2]) for address in addresses}
    except RecordRejected as exc:
        raise ConfigurationError(
            f"a proxy's address without its peer id: {exc}", hint="write it as /dns4/.../tcp/.../p2p/12D3..."
        ) from exc
    if len(peers) != 1:
        raise ConfigurationError(f"the addresses of one proxy name {len(peers)} peers")
    return peers.pop(), addresses
