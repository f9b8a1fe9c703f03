"""Keeps a worker's prices where they follow the market.

    slots, proxies' words, the directory --> asking_price.move --> a new record, if a price has moved

What a price has come to is kept in the ledger, so that a worker that starts again goes on from there. A price
that was quoted holds: only later quotes are made from the new record.

Spec: docs/earning.md (Prices).
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence

import trio

from cocoon_p2p.errors import CocoonError, ConfigurationError, RemoteProtocolError
from cocoon_p2p.identity import NetworkId
from cocoon_p2p.ledger import Store
from cocoon_p2p.network.directory import Directory
from cocoon_p2p.node.prices import Seller, announced, keeping, kept
from cocoon_p2p.overview.selling import PriceView
from cocoon_p2p.payments.asking_price import Asking, Cause, Look, Plan, Told, move
from cocoon_p2p.protocols.ids import Role, Why
from cocoon_p2p.protocols.messages import Chances, Price
from cocoon_p2p.protocols.papers import decode_signed
from cocoon_p2p.records import check_record
from cocoon_p2p.worker.registration import ProxyStanding
from cocoon_p2p.worker.slots import Slots

log = logging.getLogger(__name__)

LOOK_SECONDS = 300.0
"Between two looks, so at least between two changes: a dozen an hour, while a record lives for one."

NOTED_SECONDS = 24 * 3600.0
"How often a price that stays is remembered anew: what is noted is good for a week (`prices.KEPT_SECONDS`)."

_ASKING = "asking-price/"
_TOO_DEAR = (Why.DEARER_THAN_ASKED,)
_UNDERCUT = (Why.OTHERS_CHEAPER, Why.OTHERS_QUICKER)


class MarketPrices:
    """The prices of a worker's models where some of them are `auto`.

    Args:
        plans: How each model is priced.
        store: Where the prices are remembered.
        network: Whose records count.
        directory: Where others' prices are seen.
        clock: Seconds since the Unix epoch.
    """

    def __init__(
        self,
        plans: Mapping[str, Plan],
        store: Store,
        network: NetworkId,
        directory: Directory,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._filed = dict(plans)
        "As the file has them. What was said since has shares that are rounded."

        self._plans = dict(plans)
        self._store = store
        self._network = network
        self._directory = directory
        self._clock = clock
        self._asking = {name: Asking(plan.first) for name, plan in plans.items()}
        self._said_meanwhile: set[str] = set()
        "Models whose price is another than the one that is being looked at."

        self._moved_at = dict.fromkeys(plans, clock())
        self._noted_at: dict[str, float] = {}
        "When prices were remembered, of models whose price has moved."

        self._heard: dict[bytes, Chances] = {}

    @property
    def prices(self) -> dict[str, Price]:
        return {name: plan.at(self._asking[name].price) for name, plan in self._plans.items()}

    def views(self) -> list[PriceView]:
        """Say what is asked, and why."""
        now = self._clock()
        return [
            PriceView(
                model=name,
                prompt=price.prompt,
                completion=price.completion,
                follows="market" if plan.is_auto else "nothing",
                why=self._why(name, plan),
                floor=plan.bounds.floor if plan.is_auto else None,
                ceiling=plan.bounds.ceiling if plan.is_auto else None,
                since_seconds=now - self._moved_at[name],
            )
            for (name, plan), price in zip(self._plans.items(), self.prices.values(), strict=True)
        ]

    def _why(self, name: str, plan: Plan) -> str:
        if plan.is_auto:
            return self._asking[name].why.value
        return (
            "as you said on the page, until the next start"
            if plan is not self._filed[name]
            else "as your file says"
        )

    def ask(self, seller: Seller, model: str, completion: int) -> str:
        """Ask another price from now on: where it follows the market it goes on from there."""
        if model not in self._plans:
            raise ConfigurationError("that is no model of this worker")
        plan, asking = self._plans[model], self._asking[model]
        if plan.is_auto:
            self._asking[model] = Asking(_allowed(plan, completion), Cause.SAID)
        else:
            self._plans[model] = _fixed(self._filed[model], completion)
        if not announced(seller, self.prices):
            self._plans[model], self._asking[model] = plan, asking
            raise ConfigurationError("the worker's record has no room for such a price")
        if plan.is_auto:
            self._said_meanwhile.add(model)
            self._note(model, self._asking[model])
            return f"{completion} is asked, and follows the market from there"
        self._moved_at[model] = self._clock()
        return f"{completion} is asked until the next start: to keep it, write it into the file"

    async def remember(self) -> None:
        """Go on from what the ledger knows, before anything is offered."""
        now = self._clock()
        for key, value in (await self._store.notes(_ASKING)).items():
            name, found = key.removeprefix(_ASKING), kept(value, now)
            if name in self._plans and found is not None:
                self._asking[name] = Asking(self._plans[name].bounds.within(int(found[0])))
                self._noted_at[name] = found[1]

    async def keep(self, seller: Seller) -> None:
        """Look, move and announce, for ever. A cancel leaves the prices as they are."""
        if not any(plan.is_auto for plan in self._plans.values()):
            return
        while True:
            self._said_meanwhile.clear()
            busy = await _occupied(seller.slots, LOOK_SECONDS)
            await self._look(seller, busy)
            for name, noted_at in self._noted_at.items():
                if self._plans[name].is_auto and abs(self._clock() - noted_at) >= NOTED_SECONDS:
                    self._write_down(name)

    async def _look(self, seller: Seller, busy: float) -> None:
        told = self._told(seller.standings)
        others = await self._others()
        before, asked = self.prices, self._asking
        self._asking = {name: self._moved(name, busy, told, others[name]) for name in self._plans}
        if self.prices == before:
            return
        if not announced(seller, self.prices):
            self._asking = asked
            return
        for name, asking in self._asking.items():
            if asking.price != asked[name].price:
                self._note(name, asking)

    def _moved(self, name: str, busy: float, told: Sequence[Told], others: Sequence[int]) -> Asking:
        plan, asking = self._plans[name], self._asking[name]
        if not plan.is_auto or name in self._said_meanwhile:
            return asking
        return move(asking, Look(self._clock(), busy, told, others), plan.bounds)

    def _note(self, name: str, asking: Asking) -> None:
        self._moved_at[name] = self._clock()
        self._write_down(name)
        log.info("price moved", extra={"model": name, "nano": asking.price, "why": asking.why.name.lower()})

    def _write_down(self, name: str) -> None:
        now = self._noted_at[name] = self._clock()
        self._store.submit(keeping(_ASKING + name, str(self._asking[name].price), now))

    def _told(self, standings: Sequence[ProxyStanding]) -> list[Told]:
        """Say what each proxy counted since the last look: it tells sums, and begins anew each hour."""
        told: list[Told] = []
        heard: dict[bytes, Chances] = {}
        for standing in standings:
            chances = standing.chances
            if chances is None or not standing.is_registered:
                continue
            heard[standing.peer] = chances
            before = self._heard.get(standing.peer)
            told.append(_since(chances, before))
        self._heard = heard
        return told

    async def _others(self) -> dict[str, list[int]]:
        """Read what the cheapest asks, by each proxy's record; nothing where the directory is silent."""
        lowest: dict[str, list[int]] = {name: [] for name in self._plans}
        try:
            found = await self._directory.find_proxies()
        except CocoonError as exc:
            log.info("others' prices not seen", extra={"error": str(exc)})
            return lowest
        for signed in found:
            try:
                record = check_record(
                    decode_signed(signed), network=self._network, now=self._clock(), role=Role.PROXY
                )
            except RemoteProtocolError:
                continue
            for offer in record.models:
                if offer.name in lowest:
                    lowest[offer.name].append(offer.price.completion)
        return lowest


