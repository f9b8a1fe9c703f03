"""All workers of a proxy, laid out so that an Ask can look through thousands of them.

    model's name -> shelf: what all offers on it have in common, and so misses one Ask or none
                      open   rows that a slot is free on     shut   those where none is, or that drain

An Ask judges each shelf once and each open row by numbers alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from cocoon_p2p.identity import PeerId
from cocoon_p2p.protocols.ids import QUOTE_LIFETIME_SECONDS, Trust
from cocoon_p2p.protocols.messages import ModelOffer
from cocoon_p2p.scheduling.expected import Row, row_of
from cocoon_p2p.scheduling.ladder import STALE_SECONDS
from cocoon_p2p.scheduling.standing import WorkerStanding

_Likeness = tuple[object, ...]


@dataclass(slots=True)
class Shelf:
    """Workers whose offers of one model differ in price and pace only."""

    offer: ModelOffer
    "Of any of them."

    trust: Trust
    open: dict[PeerId, Row] = field(default_factory=dict[PeerId, Row])
    shut: dict[PeerId, Row] = field(default_factory=dict[PeerId, Row])


class Roster:
    """The workers that stand, each as it was when it was put there last."""

    def __init__(self) -> None:
        self._standings: dict[PeerId, WorkerStanding] = {}
        self._models: dict[str, dict[_Likeness, Shelf]] = {}

    def __iter__(self) -> Iterator[WorkerStanding]:
        return iter(self._standings.values())

    def __len__(self) -> int:
        return len(self._standings)

    def __getitem__(self, peer: PeerId) -> WorkerStanding:
        return self._standings[peer]

    def __contains__(self, peer: object) -> bool:
        return peer in self._standings

    def shelves(self, model: str) -> tuple[Shelf, ...]:
        """Give all that offers a model."""
        return tuple(self._models.get(model, {}).values())

    def put(self, worker: WorkerStanding, now: float) -> None:
        """Take a worker in, or take note of what has changed."""
        before = self._standings.get(worker.peer)
        if before is not None and (before.offers, before.trust) != (worker.offers, worker.trust):
            self.drop(worker.peer)
        self._standings[worker.peer] = worker
        for offer in worker.offers:
            shelf = self._shelf(offer, worker.trust)
            row = row_of(
                worker,
                offer,
                fresh_until=worker.heard + STALE_SECONDS,
                expires=worker.expires - QUOTE_LIFETIME_SECONDS,
                now=now,
            )
            there, elsewhere = (shelf.open, shelf.shut) if worker.has_room else (shelf.shut, shelf.open)
            there[worker.peer] = row
            elsewhere.pop(worker.peer, None)

    def drop(self, peer: PeerId) -> None:
        """Forget a worker; nothing happens if it is not here."""
        worker = self._standings.pop(peer, None)
        for offer in () if worker is None else worker.offers:
            shelves = self._models[offer.name]
            likeness = _likeness(offer, worker.trust) if worker is not None else ()
            shelf = shelves[likeness]
            shelf.open.pop(peer, None)
            shelf.shut.pop(peer, None)
            if not (shelf.open or shelf.shut):
                del shelves[likeness]
            if not shelves:
                del self._models[offer.name]

    def _shelf(self, offer: ModelOffer, trust: Trust) -> Shelf:
        shelves = self._models.setdefault(offer.name, {})
        likeness = _likeness(offer, trust)
        if likeness not in shelves:
            shelves[likeness] = Shelf(offer, trust)
        return shelves[likeness]


def _likeness(offer: ModelOffer, trust: Trust) -> _Likeness:
    return offer.weights_hash, offer.kind, offer.context_tokens, offer.features, trust
