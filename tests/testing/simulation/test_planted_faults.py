"""Each thing that a run must hold is truly looked at: a fault that breaks it is planted, and found."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import trio

from cocoon_p2p.client import Asked, asked, client, continuation, inquiry
from cocoon_p2p.client.bookings import Bookings
from cocoon_p2p.client.continuation import Progress
from cocoon_p2p.client.request import Request, build_request
from cocoon_p2p.ledger import Account, Change, Line
from cocoon_p2p.payments import payee, pricing, receiving
from cocoon_p2p.payments.paying import PayingAccount
from cocoon_p2p.protocols.contents import AnswerContent
from cocoon_p2p.protocols.exchange import bill, relayed
from cocoon_p2p.protocols.messages import ExchangeId, Price
from cocoon_p2p.proxy.tab import Tab
from cocoon_p2p.testing.simulation import carry_out, make_plan
from cocoon_p2p.testing.simulation.nodes import Nodes
from cocoon_p2p.testing.simulation.plan import Deed, Plan, Trouble, Wish
from cocoon_p2p.testing.store import MemoryDisk
from cocoon_p2p.units import Nano
from cocoon_p2p.worker.slots import Slots
from cocoon_p2p.worker.work import Work

SEED = 5
FEW = 40
"Exchanges of a run."

Patch = pytest.MonkeyPatch


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that is planted, and the words by which it is found."""

    plant: Callable[[Patch], None]
    found: str
    troubles: tuple[Trouble, ...] = ()
    timeout_seconds: float | None = None
    "Of every request; None: as planned."

    max_cost: int | None = None
    "Likewise, in nanoTON; then prompts cost next to nothing, and a token a thousand."


def _breaking_off(deed: Deed = Deed.FAIL) -> tuple[Trouble, ...]:
    """Let every worker in turn break off its answers after a few tokens."""
    return tuple(
        Trouble(at, deed, worker, "proxy-1", 4.0, 9)
        for at, worker in ((0.5, "worker-1"), (5.0, "worker-2"), (10.0, "worker-1"))
    )


def _nothing(*_: object) -> None:
    """Forget to do it."""


def _always(*_: object) -> bool:
    return True


# ---------------------------------------------------------------- the faults


def _forget_slots(patch: Patch) -> None:
    patch.setattr(Slots, "give_back", _nothing)


def _forget_to_leave_the_engine(patch: Patch) -> None:
    patch.setattr(Work, "stop", _nothing)


def _forget_holds(patch: Patch) -> None:
    patch.setattr(PayingAccount, "release", _nothing)


def _repeat_a_piece(patch: Patch) -> None:
    true = continuation.resumed

    def resumed(request: Request, progress: Progress) -> Request | None:
        rest = true(request, progress)
        if rest is None:
            return None
        # The next worker is told all but the last word of what was delivered.
        told = rest.content.answer_prefix.rstrip().rpartition(" ")
        return replace(rest, content=replace(rest.content, answer_prefix=told[0] + told[1]))

    patch.setattr(inquiry, "resumed", resumed)


def _lose_a_piece(patch: Patch) -> None:
    true = Progress.take

    def take(self: Progress, *arguments: Any) -> AnswerContent:
        is_first_of_next = self.breaks > 0 and arguments[2].quote.exchange != self.exchange
        content = true(self, *arguments)
        return AnswerContent("", content.finish) if is_first_of_next else content

    patch.setattr(Progress, "take", take)


def _work_without_credit(patch: Patch) -> None:
    def accrue(state: payee.Payee, exchange: ExchangeId, accrued: Nano) -> payee.Payee:
        rise = max(0, accrued - state.running.get(exchange, 0))
        running = {**state.running, exchange: accrued}
        return replace(state, running=running, accrued=Nano(state.accrued + rise))

    def cover(self: Tab) -> bool:
        before, self.accrued = self.accrued, max(self.accrued, self.wanted)
        return self.client.covered(self.exchange, self.accrued) and self.accrued > before

    for module in (payee, receiving):
        patch.setattr(module, "covers", _always)
    patch.setattr(payee, "_accrue", accrue)
    patch.setattr(Tab, "cover", cover)


def _hold_what_nobody_covers(patch: Patch) -> None:
    true = Tab.hold

    def hold(self: Tab, amount: Nano) -> None:
        true(self, Nano(3 * amount))

    patch.setattr(Tab, "hold", hold)


