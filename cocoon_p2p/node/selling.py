"""Shows a running worker's or proxy's owner how its selling goes (`overview.selling`)."""

from collections.abc import Sequence

import trio

from cocoon_p2p.attestation.verdict import trust_text
from cocoon_p2p.identity import peer_id_text
from cocoon_p2p.overview.selling import PriceView, Selling, StandingView, WorkerView, why_not
from cocoon_p2p.proxy import Proxy
from cocoon_p2p.scheduling import WorkerStanding
from cocoon_p2p.worker import Worker
from cocoon_p2p.worker.registration import ProxyStanding


def selling_of(seller: Worker | Proxy, prices: Sequence[PriceView] = ()) -> Selling:
    """Say how what a node sells is doing now, and at which prices a worker sells."""
    return _of_worker(seller, prices) if isinstance(seller, Worker) else _of_proxy(seller)


def _of_worker(worker: Worker, prices: Sequence[PriceView]) -> Selling:
    return Selling("worker", proxies=[_standing(each) for each in worker.standings], prices=list(prices))


def _standing(standing: ProxyStanding) -> StandingView:
    name, chances = peer_id_text(standing.peer), standing.chances
    if chances is None:
        return StandingView(name, standing.is_registered, None)
    ago = trio.current_time() - standing.chances_at
    return StandingView(
        name,
        standing.is_registered,
        ago,
        chances.seconds,
        chances.looked_at,
        chances.chosen,
        [why_not(each.why, each.times) for each in chances.not_chosen],
        max(0.0, (chances.rests_ms or 0) / 1000 - ago),
    )


def _of_proxy(proxy: Proxy) -> Selling:
    return Selling(
        "proxy",
        workers=[_worker(proxy, each) for each in proxy.workers],
        canary_budget=proxy.canaries.per_hour,
        canaries_spent=proxy.canaries.spent,
    )


def _worker(proxy: Proxy, standing: WorkerStanding) -> WorkerView:
    now = trio.current_time()
    odds, rests = standing.odds.faded(now), max(0.0, standing.rests_until - now)
    return WorkerView(
        worker=peer_id_text(standing.peer),
        models=[offer.name for offer in standing.offers],
        trust=trust_text(standing.trust),
        slots_free=max(0, standing.slots_free),
        slots_total=standing.slots_total,
        is_draining=standing.is_draining,
        tries=odds.tries(now),
        kept=odds.kept,
        broken=odds.broken,
        faults={fault.words: count for fault, count in odds.faults},
        rests_seconds=rests,
        rests_for=standing.rests_for.words if rests and standing.rests_for is not None else "",
        canary=proxy.canaries.watch(standing.peer)[1],
    )
