"""`cocoon channels open`, `top-up`, `close`: what a node's owner does to its channels.

A node that runs is asked to do it. A client has no daemon: where no program owns its ledger, the command
is the client for as long as it takes.
"""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from cocoon_p2p.cli.amounts import TON
from cocoon_p2p.cli.channel_tables import SHOWN_DIGITS, print_channels, spell_time
from cocoon_p2p.cli.node_folder import data_folder, is_running, role_of
from cocoon_p2p.cli.steps import StepPrinter
from cocoon_p2p.cli.tables import print_json
from cocoon_p2p.config import ClientFile, Loaded, load
from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.observability import configure_logging
from cocoon_p2p.units import Nano, format_ton

if TYPE_CHECKING:
    from cocoon_p2p.control import Feed, Request
    from cocoon_p2p.overview import ChannelView, Fund

    Q = TypeVar("Q", bound=Request)

Show = Callable[["ChannelView"], None]

_NEGATIVE_TOO = {"ignore_unknown_options": True}
"An amount below zero is no option: it is told to be out of range."

_config = click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("client.toml"),
    show_default=True,
    help="The node's TOML file.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object; amounts in nanoTON.")


@click.command("open", short_help="Open a channel to a proxy.", context_settings=_NEGATIVE_TOO)
@click.argument("amount", type=TON)
@click.option("--proxy", metavar="PEER_ID", help="Whom to pay.  [default: a proxy that sells something]")
@_config
@_json
def open_channel(amount: Nano, proxy: str | None, file: Path, as_json: bool) -> None:
    """Open a channel that can pay AMOUNT TON to a proxy: the client's wallet puts it into a contract.

    Besides, 0.051 TON are put in as a reserve, and come back when the channel closes, less what the
    contract's storage cost. Returns when the proxy has seen the deposit.
    """
    from cocoon_p2p.overview import ANY, Fund
    from cocoon_p2p.overview.naming import read_peer

    if proxy is not None:
        read_peer(proxy)
    role = role_of(file)
    if role != "client":
        raise ConfigurationError(
            f"{file} is a {role}'s: only clients open channels by hand",
            hint="a proxy opens channels to its workers by itself; a worker is only paid",
        )
    _require_wallet(load(ClientFile, file, os.environ))
    _fund(file, Fund(proxy or ANY, amount, is_first=True), as_json)


@click.command("top-up", short_help="Raise what a channel can pay.", context_settings=_NEGATIVE_TOO)
@click.argument("channel")
@click.argument("amount", type=TON)
@_config
@_json
def top_up(channel: str, amount: Nano, file: Path, as_json: bool) -> None:
    """Raise what CHANNEL can pay by AMOUNT TON.

    CHANNEL is the first digits of its id, or its contract's address: see `cocoon channels list`.
    """
    from cocoon_p2p.overview import Fund

    _fund(file, Fund(channel, amount), as_json)


@click.command(short_help="Close channels: the payee is paid, the rest comes back.")
@click.argument("channel", required=False)
@click.option("--all", "every", is_flag=True, help="Close every channel that is not settled.")
@click.option(
    "--alone", is_flag=True, help="Do not ask the other end: take the rest back after the close delay."
)
@click.option("--wait", is_flag=True, help="Return only when everybody was paid, however long that takes.")
@_config
@_json
def close(channel: str | None, every: bool, alone: bool, wait: bool, file: Path, as_json: bool) -> None:
    """Close CHANNEL at what was charged on it: the payee is paid, the rest comes back.

    CHANNEL is the first digits of its id, or its contract's address: see `cocoon channels list`.

    If the other end has disappeared, --alone begins without it. Given again after the close delay (by
    default a day), it finishes: what was not collected comes back. With --wait it stays until then.
    """
    from cocoon_p2p.overview import ALL, CLOSE, Close

    if (channel is None) is not every:
        raise click.UsageError("name one channel, or --all")
    if alone and role_of(file) == "client":
        _require_wallet(load(ClientFile, file, os.environ))
    request = Close(channel or ALL, alone=alone, wait="settled" if wait else "agreed")
    steps = StepPrinter(as_json=False)
    found: dict[str, ChannelView] = {}

    def show(view: "ChannelView") -> None:
        found[view.channel] = view
        _show_close(steps, view)

    source = _carry_out(file, CLOSE, request, show)
    if not found:
        click.echo("no channel is open", err=True)
    if any(view.close_at and not view.is_settled for view in found.values()):
        click.echo("give the same command again after the close delay: it finishes", err=True)
    _print(source, list(found.values()), as_json)


