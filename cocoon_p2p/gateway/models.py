"""`GET /v1/models`: what can be bought, and what OpenAI's list has no words for."""

from collections.abc import Iterable
from typing import Any

from cocoon_p2p.client import Offered
from cocoon_p2p.identity import peer_id_text


def model_list(offers: Iterable[Offered], *, created: int) -> list[dict[str, Any]]:
    """Spell each model once, with all its offers, the cheapest first.

    Args:
        offers: As the client lists them: by model, then by price.
        created: When the gateway began to offer them, in seconds since the Unix epoch.
    """
    models: dict[str, list[Offered]] = {}
    for offer in offers:
        models.setdefault(offer.model.name, []).append(offer)
    return [
        {
            "id": name,
            "object": "model",
            "created": created,
            "owned_by": "cocoon",
            "cocoon": _facts(same),
        }
        for name, same in models.items()
    ]


def _facts(offers: list[Offered]) -> dict[str, Any]:
    model = offers[0].model
    return {
        "kind": model.kind.name.lower(),
        "context_tokens": model.context_tokens,
        "features": list(model.features),
        "is_demo_model": model.demo,
        "offers": [_offer(offer) for offer in offers],
    }


def _offer(offer: Offered) -> dict[str, Any]:
    price = offer.model.price
    return {
        # nanoTON per 1,000 tokens, before the proxy's commission.
        "price": {
            "prompt": price.prompt,
            "cached": price.cached,
            "completion": price.completion,
            "reasoning": price.reasoning,
        },
        "commission_basis_points": offer.commission_basis_points,
        "trust": None if offer.trust is None else str(offer.trust),
        "proxy": peer_id_text(offer.proxy),
        "weights_hash": offer.model.weights_hash.hex(),
        "has_channel": offer.has_channel,
    }
