"""One run: a network comes up, works, suffers, comes to rest, and is looked at."""

from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import trio
from trio.testing import MockClock

from cocoon_p2p.client import Client
from cocoon_p2p.errors import CocoonError
from cocoon_p2p.testing.memory import MemoryNetwork
from cocoon_p2p.testing.simulation import bills, checks
from cocoon_p2p.testing.simulation.customers import Customer, Outcome, Request
from cocoon_p2p.testing.simulation.nodes import Nodes
from cocoon_p2p.testing.simulation.plan import EXCHANGES, Plan, make_plan
from cocoon_p2p.testing.simulation.tally import tally
from cocoon_p2p.testing.simulation.trace import Trace, pinned_order
from cocoon_p2p.testing.simulation.trouble import Troublemaker

LOOK_SECONDS = 0.5
"Between two looks at what must hold at any time."

RUN_SECONDS = 3_600.0
"By then a run is over, however it went; what hangs is a fault like any other."

REST_LOOK_SECONDS = 5.0
REST_SECONDS = 240.0
"Within this long after the last request and the last trouble nothing may be left under way."


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a run."""

    plan: Plan
    faults: tuple[str, ...]
    "What did not hold; none in a good run."

    outcomes: tuple[Outcome, ...]
    struck: Mapping[str, int]
    "What happened, and how often: each kind of trouble, and what followed from it."

    digest: str
    "Of everything that was written on the network, and when."

    events: int
    seconds: float
    "How long it took, on the clock of the simulation."

    def __str__(self) -> str:
        ends = Counter(outcome.error or "answered" for outcome in self.outcomes)
        told = ", ".join(f"{count} {end}" for end, count in ends.most_common())
        return (
            f"seed {self.plan.seed}: {len(self.outcomes)} requests in {self.seconds:.0f} s ({told}),"
            f" {len(self.plan.troubles)} troubles, {self.events} writes, {self.digest[:16]}"
        )


def simulate(seed: int, *, exchanges: int = EXCHANGES) -> Report:
    """Run a whole network by a plan that follows from the seed, to its end. Equal seeds give equal runs.

    Nothing in it takes real time but computing. It opens no socket, thread or file, and needs no
    running trio.
    """
    return carry_out(make_plan(seed, exchanges=exchanges))


def carry_out(plan: Plan) -> Report:
    """Run a plan, whoever made it."""
    with pinned_order(plan.seed):
        return trio.run(_Run(plan).run, clock=MockClock(autojump_threshold=0))


class _Run:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._trace = Trace()
        self._faults: dict[str, None] = {}

    async def run(self) -> Report:
        plan = self._plan
        tasks_before = trio.lowlevel.current_statistics().tasks_living
        async with (
            MemoryNetwork(seed=plan.seed, delay_seconds=plan.delay_seconds) as links,
            trio.open_nursery() as nursery,
        ):
            nodes = Nodes(plan, links, nursery)
            trouble = Troublemaker(nodes)
            links.fault = self._trace.tap(trouble.fault)
            spare = deque(plan.spare)
            customers = [
                Customer(nodes, f"client-{number}", wishes, spare)
                for number, wishes in enumerate(plan.clients, 1)
            ]
            with trio.move_on_after(RUN_SECONDS) as scope:
                for name in nodes.homes:
                    await nodes.start(name)
                await self._work(nodes, trouble, customers)
                await self._rest(nodes, trouble, customers)
            if scope.cancelled_caught:
                self._note(f"it was not over after {RUN_SECONDS:.0f} s")
            nursery.cancel_scope.cancel()
        outcomes = tuple(outcome for customer in customers for outcome in customer.outcomes)
        self._note(*checks.answer_faults(outcomes))
        self._note(*checks.task_faults(links))
        if (tasks := trio.lowlevel.current_statistics().tasks_living) != tasks_before:
            self._note(f"{tasks - tasks_before} tasks are left")
        for outcome in outcomes:
            self._trace.note(outcome.wish.tag.encode(), outcome.text.encode(), str(outcome.error).encode())
        return Report(
            plan,
            tuple(self._faults),
            outcomes,
            tally(plan, trouble.struck, outcomes, nodes.exchanges),
            self._trace.digest,
            self._trace.events,
            trio.current_time(),
        )

    def _note(self, *faults: str) -> None:
        self._faults.update(dict.fromkeys(faults))

    async def _work(self, nodes: Nodes, trouble: Troublemaker, customers: list[Customer]) -> None:
        """Let everybody ask while everything goes wrong, and look on."""
        async with trio.open_nursery() as looking:
            looking.start_soon(self._look, nodes, trouble, customers)
            async with trio.open_nursery() as working:
                working.start_soon(trouble.run, self._plan.troubles)
                for customer in customers:
                    working.start_soon(customer.run, self._plan.concurrency)
            looking.cancel_scope.cancel()

    async def _look(self, nodes: Nodes, trouble: Troublemaker, customers: list[Customer]) -> None:
        while True:
            requests = _requests(customers)
            excused = self._excused(nodes, trouble, requests)
            self._note(
                *checks.credit_faults(nodes, excused),
                *checks.exposure_faults(nodes, trouble.killed, excused),
                *checks.late_faults(nodes, requests),
            )
            await trio.sleep(LOOK_SECONDS)

    async def _rest(self, nodes: Nodes, trouble: Troublemaker, customers: list[Customer]) -> None:
        """Wait until nothing is under way any more; what still is in the end is a fault."""
        nodes.links.fault = self._trace.tap(None)
        for life in tuple(nodes.lives.values()):
            if isinstance(life.role, Client):
                for account in life.accounts.payees():
                    # What it lost sight of in an earlier life it asks for when it deals with the proxy again.
                    with trio.move_on_after(REST_LOOK_SECONDS), suppress(CocoonError):
                        await life.role.account(account.payee)
        waited = 0.0
        requests = _requests(customers)
        while faults := self._unrest(nodes, trouble, requests):
            if waited >= REST_SECONDS:
                self._note(*faults)
                return
            await trio.sleep(REST_LOOK_SECONDS)
            waited += REST_LOOK_SECONDS

    def _unrest(self, nodes: Nodes, trouble: Troublemaker, requests: list[Request]) -> list[str]:
        excused = self._excused(nodes, trouble, requests)
        return [
            *checks.slot_faults(nodes),
            *checks.held_faults(nodes, excused),
            *checks.money_faults(nodes, excused),
            *checks.commission_faults(nodes, excused),
            *checks.blame_faults(nodes, excused),
            *bills.bill_faults(nodes, requests),
            *bills.ledger_faults(nodes, requests, trouble.killed, excused),
        ]

    def _excused(self, nodes: Nodes, trouble: Troublemaker, requests: list[Request]) -> set[str]:
        """Name the nodes whose sums need not agree with their peers': they forgot, or do not believe a bill.

        A client that can count a prompt stops paying the proxy through which a worker counted more.
        """
        lied_to = {tag for engine in nodes.engines.values() for tag in engine.lied_to}
        deceived = {each.client for each in requests if each.wish.tag in lied_to}
        return trouble.restored | deceived.intersection(self._plan.counts_prompts)


def _requests(customers: list[Customer]) -> list[Request]:
    return [request for customer in customers for request in customer.requests]