def _fund(file: Path, request: "Fund", as_json: bool) -> None:
    from cocoon_p2p.overview import FUND

    steps = StepPrinter(as_json=False)
    seen: list[ChannelView] = []

    def show(view: "ChannelView") -> None:
        seen.append(view)
        _show_fund(steps, seen)

    source = _carry_out(file, FUND, request, show)
    _print(source, seen[-1:], as_json)


# ---------------------------------------------------------------- who does it


def _carry_out(file: Path, feed: "Feed[Q, ChannelView]", request: "Q", show: Show) -> str:
    """Have the running node do it, or do it here; say which it was: `daemon` or `here`."""
    from cocoon_p2p.config.folder import CONTROL_SOCKET
    from cocoon_p2p.control import follow

    folder = data_folder(file)
    if is_running(folder):
        click.echo("through the running node", err=True)
        for view in follow(folder / CONTROL_SOCKET, feed, request):
            show(view)
        return "daemon"
    role = role_of(file)
    if role != "client":
        raise Unavailable(f"the {role} of {file} does not run", hint=f"start it: cocoon {role} {file}")
    import trio

    loaded = load(ClientFile, file, os.environ)
    configure_logging(sys.stderr, level=loaded.settings.log.level, as_json=loaded.settings.log.json)
    click.echo("no program uses this ledger: done here", err=True)
    trio.run(partial(_here, loaded, request, show))
    return "here"


async def _here(loaded: Loaded[ClientFile], request: "Request", show: Show) -> None:
    import msgspec
    import trio

    from cocoon_p2p.node import open_paying_client
    from cocoon_p2p.overview import Close, Fund

    async def say(view: "ChannelView") -> None:
        await trio.lowlevel.checkpoint()
        show(view)

    # What goes in is what the person says: a channel that is to be closed is not topped up before.
    async with open_paying_client(loaded, tops_up=False) as opened:
        deeds = opened.parts.deeds
        if isinstance(request, Fund):
            await deeds.fund(request, say)
        elif isinstance(request, Close):
            # Nobody hands agreed terms in when we have left; alone, the delay is long.
            wait = request.wait if request.alone else "settled"
            await deeds.close(msgspec.structs.replace(request, wait=wait), say)


def _require_wallet(loaded: Loaded[ClientFile]) -> None:
    if loaded.settings.chain is None:
        raise ConfigurationError(
            f"{loaded.path.name} names no chain", hint='add [chain] with network = "..." and servers = "..."'
        )
    if not loaded.settings.wallet.file:
        raise ConfigurationError(
            f"{loaded.path.name} names no wallet",
            hint='make one with `cocoon wallet new`, and add [wallet] with file = "..."',
        )


# ---------------------------------------------------------------- how it is told


def _show_fund(steps: StepPrinter, seen: "list[ChannelView]") -> None:
    view = seen[-1]
    match len(seen):
        case 1:
            steps("channel", channel=view.channel[:SHOWN_DIGITS], to="to", payee=view.peer)
            steps("contract", address=view.address)
        case 2:
            steps("deposited", deposit=format_ton(view.deposit_nano))
        case _ if view.capacity_nano:
            steps("taken", what="the payee takes vouchers up to", capacity=format_ton(view.capacity_nano))
        case _:
            steps("not taken", what="the payee has not seen it yet; it will when it is back")


def _show_close(steps: StepPrinter, view: "ChannelView") -> None:
    name = view.channel[:SHOWN_DIGITS]
    if view.is_settled:
        rest = format_ton(max(view.deposit_nano - view.claimed_nano, 0))
        paid = f"{format_ton(view.claimed_nano)} went to the payee"
        steps("settled", channel=name, what=f"{paid}, {rest} back" if view.deposit_nano else "")
    elif view.close_at:
        steps("closing", channel=name, what=f"can be finished after {spell_time(view.close_at)}")
    else:
        steps("agreed", channel=name, what=f"at {format_ton(view.charged_nano)}")


def _print(source: str, views: "list[ChannelView]", as_json: bool) -> None:
    if as_json:
        print_json({"source": source, "channels": views})
    elif views:
        print_channels(views)
