"""What this proxy says of itself in the directory: the models that can be bought through it.

One signed record, of 1 KiB at most: each model once, at its cheapest worker's price. It is
published as soon as the proxy listens, so that workers find it, and again when the offer or the
proxy's address changes and at half its life, not faster than anybody could use.

Spec: protocols/records.md.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import trio

from cocoon_p2p.attestation.evidence import evidence_hash
from cocoon_p2p.errors import LocalProtocolError, Unavailable
from cocoon_p2p.network.directory import Directory
from cocoon_p2p.protocols.ids import (
    ADDRESSES_MAX,
    CLOCK_SKEW_SECONDS,
    MODELS_MAX,
    RECORD_LIFETIME_MAX_SECONDS,
    RECORD_SIZE_MAX_BYTES,
    STATEMENT_LIFETIME_MAX_SECONDS,
    Role,
)
from cocoon_p2p.protocols.messages import ModelOffer, Signed
from cocoon_p2p.protocols.papers import encode_signed
from cocoon_p2p.protocols.schema import encode_paper
from cocoon_p2p.proxy.agency import Agency
from cocoon_p2p.records import NOTHING_MEASURED, make_record, make_statement
from cocoon_p2p.scheduling import WorkerStanding

log = logging.getLogger(__name__)

REFRESH_SECONDS = RECORD_LIFETIME_MAX_SECONDS / 2
PAUSE_SECONDS = 1.0
"Between two records at least: a DHT store is a dozen messages, and a worker may come and go."

STATEMENT_USABLE_SECONDS = STATEMENT_LIFETIME_MAX_SECONDS - RECORD_LIFETIME_MAX_SECONDS
"A record is worth nothing without its statement, so it must not outlive it."

LOOK_SECONDS = 60.0
"How often the date is looked at: a machine that slept, or whose clock was set, has other papers due."

RETRY_LAST_SECONDS = 60.0
"The longest pause after a failure; they double from `PAUSE_SECONDS`."

NO_SEALING_KEY = bytes(32)
"A proxy opens no seals."


def catalogue(workers: Iterable[WorkerStanding]) -> tuple[ModelOffer, ...]:
    """List each model once, at its cheapest, in the order of their names."""
    cheapest: dict[str, ModelOffer] = {}
    for worker in workers:
        if worker.is_draining:
            continue
        for offer in worker.offers:
            known = cheapest.get(offer.name)
            if known is None or _cost(offer) < _cost(known):
                cheapest[offer.name] = offer
    return tuple(cheapest[name] for name in sorted(cheapest))[:MODELS_MAX]


def _fitting(models: Iterable[ModelOffer]) -> tuple[ModelOffer, ...]:
    """Leave out what a record has no room for, whatever workers offer; one long offer hides no other."""
    fitting: list[ModelOffer] = []
    room = RECORD_SIZE_MAX_BYTES
    for model in models:
        size_bytes = len(encode_paper(model))
        if size_bytes <= room:
            fitting.append(model)
            room -= size_bytes
    return tuple(fitting)


def _cost(offer: ModelOffer) -> tuple[int, int]:
    return offer.price.completion, offer.price.prompt


@dataclass(frozen=True, slots=True)
class _Offer:
    """What a record says that may change at any time."""

    addresses: tuple[str, ...]
    models: tuple[ModelOffer, ...]


async def _first_of(events: Iterable[trio.Event]) -> None:
    """Return when one of them is set."""
    async with trio.open_nursery() as nursery:

        async def wait(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        for event in events:
            nursery.start_soon(wait, event)


class Storefront:
    """Our own statement and record, kept fresh."""

    def __init__(self, agency: Agency, directory: Directory, draw: Callable[[int], bytes]) -> None:
        self._agency = agency
        self._directory = directory
        self._draw = draw
        self._statement: Signed | None = None
        self._evidence_hash: bytes | None = None
        self._stated_at = 0.0
        self._signed_at = 0.0
        self._sequence = 0
        self.record: Signed | None = None
        "The newest that was published."

    @property
    def statement_expires(self) -> float | None:
        """When our statement ends, in seconds since the Unix epoch; None: there is none yet."""
        return None if self._statement is None else self._stated_at + STATEMENT_LIFETIME_MAX_SECONDS

    async def keep_fresh(self) -> None:
        """Publish for ever. A cancel leaves the last record to run out."""
        pause = PAUSE_SECONDS
        while True:
            changes, offer = self._changes(), self._offer()
            if not offer.addresses:
                # A record that leads nowhere would cost every reader a dial.
                log.error("nobody can dial this proxy, and no relay takes it: nothing is published")
                await _first_of(changes)
                continue
            # Without a model too: that is how the first worker finds us.
            is_published = await self._publish(offer)
            pause = PAUSE_SECONDS if is_published else min(2 * pause, RETRY_LAST_SECONDS)
            await trio.sleep(pause)
            if not is_published:
                continue
            while self._offer() == offer and not self._is_older(self._signed_at, REFRESH_SECONDS):
                with trio.move_on_after(LOOK_SECONDS):
                    await _first_of(changes)
                changes = self._changes()

    def _changes(self) -> tuple[trio.Event, ...]:
        """Give what is set when the offer changes; take it before looking at the offer."""
        return self._agency.workers.changed, self._agency.transport.addresses_changed

    def _is_older(self, date: float, seconds: float) -> bool:
        """Say whether what we dated is older than this, or from the future: our clock was set back."""
        return not -CLOCK_SKEW_SECONDS <= self._agency.now() - date < seconds

    def _offer(self) -> _Offer:
        models = catalogue(session.standing for session in self._agency.workers)
        return _Offer(self._agency.transport.addresses[:ADDRESSES_MAX], models)

    async def _publish(self, offer: _Offer) -> bool:
        """Publish a record; give False if that failed."""
        try:
            record = await self._sign(offer)
            await self._directory.publish(encode_signed(record))
        except Unavailable as exc:
            log.warning("record not published", extra={"why": str(exc)})
            return False
        except LocalProtocolError as exc:
            # Also where somebody gave our own server a record of ours from before the clock was set back.
            log.error("record not published", extra={"why": str(exc)})
            return False
        self.record = record
        log.info("record published", extra={"models": len(offer.models), "sequence": self._sequence})
        return True

    async def _sign(self, offer: _Offer) -> Signed:
        """Sign a record with as many models as fit. Raises `Unavailable` if the machine is silent."""
        agency, date = self._agency, self._agency.now()
        statement = await self._stated(date)
        models = _fitting(offer.models)
        self._signed_at = date
        # Milliseconds ascend across restarts too.
        self._sequence = max(self._sequence + 1, int(date * 1000))
        while True:
            record = make_record(
                agency.identity,
                agency.network,
                role=Role.PROXY,
                statement=statement,
                addresses=offer.addresses,
                models=models,
                now=date,
                sequence=self._sequence,
                commission_basis_points=agency.policy.commission_basis_points,
                evidence_hash=self._evidence_hash,
            )
            if len(encode_signed(record)) <= RECORD_SIZE_MAX_BYTES or not models:
                return record
            log.warning("record cut short", extra={"left_out": models[-1].name})
            models = models[:-1]

    async def _stated(self, date: float) -> Signed:
        """Give our key statement: a new one at half the life of the last, once the machine speaks for it."""
        if self._statement is None or self._is_older(self._stated_at, STATEMENT_LIFETIME_MAX_SECONDS / 2):
            try:
                await self._state(date)
            except Unavailable as exc:
                # The one before stands a while longer; without proof nobody would take the new one.
                if self._statement is None or self._is_older(self._stated_at, STATEMENT_USABLE_SECONDS):
                    raise
                log.error("no evidence for a new statement", extra={"why": str(exc)})
        assert self._statement is not None, "there is one, or this was left"
        return self._statement

    async def _state(self, date: float) -> None:
        agency, proving = self._agency, self._agency.proving
        statement = make_statement(
            agency.identity,
            agency.network,
            role=Role.PROXY,
            sealing_key=NO_SEALING_KEY,
            now=date,
            nonce=self._draw(16),
            configuration_hash=NOTHING_MEASURED if proving is None else proving.configuration_hash,
        )
        evidence = None if proving is None else await proving.show(statement)
        self._evidence_hash = None if evidence is None else evidence_hash(evidence)
        self._statement, self._stated_at = statement, date
