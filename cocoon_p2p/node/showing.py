"""Puts together what a running node shows of itself, when somebody looks: the snapshot, from its parts.

    run_... --> Showing --stands_on--> network, money --sells--> worker or proxy --> Snapshot

A look costs some hundred microseconds, and some for each channel. It asks nobody: not the chain, not the
books, no peer.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from typing import cast

import trio

from cocoon_p2p.attestation.verdict import trust_text
from cocoon_p2p.control import Answer
from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.journal import Entry, Journal
from cocoon_p2p.network.health import Health
from cocoon_p2p.network.reachability import ReachabilityView
from cocoon_p2p.node.flow import Flow
from cocoon_p2p.node.money_shown import MoneyShown
from cocoon_p2p.node.prices import Prices
from cocoon_p2p.node.selling import selling_of
from cocoon_p2p.node.steps import Step, Steps
from cocoon_p2p.overview.channel_view import ChannelView
from cocoon_p2p.overview.peers import Role
from cocoon_p2p.overview.selling import SELLING, PriceView, Selling, ShowSelling
from cocoon_p2p.overview.snapshot import (
    CHANNELS_SHOWN_MAX,
    SNAPSHOT,
    EntryView,
    FindingView,
    LoadView,
    OfferView,
    ShowSnapshot,
    Snapshot,
    StepView,
)
from cocoon_p2p.protocols.messages import ModelOffer
from cocoon_p2p.proxy import Proxy
from cocoon_p2p.scheduling.standing import proven
from cocoon_p2p.worker import Worker

RECENT_SHOWN = 50
"Of the journal's entries."

FACT_MAX_ITEMS = 16
FACT_MAX_LETTERS = 300


@dataclass(frozen=True, slots=True)
class _Ground:
    """What every node stands on."""

    health: Callable[[], Health]
    reach: Callable[[], ReachabilityView]
    money: MoneyShown | None


class Showing:
    """What a node shows of itself. Made before its parts are: they are told to it as they come.

    Attributes:
        journal: What has ended, for who looks.
        seller: The worker or the proxy, once it runs.
        prices: What a worker asks, and why, once it runs.
    """

    def __init__(
        self,
        role: Role,
        network: str,
        steps: Steps | None = None,
        journal: Journal | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.journal = Journal() if journal is None else journal
        self.seller: Worker | Proxy | None = None
        self.prices: Prices | None = None
        self._steps = steps
        self._role: Role = role
        self._network = network
        self._clock = clock
        self._began = clock()
        self._version = version("cocoon-p2p")
        self._flow = Flow()
        self.journal.listen(self._flow.note)
        self._ground: _Ground | None = None
        self._findings: Sequence[FindingView] = ()
        self._checked_at: float | None = None

    def stands_on(
        self, health: Callable[[], Health], reach: Callable[[], ReachabilityView], money: MoneyShown | None
    ) -> None:
        """Say where the node stands from now on."""
        self._ground = _Ground(health, reach, money)

    def checked(self, findings: Sequence[FindingView]) -> None:
        """Say what a check of the node has found."""
        self._findings, self._checked_at = tuple(findings), self._clock()

    def channels_at_risk(self) -> list[ChannelView]:
        """Show channels that may need their owner, however many others there are."""
        money = None if self._ground is None else self._ground.money
        return [] if money is None else money.at_risk()

    @property
    def answers(self) -> tuple[Answer, ...]:
        """What can be asked of it on the node's control socket."""
        snapshot = SNAPSHOT.by(self._show)
        return (snapshot,) if self._role in ("bootstrap", "client") else (snapshot, SELLING.by(self._sell))

    async def _show(self, _request: ShowSnapshot) -> Snapshot:
        await trio.lowlevel.checkpoint()
        return self.snapshot()

    async def _sell(self, _request: ShowSelling) -> Selling:
        await trio.lowlevel.checkpoint()
        if self.seller is None:
            raise _starting()
        return selling_of(self.seller, self._prices())

    def _prices(self) -> list[PriceView]:
        return [] if self.prices is None else self.prices.views()

    def snapshot(self) -> Snapshot:
        """Show the node as it is now.

        Raises:
            Unavailable: It is still starting.
        """
        ground = self._ground
        if ground is None:
            raise _starting()
        health = ground.health()
        return Snapshot(
            role=self._role,
            network=self._network,
            peer=health.peer,
            version=self._version,
            pid=os.getpid(),
            started_at=self._began,
            now=self._clock(),
            is_ready=self._is_ready(health),
            steps=self._joined(),
            health=health,
            reach=ground.reach(),
            load=self._load(),
            offers=self._offers(),
            money=None if ground.money is None else ground.money.view(),
            channels=[] if ground.money is None else ground.money.channels(CHANNELS_SHOWN_MAX),
            selling=None if self.seller is None else selling_of(self.seller, self._prices()),
            lately=self._flow.view(),
            recent=[_entry(each) for each in self.journal.latest(RECENT_SHOWN)],
            findings=self._findings,
            checked_at=self._checked_at,
        )

    def _joined(self) -> list[StepView]:
        return [] if self._steps is None else [_step(each) for each in self._steps.made]

    def _is_ready(self, health: Health) -> bool:
        """Whether the node does what it is there for."""
        match self.seller:
            case Worker() as worker:
                return bool(worker.registered) and not worker.slots.is_draining
            case Proxy() as proxy:
                return proxy.record is not None and not proxy.is_draining
            case None if self._role == "bootstrap":
                return True
            case None:
                # A client that knows a server of the directory can ask.
                return self._role == "client" and health.servers > 0

    def _load(self) -> LoadView | None:
        match self.seller:
            case Worker() as worker:
                slots = worker.slots
                return LoadView(slots.running, 0, slots.total, slots.free, slots.is_draining)
            case Proxy() as proxy:
                standings = proxy.workers
                return LoadView(
                    running=proxy.running,
                    waiting=proxy.waiting,
                    slots_total=sum(each.slots_total for each in standings),
                    slots_free=sum(max(0, each.slots_free) for each in standings if not each.is_draining),
                    is_draining=proxy.is_draining,
                )
            case None:
                return None

    def _offers(self) -> list[OfferView]:
        match self.seller:
            case Worker() as worker:
                return [_offer(each) for each in worker.offers]
            case Proxy() as proxy:
                return self._resold(proxy)
            case None:
                return []

    def _resold(self, proxy: Proxy) -> list[OfferView]:
        """Name each model at its cheapest worker, and how many have it."""
        now = self._clock()
        sellers: dict[str, int] = {}
        cheapest: dict[str, OfferView] = {}
        for standing in proxy.workers:
            if standing.is_draining:
                continue
            for offer in standing.offers:
                sellers[offer.name] = sellers.get(offer.name, 0) + 1
                known = cheapest.get(offer.name)
                if known is None or _cost(offer.price.completion, offer.price.prompt) < _cost(
                    known.completion, known.prompt
                ):
                    cheapest[offer.name] = _offer(offer, trust_text(proven(standing, now)))
        return [
            OfferView(
                view.model, view.prompt, view.cached, view.completion, view.reasoning, view.trust,
                sellers[view.model],
            )
            for _, view in sorted(cheapest.items())
        ]  # fmt: skip


