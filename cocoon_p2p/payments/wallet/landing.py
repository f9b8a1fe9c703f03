"""Whether a payment that was signed has been made: the judgement behind spending, as a pure function.

A *spending* is one thing to pay, with all that was ever signed for it. Signed anew it bears the same
seqno as long as that is free, so the wallet itself sees to it that one is carried out at most; and as
whatever took the seqno can be read from the wallet's transactions, what became of it can be told:

    the seqno was taken by one of ours     LANDED: made, once, for ever
    it was taken by another                TAKEN: ours are void, and may be signed with the next
    it is free after the time is over      EXPIRED: ours are void, and may be signed anew
    it is free, and there is time          WAITING
    it is taken, and nothing shows by what UNKNOWN: ask a server that remembers more, or ask again
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from cocoon_p2p.payments.chain import AccountSeen, Payment, Transaction
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.wallet import (
    Request,
    SignedRequest,
    Transfer,
    Wallet,
    read_request,
    read_seqno,
)

EXPIRY_MARGIN_SECONDS = 60
"""How far the chain must be past a request's time before it counts as void. Blocks of the shards that
the chain is made of are some seconds apart; none is made this far behind the others."""


@dataclass(frozen=True, slots=True)
class Spending:
    """One thing to pay, and all that was signed for it."""

    number: int
    "Whoever spends gives it, and knows by it what became of which payment."

    account: AccountId
    "Whose money it is."

    transfers: tuple[Transfer, ...]

    since_lt: int
    "The wallet's last transaction before anything was signed: what became of it is among later ones."

    last: SignedRequest
    "The one that is being sent."

    names: tuple[bytes, ...] = field(repr=False)
    "The names of all requests that were signed, the last one included."


class Verdict(Enum):
    """What became of a spending."""

    LANDED = "landed"
    TAKEN = "taken"
    EXPIRED = "expired"
    WAITING = "waiting"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Judgement:
    verdict: Verdict
    transaction: Transaction | None = None
    "What took the seqno, where that is known."


def judge_free(spending: Spending, wallet: Wallet, seen: AccountSeen) -> Verdict:
    """Judge by the wallet's account alone: WAITING or EXPIRED; UNKNOWN if the seqno is not free.

    Raises:
        MalformedMessage: What runs at the account is not this wallet.
    """
    request = spending.last.request
    if read_seqno(wallet, seen.code, seen.data) != request.seqno:
        return Verdict.UNKNOWN
    return Verdict.EXPIRED if seen.at >= request.valid_until + EXPIRY_MARGIN_SECONDS else Verdict.WAITING


def judge_taken(spending: Spending, transactions: Iterable[Transaction]) -> Judgement:
    """Judge by what took the seqno, once it is not free: LANDED or TAKEN; UNKNOWN if that is not there.

    Args:
        spending: What was signed.
        transactions: The wallet's since `spending.since_lt`, with or without gaps.
    """
    for one in transactions:
        request = _taken_request(one)
        if request is None:
            continue
        if request.name in spending.names:
            return Judgement(Verdict.LANDED, one)
        if request.seqno == spending.last.request.seqno:
            return Judgement(Verdict.TAKEN, one)
    return Judgement(Verdict.UNKNOWN)


def _taken_request(transaction: Transaction) -> Request | None:
    """Read the request that a transaction carried out.

    An external message makes a transaction only if the wallet took it. One from the masterchain can
    say the same and be taken for one: but the wallet ignores it, and without money it does not even run.
    """
    received = transaction.received
    if received is None or received.other is not None:
        return None
    if received.amount or transaction.exit_code is None:
        return None
    return read_request(received.body)


def left_out(transfers: Sequence[Transfer], sent: Sequence[Payment]) -> tuple[Transfer, ...]:
    """Find the payments that a wallet was told to make and did not: its balance did not cover them.

    Args:
        transfers: What it was told, in order.
        sent: What it sent in that transaction, in order.
    """
    rest = list(sent)
    missing: list[Transfer] = []
    for transfer in transfers:
        if rest and rest[0].other == transfer.to and transfer.amount in (None, rest[0].amount):
            rest.pop(0)
        else:
            missing.append(transfer)
    return tuple(missing)
