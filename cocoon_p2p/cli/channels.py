"""`cocoon channels`: what a node has in channels, and its vouchers for whoever watches over them.

What is only looked at comes from the running node, or from its ledger where none answers, with the chain
or without; the command says which it was. What changes something is next door: `channel_deeds`.
"""

from pathlib import Path

import click

from cocoon_p2p.cli.channel_deeds import close, open_channel, top_up
from cocoon_p2p.cli.channel_tables import print_channels
from cocoon_p2p.cli.channel_watch import watch
from cocoon_p2p.cli.node_folder import ask_or_read, of_node
from cocoon_p2p.cli.tables import UNIT, print_json


@click.group()
def channels() -> None:
    """Look after a node's payment channels. Amounts are in TON, exact to the nanoTON."""


channels.add_command(open_channel)
channels.add_command(top_up)
channels.add_command(close)
channels.add_command(watch)


@channels.command("list", short_help="Show every channel of a node.")
@of_node
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; amounts in nanoTON.")
def list_channels(folder: Path, as_json: bool) -> None:
    """Show every channel of a node, those that pay it and those that it pays through.

    What stands on the chain is shown as the node saw it last. Amounts are in TON.
    """
    from cocoon_p2p.control import follow
    from cocoon_p2p.overview import CHANNELS, ListChannels, channels_in

    source, views = ask_or_read(
        folder, lambda socket: list(follow(socket, CHANNELS, ListChannels())), channels_in
    )
    if as_json:
        print_json({"source": source, "channels": views})
        return
    print_channels(views)
    click.echo(UNIT, err=True)


@channels.command(short_help="Print the vouchers that pay a node, for `watch`.")
@of_node
@click.option("--json", is_flag=True, expose_value=False, help="Is what it prints in any case.")
def export(folder: Path) -> None:
    """Print the newest voucher of every channel that pays this node, one JSON object a line.

    It is what `cocoon channels watch` needs, and all of it is public: with it anybody can have this node
    paid, and nothing else. Totals are in nanoTON. Read from the ledger, whether the node runs or not.
    """
    from cocoon_p2p.config.folder import LEDGER
    from cocoon_p2p.overview import vouchers_in
    from cocoon_p2p.payments.treasury.watched import write_line

    found = vouchers_in(folder / LEDGER)
    for watched in found:
        click.echo(write_line(watched))
    click.echo(f"vouchers: {len(found)}, from the ledger", err=True)
