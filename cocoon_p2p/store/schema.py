"""The ledger's tables: one list of columns each, from which every database's statements are made.

Numbers are whole nanoTON or seconds; blobs are peer ids, hashes, keys, and the wire's own CBOR.
After the channel's name come the fields of the table's noun in `ledger.py`, in their order: a new field
of a row is a new column here, and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

VERSION = 2
"Kept in every ledger. One of another version is not opened."


def other_version(version: int) -> str:
    """Say that a ledger cannot be read, being of this version."""
    age = "a newer" if version > VERSION else "an older"
    return f"written by {age} version of this program (schema={version} known={VERSION})"


class Kind(Enum):
    """What a column holds; each database has a word for it."""

    BLOB = 1
    TEXT = 2
    NUMBER = 3
    "A whole number of 64 bits, with a sign."

    AMOUNT = 4
    "A number that is never below zero."


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    kind: Kind
    optional: bool = False
    fixed: bool = False
    "Written with a new row; a later write of the same row leaves it."


@dataclass(frozen=True, slots=True)
class Index:
    columns: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    key: Sequence[str]
    "The columns by which a write finds the row that it replaces."

    columns: Sequence[Column]
    indexes: Sequence[Index] = ()
    is_narrow: bool = False
    "Its rows are small, so SQLite keeps them in the tree of their keys."


# A channel's name, first in every table that has one.
_NAME = (Column("channel", Kind.BLOB), Column("side", Kind.NUMBER))

CHANNELS = Table(
    "channels",
    key=("channel", "side"),
    columns=(
        *_NAME,
        Column("peer", Kind.BLOB, fixed=True),
        Column("offer", Kind.BLOB, fixed=True),
        Column("seed", Kind.BLOB, optional=True, fixed=True),
        Column("phase", Kind.NUMBER),
        Column("vouchered", Kind.AMOUNT),
        Column("charged", Kind.AMOUNT),
        Column("lines", Kind.NUMBER),
        Column("epoch", Kind.NUMBER),
        Column("deposit", Kind.AMOUNT),
        Column("claimed", Kind.AMOUNT),
        Column("close_at", Kind.NUMBER),
        Column("is_settled", Kind.NUMBER),
        Column("voucher", Kind.BLOB, optional=True),
        Column("state", Kind.BLOB, optional=True),
        Column("terms", Kind.BLOB, optional=True),
        Column("earned", Kind.BLOB, optional=True),
        Column("agreed", Kind.BLOB, optional=True),
    ),
)

EXCHANGES = Table(
    "exchanges",
    key=("exchange", "channel", "side"),
    columns=(
        *_NAME,
        Column("exchange", Kind.BLOB),
        Column("status", Kind.NUMBER),
        Column("amount", Kind.AMOUNT),
        Column("held", Kind.AMOUNT),
        Column("total", Kind.NUMBER),
        Column("paper", Kind.BLOB, optional=True),
        Column("at", Kind.NUMBER),
    ),
    indexes=(Index("at"), Index("status", where="status < 3")),
)

LINES = Table(
    "lines",
    key=("channel", "side", "number"),
    columns=(
        *_NAME,
        Column("number", Kind.NUMBER),
        Column("source", Kind.NUMBER),
        Column("target", Kind.NUMBER),
        Column("amount", Kind.AMOUNT),
        Column("exchange", Kind.BLOB, optional=True),
        Column("at", Kind.NUMBER),
    ),
    is_narrow=True,
)

EVIDENCE = Table(
    "evidence",
    # A paper can be too long for a key; its SHA-256 is not.
    key=("channel", "side", "reason", "number", "digest"),
    columns=(
        *_NAME,
        Column("reason", Kind.TEXT),
        Column("number", Kind.NUMBER),
        Column("digest", Kind.BLOB),
        Column("paper", Kind.BLOB),
        Column("at", Kind.NUMBER, fixed=True),
    ),
)

NOTES = Table(
    "notes",
    key=("key",),
    columns=(Column("key", Kind.TEXT), Column("value", Kind.BLOB)),
    is_narrow=True,
)

DELIVERIES = Table(
    "deliveries",
    key=("channel", "side", "exchange"),
    columns=(
        *_NAME,
        Column("exchange", Kind.BLOB),
        Column("model", Kind.TEXT),
        Column("prompt", Kind.AMOUNT),
        Column("cached", Kind.AMOUNT),
        Column("completion", Kind.AMOUNT),
        Column("reasoning", Kind.AMOUNT),
        Column("commission", Kind.AMOUNT),
        Column("at", Kind.NUMBER, fixed=True),
    ),
    is_narrow=True,
)

COSTS = Table(
    "costs",
    key=("account", "lt"),
    columns=(
        Column("account", Kind.BLOB),
        Column("lt", Kind.NUMBER),
        Column("what", Kind.TEXT),
        Column("amount", Kind.AMOUNT),
        Column("at", Kind.NUMBER),
    ),
    is_narrow=True,
)

ADDED = (DELIVERIES, COSTS)
"""Tables that ledgers of this version were made without at first. They are added when such a ledger is
opened; a program that does not know them passes them over, so the version stays."""

TABLES = (CHANNELS, EXCHANGES, LINES, EVIDENCE, NOTES, *ADDED)
