"""What an explorer has seen, in one SQLite file: the last look, and how it came to that.

One process writes it. Each look is one transaction with all that it changes, so whoever kills that process
loses a look, and counts nothing twice.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import trio

from cocoon_p2p.errors import CocoonError, ConfigurationError
from cocoon_p2p.explorer.channels import Followed
from cocoon_p2p.explorer.observing import ChainSeen
from cocoon_p2p.explorer.schema import open_file
from cocoon_p2p.explorer.series import chain_points, network_points
from cocoon_p2p.explorer.sightings import NetworkSeen, ProxySeen
from cocoon_p2p.explorer.thinning import DAILY_SECONDS, DAY_SECONDS, HOUR_SECONDS, kept
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.lite.queries import BlockId

T = TypeVar("T")

SERIES_MAX = 256
"Series that are kept. For a new one the price goes that has had no point for longest."

SAME_SECONDS = 300
"How often the chain's figures are noted while they do not change."

PROXIES_KEPT_SECONDS = 30 * DAY_SECONDS
"How long a proxy is remembered that is not seen any more."

PROXIES_MAX = 4096
"Proxies that are remembered; beyond, those seen longest ago are not."

THIN_SECONDS = HOUR_SECONDS


class DiskFailed(CocoonError):
    """What was seen cannot be kept. Memory is ahead of the file by then: begin anew from the file."""

    code = "disk-failed"


class Crawl(msgspec.Struct, frozen=True):
    """When the directory was looked at last, and what else was seen than proxies."""

    at: int
    servers: int
    silent: int
    is_whole: bool


class Tally(msgspec.Struct, frozen=True):
    """What was seen on chain, all told."""

    began_at: int = 0
    at: int = 0
    "By the chain's clock, both."

    blocks: int = 0
    missed: int = 0
    opened: int = 0
    closed: int = 0
    settlements: int = 0
    settled: int = 0
    "In nanoTON."

    left_out: int = 0


@dataclass(frozen=True, slots=True)
class KnownProxy:
    """A proxy of the last look."""

    proxy: ProxySeen
    first_seen: int
    last_seen: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand, by the last looks."""

    began_at: int
    "When this file was begun, in seconds since the Unix epoch."

    crawl: Crawl | None
    proxies: tuple[KnownProxy, ...]
    tally: Tally | None
    "None: no chain was looked at."

    channels: tuple[Followed, ...]


