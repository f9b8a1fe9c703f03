"""What must hold, whatever goes wrong: while it does, and once everything has come to rest."""

from collections.abc import Iterable, Iterator

from cocoon_p2p.identity import PeerId
from cocoon_p2p.ledger import Side, Status, audit
from cocoon_p2p.payments.pricing import client_amount
from cocoon_p2p.protocols.messages import ChannelId, ExchangeId
from cocoon_p2p.proxy import Proxy
from cocoon_p2p.testing.simulation.customers import Outcome
from cocoon_p2p.testing.simulation.nodes import COMMISSION_BASIS_POINTS, Nodes, answer_to
from cocoon_p2p.units import Nano
from cocoon_p2p.worker import Worker

_Amounts = dict[ExchangeId, Nano]

# ---------------------------------------------------------------- at any time


def credit_faults(nodes: Nodes, restored: Iterable[str]) -> Iterator[str]:
    """Name each account on which somebody works beyond what is covered, or promises more than there is."""
    skipped = _peers(nodes, restored)
    for name, life in nodes.lives.items():
        if name in restored:
            continue
        for received in life.accounts.payers():
            if received.credit < 0 and received.payer not in skipped:
                yield f"{name}: works beyond credit (credit={received.credit} nanoTON)"
        for paid in life.accounts.payees():
            if paid.vouchered > paid.capacity:
                yield f"{name}: promises beyond its channel (vouchered={paid.vouchered} nanoTON)"


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


def held_faults(nodes: Nodes, restored: Iterable[str]) -> Iterator[str]:
    """Name each account where something is still set aside."""
    skipped = _peers(nodes, restored)
    for name, life in nodes.lives.items():
        if name in restored:
            continue
        for paid in life.accounts.payees():
            if paid.payee not in skipped and (paid.held or paid.unsettled()):
                yield f"{name}: still holds {paid.held} nanoTON for {len(paid.unsettled())} exchanges"
        for received in life.accounts.payers():
            if received.payer not in skipped and received.accrued:
                yield f"{name}: still sets {received.accrued} nanoTON aside"


def money_faults(nodes: Nodes, restored: Iterable[str]) -> Iterator[str]:
    """Name each ledger that does not add up, and all on which two ends of a channel differ."""
    old = set(restored)
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


def commission_faults(nodes: Nodes, restored: Iterable[str]) -> Iterator[str]:
    """Name each exchange for which a client paid another sum than the worker's and the commission."""
    old = set(restored)
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
    """Name each answer with a token too few or too many, and each that ended too late."""
    for outcome in outcomes:
        wish = outcome.wish
        whole = answer_to(wish.tag, wish.tokens)
        read = outcome.text.split(" ")[:-1]
        if outcome.is_overdue and not outcome.was_killed:
            yield f"{wish.tag}: has not ended {outcome.seconds:.1f} s after it began"
        if outcome.text != "".join(whole[: len(read)]):
            yield f"{wish.tag}: {outcome.text!r} is no beginning of its answer"
        if len(read) != outcome.tokens:
            yield f"{wish.tag}: {len(read)} tokens came, {outcome.tokens} were counted"
        is_whole = outcome.error is None and wish.leave_at is None and outcome.finish == "stop"
        if is_whole and len(read) != wish.tokens:
            yield f"{wish.tag}: ended as whole after {len(read)} of {wish.tokens} tokens"


def _differing(first: _Amounts, second: _Amounts) -> str:
    differing = sorted(key for key in first.keys() | second.keys() if first.get(key) != second.get(key))
    return ", ".join(f"{key.hex()[:8]} {first.get(key)} {second.get(key)}" for key in differing[:4])


def _peers(nodes: Nodes, names: Iterable[str]) -> set[PeerId]:
    return {nodes.homes[name].identity.peer_id for name in names}