def _allowed(plan: Plan, completion: int) -> int:
    """Give a price of completion tokens back, if it may move to there."""
    if plan.completion is not None:
        raise ConfigurationError(
            "completion tokens have a fixed price here, and others do not", hint="change [price] in the file"
        )
    if plan.bounds.within(completion) != completion:
        raise ConfigurationError(
            f"the file keeps it between {plan.bounds.floor} and {plan.bounds.ceiling}",
            hint="change `floor` or `ceiling` in [price]",
        )
    return completion


def _fixed(plan: Plan, completion: int) -> Plan:
    try:
        return plan.fixed_at(completion)
    except ValueError as exc:
        raise ConfigurationError(str(exc), hint="change [price] in the file") from exc


def _since(chances: Chances, before: Chances | None) -> Told:
    if before is None or chances.looked_at < before.looked_at or chances.seconds < before.seconds:
        before = Chances(0, 0, 0)
    return Told(
        chances.looked_at - before.looked_at,
        *(max(_times(chances, whys) - _times(before, whys), 0) for whys in (_TOO_DEAR, _UNDERCUT)),
    )


def _times(chances: Chances, whys: Sequence[Why]) -> int:
    return sum(each.times for each in chances.not_chosen if each.why in whys)


async def _occupied(slots: Slots, seconds: float) -> float:
    """Give the share of the slots' time that exchanges had, over so many seconds from now."""
    began = since = trio.current_time()
    taken = 0.0
    with trio.move_on_after(seconds):
        while True:
            changed, running = slots.changed, slots.running
            try:
                await changed.wait()
            finally:
                taken += running * (trio.current_time() - since)
                since = trio.current_time()
    return min(taken / (max(since - began, 1e-9) * max(slots.total, 1)), 1.0)
