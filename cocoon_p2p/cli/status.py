"""`cocoon status FILE`: how a node of any role does, running or not, and how its selling goes."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cocoon_p2p.cli.node_folder import is_running, load_any, role_of
from cocoon_p2p.cli.spell import one_line
from cocoon_p2p.cli.tables import print_json
from cocoon_p2p.errors import Unavailable

if TYPE_CHECKING:
    from cocoon_p2p.overview.status import Status

EVERY_SECONDS = 2.0

PATIENCE_SECONDS = 5.0
"For a node that has taken the question, and may be busy. One that is well answers in milliseconds."

DOWN = 3
"The exit code where the node does not run or does not answer."


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--watch", is_flag=True, help="Look again every 2 seconds, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; with --watch one a line.")
def status(file: Path, watch: bool, as_json: bool) -> None:
    """Show how the node that FILE describes does, of any role, whether it runs or not.

    Of one that is down it shows what is known: since when, what it showed last, and what its ledger says.
    Of a worker that runs also which proxies offer it, how often they chose it, and why not, with what to do
    about it; of a proxy its workers. The chain is not asked: it is said how old what is shown of it is. The
    exit code is 3 where the node is down. The JSON's fields keep their names and meaning.
    """
    while True:
        found = look(file)
        if watch and not as_json and sys.stdout.isatty():
            click.clear()
        _show(found, as_json=as_json)
        if not watch:
            break
        time.sleep(EVERY_SECONDS)
    if not found.is_running and found.role != "client":
        click.echo(f"start it: cocoon {found.role} {file}", err=True)
    if not found.is_running or found.said:
        sys.exit(DOWN)


def look(file: Path) -> "Status":
    """Find out how a node does.

    Raises:
        ConfigurationError: The file cannot be read, or its ledger is none.
        Unavailable: The ledger cannot be read.
    """
    from cocoon_p2p.config.folder import CONTROL_SOCKET
    from cocoon_p2p.control import ask
    from cocoon_p2p.overview.snapshot import SNAPSHOT, ShowSnapshot
    from cocoon_p2p.overview.status import running_status

    loaded = load_any(file)
    folder, said = loaded.data_directory, ""
    try:
        request = ShowSnapshot()
        return running_status(
            ask(folder / CONTROL_SOCKET, SNAPSHOT, request, patience_seconds=PATIENCE_SECONDS)
        )
    except Unavailable as exc:
        if is_running(folder):
            said = str(exc)
    from cocoon_p2p.overview.resting import resting_status

    return resting_status(role_of(file), loaded.settings.network.name, folder, time.time(), said=said)


def _show(found: "Status", *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    from cocoon_p2p.cli.selling_lines import print_workers, proxy_lines
    from cocoon_p2p.cli.status_lines import lines_of

    for line in lines_of(found):
        click.echo(one_line(line))
    if found.snapshot is None or found.snapshot.selling is None or not found.is_running or found.said:
        return
    click.echo()
    if found.role == "worker":
        for line in proxy_lines(found.proxies):
            click.echo(one_line(line))
    else:
        print_workers(found)
