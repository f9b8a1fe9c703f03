"""What each answer must have cost, reckoned anew from its papers, and held against its client's ledger.

A part that ended well is owed its prompt, what was delivered before among it, and the tokens that it
added; one that was lost its Meter's tokens, and no prompt. The ledger has charged that and nothing else.

Spec: payments/settlement.md (Who pays what, when), protocols/exchange.md (Continuation).
"""

from collections.abc import Iterable, Iterator, Sequence

from cocoon_p2p.client import AnswerPart
from cocoon_p2p.ledger import Side, Status
from cocoon_p2p.payments.pricing import client_amount, owed_usage, worker_amount
from cocoon_p2p.protocols.ids import Outcome
from cocoon_p2p.protocols.messages import ExchangeId
from cocoon_p2p.testing.simulation.customers import Request
from cocoon_p2p.testing.simulation.engines import prompt_tokens_after
from cocoon_p2p.testing.simulation.nodes import COMMISSION_BASIS_POINTS, Nodes


def bill_faults(nodes: Nodes, requests: Iterable[Request]) -> Iterator[str]:
    """Name each part of an answer that was billed by another rule, or for other tokens."""
    lied_to = {tag for engine in nodes.engines.values() for tag in engine.lied_to}
    for request in requests:
        lied = request.wish.tag in lied_to
        yield from (f"{request.wish.tag}: {fault}" for fault in _request_faults(request, lied=lied))


def _request_faults(request: Request, *, lied: bool) -> Iterator[str]:
    newest: AnswerPart | None = None
    delivered: dict[ExchangeId | None, int] = {None: 0}
    "All that the reader had once an exchange had delivered."

    for part in request.parts:
        before = delivered.get(part.continues)
        if before is None or (part.usage.completion and part.continues != (newest and newest.exchange)):
            yield "its papers do not chain"
            return
        yield from _part_faults(part, request, before, lied=lied)
        if part.usage.completion:
            delivered[part.exchange], newest = before + part.usage.completion, part
    if request.finish is None or newest is None:
        return
    if delivered[newest.exchange] != request.tokens:
        yield f"its parts brought {delivered[newest.exchange]} tokens, its reader has {request.tokens}"
    bill = newest.bill
    if bill is not None and bill.settlement.outcome is Outcome.COMPLETED and not lied:
        counted = bill.usage.prompt + bill.usage.cached, bill.usage.completion
        due = prompt_tokens_after(delivered[newest.continues]), newest.usage.completion
        if counted != due:
            yield f"ended well and was billed for {counted} tokens, {due} came"


def _part_faults(part: AnswerPart, request: Request, before: int, *, lied: bool) -> Iterator[str]:
    bill = part.bill
    if bill is None:
        return
    billed, outcome = bill.usage, bill.settlement.outcome
    worker = worker_amount(owed_usage(billed, outcome), part.terms.quote.price)
    due = worker, client_amount(worker, COMMISSION_BASIS_POINTS)
    if (bill.settlement.worker_amount, bill.amount) != due:
        yield f"billed {bill.settlement.worker_amount} and {bill.amount} nanoTON, due were {due}"
    counted = billed.prompt + billed.cached, billed.completion
    most = prompt_tokens_after(before), min(request.wish.tokens, request.wish.tokens_max) - before
    if not lied and (counted[0] > most[0] or counted[1] > most[1]):
        yield f"billed for {counted} tokens, there were {most}"


def ledger_faults(
    nodes: Nodes, requests: Sequence[Request], killed: Iterable[str], excused: Iterable[str]
) -> Iterator[str]:
    """Name each client whose ledger has other charges than its applications were told of.

    Args:
        nodes: Everybody, at rest.
        requests: All that were made.
        killed: Nodes that died once: what a client had under way then, no application is told the end of.
        excused: Nodes that forgot, or do not believe a bill.
    """
    killed, excused = set(killed), set(excused)
    for name in sorted({request.client for request in requests} - excused):
        booked = {
            row.exchange: row.amount
            for row in nodes.homes[name].disk.exchanges.values()
            if row.name.side is Side.PAYER and row.status is Status.ENDED and row.amount
        }
        own = [request for request in requests if request.client == name and request.asked is not None]
        bills = {part.exchange: part.bill for request in own for part in request.parts}
        for exchange, bill in bills.items():
            if bill is not None and booked.get(exchange, 0) != bill.amount:
                yield f"{name}: told of {bill.amount} nanoTON, booked {booked.get(exchange, 0)}"
        told = sum(_charged_max(request) for request in own)
        charged = sum(booked.values())
        if charged > told or (charged != told and name not in killed and not excused):
            yield f"{name}: booked {charged} nanoTON, its applications were told of {told}"


def _charged_max(request: Request) -> int:
    assert request.asked is not None
    return request.wish.max_cost if request.was_killed else request.asked.charged_max
