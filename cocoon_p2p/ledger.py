"""What a ledger is: rows, double-entry lines, and the door through which a node writes them.

A node's ledger holds three things for each channel. Its *row* is what the channel's machine
needs to go on after a restart; the papers in it are the wire's own bytes. Its *exchanges* are
who was charged what, once, and the paper for it. Its *lines* are the books: every amount
stands on two accounts, and adding the lines up gives the balances that the row claims.

    what happens             payer's books                payee's books
    a deposit                WALLET  -> DEPOSIT           -
    its storage is paid      DEPOSIT -> FEES              -
    a voucher                VOUCHERS -> OWED             OWED -> VOUCHERS
    an exchange is charged   OWED -> EXPENSE              INCOME -> OWED
    the charge is lowered    -                            OWED -> INCOME
    the payee claims         DEPOSIT -> VOUCHERS          VOUCHERS -> WALLET
    the channel is settled   OWED -> VOUCHERS (taken back), DEPOSIT -> OWED, DEPOSIT -> WALLET
                                                          VOUCHERS -> OWED, OWED -> WALLET

An arrow leads from the account that is credited (its balance falls) to the one that is debited.

Spec: payments/settlement.md (The ledger).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from cocoon_p2p.identity import PeerId
from cocoon_p2p.protocols.messages import ChannelId, ExchangeId
from cocoon_p2p.units import Nano

_NOTHING = Nano(0)


class Side(IntEnum):
    """Which end of the channel we are."""

    PAYER = 1
    PAYEE = 2


class Account(IntEnum):
    """Where money can stand. The numbers are what a ledger keeps."""

    WALLET = 1
    DEPOSIT = 2
    "Locked in the channel by us."

    VOUCHERS = 3
    "Promised by voucher: to us it is claimable, from us it may be claimed."

    OWED = 4
    """The rest of what is owed. A payee's falls below zero, and a payer's rises above it, while more
    is vouchered than charged."""

    INCOME = 5
    EXPENSE = 6
    FEES = 7
    "What the chain took out of a deposit."


class Status(IntEnum):
    """How far an exchange is, for the money's sake."""

    RUNNING = 1
    "A payer's alone: something is held for it."

    BROKEN = 2
    "A payer's alone: held at what its Meter comes to, and charged once the payee agrees."

    ENDED = 3


@dataclass(frozen=True, slots=True)
class ChannelName:
    """One end of one channel: what every row and line belongs to."""

    side: Side
    channel: ChannelId


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """A channel as it stands. Writing a row replaces the one of the same name."""

    name: ChannelName
    peer: PeerId
    "Who is at the other end."

    offer: bytes
    "The signed `ChannelOffer`, as CBOR."

    seed: bytes | None = field(repr=False)
    "The channel key's private seed; a payer's alone."

    phase: int
    vouchered: Nano = _NOTHING
    charged: Nano = _NOTHING
    lines: int = 0
    "How many lines the books hold of it: the number of the next one."

    epoch: int = 0
    "The life of its contract, as last seen; 0 without one. This and the next four are `channel.Backing`."

    deposit: Nano = _NOTHING
    claimed: Nano = _NOTHING
    close_at: int = 0
    is_settled: bool = False

    voucher: bytes | None = None
    "The newest `Voucher` message, as CBOR."

    state: bytes | None = None
    "The newest signed `ChannelState`, as CBOR."

    terms: bytes | None = None
    "The `CloseTerms` that we signed, as CBOR with our signature."

    earned: bytes | None = None
    "A payee's: the newest `Voucher` that promises no more than was charged, as CBOR: what a claim takes."

    agreed: bytes | None = None
    "The `CloseAgreed` or `CloseWanted` message with the peer's signatures over the same terms, as CBOR."


@dataclass(frozen=True, slots=True)
class ExchangeRow:
    """An exchange on a channel. Writing a row replaces the one of the same channel and exchange."""

    name: ChannelName
    exchange: ExchangeId
    status: Status
    amount: Nano
    "What it was charged at; for one that broke, what it was settled at and is to be charged at."

    held: Nano
    "What a payer still holds for it."

    total: Nano
    "What the channel had charged, all told, with this exchange."

    paper: bytes | None
    "The signed receipt or settlement, as CBOR; for an exchange that broke, the `PaperWanted` that is asked."

    at: int
    "When it was written, in seconds since the Unix epoch."


@dataclass(frozen=True, slots=True)
class ExchangeForgotten:
    """Drop the row of an exchange that cost nothing."""

    name: ChannelName
    exchange: ExchangeId


@dataclass(frozen=True, slots=True)
class ChannelForgotten:
    """Drop a channel on which nothing was ever charged: its row and its lines."""

    name: ChannelName


@dataclass(frozen=True, slots=True)
class EndedForgotten:
    """Drop ended exchanges that were written before a time, with their papers. Lines stay.

    From then on the same exchange id could be charged again.
    """

    before: int
    "Seconds since the Unix epoch."


