"""What must hold, whatever goes wrong: while it does, and once everything has come to rest."""

from collections.abc import Iterable, Iterator

import trio

from cocoon_p2p.errors import CocoonError, LocalProtocolError
from cocoon_p2p.identity import PeerId
from cocoon_p2p.ledger import Side, Status, audit
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.payments.pricing import client_amount
from cocoon_p2p.protocols.messages import ChannelId, ExchangeId
from cocoon_p2p.proxy import Proxy
from cocoon_p2p.testing.memory import MemoryNetwork
from cocoon_p2p.testing.simulation.customers import Outcome, Request
from cocoon_p2p.testing.simulation.engines import answer_to
from cocoon_p2p.testing.simulation.nodes import COMMISSION_BASIS_POINTS, Nodes
from cocoon_p2p.units import Nano
from cocoon_p2p.worker import Worker

ENGINE_SECONDS = 10.0
"""How long an engine may still compute for a request that is over, or late: three heartbeats must be missed
on one hop, then on the next, and a word of it may be seconds late."""

MAX_COST_ENOUGH = 10**9
"No answer costs as much: one that may, ends for want of tokens, not of money."

_Amounts = dict[ExchangeId, Nano]

# ---------------------------------------------------------------- at any time


def credit_faults(nodes: Nodes, excused: Iterable[str]) -> Iterator[str]:
    """Name each account on which somebody works beyond what is covered, or promises more than there is."""
    skipped = _peers(nodes, excused)
    for name, life in nodes.lives.items():
        if name in excused:
            continue
        for received in life.accounts.payers():
            if received.credit < 0 and received.payer not in skipped:
                yield f"{name}: works beyond credit (credit={received.credit} nanoTON)"
        for paid in life.accounts.payees():
            if paid.vouchered > paid.capacity:
                yield f"{name}: promises beyond its channel (vouchered={paid.vouchered} nanoTON)"


def late_faults(nodes: Nodes, requests: Iterable[Request]) -> Iterator[str]:
    """Name each engine that computes for a request that was over, or should have been, a while ago."""
    over = {each.wish.tag: each.must_end_by for each in requests}
    for name, engine in nodes.engines.items():
        for generation in engine.at_work:
            since = trio.current_time() - over[generation.tag]
            if since > ENGINE_SECONDS:
                yield f"{name}: computes {generation.tag}, which was over {since:.0f} s ago"


def exposure_faults(nodes: Nodes, killed: Iterable[str], excused: Iterable[str]) -> Iterator[str]:
    """Name each proxy that owes its workers more than its clients have covered."""
    if set(excused):
        return
    for name in set(nodes.proxies).difference(killed).intersection(nodes.lives):
        accounts = nodes.lives[name].accounts
        owes = sum(paid.charged + paid.held for paid in accounts.payees())
        covered = sum(received.charged() + received.accrued for received in accounts.payers())
        if owes > covered:
            yield f"{name}: owes its workers {owes} nanoTON, its clients cover {covered}"


def blame_faults(nodes: Nodes, excused: Iterable[str]) -> Iterator[str]:
    """Name each account on which somebody has stopped to pay, though neither end forgot anything."""
    skipped = _peers(nodes, excused)
    for name, life in nodes.lives.items():
        for paid in life.accounts.payees():
            if name not in excused and paid.payee not in skipped and paid.phase is Phase.STOPPED:
                yield f"{name}: has stopped to pay an honest peer"


# ---------------------------------------------------------------- at rest


def slot_faults(nodes: Nodes) -> Iterator[str]:
    """Name everything that still holds a slot or runs."""
    for name, engine in nodes.engines.items():
        if engine.running:
            yield f"{name}: its engine still computes {engine.running}"
    for name, life in nodes.lives.items():
        role = life.role
        if isinstance(role, Worker) and (role.slots.free, role.slots.running) != (role.slots.total, 0):
            yield f"{name}: {role.slots.free} of {role.slots.total} slots free, {role.slots.running} run"
        if isinstance(role, Proxy) and role.running:
            yield f"{name}: still relays {role.running}"
        if isinstance(role, Proxy):
            busy = [each for each in role.workers if each.slots_free != each.slots_total]
            if busy or len(role.workers) != len(nodes.engines):
                yield f"{name}: {len(role.workers)} workers stand with it, {len(busy)} of them busy"


def held_faults(nodes: Nodes, excused: Iterable[str]) -> Iterator[str]:
    """Name each account where something is still set aside."""
    skipped = _peers(nodes, excused)
    for name, life in nodes.lives.items():
        if name in excused:
            continue
        for paid in life.accounts.payees():
            if paid.payee not in skipped and (paid.held or paid.unsettled()):
                yield f"{name}: still holds {paid.held} nanoTON for {len(paid.unsettled())} exchanges"
        for received in life.accounts.payers():
            if received.payer not in skipped and received.accrued:
                yield f"{name}: still sets {received.accrued} nanoTON aside"


