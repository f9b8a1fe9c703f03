"""From what is stored to what is told: pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain

from cocoon_p2p.explorer import series
from cocoon_p2p.explorer.channels import wallets
from cocoon_p2p.explorer.sightings import OfferSeen
from cocoon_p2p.explorer.store import Standing
from cocoon_p2p.explorer.thinning import DAY_SECONDS, HOUR_SECONDS
from cocoon_p2p.explorer.view import (
    ChainView,
    ExplorerView,
    Line,
    ModelView,
    NodesView,
    PricesView,
    ProxyView,
    WalletsView,
)

MODELS_SHOWN_MAX = 256
"Models that are told of: those that most proxies offer."

POINTS_SHOWN_MAX = 400
"Times of one line. A screen has no room for more."

HOURS_SHOWN = 14 * DAY_SECONDS // HOUR_SECONDS

_CLASSES = ("prompt", "cached", "completion", "reasoning")


def view_of(network: str, ton_network: str, standing: Standing) -> ExplorerView:
    """Tell how things stand.

    Args:
        network: Its name.
        ton_network: TON's, if one is looked at.
        standing: What is stored.
    """
    crawl, proxies = standing.crawl, [known.proxy for known in standing.proxies]
    offers = list(chain.from_iterable(proxy.offers for proxy in proxies))
    by_name: dict[str, list[OfferSeen]] = {}
    for offer in offers:
        by_name.setdefault(offer.model, []).append(offer)
    nodes = None
    if crawl is not None:
        nodes = NodesView(len(proxies), crawl.servers, crawl.silent, crawl.is_whole, min(1, len(offers)))
    return ExplorerView(
        network=network,
        began_at=standing.began_at,
        crawled_at=None if crawl is None else crawl.at,
        nodes=nodes,
        trust=dict(Counter(proxy.trust for proxy in proxies)),
        models=[_model(name, by_name[name]) for name in series.most_offered(offers)[:MODELS_SHOWN_MAX]],
        proxies=[
            ProxyView(
                peer=known.proxy.peer,
                trust=known.proxy.trust,
                commission_basis_points=known.proxy.commission_basis_points,
                models=[offer.model for offer in known.proxy.offers],
                first_seen=known.first_seen,
            )
            for known in standing.proxies
        ],
        chain=_chain(ton_network, standing),
    )


def _model(name: str, of_model: Sequence[OfferSeen]) -> ModelView:
    prices = {each: [getattr(offer, each) for offer in of_model] for each in _CLASSES}
    return ModelView(
        model=name,
        kinds=sorted({offer.kind for offer in of_model}),
        context_tokens=max(offer.context_tokens for offer in of_model),
        is_demo=all(offer.is_demo for offer in of_model),
        proxies=len(of_model),
        lowest=PricesView(**{each: min(found) for each, found in prices.items()}),
        highest=PricesView(**{each: max(found) for each, found in prices.items()}),
    )


def _chain(network: str, standing: Standing) -> ChainView | None:
    tally = standing.tally
    if tally is None or not network:
        return None
    of_open = [channel for channel in standing.channels if not channel.gone_at]
    seen = wallets(of_open)
    return ChainView(
        network=network,
        began_at=tally.began_at,
        at=tally.at,
        channels=len(of_open),
        locked=sum(channel.locked for channel in of_open),
        wallets=WalletsView(seen.paying, seen.both, seen.paid),
        opened=tally.opened,
        closed=tally.closed,
        settlements=tally.settlements,
        settled=tally.settled,
        blocks=tally.blocks,
        missed=tally.missed,
        left_out=tally.left_out,
    )


# ---------------------------------------------------------------- over time


def line(points: Mapping[str, Sequence[tuple[int, int]]]) -> Line:
    """Put series on one axis, with at most `POINTS_SHOWN_MAX` times: the last one, and others evenly."""
    values = {name: dict(found) for name, found in points.items()}
    times = sorted(set(chain.from_iterable(values.values())))
    # Counted from the end, so that what is newest is always there.
    step = -(-len(times) // POINTS_SHOWN_MAX) or 1
    shown = times[::-1][::step][::-1]
    return Line(shown, {name: [found.get(at) for at in shown] for name, found in values.items()})


def hourly(hours: Sequence[tuple[int, int, int]], until: int) -> Line:
    """Put settlements on an axis of hours, those without one too.

    Args:
        hours: When each began, its settlements, and what they came to; oldest first.
        until: The last hour's beginning.
    """
    found = {hour: (number, amount) for hour, number, amount in hours if hour <= until}
    if not found:
        return Line((), {"number": (), "amount": ()})
    first = max(min(found), until - (HOURS_SHOWN - 1) * HOUR_SECONDS)
    times = range(first, until + 1, HOUR_SECONDS)
    nothing = (0, 0)
    return Line(
        tuple(times),
        {
            "number": [found.get(hour, nothing)[0] for hour in times],
            "amount": [found.get(hour, nothing)[1] for hour in times],
        },
    )
