"""A ledger in memory: what a store promises, in the fewest lines, with a crash on demand.

Nothing waits for a disk or a thread, so trio's `autojump_clock` works with it. What was handed
over lands a scheduler turn later, so code that counts on a write before it waited for it fails here too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import trio

from cocoon_p2p.errors import CocoonError, Unavailable
from cocoon_p2p.ledger import (
    DAY_SECONDS,
    Account,
    Change,
    ChannelForgotten,
    ChannelName,
    ChannelRow,
    Cost,
    Delivery,
    EndedForgotten,
    Evidence,
    ExchangeForgotten,
    ExchangeRow,
    Line,
    Note,
    Side,
    Status,
    Turnover,
)
from cocoon_p2p.protocols.messages import ExchangeId


class MemoryDisk:
    """What outlives a crash."""

    def __init__(self) -> None:
        self.channels: dict[ChannelName, ChannelRow] = {}
        self.exchanges: dict[tuple[ChannelName, ExchangeId], ExchangeRow] = {}
        self.lines: dict[tuple[ChannelName, int], Line] = {}
        self.evidence: list[Evidence] = []
        self.notes: dict[str, bytes] = {}
        self.deliveries: dict[tuple[ChannelName, ExchangeId], Delivery] = {}
        self.costs: dict[tuple[bytes, int], Cost] = {}

    def copy(self) -> "MemoryDisk":
        """Keep a backup."""
        other = MemoryDisk()
        other.channels, other.exchanges = dict(self.channels), dict(self.exchanges)
        other.lines, other.evidence = dict(self.lines), list(self.evidence)
        other.notes = dict(self.notes)
        other.deliveries, other.costs = dict(self.deliveries), dict(self.costs)
        return other

    def turnover(self) -> Iterator[tuple[int, Turnover]]:
        """Give every booking as a turnover of its own, with its time."""
        for line in self.lines.values():
            delivery = None if line.exchange is None else self.deliveries.get((line.name, line.exchange))
            income = (line.source is Account.INCOME) - (line.target is Account.INCOME)
            expense = (line.target is Account.EXPENSE) - (line.source is Account.EXPENSE)
            yield (
                line.at,
                Turnover(
                    name=line.name,
                    day=line.at // DAY_SECONDS,
                    label="" if delivery is None else delivery.model,
                    income=income * line.amount,
                    expense=expense * line.amount,
                    fees=(line.target is Account.FEES) * line.amount,
                ),
            )
        for each in self.deliveries.values():
            yield (
                each.at,
                Turnover(
                    name=each.name,
                    day=each.at // DAY_SECONDS,
                    label=each.model,
                    exchanges=1,
                    prompt=each.prompt,
                    cached=each.cached,
                    completion=each.completion,
                    reasoning=each.reasoning,
                    commission=each.commission,
                ),
            )
        for cost in self.costs.values():
            yield cost.at, Turnover(name=None, day=cost.at // DAY_SECONDS, label=cost.what, fees=cost.amount)

    def write(self, change: Change) -> None:
        match change:
            case ChannelRow():
                self.channels[change.name] = change
            case ExchangeRow():
                self.exchanges[change.name, change.exchange] = change
            case ChannelForgotten():
                self.channels.pop(change.name, None)
                for name, number in tuple(self.lines):
                    if name == change.name:
                        del self.lines[name, number]
                for name, exchange in tuple(self.deliveries):
                    if name == change.name:
                        del self.deliveries[name, exchange]
            case ExchangeForgotten():
                self.exchanges.pop((change.name, change.exchange), None)
            case EndedForgotten():
                for key, row in tuple(self.exchanges.items()):
                    if row.status is Status.ENDED and row.at < change.before:
                        del self.exchanges[key]
            case Line():
                self.lines[change.name, change.number] = change
            case Delivery():
                known = self.deliveries.get((change.name, change.exchange))
                # The day of the first charge holds.
                kept = change if known is None else replace(change, at=known.at)
                self.deliveries[change.name, change.exchange] = kept
            case Cost():
                self.costs[change.account, change.lt] = change
            case Evidence():
                if change not in self.evidence:
                    self.evidence.append(change)
            case Note(key=key, value=value):
                if value is None:
                    self.notes.pop(key, None)
                else:
                    self.notes[key] = value


class _Handed:
    def __init__(self, store: "MemoryStore", changes: tuple[Change, ...]) -> None:
        self._store = store
        self.changes = changes
        self.done = False

    async def wait(self) -> None:
        await trio.sleep(self._store.flush_seconds)
        if not self.done:
            self._store.land(self)
        if self._store.died.is_set():
            await trio.sleep_forever()
        if self._store.error is not None:
            raise self._store.error


class MemoryStore:
    """A node's ledger (`ledger.Store`) on a `MemoryDisk`.

    Args:
        disk: What is there already; a fresh one if left out.
        fail_after: Let this many writes land, then fail every one, as a full disk does.
        die_after: Let this many writes land, then let the machine die: `died` is set, nothing lands any
            more, and who waits, waits until its task is cancelled.
        lands_by_itself: Let what was handed over land soon, as on a real disk; else it lands when it,
            or something after it, is waited for (and needs no running trio before).
        flush_seconds: How long who waits for a write waits at least.
    """

    def __init__(
        self,
        disk: MemoryDisk | None = None,
        *,
        fail_after: int | None = None,
        die_after: int | None = None,
        lands_by_itself: bool = True,
        flush_seconds: float = 0.0,
    ) -> None:
        self.disk = disk or MemoryDisk()
        self.flush_seconds = flush_seconds
        self.landed = 0
        self.error: CocoonError | None = None
        self.died = trio.Event()
        self._fail_after = fail_after
        self._die_after = die_after
        self._lands_by_itself = lands_by_itself
        self._queue: list[_Handed] = []
        self._view = self.disk.copy()

    def submit(self, *changes: Change) -> _Handed:
        handed = _Handed(self, changes)
        for change in changes:
            self._view.write(change)
        self._queue.append(handed)
        if self._lands_by_itself:
            trio.lowlevel.current_trio_token().run_sync_soon(self.land, handed)
        return handed

    def land(self, last: _Handed) -> None:
        """Let what was handed over land, up to and with `last`, in order."""
        while self._queue and not last.done and self.error is None and not self.died.is_set():
            handed = self._queue.pop(0)
            if handed.changes and self._fail_after is not None and self.landed >= self._fail_after:
                self.error = Unavailable("the ledger cannot be written: the disk is full")
                return
            for change in handed.changes:
                self.disk.write(change)
            self.landed += bool(handed.changes)
            handed.done = True
            if handed.changes and self.landed == self._die_after:
                self.died.set()

    def exchange(self, name: ChannelName, exchange: ExchangeId) -> ExchangeRow | None:
        return self._view.exchanges.get((name, exchange))

    def ended(self, exchange: ExchangeId) -> ExchangeRow | None:
        for (name, other), row in self._view.exchanges.items():
            if other == exchange and name.side is Side.PAYEE and row.status is Status.ENDED:
                return row
        return None

    async def channels(self) -> Sequence[ChannelRow]:
        await self.submit().wait()
        return tuple(self.disk.channels.values())

    async def unsettled(self) -> Sequence[ExchangeRow]:
        await self.submit().wait()
        return tuple(row for row in self.disk.exchanges.values() if row.status is not Status.ENDED)

    async def lines(self) -> Sequence[Line]:
        await self.submit().wait()
        return tuple(line for _, line in sorted(self.disk.lines.items(), key=lambda item: item[0][1]))

    async def turnover(self, since: int, until: int) -> Sequence[Turnover]:
        await self.submit().wait()
        return [each for at, each in self.disk.turnover() if since <= at < until]

    async def notes(self, prefix: str) -> Mapping[str, bytes]:
        await self.submit().wait()
        return {key: value for key, value in sorted(self.disk.notes.items()) if key.startswith(prefix)}
