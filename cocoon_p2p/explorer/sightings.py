"""What was seen of the network at one look: plain, bounded, and in words that do no harm."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.protocols.messages import ModelOffer, Record

Trust = Literal["tdx+gpu", "tdx", "open", "sim", "unknown"]
"""What a proxy's machine proved to us. `unknown`: it could not be asked, or what it showed was not accepted;
`sim`: a simulation, which proves nothing."""


class OfferSeen(msgspec.Struct, frozen=True):
    """A model, as one proxy offers it. Prices are nanoTON for 1,000 tokens, before the commission."""

    model: str
    kind: str
    context_tokens: int
    is_demo: bool
    prompt: int
    cached: int
    completion: int
    reasoning: int


class ProxySeen(msgspec.Struct, frozen=True):
    """A proxy, by its newest signed record."""

    peer: str
    trust: Trust
    commission_basis_points: int
    offers: Sequence[OfferSeen]


class NetworkSeen(msgspec.Struct, frozen=True):
    """A look at the directory."""

    proxies: Sequence[ProxySeen]
    servers: int
    "Servers of the directory that answered and are no proxies: bootstraps, mostly."

    silent: int
    "That others named and that did not answer us."

    is_whole: bool
    "Whether everybody who was named was asked."


def proxy_seen(record: Record, trust: Trust) -> ProxySeen:
    """Take from a record, that was checked, what is shown of it."""
    return ProxySeen(
        peer=peer_id_text(PeerId(record.peer)),
        trust=trust,
        commission_basis_points=record.commission_basis_points,
        # Two names that were told apart by what is not seen are one.
        offers=list({offer.model: offer for offer in map(_offer_seen, record.models)}.values()),
    )


def _offer_seen(model: ModelOffer) -> OfferSeen:
    price = model.price
    return OfferSeen(
        model=harmless(model.name),
        kind=model.kind.name.lower(),
        context_tokens=model.context_tokens,
        is_demo=model.demo,
        prompt=price.prompt,
        cached=price.cached,
        completion=price.completion,
        reasoning=price.reasoning,
    )


def harmless(name: str) -> str:
    """Take out what is not to be seen: controls, and what turns the direction of the text around it."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
