"""The worker's own papers: which keys it uses, what it offers, and for how long each holds.

A record is signed anew at half its life and whenever what it offers changes, a statement
(with a new sealing key) at half its life. The older ones stay good until they expire, because
quotes that hold them are under way.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import trio
from nacl.bindings import crypto_scalarmult_base

from cocoon_p2p.attestation.evidence import evidence_hash
from cocoon_p2p.attestation.proving import Attest, Proving
from cocoon_p2p.errors import ConfigurationError, LocalProtocolError, Unavailable
from cocoon_p2p.identity import Identity, NetworkId
from cocoon_p2p.inference.engine import ModelCard
from cocoon_p2p.inference.measuring.levels import Speeds
from cocoon_p2p.protocols.ids import (
    CLOCK_SKEW_SECONDS,
    RECORD_LIFETIME_MAX_SECONDS,
    STATEMENT_LIFETIME_MAX_SECONDS,
    Role,
)
from cocoon_p2p.protocols.messages import ModelOffer, Price, Rates, Signed
from cocoon_p2p.protocols.papers import paper_hash
from cocoon_p2p.protocols.schema import UINT_MAX
from cocoon_p2p.records import NOTHING_MEASURED, make_record, make_statement

log = logging.getLogger(__name__)

RECORDS_MAX = 64
"Records that are honoured at once: quotes under way outlive this many changes of price."


LOOK_SECONDS = 60.0
"How often the date is looked at: a machine that slept, or whose clock was set, has other papers due."


@dataclass(frozen=True, slots=True)
class SealingKey:
    """One statement, and the secret of the sealing key that it names."""

    statement: Signed
    statement_hash: bytes
    expires: float
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Offer:
    record: Signed
    sequence: int
    expires: float


class Papers:
    """Signs and remembers. Dates are seconds since the Unix epoch."""

    def __init__(
        self,
        identity: Identity,
        network: NetworkId,
        models: Sequence[ModelCard],
        prices: Mapping[str, Price],
        *,
        now: Callable[[], float],
        draw: Callable[[int], bytes],
        proving: Proving | None = None,
        speeds: Mapping[str, Speeds] | None = None,
    ) -> None:
        """Sign the first papers; `prove` makes evidence for them, where there is some.

        A model without `speeds` is offered without rates.

        Raises:
            ConfigurationError: A model has no price.
        """
        self._proving = proving
        self._evidence: dict[bytes, bytes] = {}
        "Hashes of evidence, by the hash of the statement that it is for."

        self._identity = identity
        self._network = network
        self._models = tuple(models)
        self._offered = self._models
        self._prices = _complete(models, prices)
        self._speeds = dict(speeds or {})
        self._now = now
        self._draw = draw
        self._keys: deque[SealingKey] = deque()
        self._offers: deque[_Offer] = deque(maxlen=RECORDS_MAX)
        self.renew()

    @property
    def record(self) -> Signed:
        """The newest record."""
        return self._offers[-1].record

    @property
    def sequence(self) -> int:
        """The newest record's."""
        return self._offers[-1].sequence

    @property
    def statement(self) -> Signed:
        """The statement that the newest record names."""
        return self._keys[-1].statement

    @property
    def statement_expires(self) -> float:
        """When that statement ends, and with it what was proven of us."""
        return self._keys[-1].expires

    @property
    def offers(self) -> tuple[ModelOffer, ...]:
        """What the newest record names: each model with its price."""
        return tuple(
            _offer(model, self._prices[model.name], self._speeds.get(model.name)) for model in self._offered
        )

    def records(self) -> tuple[Signed, ...]:
        """Give the records that hold, the newest last."""
        now = self._now()
        return tuple(offer.record for offer in self._offers if offer.expires > now) or (self.record,)

    def sealing_keys(self) -> tuple[SealingKey, ...]:
        """Give the sealing keys that hold, the newest first: most clients have seen that one."""
        now = self._now()
        return tuple(key for key in reversed(self._keys) if key.expires > now)

    def set_prices(self, prices: Mapping[str, Price]) -> None:
        """Offer at other prices from now on. Exchanges and quotes under way keep theirs.

        Raises:
            ConfigurationError: A model has no price.
            LocalProtocolError: With these the record would be too long; what was offered is offered still.
        """
        before, self._prices = self._prices, _complete(self._models, prices)
        try:
            self.renew()
        except LocalProtocolError:
            self._prices = before
            raise

    def offer(self, models: Sequence[ModelCard]) -> None:
        """Offer these of the models from now on. What was quoted of others is honoured, if it can be."""
        if tuple(models) != self._offered:
            self._offered = tuple(models)
            self.renew()

    def set_speeds(self, model: str, speeds: Speeds) -> None:
        """Say from now on that a model is as quick as this."""
        self._speeds[model] = speeds
        self.renew()

    def renew(self) -> None:
        """Sign a new record, and a new statement where the old one is past half its life."""
        now = self._now()
        while self._keys and self._keys[0].expires <= now:
            self._keys.popleft()
        # A statement that is to be proven is renewed by `keep_fresh`, once the machine has spoken for it.
        if not self._keys or (self._attest is None and self._are_keys_due(now)):
            self._keys.append(self._new_keys(now))
        # Milliseconds, so that a restarted worker's records are above those of its last life.
        sequence = max(int(now * 1000), self.sequence + 1 if self._offers else 0)
        record = make_record(
            self._identity,
            self._network,
            role=Role.WORKER,
            statement=self.statement,
            addresses=(),
            models=self.offers,
            now=now,
            sequence=sequence,
            evidence_hash=self._evidence.get(self._keys[-1].statement_hash),
        )
        self._offers.append(_Offer(record, sequence, int(now) + RECORD_LIFETIME_MAX_SECONDS))

    async def prove(self) -> None:
        """Have the machine speak for the newest statement, and offer under it. Call it before offering.

        Raises:
            Unavailable: It does not answer.
        """
        await self._prove(self._keys[-1])
        self.renew()

    async def keep_fresh(self) -> None:
        """Renew at half life, for ever."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            if self._attest is not None and self._is_proof_due(self._now()):
                await self._renew_proven()
            if _is_due(self._offers[-1].expires, RECORD_LIFETIME_MAX_SECONDS, self._now()):
                self.renew()

    async def _renew_proven(self) -> None:
        keys = self._new_keys(self._now())
        try:
            await self._prove(keys)
        except Unavailable as exc:
            # The older keys stand a while longer; without proof nobody would take the new ones.
            log.error("no evidence for new keys", extra={"why": str(exc)})
            return
        self._keys.append(keys)
        self.renew()

    async def _prove(self, keys: SealingKey) -> None:
        if self._proving is None:
            return
        evidence = await self._proving.show(keys.statement)
        standing = {kept.statement_hash for kept in self._keys}
        self._evidence = {name: kept for name, kept in self._evidence.items() if name in standing}
        if evidence is not None:
            self._evidence[keys.statement_hash] = evidence_hash(evidence)

    @property
    def _attest(self) -> Attest | None:
        return None if self._proving is None else self._proving.attest

    def _is_proof_due(self, now: float) -> bool:
        """Say whether new keys must be proven: also where the machine was silent until the old ones ended."""
        return self._keys[-1].statement_hash not in self._evidence or self._are_keys_due(now)

    def _are_keys_due(self, now: float) -> bool:
        return _is_due(self._keys[-1].expires, STATEMENT_LIFETIME_MAX_SECONDS, now)

    def _new_keys(self, now: float) -> SealingKey:
        secret = self._draw(32)
        statement = make_statement(
            self._identity,
            self._network,
            role=Role.WORKER,
            sealing_key=crypto_scalarmult_base(secret),
            now=now,
            nonce=self._draw(16),
            configuration_hash=NOTHING_MEASURED
            if self._proving is None
            else self._proving.configuration_hash,
        )
        expires = int(now) + STATEMENT_LIFETIME_MAX_SECONDS
        return SealingKey(statement, paper_hash(statement), expires, secret)


def _is_due(expires: float, lifetime_seconds: int, now: float) -> bool:
    """Say whether a paper is past half its life, or not yet begun by a clock that was set back."""
    return not lifetime_seconds / 2 < expires - now <= lifetime_seconds + CLOCK_SKEW_SECONDS


def _complete(models: Sequence[ModelCard], prices: Mapping[str, Price]) -> dict[str, Price]:
    missing = [model.name for model in models if model.name not in prices]
    if missing:
        raise ConfigurationError(
            f"no price for {', '.join(missing)}", hint="set a price for every model that the engine serves"
        )
    return dict(prices)


def _offer(model: ModelCard, price: Price, speeds: Speeds | None) -> ModelOffer:
    return ModelOffer(
        name=model.name,
        weights_hash=model.weights_hash,
        tokenizer_hash=model.tokenizer_hash,
        kind=model.kind,
        context_tokens=model.context_tokens,
        features=tuple(sorted(feature.value for feature in model.features)),
        price=price,
        demo=model.is_demo,
        rates=None if speeds is None else _rates(speeds),
    )


def _rates(speeds: Speeds) -> Rates:
    return Rates(_milli(speeds.prefill), _milli_if(speeds.decode), _milli_if(speeds.decode_full))


def _milli_if(rate: float | None) -> int | None:
    return None if rate is None else _milli(rate)


def _milli(rate: float) -> int:
    """Spell a rate for the wire, where none is 0."""
    return int(min(max(rate * 1000, 1), UINT_MAX))
