"""The purses of one ledger: what they may spend, what they have, and what they owe still.

    await client.purses.allow("key/3f2a", Budget(Nano(10**9), every_seconds=86_400))
    async with client.chat("demo", messages, purse="key/3f2a") as answer: ...

A purse is a note in the ledger. So is each tie of an exchange to its purse, and both are written with the
exchange's own rows, as one: `beside` is called for whatever an account is about to write. There is no
moment, whenever the process dies, in which an exchange is charged and its purse is not.

Spec: payments/settlement.md (Purses). The arithmetic: `purse`.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from typing import Annotated, TypeVar

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

Kept = TypeVar("Kept")

NAME_MAX_BYTES = 64
ONCE_MAX_BYTES = 256

PURSES_MAX = 100_000
"""Purses that are remembered, all of them in memory, 0.4 KB each. Names may come from strangers (a bot's
chats), so there is an end; a purse that has spent nothing and has no budget is not remembered at all."""

OVER_BUDGET = "over-budget"
"The code of a refusal for want of money in the purse."


_PURSE = "purse/"
_TIE = "purse-tie/"
_TOP_UP = "purse-top-up/"


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
        self._tied: dict[ExchangeId, str] = {}
        "The purse of each exchange that is tied to one."

        self._top_ups: set[str] = set()
        "The notes of top-ups that are done once."

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

    async def top_up(self, name: str, amount: Nano, *, once: str | None = None) -> PurseView:
        """Add money that is spent once the budget is, until it is spent; it outlives windows.

        Args:
            name: The purse.
            amount: In nanoTON.
            once: What the money came by, such as a payment's id: the second time that it is told of the same
                purse, also in another life, nothing is added.

        A cancel leaves it on its way to disk.

        Raises:
            ConfigurationError: The name or the amount is out of range, or the purse has no budget.
            Unavailable: The ledger cannot be written.
        """
        purse = self._known(name)
        if once is None:
            return await self._save(machine.top_up(purse, amount))
        check_text("what a top-up came by", once, ONCE_MAX_BYTES)
        key = _TOP_UP + sha256(f"{name}\n{once}".encode()).hexdigest()
        if key in self._top_ups:
            # Whatever became of the purse since: who tells of payments tells again until it is heard.
            return await self._save(self.get(name))
        topped_up = machine.top_up(purse, amount)
        self._top_ups.add(key)
        return await self._save(topped_up, Note(key, b""))

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

    async def _save(self, purse: Purse, *besides: Note) -> PurseView:
        self.put(purse)
        await self._store.submit(_note(purse), *besides).wait()
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
        assert self._is_loaded, "who has not read what was spent cannot say what is left"
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
        wait = purse.renews_in_seconds if purse.budget is not None and purse.budget.limit else None
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
        before = self.get(purse.name).ties
        if purse.ties is not before:
            for exchange in before.keys() - purse.ties.keys():
                del self._tied[exchange]
            self._tied.update(dict.fromkeys(purse.ties.keys() - before.keys(), purse.name))
        if purse.is_blank:
            self._purses.pop(purse.name, None)
        else:
            self._purses[purse.name] = purse

    def lower(self, name: str, exchange: ExchangeId, amount: Nano) -> None:
        """Keep no more than this for an exchange, in the ledger too."""
        self.put(machine.lower(self.get(name), exchange, amount))
        if exchange in self._tied:
            self._store.submit(*_note_tie(self.get(name), exchange))

    # ------------------------------------------------------------ beside the accounts

    def beside(self, changes: Sequence[Change]) -> tuple[Change, ...]:
        """Say what is to be written together with these changes of an account (`party.Beside`)."""
        if not self._is_loaded:
            # What ends meanwhile is found by its row once the ties are read.
            return ()
        return tuple(note for change in changes for note in self._follow(change))

    def _is_tied(self, name: ChannelName, exchange: ExchangeId) -> bool:
        """Say whether it is our exchange: others choose ids as they like, on channels of their own."""
        purse = self._tied.get(exchange)
        if purse is None or name.side is not Side.PAYER:
            return False
        return self.get(purse).ties[exchange].channel in (None, name.channel)

    def limit(self, exchange: ExchangeId) -> Nano | None:
        """Say what an exchange can cost at most, if it is tied to a purse (`party.Beside`)."""
        name = self._tied.get(exchange)
        return None if name is None else self.get(name).ties[exchange].amount

    def _follow(self, change: Change) -> tuple[Note, ...]:
        if isinstance(change, ExchangeRow | ExchangeForgotten) and not self._is_tied(
            change.name, change.exchange
        ):
            return ()
        match change:
            case ExchangeRow(status=Status.RUNNING):
                return self._begin(change.exchange, change.name.channel)
            case ExchangeRow(status=Status.ENDED):
                return self._end(change.exchange, change.amount)
            case ExchangeForgotten():
                return self._end(change.exchange, Nano(0))
            case _:
                return ()

    def _begin(self, exchange: ExchangeId, channel: ChannelId) -> tuple[Note, ...]:
        name = self._tied.get(exchange)
        if name is None:
            return ()
        self.put(machine.begin(self.get(name), exchange, channel))
        return _note_tie(self.get(name), exchange)

    def _end(self, exchange: ExchangeId, charged: Nano) -> tuple[Note, ...]:
        name = self._tied.get(exchange)
        if name is None:
            return ()
        ended = machine.end(self.get(name), exchange, charged, self._clock())
        self.put(ended)
        untied = Note(_TIE + exchange.hex(), None)
        return (untied, _note(ended)) if charged else (untied,)

    # ------------------------------------------------------------ the ledger

    async def load(self) -> None:
        """Read what the ledger has, and count what ended while nobody followed. The second time does nothing.

        Raises:
            ConfigurationError: A note cannot be read.
            Unavailable: The ledger cannot be read or written.
        """
        async with self._loading:
            if self._is_loaded:
                return
            purses = await self._store.notes(_PURSE)
            ties = {
                ExchangeId(bytes.fromhex(key.removeprefix(_TIE))): _read(_KeptTie, key, value)
                for key, value in (await self._store.notes(_TIE)).items()
            }
            self._top_ups.update(await self._store.notes(_TOP_UP))
            charged = await self._charged(ties)
            # From here on without a pause: what ends later is followed, what ended before has its row.
            for key, value in purses.items():
                purse = _purse(key.removeprefix(_PURSE), _read(_KeptPurse, key, value))
                self._purses[purse.name] = purse
            self._is_loaded = True
            notes = [
                note for exchange, kept in ties.items() for note in self._restore(exchange, kept, charged)
            ]
            self._store.submit(*notes)

    def _restore(
        self, exchange: ExchangeId, kept: _KeptTie, charged: Mapping[ExchangeId, Nano]
    ) -> tuple[Note, ...]:
        """Tie an exchange again; end it at once if it has ended."""
        purse = self.get(kept.purse)
        self.put(machine.restore(purse, exchange, ChannelId(kept.channel), Nano(kept.amount)))
        row = self._row(exchange, kept)
        if row is not None and row.status is not Status.ENDED:
            return ()
        return self._end(exchange, charged.get(exchange, Nano(0)) if row is None else row.amount)

    async def _charged(self, ties: Mapping[ExchangeId, _KeptTie]) -> Mapping[ExchangeId, Nano]:
        """Find what was charged for exchanges whose rows may be gone: rows are dropped after a month, the
        books keep what was charged."""
        rows = {exchange: self._row(exchange, kept) for exchange, kept in ties.items()}
        charged = {
            exchange: row.amount
            for exchange, row in rows.items()
            if row is not None and row.status is Status.ENDED
        }
        if None in rows.values():
            for line in await self._store.lines():
                if line.exchange is not None and line.exchange in rows and line.target is Account.EXPENSE:
                    charged[line.exchange] = line.amount
        return charged

    def _row(self, exchange: ExchangeId, kept: _KeptTie) -> ExchangeRow | None:
        return self._store.exchange(ChannelName(Side.PAYER, ChannelId(kept.channel)), exchange)


async def open_purses(store: Store, clock: Callable[[], float] = time.time) -> Purses:
    """Read the purses of a ledger before its accounts are open (`open_accounts`). Raises as `Purses.load`."""
    purses = Purses(store, clock)
    await purses.load()
    return purses


def purses_of(accounts: Accounts, clock: Callable[[], float]) -> Purses:
    """Give the purses of the ledger that a node's accounts are in: one `Purses`, however many clients."""
    purses = accounts.beside
    if not isinstance(purses, Purses):
        accounts.beside = purses = Purses(accounts.store, clock)
    return purses


