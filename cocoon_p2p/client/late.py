"""The settlement of an exchange that we lost sight of: asked for by its id, judged, booked."""

import logging
from collections.abc import Callable

import trio

from cocoon_p2p.client.answer import AnswerPart, Report
from cocoon_p2p.client.link import Link
from cocoon_p2p.errors import Refused, RemoteProtocolError, Unavailable
from cocoon_p2p.identity import NetworkId
from cocoon_p2p.observability import short
from cocoon_p2p.payments.settlement import PayingAccount
from cocoon_p2p.protocols.exchange.bill import Bill, judge_settlement
from cocoon_p2p.protocols.exchange.bundle import Bundle
from cocoon_p2p.protocols.exchange.client_events import Lost
from cocoon_p2p.protocols.messages import ExchangeId, Signed

log = logging.getLogger(__name__)

ASK_SECONDS = 30.0
"How long one question may stay unanswered before the connection is looked after again."

ASK_AGAIN_FIRST_SECONDS = 1.0
ASK_AGAIN_LAST_SECONDS = 60.0
"Pauses between questions, doubling: the proxy may be away, or wait for its worker."


async def settle_late(
    link: Link,
    account: PayingAccount,
    exchange: ExchangeId,
    lost: Lost,
    *,
    network: NetworkId,
    report: Report,
    part: AnswerPart,
    prompt_tokens_max: int | None,
    prove: Callable[[Bill], Bundle],
) -> RemoteProtocolError | None:
    """Ask the proxy how an exchange ended until it says so, and pay for it, or dispute it.

    Args:
        link: To the proxy.
        account: That the exchange was held on.
        exchange: Its id.
        lost: How it ended for us.
        network: The network that all papers must be for.
        report: Of the request; what is booked is added to it.
        part: Of the exchange, in that report.
        prompt_tokens_max: How many tokens the prompt can have, as far as we know.
        prove: Makes the bundle of a bill that was accepted.

    Returns:
        Why the settlement was disputed, if it was.

    A cancel leaves what is held for the exchange held: the account asks again after a restart.

    Raises:
        Unavailable: The ledger cannot be written.
    """
    assert lost.terms is not None, "nothing is owed without terms"
    dispute: RemoteProtocolError | None = None
    settlement = await _ask(link, account, exchange, lost)
    facts = {"exchange": short(exchange)}
    if settlement is None:
        log.info("a lost exchange cost nothing", extra=facts)
        account.release(exchange)
    else:
        try:
            bill = judge_settlement(
                settlement,
                terms=lost.terms,
                delivery=None,
                was_cancelled=True,
                amount_max=lost.owed_max,
                proxy=link.peer,
                network=network,
                prompt_tokens_max=prompt_tokens_max,
            )
        except RemoteProtocolError as error:
            log.error("a settlement was not accepted", extra={**facts, "error": str(error)})
            report.dispute = dispute = error
            papers = (settlement,) if lost.meter is None else (settlement, lost.meter)
            await account.dispute(str(error), lost.terms.signed, *papers)
            account.release(exchange)
        else:
            if bill.amount:
                await account.charge(exchange, bill.amount, bill.signed)
            else:
                account.release(exchange)
            report.charged += bill.amount
            part.bill, part.bundle = bill, prove(bill)
            log.info("a lost exchange was settled", extra={**facts, "amount": bill.amount})
    part.is_open = False
    report.pending -= lost.owed_max
    if dispute is not None:
        report.disputed += lost.owed_max
    return dispute


async def _ask(link: Link, account: PayingAccount, exchange: ExchangeId, lost: Lost) -> Signed | None:
    quote = None if lost.terms is None else lost.terms.signed
    pause = ASK_AGAIN_FIRST_SECONDS
    while True:
        try:
            # Before the proxy is back, and before anything is vouchered for what comes next.
            account.enquire(exchange, quote=quote, meter=lost.meter)
            await link.reach()
            with trio.move_on_after(ASK_SECONDS):
                paper = await account.paper(exchange, quote=quote, meter=lost.meter)
                return None if paper is None else paper.settlement
        except (Unavailable, Refused) as error:
            log.debug("no settlement yet", extra={"exchange": short(exchange), "error": str(error)})
        await trio.sleep(pause)
        pause = min(pause * 2, ASK_AGAIN_LAST_SECONDS)
