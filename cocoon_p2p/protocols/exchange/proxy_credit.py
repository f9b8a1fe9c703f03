"""What a proxy asks its client to cover, and what it holds at the worker for it.

    reach     the worker's amount that cover was asked for: what is spent, and a window ahead
    covered   the client's amount that is set aside here for the exchange, at most the reach
    held      the worker's amount that is held there, and allowed: what is covered, less the commission

All three only rise while an exchange runs.

Spec: protocols/exchange.md (Credit). The machine: `proxy`.
"""

from cocoon_p2p.errors import RemoteProtocolError
from cocoon_p2p.frozen import replace
from cocoon_p2p.payments.pricing import worker_amount
from cocoon_p2p.protocols.exchange.proxy_events import Cover, Effects, Hold
from cocoon_p2p.protocols.exchange.proxy_state import Exchange
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


def check_allowed(exchange: Exchange) -> None:
    """Raise `RemoteProtocolError` if the worker has gone beyond what it was allowed."""
    if (earned := spent(exchange)) > exchange.held:
        raise RemoteProtocolError(
            f"more work than was allowed (allowed={exchange.held} got={earned} nanoTON)"
        )