def money_faults(nodes: Nodes, excused: Iterable[str]) -> Iterator[str]:
    """Name each ledger that does not add up, and all on which two ends of a channel differ."""
    old = set(excused)
    ends: dict[ChannelId, dict[str, tuple[int, _Amounts]]] = {}
    for name, node in nodes.homes.items():
        rows = tuple(node.disk.channels.values())
        yield from (f"{name}: {fault}" for fault in audit(rows, node.disk.lines.values()))
        for row in rows:
            amounts = {
                each.exchange: each.amount
                for (channel, _), each in node.disk.exchanges.items()
                if channel == row.name and each.status is Status.ENDED and each.amount
            }
            ends.setdefault(row.name.channel, {})[name] = row.charged, amounts
    for pair in ends.values():
        if old.isdisjoint(pair) and len({charged for charged, _ in pair.values()}) > 1:
            yield f"charged differs: { {name: charged for name, (charged, _) in pair.items()} }"
        if old.isdisjoint(pair) and len(pair) == 2:
            first, second = (amounts for _, amounts in pair.values())
            if first != second:
                yield f"exchanges differ between {' and '.join(pair)}: {_differing(first, second)}"


def commission_faults(nodes: Nodes, excused: Iterable[str]) -> Iterator[str]:
    """Name each exchange for which a client paid another sum than the worker's and the commission."""
    old = set(excused)
    for name in nodes.proxies:
        disk = nodes.homes[name].disk
        skipped = {row.name for row in disk.channels.values() if row.peer in _peers(nodes, old)}
        sides: dict[Side, _Amounts] = {Side.PAYER: {}, Side.PAYEE: {}}
        for (channel, exchange), row in disk.exchanges.items():
            if row.status is Status.ENDED and channel not in skipped:
                sides[channel.side][exchange] = row.amount
        for exchange, amount in sides[Side.PAYEE].items():
            earned = sides[Side.PAYER].get(exchange)
            if earned is None or name in old:
                continue
            if client_amount(earned, COMMISSION_BASIS_POINTS) != amount:
                yield f"{name}: took {amount} nanoTON for an exchange that cost {earned}"


def answer_faults(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """Name each answer with a token too few or too many, and each that ended too late or cost too much."""
    for outcome in outcomes:
        wish = outcome.wish
        whole = answer_to(wish.tag, min(wish.tokens, wish.tokens_max))
        read = outcome.text.split(" ")[:-1]
        if outcome.error == LocalProtocolError.code:
            yield f"{wish.tag}: failed by a fault of its own client's"
        if outcome.is_overdue:
            yield f"{wish.tag}: has not ended {outcome.seconds:.1f} s after it began"
        if outcome.text != "".join(whole[: len(read)]):
            yield f"{wish.tag}: {outcome.text!r} is no beginning of its answer"
        if len(read) != outcome.tokens:
            yield f"{wish.tag}: {len(read)} tokens came, {outcome.tokens} were counted"
        if outcome.finish is not None and len(read) != len(whole) and not _ran_out(outcome):
            yield f"{wish.tag}: ended as whole ({outcome.finish}) after {len(read)} of {len(whole)} tokens"
        if outcome.charged_max > wish.max_cost:
            yield f"{wish.tag}: cost {outcome.charged_max} of at most {wish.max_cost} nanoTON"


def task_faults(links: MemoryNetwork) -> Iterator[str]:
    """Name each stream's task that ended with something that no peer can be blamed for."""
    failures = list[BaseException](links.failures)
    while failures:
        match failures.pop():
            case BaseExceptionGroup(exceptions=exceptions):
                failures += exceptions
            case LocalProtocolError() as exc:
                yield f"a stream's task failed: {exc!r}"
            case CocoonError():
                pass
            case exc:
                yield f"a stream's task failed: {exc!r}"


def _ran_out(outcome: Outcome) -> bool:
    return outcome.finish == "length" and outcome.wish.max_cost < MAX_COST_ENOUGH


def _differing(first: _Amounts, second: _Amounts) -> str:
    differing = sorted(key for key in first.keys() | second.keys() if first.get(key) != second.get(key))
    return ", ".join(f"{key.hex()[:8]} {first.get(key)} {second.get(key)}" for key in differing[:4])


def _peers(nodes: Nodes, names: Iterable[str]) -> set[PeerId]:
    return {nodes.homes[name].identity.peer_id for name in names}
