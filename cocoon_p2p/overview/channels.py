"""Every channel of a node, both sides, as its owner is shown it.

A running node knows more than its ledger: who is connected, what runs, what a payee grants.
"""

from collections import defaultdict
from collections.abc import Iterable
from operator import attrgetter
from pathlib import Path
from typing import TypedDict

import trio

from cocoon_p2p.control import Feed, Request
from cocoon_p2p.control.verbs import Say
from cocoon_p2p.identity import peer_id_text
from cocoon_p2p.ledger import ChannelName, ChannelRow, ExchangeRow, Side, Store
from cocoon_p2p.overview.channel_view import ChannelView as ChannelView
from cocoon_p2p.payments.address import spell_address
from cocoon_p2p.payments.books import backing_of, channel_of_row
from cocoon_p2p.payments.channel import Backing, Phase, capacity
from cocoon_p2p.payments.contract import AccountId, Deployment
from cocoon_p2p.payments.settlement import Accounts, PayingAccount, ReceivingAccount
from cocoon_p2p.protocols.messages import ChannelId
from cocoon_p2p.store.reading import read_ledger

_SILENT_SECONDS = 30.0


class ListChannels(Request, tag="channels", frozen=True):
    """Ask for every channel, one a reply."""


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
    if resting:
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
    return in_order(view_of_row(row, held[row.name]) for row in rows)


def in_order(views: Iterable[ChannelView]) -> list[ChannelView]:
    """Put what we are paid through before what we pay through, and each peer's together."""
    return sorted(views, key=attrgetter("side", "peer", "channel"))


def view_of_row(row: ChannelRow, held: int) -> ChannelView:
    """Show a channel as the ledger has it.

    Args:
        row: The channel's row.
        held: What a payer holds on it for exchanges that have not ended, in nanoTON.
    """
    channel, backing = channel_of_row(row), backing_of(row)
    is_payer = row.name.side is Side.PAYER
    return ChannelView(
        channel=row.name.channel.hex(),
        side=row.name.side.name.lower(),
        peer=peer_id_text(row.peer),
        phase=Phase(row.phase).name.lower(),
        is_connected=None,
        capacity_nano=capacity(channel, backing),
        vouchered_nano=row.vouchered,
        charged_nano=row.charged,
        running_nano=held if is_payer else None,
        credit_nano=None,
        **_backed(row.name.channel, channel.deployment, backing),
    )


def view_of(account: PayingAccount | ReceivingAccount) -> ChannelView:
    """Show a channel that is at work."""
    return _of_paying(account) if isinstance(account, PayingAccount) else _of_receiving(account)


def _of_paying(account: PayingAccount) -> ChannelView:
    return ChannelView(
        channel=account.channel.hex(),
        side=Side.PAYER.name.lower(),
        peer=peer_id_text(account.payee),
        phase=account.phase.name.lower(),
        is_connected=account.is_connected,
        capacity_nano=account.capacity,
        vouchered_nano=account.vouchered,
        charged_nano=account.charged,
        running_nano=account.held,
        credit_nano=account.vouchered + account.grant - account.charged - account.held,
        **_backed(account.channel, account.deployment, account.backing),
    )


def _of_receiving(account: ReceivingAccount) -> ChannelView:
    return ChannelView(
        channel=account.channel.hex(),
        side=Side.PAYEE.name.lower(),
        peer=peer_id_text(account.payer),
        phase=account.phase.name.lower(),
        is_connected=account.is_connected,
        capacity_nano=account.capacity,
        vouchered_nano=account.vouchered(),
        charged_nano=account.charged(),
        running_nano=account.accrued,
        credit_nano=account.credit,
        **_backed(account.channel, account.deployment, account.backing),
    )


class _Backed(TypedDict):
    """What a view says of a channel's contract."""

    has_contract: bool
    is_settled: bool
    address: str | None
    deposit_nano: int
    claimed_nano: int
    close_delay_seconds: int | None
    close_at: int


def _backed(channel: ChannelId, deployment: Deployment | None, backing: Backing) -> _Backed:
    return _Backed(
        has_contract=deployment is not None,
        is_settled=backing.is_settled,
        address=None if deployment is None else address_of(channel, deployment),
        deposit_nano=backing.deposit,
        claimed_nano=backing.claimed,
        close_delay_seconds=None if deployment is None else deployment.close_delay_seconds,
        close_at=backing.close_at,
    )


def address_of(channel: ChannelId, deployment: Deployment) -> str:
    """Spell a contract's address: what is sent to it comes back if it cannot be taken."""
    return spell_address(AccountId(channel), global_id=deployment.global_id, bounceable=True)