def _forget_what_was_spent(patch: Patch) -> None:
    def left(self: Bookings) -> int:
        return self.reservation.amount

    patch.setattr(Bookings, "left", property(left))


def _forget_the_deadline(patch: Patch) -> None:
    def patient(*arguments: Any, **wishes: Any) -> Request:
        request = build_request(*arguments, **wishes)
        return replace(request, timeout_seconds=10 * request.timeout_seconds)

    patch.setattr(client, "build_request", patient)


def _believe_any_commission(patch: Patch) -> None:
    _take_twice_the_commission(patch)
    patch.setattr(bill, "check_commission", _nothing)


def _never_start_again(patch: Patch) -> None:
    true = Nodes.start

    async def start(self: Nodes, name: str) -> None:
        if self.begun >= len(self.homes):
            await trio.sleep_forever()
        await true(self, name)

    patch.setattr(Nodes, "start", start)


def _take_twice_the_commission(patch: Patch) -> None:
    def client_amount(amount: Nano, basis_points: int) -> Nano:
        return pricing.client_amount(amount, 2 * basis_points)

    patch.setattr(relayed, "client_amount", client_amount)


def _lose_a_line(patch: Patch) -> None:
    true = MemoryDisk.write

    def write(self: MemoryDisk, change: Change) -> None:
        if not (isinstance(change, Line) and change.target is Account.EXPENSE and change.number > 6):
            true(self, change)

    patch.setattr(MemoryDisk, "write", write)


def _tell_of_half_the_charge(patch: Patch) -> None:
    true = asked.Asked.charged_max.__get__

    def charged_max(self: Asked) -> Nano:
        return Nano(true(self) // 2)

    patch.setattr(asked.Asked, "charged_max", property(charged_max))


FAULTS = {
    "a worker that never gives a slot back": Fault(_forget_slots, "slots free"),
    "a worker that goes on for readers who left": Fault(
        _forget_to_leave_the_engine, "which was over", _breaking_off(Deed.STALL), timeout_seconds=2.0
    ),
    "a payer that forgets to let go of what it held": Fault(_forget_holds, "still holds", _breaking_off()),
    "a continuation that repeats a piece": Fault(
        _repeat_a_piece, "is no beginning of its answer", _breaking_off()
    ),
    "a continuation that loses a piece": Fault(
        _lose_a_piece, "is no beginning of its answer", _breaking_off()
    ),
    "a payee that works beyond credit": Fault(_work_without_credit, "works beyond credit"),
    "a proxy that owes what its clients do not cover": Fault(_hold_what_nobody_covers, "its clients cover"),
    "a client that forgets what it has spent": Fault(
        _forget_what_was_spent, " of at most ", _breaking_off(), max_cost=15_000
    ),
    "a client that forgets the deadline": Fault(
        _forget_the_deadline, "has not ended", _breaking_off(Deed.STALL), timeout_seconds=2.0
    ),
    "a client that believes any bill": Fault(_believe_any_commission, "due were"),
    "a node that is never there again": Fault(
        _never_start_again, "it was not over", (Trouble(0.5, Deed.KILL, "client-1", "proxy-1", 1.0, 1),)
    ),
    "a proxy that takes more than its commission": Fault(
        _take_twice_the_commission, "has stopped to pay an honest peer"
    ),
    "a ledger that loses a line": Fault(_lose_a_line, "charged differs (channel"),
    "a client that tells of half the charge": Fault(
        _tell_of_half_the_charge, "its applications were told of"
    ),
}


def _plan(fault: Fault) -> Plan:
    plan = make_plan(SEED, exchanges=FEW)

    def changed(wish: Wish) -> Wish:
        return replace(
            wish,
            timeout_seconds=fault.timeout_seconds or wish.timeout_seconds,
            max_cost=fault.max_cost or wish.max_cost,
        )

    clients = tuple(tuple(map(changed, wishes)) for wishes in plan.clients)
    workers = plan.workers
    if fault.max_cost is not None:
        workers = tuple(replace(bench, price=Price(1_000, 500, 10**6, 10**6)) for bench in workers)
    return replace(plan, clients=clients, workers=workers, troubles=fault.troubles)


@pytest.mark.long
@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_and_without_it_nothing_is(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = FAULTS[name]
    plan = _plan(fault)
    sound = carry_out(plan)

    fault.plant(monkeypatch)
    found = carry_out(plan).faults

    assert sound.faults == ()
    assert any(fault.found in words for words in found), found
