"""Keeps a worker's prices where they are given in another unit, and follow a rate.

    the source --> rate_source.fetch_rate --> peg.took --> a new record, if the prices have moved by a percent

The last rate that counted is kept in the ledger: a worker that starts while its source is silent has one. A
price that was quoted holds: only later quotes are made from the new record.

Spec: docs/earning.md (A price in dollars).
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

import trio

from cocoon_p2p.config.pricing import PriceSection
from cocoon_p2p.errors import ConfigurationError, MalformedMessage, Unavailable
from cocoon_p2p.ledger import Store
from cocoon_p2p.node.prices import Seller, announced, keeping, kept
from cocoon_p2p.node.rate_source import fetch_rate
from cocoon_p2p.overview.selling import PriceView
from cocoon_p2p.payments.asking_price import Cause, Plan
from cocoon_p2p.payments.peg import Judged, Peg, converted, missed, took
from cocoon_p2p.protocols.messages import Price

log = logging.getLogger(__name__)

RATE_SECONDS = 600.0
"Between two looks at the source."

MOVED_LEAST = 100
"Basis points that a rate's change must move a price by to be announced."

_RATE = "price-rate"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a rate is read, as a worker's file says."""

    unit: str
    address: str
    pointer: str
    old_seconds: float

    @property
    def said(self) -> str:
        """Which number a rate is: of another unit, or read elsewhere, it is another number."""
        return f"{self.unit} {self.address} {self.pointer}"


def source_of(section: PriceSection) -> Source | None:
    """Give the source of a worker's prices; None where they are in nanoTON."""
    if not section.unit:
        return None
    return Source(section.unit, section.source, section.pointer, section.source_hours * 3600.0)


class PeggedPrices:
    """The prices of a worker's models where they are given in another unit.

    Args:
        plans: How each model is priced, in millionths of the unit.
        source: Where the rate is read.
        store: Where it is remembered.
        clock: Seconds since the Unix epoch.
    """

    def __init__(
        self, plans: Mapping[str, Plan], source: Source, store: Store, clock: Callable[[], float] = time.time
    ) -> None:
        self._plans = plans
        self._source = source
        self._store = store
        self._clock = clock
        self._peg = Peg()
        self._said = ""
        self._moved_at = clock()
        self.prices: dict[str, Price] = {}

    def views(self) -> list[PriceView]:
        """Say what is asked, and at which rate."""
        now = self._clock()
        age = now - self._peg.at
        return [
            PriceView(
                model=name,
                prompt=price.prompt,
                completion=price.completion,
                follows=self._source.unit,
                why=self._why(name, price, age),
                floor=self._plans[name].bounds.floor,
                since_seconds=now - self._moved_at,
                rate=str(self._peg.rate),
                rate_seconds_ago=age,
                is_stale=age > self._source.old_seconds,
            )
            for name, price in self.prices.items()
        ]

    def _why(self, name: str, price: Price, age: float) -> str:
        if age > self._source.old_seconds:
            return f"kept: no rate that counts for {age / 3600:.0f} hours {self._said}".rstrip()
        if price.completion == self._plans[name].bounds.floor:
            return Cause.FLOOR.value
        return f"follows 1 TON = {self._peg.rate} {self._source.unit} {self._said}".rstrip()

    async def remember(self) -> None:
        """Have a rate before anything is offered: the source's, or the last one that counted.

        A cancel leaves nothing behind.

        Raises:
            Unavailable: There is neither.
        """
        found = kept((await self._store.notes(_RATE)).get(_RATE), self._clock())
        if found is not None:
            rate, _, said = found[0].partition(" ")
            if said == self._source.said:
                self._peg = Peg(Decimal(rate), found[1])
        await self._look()
        if self._peg.rate is None:
            raise Unavailable(
                f"no price to sell at: {self._said}",
                hint="see that `source` and `pointer` in [price] lead to a number, or give prices in nanoTON",
            )
        self.prices = self._converted()

    def ask(self, seller: Seller, model: str, completion: int) -> str:
        """Refuse: a price here is what the rate makes of the file's."""
        raise ConfigurationError(
            f"prices follow the rate of {self._source.unit}", hint="change [price] in the file"
        )

    async def keep(self, seller: Seller) -> None:
        """Look at the source, and announce what it makes of the prices, for ever."""
        while True:
            await trio.sleep(RATE_SECONDS)
            await self._look()
            prices = self._converted()
            has_moved = any(_has_moved(prices[name], self.prices[name]) for name in prices)
            if has_moved and announced(seller, prices):
                self.prices, self._moved_at = prices, self._clock()
                log.info("prices moved with the rate", extra={"rate": str(self._peg.rate)})

    async def _look(self) -> None:
        try:
            rate = await fetch_rate(self._source.address, self._source.pointer)
        except (Unavailable, MalformedMessage) as exc:
            self._peg, self._said = missed(self._peg), f"({exc})"
            log.warning("no rate", extra={"why": str(exc)})
            return
        self._peg, judged = took(self._peg, rate, self._clock())
        self._said = ""
        if judged is Judged.DOUBTED:
            self._said = f"(the source says {rate}, which is not believed yet)"
            log.warning("a rate that jumps is not believed yet", extra={"rate": str(rate)})
        else:
            self._store.submit(keeping(_RATE, f"{rate} {self._source.said}", self._clock()))

    def _converted(self) -> dict[str, Price]:
        assert self._peg.rate is not None, "remembered first"
        rate = self._peg.rate
        return {name: converted(plan.at(0), rate, plan.bounds) for name, plan in self._plans.items()}


def _has_moved(price: Price, before: Price) -> bool:
    change = abs(price.completion - before.completion) + abs(price.prompt - before.prompt)
    return change * 10_000 > (before.completion + before.prompt) * MOVED_LEAST
