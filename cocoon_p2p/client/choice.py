"""Which proxy is asked first: one that has not failed or lied lately, has a channel, is cheap, is quick."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cocoon_p2p.client.link import Link
from cocoon_p2p.client.policy import Policy
from cocoon_p2p.client.request import Request
from cocoon_p2p.identity import PeerId
from cocoon_p2p.payments.pricing import client_amount, worker_amount
from cocoon_p2p.protocols.ids import Trust
from cocoon_p2p.protocols.messages import ModelOffer, Record, Usage
from cocoon_p2p.units import Nano

LATENCY_UNKNOWN_SECONDS = 0.5
"What a proxy that was never asked is taken for."


@dataclass(frozen=True, slots=True)
class Offered:
    """A model that can be bought, and through which proxy."""

    model: ModelOffer
    "As the proxy lists it, with the worker's price."

    proxy: PeerId
    commission_basis_points: int
    has_channel: bool
    "Whether this client pays through that proxy already."

    trust: Trust | None = None
    "What the worker proved that this client was last quoted for it there; None: it has not asked yet."

    def cost(self, usage: Usage) -> Nano:
        """Say what this usage would cost, commission included."""
        return client_amount(worker_amount(usage, self.model.price), self.commission_basis_points)


def list_offers(records: Iterable[Record], links: Mapping[PeerId, Link]) -> tuple[Offered, ...]:
    """List what can be bought, by model and then by price."""
    offers = [
        Offered(
            model,
            peer,
            record.commission_basis_points,
            has_channel=link is not None and link.has_channel,
            trust=None if link is None else link.trusts.get(model.name),
        )
        for record in records
        for peer in (PeerId(record.peer),)
        for link in (links.get(peer),)
        for model in record.models
    ]
    thousand = Usage(prompt=1000, cached=0, completion=1000, reasoning=0)
    return tuple(sorted(offers, key=lambda offer: (offer.model.name, offer.cost(thousand), offer.proxy)))


def without_fault(_peer: PeerId) -> float:
    """Hold nothing against anybody."""
    return 0.0


def rank(
    records: Iterable[Record],
    links: Mapping[PeerId, Link],
    request: Request,
    policy: Policy,
    *,
    now: float,
    faults: Callable[[PeerId], float] = without_fault,
) -> tuple[Record, ...]:
    """Put the proxies that may serve a request into the order in which they are asked.

    Args:
        records: All that are known.
        links: What we have with some of them.
        request: What is asked for.
        policy: The client's rules.
        now: On trio's clock.
        faults: How much counts against a proxy (`standing`).
    """
    ranked: list[tuple[tuple[bool, int, bool, int, float, bytes], Record]] = []
    for record in records:
        if record.commission_basis_points > policy.commission_basis_points_max:
            continue
        cost = listed_cost(record, request)
        if cost is None:
            continue
        link = links.get(PeerId(record.peer))
        has_channel = link is not None and link.has_channel
        latency = LATENCY_UNKNOWN_SECONDS
        if link is not None and link.latency_seconds is not None:
            latency = link.latency_seconds
        is_avoided = link is not None and link.is_avoided(now)
        # Whole ones: what was only suspected once comes before no price.
        proven = int(faults(PeerId(record.peer)) + 0.5)
        ranked.append(((is_avoided, proven, not has_channel, cost, latency, record.peer), record))
    return tuple(record for _, record in sorted(ranked, key=lambda pair: pair[0]))


def listed_cost(record: Record, request: Request) -> int | None:
    """Say what the request would cost at most, or None if the proxy does not list the model."""
    content = request.content
    usage = Usage(request.prompt_tokens_max, 0, content.completion_tokens_max, 0)
    for model in record.models:
        if model.name == content.model and model.kind.serves(content.kind):
            return client_amount(worker_amount(usage, model.price), record.commission_basis_points)
    return None
