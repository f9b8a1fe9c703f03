"""`cocoon explorer FILE`: what is public of a network, as a page and as JSON."""

import functools
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio

from cocoon_p2p.cli.node_folder import load_any
from cocoon_p2p.cli.tables import print_json
from cocoon_p2p.config import ClientFile, Loaded
from cocoon_p2p.config.sections import ChainSection, NetworkSection
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.notify import ServiceManager, keep_told
from cocoon_p2p.observability import configure_logging

if TYPE_CHECKING:
    from cocoon_p2p.explorer.service import Pace
    from cocoon_p2p.web import Listen


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option(
    "--join", metavar="NETWORK", help="The network's name, where there is no file of one of its nodes."
)
@click.option("--bootstrap", multiple=True, metavar="MULTIADDR", help="With --join: who is dialled first.")
@click.option(
    "--chain", type=click.Choice(("mainnet", "testnet", "local")), help="With --join: TON's network."
)
@click.option(
    "--servers", type=click.Path(path_type=Path, dir_okay=False), help="With --chain: its global.config.json."
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("explorer-data"),
    show_default=True,
    help="Where it keeps what it saw.",
)
@click.option(
    "--listen", default="127.0.0.1:8920", show_default=True, help="HOST:PORT; port 0: any free one."
)
@click.option(
    "--name", "names", multiple=True, help="A host name it is called by, such as explorer.example.org."
)
@click.option(
    "--every",
    type=click.IntRange(5, 86_400),
    default=300,
    show_default=True,
    help="Seconds between two looks at the directory.",
)
@click.option("--json", "as_json", is_flag=True, help="Look once, print one JSON object, and end.")
def explorer(
    file: Path | None,
    join: str | None,
    bootstrap: tuple[str, ...],
    chain: str | None,
    servers: Path | None,
    data: Path,
    listen: str,
    names: tuple[str, ...],
    every: int,
    as_json: bool,
) -> None:
    """Look at the network that FILE, of any of its nodes, belongs to, and show what is public of it.

    It keeps what it saw, so that its plots go back. It takes no part: it buys nothing and serves nothing but
    its page. With --json, and where one runs already, what that one saw last is printed.
    """
    from cocoon_p2p.explorer.service import Pace

    if file is not None and join is None:
        loaded = _network_of(file)
    elif file is None and join is not None:
        loaded = _joined(join, bootstrap, chain, servers)
    else:
        raise click.UsageError("name the network: by FILE, of one of its nodes, or by --join")
    configure_logging(sys.stderr, level=loaded.settings.log.level, as_json=loaded.settings.log.json)
    if as_json:
        trio.run(_tell, loaded, data)
        return
    try:
        from cocoon_p2p.web import read_listen
    except ImportError as exc:
        raise ConfigurationError(
            "the network's page needs more libraries",
            hint="install them with: pip install 'cocoon-p2p[page]'; --json needs none of them",
        ) from exc
    trio.run(_serve, loaded, data, read_listen(listen), names, Pace(crawl_seconds=float(every)))


def _network_of(file: Path) -> Loaded[ClientFile]:
    """Take what an explorer needs from any node's file."""
    loaded = load_any(file)
    settings = loaded.settings
    shared = {name: getattr(settings, name) for name in ("chain", "trust", "log") if hasattr(settings, name)}
    network = NetworkSection(name=settings.network.name, bootstrap=settings.network.bootstrap)
    return Loaded(ClientFile(network=network, **shared), loaded.path)


def _joined(
    name: str, bootstrap: tuple[str, ...], chain: str | None, servers: Path | None
) -> Loaded[ClientFile]:
    if not bootstrap:
        raise ConfigurationError(
            "--join needs a bootstrap node: no list of them is published",
            hint="--bootstrap /dns4/HOST/tcp/4001/p2p/12D3..., as often as there are some",
        )
    if (chain is None) != (servers is None):
        raise ConfigurationError(
            "--chain and --servers belong together", hint="name TON's network and its global.config.json"
        )
    section = None if chain is None or servers is None else ChainSection(network=chain, servers=str(servers))
    network = NetworkSection(name=name, bootstrap=list(bootstrap))
    return Loaded(ClientFile(network=network, chain=section), Path.cwd() / "explorer.toml")


async def _tell(loaded: Loaded[ClientFile], data: Path) -> None:
    from cocoon_p2p.explorer.service import open_explorer, open_kept
    from cocoon_p2p.node.sole import InUse

    try:
        async with open_explorer(loaded, data) as opened:
            await opened.crawl()
            await opened.look()
            print_json(await opened.view())
    except InUse:
        click.echo("from the running explorer", err=True)
        async with open_kept(loaded, data) as kept:
            print_json(await kept.view())


async def _serve(
    loaded: Loaded[ClientFile], data: Path, listen: "Listen", names: tuple[str, ...], pace: "Pace"
) -> None:
    from cocoon_p2p.explorer.service import open_explorer
    from cocoon_p2p.explorer.site import build_site
    from cocoon_p2p.web import Bounds, serve_site

    manager = ServiceManager(os.environ)
    async with open_explorer(loaded, data) as opened, trio.open_nursery() as nursery:
        # It ends at once when it is told to: there is nothing to wait for.
        nursery.start_soon(keep_told, manager, trio.Event())
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            serve = functools.partial(
                serve_site, build_site(opened, names), listen, Bounds(connections_max=512)
            )
            url = await nursery.start(serve)
            nursery.start_soon(opened.run, pace)
            click.echo(f"{url} shows what is public of {opened.network}; Ctrl-C ends it", err=True)
            manager.status(f"listening {url}")
            manager.ready()
            async for _ in signals:
                nursery.cancel_scope.cancel()
                break
