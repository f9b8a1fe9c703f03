"""The ledger's tables, and how a change becomes rows and rows become nouns again.

Numbers are whole nanoTON or seconds; blobs are peer ids, hashes, keys, and the wire's own CBOR.
Writing anything twice leaves what writing it once leaves.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, assert_never

from cocoon_p2p.identity import PeerId
from cocoon_p2p.ledger import (
    Account,
    Change,
    ChannelForgotten,
    ChannelName,
    ChannelRow,
    EndedForgotten,
    Evidence,
    ExchangeForgotten,
    ExchangeRow,
    Line,
    Note,
    Side,
    Status,
)
from cocoon_p2p.protocols.messages import ChannelId, ExchangeId
from cocoon_p2p.units import Nano

VERSION = 1
"Kept in `pragma user_version`. A newer file is not opened."

APPLICATION = int.from_bytes(b"COCN")
"Kept in `pragma application_id`, so that another program's database is not taken for a ledger."

# What sqlite3 gives for a row: the columns' types are the schema's word.
_Columns = tuple[Any, ...]

SCHEMA = """
create table channels (
    channel blob not null, side integer not null,
    peer blob not null, offer blob not null, seed blob,
    phase integer not null,
    vouchered integer not null check (vouchered >= 0), charged integer not null check (charged >= 0),
    lines integer not null,
    epoch integer not null, deposit integer not null check (deposit >= 0),
    claimed integer not null check (claimed >= 0), close_at integer not null, is_settled integer not null,
    voucher blob, state blob, terms blob, agreed blob,
    primary key (channel, side)
) strict, without rowid;

create table exchanges (
    exchange blob not null, channel blob not null, side integer not null,
    status integer not null, amount integer not null check (amount >= 0),
    held integer not null check (held >= 0), total integer not null,
    paper blob, at integer not null,
    primary key (exchange, channel, side)
) strict;
create index exchanges_by_time on exchanges (at);
create index exchanges_unsettled on exchanges (status) where status < 3;

create table lines (
    channel blob not null, side integer not null, number integer not null,
    source integer not null, target integer not null, amount integer not null check (amount >= 0),
    exchange blob, at integer not null,
    primary key (channel, side, number)
) strict, without rowid;

create table notes (key text primary key, value blob not null) strict, without rowid;

