"""What the journal is told of an exchange that has ended for a client."""

import trio

from cocoon_p2p.client.race import Try
from cocoon_p2p.errors import Unavailable
from cocoon_p2p.journal import Entry
from cocoon_p2p.payments.pricing import owed_usage
from cocoon_p2p.protocols.exchange.bill import Bill
from cocoon_p2p.protocols.exchange.client_events import Declined, Disputed, Dropped, End, Lost, Paid, Priced
from cocoon_p2p.protocols.exchange.delivery import NOTHING
from cocoon_p2p.protocols.exchange.ending import CANCELLED, DISPUTED, LOST, ending


def entry_of(made: Try, end: End, bill: Bill | None, *, date: float) -> Entry | None:
    """Say what became of an exchange.

    Args:
        made: The try that it was.
        end: How that ended.
        bill: What was paid for it, perhaps later; None: nothing.
        date: Now, in seconds since the Unix epoch.

    Returns:
        None if the quote was never used: nobody was told anything, so it is no exchange.
    """
    attempt = made.attempt
    if not attempt.was_quote_used:
        return None
    seconds, first, ask = trio.current_time() - attempt.asked_at, attempt.first_token_at, attempt.ask
    usage = NOTHING if bill is None else owed_usage(bill.usage, bill.settlement.outcome)
    return Entry(
        exchange=ask.exchange,
        role="client",
        model=ask.model,
        outcome=_ending(end),
        began_at=date - seconds,
        seconds=seconds,
        first_token_seconds=None if first is None else first - attempt.asked_at,
        prompt_tokens=usage.prompt + usage.cached,
        completion_tokens=usage.completion + usage.reasoning,
        expense=0 if bill is None else bill.amount,
        peer=attempt.proxy,
        continues=ask.continues,
        beside=made.beside,
    )


def _ending(end: End) -> str:
    match end:
        case Paid(bill=bill, cancelled=cancelled, reason=reason):
            return ending(bill.settlement.outcome, cancelled or reason)
        case Declined(refusal):
            return ending(None, refusal.reason)
        case Disputed():
            return DISPUTED
        case Dropped(None) | Priced():
            return CANCELLED
        case Lost(error) | Dropped(error):
            assert error is not None, "as the case before says"
            return LOST if isinstance(error, Unavailable) else error.code
