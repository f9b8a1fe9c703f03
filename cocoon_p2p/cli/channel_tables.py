"""How channels are shown to people: in TON, and in UTC."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from cocoon_p2p.cli.amounts import ton
from cocoon_p2p.cli.tables import print_table

if TYPE_CHECKING:
    from cocoon_p2p.overview import ChannelView

SHOWN_DIGITS = 12
"Of a channel's id: enough to name it by."

_AMOUNTS = ("capacity", "vouchered", "charged", "running", "credit", "deposit", "collected")
_BETWEEN_PEERS = ("channel", "side", "peer", "phase", *_AMOUNTS[:5], "connected")
_ON_THE_CHAIN = ("channel", "contract", *_AMOUNTS[5:], "on the chain")


def print_channels(views: Sequence["ChannelView"]) -> None:
    """Print channels as tables: what the two ends say, and what stands on the chain."""
    print_table(
        _BETWEEN_PEERS,
        [
            (
                view.channel[:SHOWN_DIGITS],
                view.side,
                f"…{view.peer[-8:]}",
                view.phase,
                *map(ton, (view.capacity_nano, view.vouchered_nano, view.charged_nano)),
                *map(ton, (view.running_nano, view.credit_nano)),
                {True: "yes", False: "no", None: "?"}[view.is_connected],
            )
            for view in views
        ],
        amounts=_AMOUNTS,
    )
    contracts = [view for view in views if view.address is not None]
    if contracts:
        click.echo()
        print_table(
            _ON_THE_CHAIN,
            [
                (
                    view.channel[:SHOWN_DIGITS],
                    view.address or "",
                    *map(ton, (view.deposit_nano, view.claimed_nano)),
                    spell_standing(view),
                )
                for view in contracts
            ],
            amounts=_AMOUNTS,
        )


def spell_standing(view: "ChannelView") -> str:
    """Say how a channel's contract stands, as it was seen last."""
    if view.is_settled:
        return "settled"
    if view.close_at:
        since = view.close_at - (view.close_delay_seconds or 0)
        return f"closing, since {spell_time(since)} until {spell_time(view.close_at)}"
    return "open" if view.deposit_nano else "no deposit yet"


def spell_time(at: int) -> str:
    """Spell a time in seconds since the Unix epoch."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
