"""Which figures are followed over time, and under which names: pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain

from cocoon_p2p.explorer.channels import Followed
from cocoon_p2p.explorer.sightings import NetworkSeen, OfferSeen

PROXIES, SERVERS = "nodes/proxies", "nodes/servers"
LOCKED, CHANNELS = "chain/locked", "chain/channels"
PROMPT, COMPLETION = "price/prompt/", "price/completion/"

PRICED_MAX = 32
"Models whose prices are followed: those that most proxies offer."


def network_points(seen: NetworkSeen) -> Mapping[str, int]:
    """Give what is followed of a look at the directory."""
    points = {PROXIES: len(seen.proxies), SERVERS: seen.servers}
    offers = list(chain.from_iterable(proxy.offers for proxy in seen.proxies))
    for name in most_offered(offers)[:PRICED_MAX]:
        of_model = [offer for offer in offers if offer.model == name]
        points[PROMPT + name] = min(offer.prompt for offer in of_model)
        points[COMPLETION + name] = min(offer.completion for offer in of_model)
    return points


def chain_points(channels: Iterable[Followed]) -> Mapping[str, int]:
    """Give what is followed of a look at the chain."""
    of_open = [channel for channel in channels if not channel.gone_at]
    return {LOCKED: sum(channel.locked for channel in of_open), CHANNELS: len(of_open)}


def most_offered(offers: Iterable[OfferSeen]) -> list[str]:
    """Name the models that are offered, first those that most offer."""
    counted = Counter(offer.model for offer in offers)
    return sorted(counted, key=lambda name: (-counted[name], name))