@dataclass(frozen=True, slots=True)
class Line:
    """One movement, from one account to another, both of the same channel.

    Writing a line replaces the one of the same channel and number: that makes writing it twice
    harmless, and lets a run of vouchers be one line that grows.
    """

    name: ChannelName
    number: int
    source: Account
    "Credited: falls by `amount`."

    target: Account
    "Debited: rises by `amount`."

    amount: Nano
    exchange: ExchangeId | None
    at: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Papers that contradict each other, kept for whoever has to look."""

    name: ChannelName
    reason: str
    papers: tuple[bytes, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Note:
    """Something small to be remembered under a name. Writing a note replaces the one of the same name."""

    key: str
    value: bytes | None
    "None drops it."


@dataclass(frozen=True, slots=True)
class Delivery:
    """What was delivered for a charge, as its paper says; kept for as long as the lines are.

    Writing a delivery replaces the one of the same channel and exchange.
    """

    name: ChannelName
    exchange: ExchangeId
    model: str
    "A worker's word, unescaped; empty where the paper names none: the exchange broke off."

    prompt: int
    cached: int
    completion: int
    reasoning: int
    "Tokens. The classes do not overlap."

    commission: Nano
    "What of the charge is the proxy's; 0 where the paper is the worker's."

    at: int
    "When it was first charged, in seconds since the Unix epoch."


@dataclass(frozen=True, slots=True)
class Cost:
    """What the chain took for one transaction of ours, beyond what came out of a deposit.

    Writing a cost replaces the one of the same transaction.
    """

    account: bytes
    "Whose transaction: our wallet, or the contract of a claim."

    lt: int
    "The transaction's logical time."

    what: str
    "`wallet`: the fees of a payment. `claim`: what a claim brought less than the contract paid out by it."

    amount: Nano
    at: int


DAY_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Turnover:
    """A day's sums of one kind at one channel's end; amounts in nanoTON, counts of tokens.

    There may be several of the same name, day and label: what was booked, and what was delivered.
    """

    name: ChannelName | None
    "None: a cost of ours that belongs to no channel's end."

    day: int
    "Days (UTC) since the Unix epoch."

    label: str
    "The model; of a cost, what it was."

    exchanges: int = 0
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0
    commission: int = 0
    income: int = 0
    expense: int = 0
    fees: int = 0


Change = (
    ChannelRow
    | ChannelForgotten
    | ExchangeRow
    | ExchangeForgotten
    | EndedForgotten
    | Line
    | Evidence
    | Note
    | Delivery
    | Cost
)


class Written(Protocol):
    """A write that was handed over."""

    async def wait(self) -> None:
        """Return once it is on disk. A cancel leaves the write on its way.

        Raises:
            Unavailable: It could not be written. Nothing after it will be either.
        """
        ...


class Store(Protocol):
    """One node's ledger, open for writing by this process alone."""

    def submit(self, *changes: Change) -> Written:
        """Hand over changes that are written together or not at all.

        Writes land in the order in which they were handed over, so whoever waits for one may count
        on all before it. Without changes it is a mark in that order, to wait for.
        """
        ...

    def exchange(self, name: ChannelName, exchange: ExchangeId) -> ExchangeRow | None:
        """Look an exchange up, at once (tens of microseconds).

        What was handed over counts, but for an `EndedForgotten`: that counts once it is on disk.
        """
        ...

    def ended(self, exchange: ExchangeId) -> ExchangeRow | None:
        """Look up how an exchange ended that we were paid for, on whatever channel; likewise at once."""
        ...

    async def channels(self) -> Sequence[ChannelRow]:
        """Read every channel."""
        ...

    async def unsettled(self) -> Sequence[ExchangeRow]:
        """Read the exchanges that run or broke."""
        ...

    async def lines(self) -> Sequence[Line]:
        """Read the books, in order."""
        ...

    async def turnover(self, since: int, until: int) -> Sequence[Turnover]:
        """Add up what was booked from one time until another, in seconds since the Unix epoch."""
        ...

    async def notes(self, prefix: str) -> Mapping[str, bytes]:
        """Read the notes whose names begin so, in the order of their names."""
        ...


Balances = Mapping[tuple[ChannelName, Account], int]


def balances(lines: Iterable[Line]) -> Balances:
    """Replay the books. The balances of a channel always add up to zero."""
    result: defaultdict[tuple[ChannelName, Account], int] = defaultdict(int)
    for line in lines:
        result[line.name, line.source] -= line.amount
        result[line.name, line.target] += line.amount
    return dict(result)


def audit(rows: Iterable[ChannelRow], lines: Iterable[Line]) -> tuple[str, ...]:
    """Compare what the rows claim with what the books add up to; name each difference."""
    replayed = balances(lines)
    found: list[str] = []
    for row in rows:
        is_payer = row.name.side is Side.PAYER
        sign, cost = (-1, Account.EXPENSE) if is_payer else (1, Account.INCOME)
        vouchered = sign * replayed.get((row.name, Account.VOUCHERS), 0)
        charged = -sign * replayed.get((row.name, cost), 0)
        expected = 0 if row.is_settled else row.vouchered - row.claimed
        if vouchered != expected:
            found.append(_difference(row.name, "vouchered", expected, vouchered))
        if charged != row.charged:
            found.append(_difference(row.name, "charged", row.charged, charged))
        deposit = replayed.get((row.name, Account.DEPOSIT), 0)
        expected = row.deposit - row.claimed if is_payer and not row.is_settled else 0
        if deposit != expected:
            found.append(_difference(row.name, "deposit", expected, deposit))
    return tuple(found)


def _difference(name: ChannelName, what: str, row: int, books: int) -> str:
    channel = name.channel.hex()[:16]
    return f"{what} differs (channel={channel} side={name.side.name.lower()} row={row} books={books} nanoTON)"