def check_name(name: str) -> None:
    """Refuse what no purse is named.

    Raises:
        ConfigurationError: It is too long, empty, or has characters that cannot be shown.
    """
    check_text("purse", name, NAME_MAX_BYTES)
    if not name or not name.isprintable():
        raise ConfigurationError("a purse's name is empty, or has characters that cannot be shown")


# ---------------------------------------------------------------- notes


def _note(purse: Purse) -> Note:
    budget, key = purse.budget, _PURSE + purse.name
    if budget is None and not purse.total and not purse.credit:
        return Note(key, None)
    kept = _KeptPurse(
        window=purse.window,
        spent=purse.spent,
        drawn=purse.drawn,
        credit=purse.credit,
        total=purse.total,
        limit=None if budget is None else budget.limit,
        every_seconds=None if budget is None else budget.every_seconds,
    )
    return Note(key, encode_paper(kept))


def _purse(name: str, kept: _KeptPurse) -> Purse:
    return Purse(
        name,
        budget=None if kept.limit is None else Budget(Nano(kept.limit), kept.every_seconds),
        window=kept.window,
        spent=Nano(kept.spent),
        drawn=Nano(kept.drawn),
        credit=Nano(kept.credit),
        total=Nano(kept.total),
    )


def _note_tie(purse: Purse, exchange: ExchangeId) -> tuple[Note, ...]:
    """Spell a tie as the ledger keeps it; nothing is kept of one that has not begun."""
    tied = purse.ties[exchange]
    if tied.channel is None:
        return ()
    return (Note(_TIE + exchange.hex(), encode_paper(_KeptTie(purse.name, tied.channel, tied.amount))),)


def _read(shape: type[Kept], key: str, value: bytes) -> Kept:
    try:
        return decode_paper(shape, value)
    except MalformedMessage as exc:
        # Money stands on it: to go on without it would be to forget what was spent.
        raise ConfigurationError(
            f"a note in the ledger cannot be read: {exc} (note={key})",
            hint="was it written by a newer version of this program?",
        ) from exc