class Store:
    """An explorer's file. Made by `open_store`."""

    def __init__(self, connection: sqlite3.Connection, *, is_read_only: bool) -> None:
        self._connection = connection
        self._begin = "begin" if is_read_only else "begin immediate"
        self._turn = trio.Lock()

    async def keep_network(self, seen: NetworkSeen, now: int) -> None:
        """Keep a look at the directory. A cancel waits until it is written, or not.

        Raises:
            DiskFailed: The disk does not take it.
        """
        await self._do(partial(self._keep_network, seen, now))

    async def keep_chain(self, seen: ChainSeen, now: int) -> None:
        """Keep a look at the chain. As `keep_network`."""
        await self._do(partial(self._keep_chain, seen, now))

    async def standing(self) -> Standing:
        """Say how things stand."""
        return await self._do(self._standing)

    async def tops(self) -> tuple[BlockId, ...]:
        """Say which of the chain's blocks were read last."""
        found: list[BlockId] | None = await self._do(lambda: self._note("tops", list[BlockId]))
        return tuple(found or ())

    async def points(self, names: Sequence[str]) -> Mapping[str, Sequence[tuple[int, int]]]:
        """Give series by name, each with its times and values, oldest first."""
        return await self._do(partial(self._points, names))

    async def series(self) -> tuple[str, ...]:
        """Name all series."""
        return await self._do(self._series)

    async def hours(self, since: int) -> tuple[tuple[int, int, int], ...]:
        """Give of each hour that had any: when it began, its settlements, and their sum in nanoTON."""
        return await self._do(partial(self._hours, since))

    async def _do(self, work: Callable[[], T]) -> T:
        async with self._turn:
            # A thread that has begun is waited for: the next one must not run beside it.
            try:
                return await trio.to_thread.run_sync(self._transact, work)
            except sqlite3.Error as exc:
                raise DiskFailed(
                    f"the explorer's file cannot be used: {exc}", hint="is there room on the disk?"
                ) from exc

    def _transact(self, work: Callable[[], T]) -> T:
        with self._connection:
            self._connection.execute(self._begin)
            return work()

    # ------------------------------------------------------------ written

    def _keep_network(self, seen: NetworkSeen, now: int) -> None:
        run = self._connection.execute
        for proxy in seen.proxies:
            run(
                "insert into proxies values (?1, ?2, ?2, ?3)"
                " on conflict do update set last_seen = ?2, seen = ?3",
                (proxy.peer, now, msgspec.json.encode(proxy).decode()),
            )
        run("delete from proxies where last_seen < ?", (now - PROXIES_KEPT_SECONDS,))
        run(
            "delete from proxies where peer not in"
            " (select peer from proxies order by last_seen desc, peer limit ?)",
            (PROXIES_MAX,),
        )
        self._write_note("crawl", Crawl(now, seen.servers, seen.silent, seen.is_whole))
        self._add(network_points(seen), now)

    def _keep_chain(self, seen: ChainSeen, now: int) -> None:
        run = self._connection.execute
        for account in seen.gone:
            run("delete from channels where account = ?", (account,))
        for channel in seen.followed:
            run("insert or replace into channels values (?, ?, ?, ?, ?, ?, ?, ?, ?)", astuple(channel))
        for settlement in seen.settlements:
            run(
                "insert into hours values (?1, 1, ?2) on conflict do update"
                " set settlements = settlements + 1, amount = amount + ?2",
                (settlement.at // HOUR_SECONDS * HOUR_SECONDS, settlement.amount),
            )
        run("delete from hours where hour < ?", (seen.at - DAILY_SECONDS,))
        if seen.tops is not None:
            self._write_note("tops", seen.tops)
        self._write_note("tally", _added(self._note("tally", Tally) or Tally(began_at=seen.at), seen))
        points = chain_points(self._channels())
        if not self._is_same(points, now):
            self._add(points, now)

    def _add(self, points: Mapping[str, int], now: int) -> None:
        run = self._connection.execute
        known = set(self._series())
        for name, value in points.items():
            if name not in known and len(known) >= SERIES_MAX and (oldest := self._oldest(now)):
                run("delete from points where series = ?", (oldest,))
                run("delete from series where name = ?", (oldest,))
                known.remove(oldest)
            if name in known or len(known) < SERIES_MAX:
                known.add(name)
                run("insert or replace into points values (?, ?, ?)", (name, now, value))
                run("insert or replace into series values (?, ?, ?)", (name, now, value))
        self._thin(known, now)

    def _oldest(self, now: int) -> str:
        """Name the prices that have had no point for longest; empty: all have one of now."""
        # Models are named by anybody; what else there is stays, though a chain be away for a day.
        query = (
            "select name from series where last_at != ? and name glob 'price/*'"
            " order by last_at, name limit 1"
        )
        row = self._connection.execute(query, (now,)).fetchone()
        return "" if row is None else str(row[0])

    def _is_same(self, points: Mapping[str, int], now: int) -> bool:
        """Say whether nothing has changed since a moment ago: then another point tells nothing."""
        rows = self._connection.execute("select * from series").fetchall()
        last = {name: (at, value) for name, at, value in rows}
        return all(
            name in last and last[name][1] == value and 0 <= now - last[name][0] < SAME_SECONDS
            for name, value in points.items()
        )

    def _thin(self, names: Iterable[str], now: int) -> None:
        last = self._note("thinned", int) or 0
        # A clock that was set back is not waited for.
        if 0 <= now - last < THIN_SECONDS:
            return
        for name in names:
            rows = self._connection.execute("select at from points where series = ?", (name,))
            times = {at for (at,) in rows}
            gone = ((name, at) for at in times.difference(kept(times, now)))
            self._connection.executemany("delete from points where series = ? and at = ?", gone)
        self._write_note("thinned", now)

    def _write_note(self, name: str, value: object) -> None:
        text = msgspec.json.encode(value).decode()
        self._connection.execute("insert or replace into notes values (?, ?)", (name, text))

    # ------------------------------------------------------------ read

    def _note(self, name: str, kind: type[T]) -> T | None:
        row = self._connection.execute("select value from notes where name = ?", (name,)).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=kind)

    def _channels(self) -> tuple[Followed, ...]:
        rows = self._connection.execute("select * from channels")
        return tuple(
            Followed(AccountId(account), epoch, AccountId(payer), AccountId(payee), *numbers)
            for account, epoch, payer, payee, *numbers in rows
        )

    def _standing(self) -> Standing:
        crawl = self._note("crawl", Crawl)
        rows: Iterable[Any] = (
            ()
            if crawl is None
            else self._connection.execute(
                "select seen, first_seen, last_seen from proxies where last_seen = ? order by peer",
                (crawl.at,),
            )
        )
        return Standing(
            began_at=self._note("began", int) or 0,
            crawl=crawl,
            proxies=tuple(
                KnownProxy(msgspec.json.decode(seen, type=ProxySeen), first, last)
                for seen, first, last in rows
            ),
            tally=self._note("tally", Tally),
            channels=self._channels(),
        )

    def _points(self, names: Sequence[str]) -> dict[str, list[tuple[int, int]]]:
        query = "select at, value from points where series = ? order by at"
        return {name: self._connection.execute(query, (name,)).fetchall() for name in names}

    def _series(self) -> tuple[str, ...]:
        return tuple(name for (name,) in self._connection.execute("select name from series"))

    def _hours(self, since: int) -> tuple[tuple[int, int, int], ...]:
        rows = self._connection.execute("select * from hours where hour >= ? order by hour", (since,))
        return tuple((hour, settlements, amount) for hour, settlements, amount in rows)


def _added(tally: Tally, seen: ChainSeen) -> Tally:
    return Tally(
        began_at=tally.began_at,
        at=seen.at,
        blocks=tally.blocks + seen.blocks,
        missed=tally.missed + seen.missed,
        opened=tally.opened + seen.opened,
        closed=tally.closed + len(seen.gone),
        settlements=tally.settlements + len(seen.settlements),
        settled=tally.settled + sum(one.amount for one in seen.settlements),
        left_out=tally.left_out + seen.left_out,
    )


# ---------------------------------------------------------------- opening


@asynccontextmanager
async def open_store(file: Path, *, now: int, is_read_only: bool = False) -> AsyncIterator[Store]:
    """Open an explorer's file, or make it, for as long as the block lasts.

    Args:
        file: Where it is.
        now: When it begins, if it does; in seconds since the Unix epoch.
        is_read_only: Another process writes it.

    Raises:
        ConfigurationError: It cannot be used, is another program's, or a later version's.
    """
    try:
        connection = await trio.to_thread.run_sync(partial(open_file, file, now, is_read_only=is_read_only))
    except (OSError, sqlite3.Error) as exc:
        raise ConfigurationError(
            f"cannot use {file}: {exc}", hint="name another folder in [data] directory"
        ) from exc
    store = Store(connection, is_read_only=is_read_only)
    try:
        yield store
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(connection.close)
