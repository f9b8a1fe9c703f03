"""Places where a node can be made to die at once, to see that what it stood between is not lost.

    COCOON_FAILPOINT=funding.paid:1 cocoon proxy proxy.toml

The node is killed by SIGKILL when it comes to that place for the first time (`:3`: for the third), and
cleans nothing up: as if the machine had lost power. Unset, a failpoint is a call that does nothing.
"""

import os
import signal
from collections.abc import Callable
from enum import StrEnum

VARIABLE = "COCOON_FAILPOINT"


class Failpoint(StrEnum):
    """All of them: what has just been done where the node dies."""

    VOUCHER_SAVED = "voucher.saved"
    "A payer's voucher, or another message of its, is on disk and not sent."

    VOUCHER_SENT = "voucher.sent"
    VOUCHER_TAKEN = "voucher.taken"
    "A payee has it on disk, and has not counted it."

    CHARGE_SAVED = "charge.saved"
    "A payee's charge is on disk, with the paper that the payer has not seen."

    CHARGE_SENT = "charge.sent"
    "The payer was sent what follows from it: a signed state, or another message."

    FUNDING_NOTED = "funding.noted"
    FUNDING_PAID = "funding.paid"
    "The wallet has paid; the contract has not been looked at."

    FUNDING_ARRIVED = "funding.arrived"
    CLAIM_SENT = "claim.sent"
    CLAIM_LANDED = "claim.landed"
    CLOSE_AGREED = "close.agreed"
    "Both have signed, and the contract is about to be told."

    CLOSE_SENT = "close.sent"
    "The wallet has told it."

    CLOSE_LANDED = "close.landed"
    "The contract is gone, and the ledger does not know it."


def read_failpoint(wish: str) -> Callable[[Failpoint], None]:
    """Read what the variable says: where to die, and when.

    Raises:
        ValueError: There is no such place, or no such time.
    """
    if not wish:
        return _go_on
    name, _, number = wish.partition(":")
    place, left = Failpoint(name), int(number or 1)
    if left < 1:
        raise ValueError(f"{VARIABLE}: not a time (got={left})")

    def die_there(reached: Failpoint) -> None:
        nonlocal left
        left -= reached is place
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return die_there


def _go_on(_: Failpoint) -> None:
    pass


reached = read_failpoint(os.environ.get(VARIABLE, ""))
"Say that a place was reached."
