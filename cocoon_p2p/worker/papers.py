"""The worker's own papers: which keys it uses, what it offers, and for how long each holds.

A record is signed anew at half its life and whenever what it offers changes, a statement
(with a new sealing key) at half its life. The older ones stay good until they expire, because
quotes that hold them are under way.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import trio
from nacl.bindings import crypto_scalarmult_base

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import Identity, NetworkId
from cocoon_p2p.inference.engine import ModelCard
from cocoon_p2p.protocols.ids import (
    CLOCK_SKEW_SECONDS,
    RECORD_LIFETIME_MAX_SECONDS,
    STATEMENT_LIFETIME_MAX_SECONDS,
    Kind,
    Role,
)
from cocoon_p2p.protocols.messages import ModelOffer, Price, Signed
from cocoon_p2p.protocols.papers import paper_hash
from cocoon_p2p.records import make_record, make_statement

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
    ) -> None:
        """Sign the first papers.

        Raises:
            ConfigurationError: A model has no price.
        """
        self._identity = identity
        self._network = network
        self._models = tuple(models)
        self._prices = _complete(models, prices)
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
        """
        self._prices = _complete(self._models, prices)
        self.renew()

    def renew(self) -> None:
        """Sign a new record, and a new statement where the old one is past half its life."""
        now = self._now()
        while self._keys and self._keys[0].expires <= now:
            self._keys.popleft()
        if not self._keys or _is_due(self._keys[-1].expires, STATEMENT_LIFETIME_MAX_SECONDS, now):
            self._state_keys(now)
        # Milliseconds, so that a restarted worker's records are above those of its last life.
        sequence = max(int(now * 1000), self.sequence + 1 if self._offers else 0)
        record = make_record(
            self._identity,
            self._network,
            role=Role.WORKER,
            statement=self.statement,
            addresses=(),
            models=[_offer(model, self._prices[model.name]) for model in self._models],
            now=now,
            sequence=sequence,
        )
        self._offers.append(_Offer(record, sequence, int(now) + RECORD_LIFETIME_MAX_SECONDS))

    async def keep_fresh(self) -> None:
        """Renew at half life, for ever."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            if _is_due(self._offers[-1].expires, RECORD_LIFETIME_MAX_SECONDS, self._now()):
                self.renew()

    def _state_keys(self, now: float) -> None:
        secret = self._draw(32)
        statement = make_statement(
            self._identity,
            self._network,
            role=Role.WORKER,
            sealing_key=crypto_scalarmult_base(secret),
            now=now,
            nonce=self._draw(16),
        )
        expires = int(now) + STATEMENT_LIFETIME_MAX_SECONDS
        self._keys.append(SealingKey(statement, paper_hash(statement), expires, secret))


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


def _offer(model: ModelCard, price: Price) -> ModelOffer:
    return ModelOffer(
        name=model.name,
        weights_hash=model.weights_hash,
        tokenizer_hash=model.tokenizer_hash,
        kind=Kind.CHAT,
        context_tokens=model.context_tokens,
        features=tuple(sorted(feature.value for feature in model.features)),
        price=price,
        demo=model.is_demo,
    )
