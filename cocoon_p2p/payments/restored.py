"""Marks on a ledger that was restored from a backup: its owner's word that it is an old one.

A payer's old ledger may miss what it owes. Where a voucher of its own shows it, that is proof; what is within
the payee's grant no voucher shows, and a claim to it would stop the channel (`payer`, rule 2). So whoever
restores a ledger marks each channel that it pays through: the payee's count is taken once, within the grant
and `payer.UNPROVEN_MAX`.

Spec: payments/settlement.md (Agreeing on what was charged).
"""

from collections.abc import Iterable

from cocoon_p2p.ledger import ChannelRow, Note, Side, Store
from cocoon_p2p.protocols.messages import ChannelId

_RESTORED = "restored/"


def mark(channel: ChannelId) -> str:
    """Name the note that marks a channel."""
    return _RESTORED + channel.hex()


def marks_for(rows: Iterable[ChannelRow]) -> tuple[Note, ...]:
    """Give the notes that mark every channel of a ledger on which its owner pays."""
    return tuple(Note(mark(row.name.channel), b"") for row in rows if row.name.side is Side.PAYER)


async def read_marks(store: Store) -> frozenset[ChannelId]:
    """Say which channels are marked.

    Raises:
        Unavailable: The ledger cannot be read.
    """
    keys = await store.notes(_RESTORED)
    return frozenset(ChannelId(bytes.fromhex(key.removeprefix(_RESTORED))) for key in keys)
