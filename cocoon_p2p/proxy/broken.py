"""How a proxy settles an exchange that its client lost sight of, and that a crash made it forget.

As long as the proxy lives it knows how each exchange ended, and its Settlement stands. A crash may
leave a client with a quote and a Meter that the proxy has no Settlement for. Then what it has in its
books with the worker counts; where that is nothing either, the Meter that the client shows counts,
towards the client and towards the worker.

Spec: protocols/exchange.md (Cancel and loss).
"""

import logging
from dataclasses import dataclass

from cocoon_p2p.identity import peer_id_text
from cocoon_p2p.journal import Entry
from cocoon_p2p.ledger import ExchangeRow, Status
from cocoon_p2p.observability import short
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.payments.pricing import client_amount, owed_usage
from cocoon_p2p.payments.settlement import PayingAccount, ReceivingAccount
from cocoon_p2p.protocols.exchange.broken import Shown, read_shown
from cocoon_p2p.protocols.exchange.ending import LOST
from cocoon_p2p.protocols.exchange.relayed import NOTHING
from cocoon_p2p.protocols.ids import EXCHANGE_KEPT_SECONDS, Outcome
from cocoon_p2p.protocols.messages import ExchangeId, Meter, PaperWanted, Receipt, Settlement, Signed, Usage
from cocoon_p2p.protocols.papers import decode_signed, sign
from cocoon_p2p.protocols.schema import decode_message, decode_paper
from cocoon_p2p.proxy.agency import Agency
from cocoon_p2p.proxy.clients import Clients
from cocoon_p2p.units import Nano

log = logging.getLogger(__name__)

FORGOTTEN_SECONDS = EXCHANGE_KEPT_SECONDS / 4
"""How long a restarted proxy waits for its clients, before it pays its workers what they say that they
did for exchanges that it forgot. Workers take a Meter for four times as long."""


@dataclass(frozen=True, slots=True)
class _Due:
    """What an exchange came to."""

    outcome: Outcome
    amount: Nano
    "The worker's."

    usage: Usage
    "What it is owed for."

    receipt: Signed | None = None
    meter: Signed | None = None


async def settle_broken(
    agency: Agency, clients: Clients, account: ReceivingAccount, wanted: PaperWanted
) -> bool:
    """Charge client and worker for an exchange that we forgot (`payments.party.SettleBroken`).

    A cancel leaves what was charged charged; asked again, the rest follows.

    Returns:
        Whether it is to be asked for again later: it still runs, or others run and keep the client's credit
        from covering it.

    Raises:
        RecordRejected, MalformedMessage: What is shown does not hold.
        Unavailable: The ledger cannot be written.
    """
    if clients.runs(wanted.exchange):
        # Whoever asks how it ended has lost it, which we may not have noticed: nothing more may be
        # delivered into a dead connection, on credit that is meant for what comes next.
        clients.left(wanted.exchange, account)
        return True
    if wanted.quote is None or agency.accounts.ended(wanted.exchange) is not None:
        return False
    shown = read_shown(wanted, proxy=agency.identity.peer_id, network=agency.network)
    worker = _account_of(agency, shown)
    row = None if worker is None else worker.ended(wanted.exchange)
    due = _booked(row) or _Due(Outcome.FAILED, shown.amount, shown.usage, meter=shown.meter)
    if worker is not None and (shown.meter is not None or row is not None):
        await worker.break_off(wanted.exchange, due.amount, shown.quote_signed, due.meter)
    if due.receipt is None and due.meter is None:
        return False
    owed = client_amount(due.amount, shown.quote.commission_basis_points)
    if owed > _credit(account, wanted.exchange) and account.accrued > account.accrued_by(wanted.exchange):
        # What runs may have taken ahead what the client had set aside for this one. It gives back what
        # it does not need, and the client asks again.
        return True
    await _charge(agency, account, worker, shown, due)
    return False


def _account_of(agency: Agency, shown: Shown) -> PayingAccount | None:
    """Find what we pay the worker through: where the exchange is known, else the newest open one."""
    exchange = shown.quote.exchange
    accounts = [account for account in agency.accounts.payees() if account.payee == shown.worker]
    knowing = [account for account in accounts if account.ended(exchange) is not None]
    working = [account for account in accounts if account.phase in (Phase.OPEN, Phase.DRAINING)]
    return next(reversed(knowing or working), None)


def _booked(row: ExchangeRow | None) -> _Due | None:
    """Read out of our books with the worker what the exchange came to; None if they do not say."""
    if row is None or row.paper is None:
        return None
    if row.status is Status.BROKEN:
        question = decode_message(row.paper)
        assert isinstance(question, PaperWanted)
        used = NOTHING if question.meter is None else decode_paper(Meter, question.meter.body).usage
        return _Due(Outcome.FAILED, row.amount, owed_usage(used, Outcome.FAILED), meter=question.meter)
    signed = decode_signed(row.paper)
    receipt = decode_paper(Receipt, signed.body)
    usage = owed_usage(receipt.usage, receipt.outcome)
    return _Due(receipt.outcome, Nano(receipt.amount), usage, receipt=signed)


def _credit(account: ReceivingAccount, exchange: ExchangeId) -> Nano:
    """Say what can be charged for an exchange: what is free, and what was set aside for it already."""
    return Nano(max(account.credit, 0) + account.accrued_by(exchange))


async def _charge(
    agency: Agency, account: ReceivingAccount, worker: PayingAccount | None, shown: Shown, due: _Due
) -> None:
    """Charge the client and sign the Settlement. What its credit does not cover is our loss."""
    owed = client_amount(due.amount, shown.quote.commission_basis_points)
    amount = min(owed, _credit(account, shown.quote.exchange))
    if account.phase not in (Phase.OPEN, Phase.DRAINING):
        return
    worker_amount = min(due.amount, amount)
    settlement = Settlement(
        exchange=shown.quote.exchange,
        quote_hash=shown.quote_hash,
        outcome=due.outcome,
        worker_amount=worker_amount,
        commission=amount - worker_amount,
        client_charged=account.charged() + amount,
        worker_charged=0 if worker is None else worker.charged,
        receipt=due.receipt,
        meter=due.meter,
    )
    facts = {"exchange": short(shown.quote.exchange), "client": peer_id_text(account.payer), "amount": amount}
    log.info("a forgotten exchange was settled", extra=facts)
    await account.charge(shown.quote.exchange, amount, sign(agency.identity, agency.network, settlement))
    agency.journal.note(
        Entry(
            exchange=shown.quote.exchange,
            role="proxy",
            model=shown.offer.name,
            outcome=LOST,
            began_at=agency.now(),
            seconds=0.0,
            prompt_tokens=due.usage.prompt + due.usage.cached,
            completion_tokens=due.usage.completion + due.usage.reasoning,
            income=amount,
            expense=0 if worker is None else due.amount,
            peer=shown.worker,
        )
    )
