"""The purses of one ledger: what they may spend, what they have, and what they owe still.

    await client.purses.allow("key/3f2a", Budget(Nano(10**9), every_seconds=86_400))
    async with client.chat("demo", messages, purse="key/3f2a") as answer: ...

A purse is a note in the ledger. So is each tie of an exchange to its purse, and both are written with the
exchange's own rows, as one: `beside` is called for whatever an account is about to write. There is no
moment, whenever the process dies, in which an exchange is charged and its purse is not.

Spec: payments/settlement.md (Purses). The arithmetic: `purse`.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Annotated

import trio

from cocoon_p2p.client import purse as machine
from cocoon_p2p.client.purse import Budget, Purse, PurseView
from cocoon_p2p.client.ranges import check_text
from cocoon_p2p.errors import ConfigurationError, MalformedMessage, Refused
from cocoon_p2p.ledger import (
    Account,
    Change,
    ChannelName,
    ExchangeForgotten,
    ExchangeRow,
    Note,
    Side,
    Status,
    Store,
)
from cocoon_p2p.payments.settlement import Accounts
from cocoon_p2p.protocols.messages import AChannel, ChannelId, ExchangeId
from cocoon_p2p.protocols.schema import Key, Max, decode_paper, encode_paper
from cocoon_p2p.units import Nano

log = logging.getLogger(__name__)

NAME_MAX_BYTES = 64

PURSES_MAX = 100_000
"""Purses that are remembered, about a kilobyte each. Names may come from strangers (a bot's chats), so there
is an end; a purse that has spent nothing and has no budget is not remembered at all."""

OVER_BUDGET = "over-budget"
"The code of a refusal for want of money in the purse."


_PURSE = "purse/"
_TIE = "purse-tie/"


@dataclass(frozen=True, slots=True)
class _KeptPurse:
    """What a purse's note holds; its name is in the note's."""

    window: Annotated[int, Key(1)]
    spent: Annotated[int, Key(2)]
    drawn: Annotated[int, Key(3)]
    credit: Annotated[int, Key(4)]
    total: Annotated[int, Key(5)]
    limit: Annotated[int | None, Key(6)] = None
    every_seconds: Annotated[int | None, Key(7)] = None


@dataclass(frozen=True, slots=True)
class _KeptTie:
    """What a tie's note holds; the exchange is in the note's name."""

    purse: Annotated[str, Key(1), Max(NAME_MAX_BYTES)]
    channel: Annotated[AChannel, Key(2)]
    amount: Annotated[int, Key(3)]


class Reservation:
    """What one request may cost, set aside in its purse. Made by `Purses.reserved`."""

    def __init__(self, amount: Nano) -> None:
        self.amount = amount
        "In nanoTON: what the request wants, or what was left in the purse where that is less."

    def tie(self, exchange: ExchangeId, amount: Nano) -> None:
        """Before a try: say which exchange it is, and what that can cost."""

    def untie(self, exchange: ExchangeId) -> None:
        """After a try: forget the exchange, unless something was held for it, so that it has an end."""

    def lower(self, exchange: ExchangeId, owed_max: Nano) -> None:
        """Keep no more than this for an exchange that was lost sight of."""


class _InPurse(Reservation):
    """One that has a purse."""

    def __init__(self, amount: Nano, purses: "Purses", name: str, number: int) -> None:
        super().__init__(amount)
        self._purses = purses
        self._name = name
        self._number = number

    def tie(self, exchange: ExchangeId, amount: Nano) -> None:
        self._purses.put(machine.tie(self._purses.get(self._name), self._number, exchange, amount))

    def untie(self, exchange: ExchangeId) -> None:
        self._purses.put(machine.untie(self._purses.get(self._name), exchange))

    def lower(self, exchange: ExchangeId, owed_max: Nano) -> None:
        self._purses.lower(self._name, exchange, owed_max)


class Purses:
    """All purses of a ledger. `purses_of` gives a node's; alone it stands on a ledger that no account uses.

    Args:
        store: The ledger.
        clock: Seconds since the Unix epoch.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._purses: dict[str, Purse] = {}
        self._tied: dict[ExchangeId, _KeptTie] = {}
        "Exchanges that have begun, as their notes say it."

        self._numbers = count()
        self._loading = trio.Lock()
        self._is_loaded = False

    # ------------------------------------------------------------ for the owner

    async def allow(self, name: str, budget: Budget | None) -> PurseView:
        """Give a purse a budget in place of the one that it has; None: what it spends is only counted.

        The same budget again changes nothing, so a program may say it whenever it starts. Where only
        the limit is another, what was spent stays spent; with other windows spending begins anew. What
        is left of top-ups stays. A cancel leaves it on its way to disk.

        Raises:
            ConfigurationError: The name is out of range.
            Refused: There are too many purses.
            Unavailable: The ledger cannot be written.
        """
        return await self._save(machine.allow(self._known(name), budget, self._clock()))

    async def top_up(self, name: str, amount: Nano) -> PurseView:
        """Add money that is spent once the budget is, until it is spent; it outlives windows.

        A cancel leaves it on its way to disk.

        Raises:
            ConfigurationError: The name or the amount is out of range, or the purse has no budget.
            Unavailable: The ledger cannot be written.
        """
        return await self._save(machine.top_up(self._known(name), amount))

    async def look(self, name: str) -> PurseView:
        """Show one purse; a name that was never used is that of an empty one without a budget.

        Raises:
            ConfigurationError: The name is out of range.
        """
        await trio.lowlevel.checkpoint()
        check_name(name)
        return self.get(name).view(self._clock())

    async def list(self, prefix: str = "") -> tuple[PurseView, ...]:
        """Show all purses whose names begin so, in the order of their names."""
        await trio.lowlevel.checkpoint()
        now = self._clock()
        found = sorted(name for name in self._purses if name.startswith(prefix))
        return tuple(self._purses[name].view(now) for name in found)

    # ------------------------------------------------------------ for requests

    @contextmanager
    def reserved(self, name: str | None, wanted: Nano) -> Iterator[Reservation]:
        """Set aside what a request may cost, while the block runs. Exchanges that have begun stay tied.

        Args:
            name: The purse; None: nothing is set aside, and there is as much as is wanted.
            wanted: What the request may cost at most.

        Raises:
            Refused: The purse is empty (`over-budget`), or there are too many.
        """
        if name is None:
            yield Reservation(wanted)
            return
        number = next(self._numbers)
        purse, amount = machine.reserve(self._known(name), number, wanted, self._clock())
        if not amount:
            raise self.over_budget(name)
        self.put(purse)
        try:
            yield _InPurse(amount, self, name, number)
        finally:
            self.put(machine.give_up(self.get(name), number))

    def over_budget(self, name: str) -> Refused:
        """Say that there is not enough in a purse, and when there will be more."""
        purse = self.get(name).view(self._clock())
        limit = 0 if purse.budget is None else purse.budget.limit
        wait = purse.renews_in_seconds if limit else None
        return Refused(
            f"over budget (purse={name} left={purse.left} reserved={purse.reserved} nanoTON)",
            code=OVER_BUDGET,
            hint="top the purse up" + ("" if wait is None else f", or wait {wait:.0f} seconds"),
            retry_after=wait,
        )

    def get(self, name: str) -> Purse:
        """Give a purse as it stands."""
        return self._purses.get(name) or Purse(name)

    def put(self, purse: Purse) -> None:
        """Remember how a purse stands now; the ledger is not told."""
        if purse.is_blank:
            self._purses.pop(purse.name, None)
        else:
            self._purses[purse.name] = purse

    def lower(self, name: str, exchange: ExchangeId, amount: Nano) -> None:
        """Keep no more than this for an exchange, in the ledger too."""
        self.put(machine.lower(self.get(name), exchange, amount))
        kept = self._tied.get(exchange)
        if kept is not None and amount < kept.amount:
            self._store.submit(self._note_tie(exchange, _KeptTie(name, kept.channel, amount)))

    # ------------------------------------------------------------ beside the accounts

    def beside(self, changes: Sequence[Change]) -> tuple[Change, ...]:
        """Say what is to be written together with these changes of an account."""
        return tuple(note for change in changes for note in self._follow(change)) if self._is_loaded else ()

    def _follow(self, change: Change) -> tuple[Note, ...]:
        raise NotImplementedError

    # ------------------------------------------------------------ the ledger

    async def load(self) -> None:
        """Read what the ledger has, and settle with the purses whatever ended while nobody followed.

        Raises:
            ConfigurationError: A note cannot be read.
            Unavailable: The ledger cannot be read or written.
        """
        raise NotImplementedError

    async def _save(self, purse: Purse) -> PurseView:
        self.put(purse)
        await self._store.submit(_note(purse)).wait()
        return self.get(purse.name).view(self._clock())

    def _known(self, name: str) -> Purse:
        check_name(name)
        if name not in self._purses and len(self._purses) >= PURSES_MAX:
            raise Refused(
                f"too many purses (most={PURSES_MAX})",
                code="too-many-purses",
                hint="take the budgets of those away that nobody uses",
            )
        return self.get(name)

    def _note_tie(self, exchange: ExchangeId, kept: _KeptTie) -> Note:
        self._tied[exchange] = kept
        return Note(f"{_TIE}{exchange.hex()}", encode_paper(kept))


def check_name(name: str) -> None:
    """Refuse what no purse is named.

    Raises:
        ConfigurationError: It is too long, empty, or has characters that cannot be shown.
    """
    check_text("purse", name, NAME_MAX_BYTES)
    if not name or not name.isprintable():
        raise ConfigurationError("a purse's name is empty, or has characters that cannot be shown")


def _note(purse: Purse) -> Note:
    if purse.budget is None and not purse.total and not purse.credit:
        return Note(_PURSE + purse.name, None)
    budget = purse.budget
    kept = _KeptPurse(
        purse.window,
        purse.spent,
        purse.drawn,
        purse.credit,
        purse.total,
        None if budget is None else budget.limit,
        None if budget is None else budget.every_seconds,
    )
    return Note(_PURSE + purse.name, encode_paper(kept))
