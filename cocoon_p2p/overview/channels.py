"""Every channel of a node, both sides, as its owner is shown it.

A running node knows more than its ledger: who is connected, what runs, what a payee grants.
"""

from collections import defaultdict
from collections.abc import Iterable
from operator import attrgetter
from pathlib import Path

import msgspec
import trio

from cocoon_p2p.control import Feed, Request
from cocoon_p2p.control.verbs import Say
from cocoon_p2p.identity import peer_id_text
from cocoon_p2p.ledger import ChannelName, ChannelRow, ExchangeRow, Side, Store
from cocoon_p2p.payments.books import backing_of, channel_of_row
from cocoon_p2p.payments.channel import Phase, capacity
from cocoon_p2p.payments.settlement import Accounts, PayingAccount, ReceivingAccount
from cocoon_p2p.store.reading import read_ledger

_SILENT_SECONDS = 30.0


class ListChannels(Request, tag="channels", frozen=True):
    """Ask for every channel, one a reply."""


class ChannelView(msgspec.Struct, frozen=True, kw_only=True):
    """One end of one channel. Amounts are in nanoTON."""

    channel: str
    side: str
    "Which end we are: `payer` or `payee`."

    peer: str
    phase: str
    has_contract: bool
    "Whether a contract on the chain stands behind it."

    is_settled: bool
    is_connected: bool | None
    "None: only a running node knows."

    capacity_nano: int
    vouchered_nano: int
    charged_nano: int
    running_nano: int | None
    """What is held (by a payer) or accrued (at a payee) for exchanges that have not ended; None: only a
    running node knows."""

    credit_nano: int | None
    "What may still be used up before more is vouchered; None: only a running node knows."

    claimed_nano: int
    "What the payee has collected from the contract."

    close_at: int
    """From when the payer may take back what was not claimed, in seconds since the Unix epoch; 0: it has
    not begun to close."""


CHANNELS = Feed(ListChannels, ChannelView, silent_seconds=_SILENT_SECONDS)


async def list_channels(
    store: Store, accounts: Accounts, _request: ListChannels, say: Say[ChannelView]
) -> None:
    """Tell every channel of a running node: those at work as they are now, others from its ledger."""
    rows, unsettled = await store.channels(), await store.unsettled()
    paying, receiving = accounts.payees(), accounts.payers()
    working = {ChannelName(Side.PAYER, account.channel) for account in paying}
    working |= {ChannelName(Side.PAYEE, account.channel) for account in receiving}
    resting = [row for row in rows if row.name not in working]
    views = [*map(_of_paying, paying), *map(_of_receiving, receiving)]
    # An offer is decoded for each: a busy node has many that are closed.
    views += await trio.to_thread.run_sync(views_of_rows, resting, unsettled)
    for view in in_order(views):
        await say(view)


def channels_in(ledger: Path) -> list[ChannelView]:
    """Show every channel in a ledger file.

    Raises:
        ConfigurationError: There is none.
        Unavailable: It cannot be read.
    """
    with read_ledger(ledger) as reading:
        return views_of_rows(reading.channels(), reading.unsettled())


def views_of_rows(rows: Iterable[ChannelRow], unsettled: Iterable[ExchangeRow]) -> list[ChannelView]:
    """Show channels as the ledger has them."""
    held: defaultdict[ChannelName, int] = defaultdict(int)
    for exchange in unsettled:
        held[exchange.name] += exchange.held
    return in_order(_of_row(row, held[row.name]) for row in rows)


def in_order(views: Iterable[ChannelView]) -> list[ChannelView]:
    """Put what we are paid through before what we pay through, and each peer's together."""
    return sorted(views, key=attrgetter("side", "peer", "channel"))


def _of_row(row: ChannelRow, held: int) -> ChannelView:
    channel = channel_of_row(row)
    is_payer = row.name.side is Side.PAYER
    return ChannelView(
        channel=row.name.channel.hex(),
        side=row.name.side.name.lower(),
        peer=peer_id_text(row.peer),
        phase=Phase(row.phase).name.lower(),
        has_contract=channel.deployment is not None,
        is_settled=row.is_settled,
        is_connected=None,
        capacity_nano=capacity(channel, backing_of(row)),
        vouchered_nano=row.vouchered,
        charged_nano=row.charged,
        running_nano=held if is_payer else None,
        credit_nano=None,
        claimed_nano=row.claimed,
        close_at=row.close_at,
    )


def _of_paying(account: PayingAccount) -> ChannelView:
    return ChannelView(
        channel=account.channel.hex(),
        side=Side.PAYER.name.lower(),
        peer=peer_id_text(account.payee),
        phase=account.phase.name.lower(),
        has_contract=account.deployment is not None,
        is_settled=account.backing.is_settled,
        is_connected=account.is_connected,
        capacity_nano=account.capacity,
        vouchered_nano=account.vouchered,
        charged_nano=account.charged,
        running_nano=account.held,
        credit_nano=account.vouchered + account.grant - account.charged - account.held,
        claimed_nano=account.backing.claimed,
        close_at=account.backing.close_at,
    )


def _of_receiving(account: ReceivingAccount) -> ChannelView:
    return ChannelView(
        channel=account.channel.hex(),
        side=Side.PAYEE.name.lower(),
        peer=peer_id_text(account.payer),
        phase=account.phase.name.lower(),
        has_contract=account.deployment is not None,
        is_settled=account.backing.is_settled,
        is_connected=account.is_connected,
        capacity_nano=account.capacity,
        vouchered_nano=account.vouchered(),
        charged_nano=account.charged(),
        running_nano=account.accrued,
        credit_nano=account.credit,
        claimed_nano=account.backing.claimed,
        close_at=account.backing.close_at,
    )
