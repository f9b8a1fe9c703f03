"""The newest vouchers that pay a node: all that somebody else needs to collect for it."""

from collections.abc import Iterable
from pathlib import Path

from cocoon_p2p.ledger import ChannelRow, Side
from cocoon_p2p.payments.books import channel_of_row
from cocoon_p2p.payments.treasury.watched import Watched
from cocoon_p2p.protocols.messages import Voucher
from cocoon_p2p.protocols.schema import decode_message
from cocoon_p2p.store.reading import read_ledger


def vouchers_in(ledger: Path) -> list[Watched]:
    """Give the vouchers in a ledger file, in the order of their channels.

    Raises:
        ConfigurationError: There is none.
        Unavailable: It cannot be read.
    """
    with read_ledger(ledger) as reading:
        return vouchers_of_rows(reading.channels())


def vouchers_of_rows(rows: Iterable[ChannelRow]) -> list[Watched]:
    """Give the vouchers of channels that pay us, behind which a contract stands that may still pay."""
    found = (_watched(row) for row in rows if row.name.side is Side.PAYEE and not row.is_settled)
    return sorted(filter(None, found), key=lambda watched: watched.channel)


def _watched(row: ChannelRow) -> Watched | None:
    if row.voucher is None:
        return None
    deployment, voucher = channel_of_row(row).deployment, decode_message(row.voucher)
    assert isinstance(voucher, Voucher), "our own ledger"
    return Watched(deployment, voucher) if deployment is not None and voucher.epoch else None
