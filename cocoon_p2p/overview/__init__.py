"""What a node's owner sees of its money, running or not, and what it does with it while it runs.

Names are imported when they are first used: a command that only looks loads no payments.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cocoon_p2p.overview.channels import CHANNELS as CHANNELS
    from cocoon_p2p.overview.channels import ChannelView as ChannelView
    from cocoon_p2p.overview.channels import ListChannels as ListChannels
    from cocoon_p2p.overview.channels import channels_in as channels_in
    from cocoon_p2p.overview.channels import list_channels as list_channels
    from cocoon_p2p.overview.channels import view_of as view_of
    from cocoon_p2p.overview.channels import view_of_row as view_of_row
    from cocoon_p2p.overview.channels import views_of_rows as views_of_rows
    from cocoon_p2p.overview.deeds import ALL as ALL
    from cocoon_p2p.overview.deeds import ANY as ANY
    from cocoon_p2p.overview.deeds import CLOSE as CLOSE
    from cocoon_p2p.overview.deeds import FUND as FUND
    from cocoon_p2p.overview.deeds import Close as Close
    from cocoon_p2p.overview.deeds import Deeds as Deeds
    from cocoon_p2p.overview.deeds import Fund as Fund
    from cocoon_p2p.overview.earnings import EARNINGS as EARNINGS
    from cocoon_p2p.overview.earnings import Earnings as Earnings
    from cocoon_p2p.overview.earnings import SumEarnings as SumEarnings
    from cocoon_p2p.overview.earnings import Sums as Sums
    from cocoon_p2p.overview.earnings import earnings_from as earnings_from
    from cocoon_p2p.overview.earnings import earnings_in as earnings_in
    from cocoon_p2p.overview.earnings import earnings_of as earnings_of
    from cocoon_p2p.overview.earnings import reckon as reckon
    from cocoon_p2p.overview.peers import PEERS as PEERS
    from cocoon_p2p.overview.peers import Peers as Peers
    from cocoon_p2p.overview.peers import ShowPeers as ShowPeers
    from cocoon_p2p.overview.peers import show_peers as show_peers
    from cocoon_p2p.overview.statement import STATEMENT as STATEMENT
    from cocoon_p2p.overview.statement import MakeStatement as MakeStatement
    from cocoon_p2p.overview.statement import StatementLine as StatementLine
    from cocoon_p2p.overview.statement import statement_from as statement_from
    from cocoon_p2p.overview.statement import statement_in as statement_in
    from cocoon_p2p.overview.vouchers import vouchers_in as vouchers_in
    from cocoon_p2p.overview.vouchers import vouchers_of_rows as vouchers_of_rows

_ROOMS = {
    "channels": (
        "CHANNELS",
        "ChannelView",
        "ListChannels",
        "channels_in",
        "list_channels",
        "view_of",
        "view_of_row",
        "views_of_rows",
    ),
    "deeds": (
        "ALL",
        "ANY",
        "CLOSE",
        "FUND",
        "Close",
        "Deeds",
        "Fund",
    ),
    "earnings": (
        "EARNINGS",
        "Earnings",
        "SumEarnings",
        "Sums",
        "earnings_from",
        "earnings_in",
        "earnings_of",
        "reckon",
    ),
    "peers": (
        "PEERS",
        "Peers",
        "ShowPeers",
        "show_peers",
    ),
    "statement": (
        "STATEMENT",
        "MakeStatement",
        "StatementLine",
        "statement_from",
        "statement_in",
    ),
    "vouchers": (
        "vouchers_in",
        "vouchers_of_rows",
    ),
}
_ROOM_OF = {name: f"{__name__}.{room}" for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_ROOM_OF[name]), name)
    globals()[name] = value
    return value
