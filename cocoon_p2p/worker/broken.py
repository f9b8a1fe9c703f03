"""How a worker settles an exchange that its proxy lost sight of: by the Meter that the proxy shows.

When a hop breaks, the worker charges what it sent, which may be more than came. Asked with a quote
and the newest Meter it lowers that charge to what the Meter comes to, so that nobody pays for
tokens that were lost on the way, and proxy and worker book the same.

Spec: protocols/exchange.md (Cancel and loss).
"""

import logging

from cocoon_p2p.errors import RecordRejected
from cocoon_p2p.identity import peer_id_text
from cocoon_p2p.journal import Entry
from cocoon_p2p.ledger import ExchangeRow
from cocoon_p2p.observability import short
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.payments.settlement import ReceivingAccount
from cocoon_p2p.protocols.exchange.broken import (
    Shown,
    is_far_below,
    lower_receipt,
    read_shown,
    receipt_by_meter,
)
from cocoon_p2p.protocols.exchange.ending import LOST
from cocoon_p2p.protocols.ids import EXCHANGE_KEPT_SECONDS
from cocoon_p2p.protocols.messages import PaperWanted, Receipt
from cocoon_p2p.protocols.papers import decode_signed, sign
from cocoon_p2p.protocols.schema import decode_paper
from cocoon_p2p.units import Nano
from cocoon_p2p.worker.work import Workshop

log = logging.getLogger(__name__)


async def settle_broken(shop: Workshop, account: ReceivingAccount, wanted: PaperWanted) -> bool:
    """Charge, or lower a charge, by what the proxy shows (`payments.party.SettleBroken`).

    Asked without a quote, or for an exchange that ended longer than EXCHANGE_KEPT_SECONDS ago,
    everything stays as it is. A cancel leaves the change on its way to disk.

    Returns:
        Whether the exchange still runs.

    Raises:
        RecordRejected, MalformedMessage: What is shown does not hold.
        Unavailable: The ledger cannot be written.
    """
    if shop.slots.runs((account.channel, wanted.exchange)):
        return True
    if wanted.quote is None and wanted.meter is None:
        return False
    shown = read_shown(wanted, proxy=account.payer, network=shop.network)
    if shown.worker != shop.identity.peer_id:
        raise RecordRejected("quote: of another worker")
    row = account.ended(wanted.exchange)
    if row is None:
        await _charge(shop, account, shown)
    elif row.paper is not None and shop.now() < row.at + EXCHANGE_KEPT_SECONDS:
        await _lower(shop, account, shown, row, decode_paper(Receipt, decode_signed(row.paper).body))
    return False


async def _charge(shop: Workshop, account: ReceivingAccount, shown: Shown) -> None:
    """Charge what our own Meter says was done, in a life that a crash has ended."""
    if shown.meter is None or account.phase not in (Phase.OPEN, Phase.DRAINING):
        return
    # Others may have used up the credit since: then that much is our loss.
    amount = Nano(min(shown.amount, max(account.credit, 0)))
    now_ms = int(shop.now() * 1000)
    receipt = receipt_by_meter(shown, amount, engine=shop.engine.capabilities.engine, now_ms=now_ms)
    log.info("a forgotten exchange was charged by its meter", extra=_facts(account, shown, amount=amount))
    await account.charge(shown.quote.exchange, amount, sign(shop.identity, shop.network, receipt))
    shop.journal.note(
        Entry(
            exchange=shown.quote.exchange,
            role="worker",
            model=shown.offer.name,
            outcome=LOST,
            began_at=shop.now(),
            seconds=0.0,
            completion_tokens=shown.usage.completion + shown.usage.reasoning,
            income=amount,
            peer=account.payer,
        )
    )


async def _lower(
    shop: Workshop, account: ReceivingAccount, shown: Shown, row: ExchangeRow, receipt: Receipt
) -> None:
    lowered = lower_receipt(shown, receipt)
    if lowered is None or account.phase is Phase.CLOSED:
        return
    facts = _facts(account, shown, before=row.amount, amount=lowered.amount)
    if is_far_below(shown, receipt):
        tokens = {"sent_tokens": receipt.usage.completion, "shown_tokens": shown.usage.completion}
        log.warning("a proxy shows an old meter", extra={**facts, **tokens})
    else:
        log.info("a charge was lowered to what the proxy saw", extra=facts)
    await account.lower(row.exchange, Nano(lowered.amount), sign(shop.identity, shop.network, lowered))
    shop.journal.give_up(row.amount - lowered.amount)


def _facts(account: ReceivingAccount, shown: Shown, **facts: object) -> dict[str, object]:
    return {"exchange": short(shown.quote.exchange), "proxy": peer_id_text(account.payer), **facts}
