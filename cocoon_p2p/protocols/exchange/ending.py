"""How an exchange ended, in one word: the same at each of its three ends, where they know the same.

Spec: protocols/exchange.md (Amounts; Cancel and loss).
"""

from cocoon_p2p.protocols.ids import Outcome, Reason

FINISHED = "finished"
CANCELLED = "cancelled"
LOST = "lost"
DISPUTED = "disputed"
"Its bill was not accepted: a client's word alone."

_LOSSES = frozenset({Reason.WORKER_LOST, Reason.PROXY_LOST, Reason.CLIENT_LOST})


def ending(outcome: Outcome | None, reason: Reason | None) -> str:
    """Name the end of an exchange.

    Args:
        outcome: As its receipt or settlement says; None: nothing was owed.
        reason: Why it was stopped, refused or broke, if it was.

    Returns:
        `finished`, `cancelled`, `lost`, or the code of the reason.
    """
    if outcome is Outcome.COMPLETED:
        return FINISHED
    if reason in _LOSSES or (reason is None and outcome is None):
        return LOST
    if reason is Reason.CANCELLED or (reason is None and outcome is Outcome.CANCELLED):
        return CANCELLED
    return (reason or Reason.ENGINE_FAILED).code
