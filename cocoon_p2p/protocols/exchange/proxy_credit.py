"""What a proxy asks its client to cover, and what it holds at the worker for it.

    reach     the worker's amount that cover was asked for: what is spent, and a window ahead
    covered   the client's amount that is set aside here for the exchange, at most the reach
    held      the worker's amount that is held there: never more than what is covered, less the commission

All three only rise while an exchange runs.

Spec: protocols/exchange.md (Credit). The machine: `proxy`.
"""

from dataclasses import replace

from cocoon_p2p.payments.pricing import worker_amount
from cocoon_p2p.protocols.exchange.proxy_events import Cover, Effects, Hold
from cocoon_p2p.protocols.exchange.proxy_state import Exchange, listen, to_client
from cocoon_p2p.protocols.messages import Chunk
from cocoon_p2p.units import Nano


def spent(exchange: Exchange) -> Nano:
    """Say what the worker has earned by what has come from it."""
    return worker_amount(exchange.passed.usage, exchange.deal.offer.price)


def reach_first(exchange: Exchange) -> tuple[Exchange, Effects]:
    """Ask for cover of the longest prompt there can be, and a window."""
    deal = exchange.deal
    reach = min(Nano(deal.prompt_bound + deal.window), deal.amount_max)
    return replace(exchange, reach=reach), (Cover(deal.for_client(reach)),)


def reach_on(exchange: Exchange, *, fully: bool) -> tuple[Exchange, Effects]:
    """Ask for cover ahead of what is spent: in strides of half a window, so that few vouchers do.

    Args:
        exchange: While the worker answers.
        fully: Ask for the whole window, however little of the last stride is used.
    """
    deal, paid = exchange.deal, spent(exchange)
    reach = min(Nano(paid + deal.window), deal.amount_max)
    if reach <= exchange.reach or not (fully or exchange.reach - paid <= deal.window // 2):
        return exchange, ()
    return replace(exchange, reach=reach), (Cover(deal.for_client(reach)),)


def is_covered(exchange: Exchange, amount: Nano) -> bool:
    """Say whether the client has covered what a worker earns."""
    return exchange.deal.for_client(amount) <= exchange.covered


def hold(exchange: Exchange) -> tuple[Exchange, Effects]:
    """Cover at the worker what the client has covered here, less the commission."""
    amount = min(exchange.deal.for_worker(exchange.covered), exchange.reach)
    if amount <= exchange.held:
        return exchange, ()
    return replace(exchange, held=amount), (Hold(amount),)


def deliver_rest(exchange: Exchange, now: float, *chunks: Chunk) -> tuple[Exchange, Effects]:
    """Pass on what the worker had sent when it was stopped or lost, as far as the client covers it.

    It is owed, and a client that does not see it cannot check its bill, so a window more than is
    covered is passed on. Beyond that an answer would cost nothing to whoever stops paying.
    """
    deal, passed_on = exchange.deal, 0
    for chunk in chunks:
        beyond = Nano(max(worker_amount(chunk.usage, deal.offer.price) - deal.window, 0))
        if exchange.is_cut_short or not is_covered(exchange, beyond):
            exchange = replace(exchange, is_cut_short=True)
            break
        passed_on += 1
    return to_client(exchange, now, *chunks[:passed_on])


def deliver_covered(exchange: Exchange, now: float) -> tuple[Exchange, Effects]:
    """Pass on the chunks that have waited for credit and are covered by now."""
    waiting, price = exchange.to_deliver, exchange.deal.offer.price
    count = 0
    while count < len(waiting) and is_covered(exchange, worker_amount(waiting[count].usage, price)):
        count += 1
    if not count:
        return exchange, ()
    if count == len(waiting):
        exchange = listen(replace(exchange, patience=None), now, worker=True)
    return to_client(replace(exchange, to_deliver=waiting[count:]), now, *waiting[:count])