def _starting() -> Unavailable:
    return Unavailable("the node is still starting", retry_after=1.0)


def _step(step: Step) -> StepView:
    facts = {name: _spell(fact) for name, fact in step.facts.items() if fact not in (None, "")}
    return StepView(step.name, round(step.seconds, 2), facts, step.hint, step.status)


def _spell(fact: object) -> str:
    """Write a step's fact; a list's items side by side, as far as there is room."""
    items = cast("Iterable[object]", fact) if isinstance(fact, list | tuple) else (fact,)
    return " ".join(map(str, islice(items, FACT_MAX_ITEMS)))[:FACT_MAX_LETTERS]


def _cost(completion: int, prompt: int) -> tuple[int, int]:
    return completion, prompt


def _offer(offer: ModelOffer, trust: str = "") -> OfferView:
    price = offer.price
    return OfferView(offer.name, price.prompt, price.cached, price.completion, price.reasoning, trust)


def _entry(entry: Entry) -> EntryView:
    return EntryView(
        exchange=entry.exchange.hex(),
        model=entry.model,
        outcome=entry.outcome,
        began_at=entry.began_at,
        seconds=entry.seconds,
        first_token_seconds=entry.first_token_seconds,
        prompt_tokens=entry.prompt_tokens,
        completion_tokens=entry.completion_tokens,
        income=entry.income,
        expense=entry.expense,
        peer=peer_id_text(PeerId(entry.peer)) if entry.peer else "",
    )