create table evidence (
    id integer primary key,
    channel blob not null, side integer not null,
    reason text not null, number integer not null, paper blob not null, at integer not null,
    unique (channel, side, reason, number, paper)
) strict;
"""

_WRITE_CHANNEL = """
insert into channels values (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
on conflict do update set phase=excluded.phase, vouchered=excluded.vouchered, charged=excluded.charged,
    lines=excluded.lines, epoch=excluded.epoch, deposit=excluded.deposit, claimed=excluded.claimed,
    close_at=excluded.close_at, is_settled=excluded.is_settled, voucher=excluded.voucher,
    state=excluded.state, terms=excluded.terms, agreed=excluded.agreed
"""
_FORGET_CHANNEL = tuple(
    f"delete from {table} where channel=? and side=?"  # noqa: S608 (names of ours)
    for table in ("lines", "channels")
)
_WRITE_EXCHANGE = """
insert into exchanges values (?,?,?,?,?,?,?,?,?)
on conflict do update set status=excluded.status, amount=excluded.amount, held=excluded.held,
    total=excluded.total, paper=excluded.paper, at=excluded.at
"""
_FORGET_EXCHANGE = "delete from exchanges where exchange=? and channel=? and side=?"
_FORGET_ENDED = "delete from exchanges where at < ? and status = 3"
_WRITE_LINE = """
insert into lines values (?,?,?,?,?,?,?,?)
on conflict do update set source=excluded.source, target=excluded.target, amount=excluded.amount,
    exchange=excluded.exchange, at=excluded.at
"""
_WRITE_EVIDENCE = (
    "insert or ignore into evidence (channel, side, reason, number, paper, at) values (?,?,?,?,?,?)"
)

# In the order of the tables' columns, after the key.
_CHANNEL_VALUES = attrgetter(
    *("peer", "offer", "seed", "phase", "vouchered", "charged", "lines"),
    *("epoch", "deposit", "claimed", "close_at", "is_settled", "voucher", "state", "terms", "agreed"),
)
_EXCHANGE_VALUES = attrgetter("status", "amount", "held", "total", "paper", "at")
_LINE_VALUES = attrgetter("number", "source", "target", "amount", "exchange", "at")


def write(connection: sqlite3.Connection, change: Change) -> None:
    """Carry out one change inside the transaction that stands."""
    match change:
        case ChannelRow(name=name):
            connection.execute(_WRITE_CHANNEL, (*_key(name), *_CHANNEL_VALUES(change)))
        case ExchangeRow(name=name):
            row = (change.exchange, *_key(name), *_EXCHANGE_VALUES(change))
            connection.execute(_WRITE_EXCHANGE, row)
        case ChannelForgotten(name=name):
            for statement in _FORGET_CHANNEL:
                connection.execute(statement, _key(name))
        case ExchangeForgotten(name=name):
            connection.execute(_FORGET_EXCHANGE, (change.exchange, *_key(name)))
        case EndedForgotten():
            connection.execute(_FORGET_ENDED, (change.before,))
        case Line(name=name):
            connection.execute(_WRITE_LINE, (*_key(name), *_LINE_VALUES(change)))
        case Evidence(name=name):
            for number, paper in enumerate(change.papers):
                row = (*_key(name), change.reason, number, paper, change.at)
                connection.execute(_WRITE_EVIDENCE, row)
        case Note(key=key, value=None):
            connection.execute("delete from notes where key=?", (key,))
        case Note():
            connection.execute("insert or replace into notes values (?,?)", (change.key, change.value))
        case _:
            assert_never(change)


def read_channels(connection: sqlite3.Connection) -> Sequence[ChannelRow]:
    rows = connection.execute("select * from channels")
    return [_channel(row) for row in rows]


_EXCHANGE_COLUMNS = "channel, side, exchange, status, amount, held, total, paper, at"


def read_unsettled(connection: sqlite3.Connection) -> Sequence[ExchangeRow]:
    rows = connection.execute(f"select {_EXCHANGE_COLUMNS} from exchanges where status < 3")  # noqa: S608
    return [_exchange(row) for row in rows]


def read_exchange(
    connection: sqlite3.Connection, name: ChannelName, exchange: ExchangeId
) -> ExchangeRow | None:
    row = connection.execute(
        f"select {_EXCHANGE_COLUMNS} from exchanges"  # noqa: S608 (only constants)
        " where exchange=? and channel=? and side=?",
        (exchange, *_key(name)),
    ).fetchone()
    return None if row is None else _exchange(row)


def read_ended(connection: sqlite3.Connection, exchange: ExchangeId) -> ExchangeRow | None:
    row = connection.execute(
        f"select {_EXCHANGE_COLUMNS} from exchanges"  # noqa: S608 (only constants)
        " where exchange=? and side=? and status=? order by at desc limit 1",
        (exchange, Side.PAYEE, Status.ENDED),
    ).fetchone()
    return None if row is None else _exchange(row)


def read_lines(connection: sqlite3.Connection) -> Sequence[Line]:
    rows = connection.execute(
        "select channel, side, number, source, target, amount, exchange, at"
        " from lines order by channel, side, number"
    )
    return [_line(row) for row in rows]


def read_evidence(connection: sqlite3.Connection, name: ChannelName) -> Sequence[tuple[str, bytes]]:
    """Give the reason and the bytes of each paper kept about a channel, oldest first."""
    return connection.execute(
        "select reason, paper from evidence where channel=? and side=? order by id", _key(name)
    ).fetchall()


def read_notes(connection: sqlite3.Connection, prefix: str) -> Mapping[str, bytes]:
    rows = connection.execute(
        "select key, value from notes where substr(key, 1, ?)=? order by key", (len(prefix), prefix)
    )
    return dict(rows.fetchall())


def _key(name: ChannelName) -> tuple[bytes, int]:
    return name.channel, name.side


def _name(channel: bytes, side: int) -> ChannelName:
    return ChannelName(Side(side), ChannelId(channel))


def _channel(row: _Columns) -> ChannelRow:
    channel = ChannelRow(_name(*row[:2]), PeerId(row[2]), *row[3:])
    return replace(channel, is_settled=bool(channel.is_settled))


def _exchange(row: _Columns) -> ExchangeRow:
    channel, side, exchange, status, amount, held, total, paper, at = row
    return ExchangeRow(
        name=_name(channel, side),
        exchange=ExchangeId(exchange),
        status=Status(status),
        amount=Nano(amount),
        held=Nano(held),
        total=Nano(total),
        paper=paper,
        at=at,
    )


def _line(row: _Columns) -> Line:
    channel, side, number, source, target, amount, exchange, at = row
    return Line(
        name=_name(channel, side),
        number=number,
        source=Account(source),
        target=Account(target),
        amount=Nano(amount),
        exchange=exchange,
        at=at,
    )
