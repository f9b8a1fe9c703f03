"""`cocoon channels watch`: collects for a payee that is away, with its vouchers and a chain.

It needs no key, no wallet and no network but the chain's, so it can run on another machine.
"""

import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cocoon_p2p.cli.amounts import TON
from cocoon_p2p.cli.node_folder import data_folder
from cocoon_p2p.cli.watch_lines import WatchPrinter
from cocoon_p2p.cli.watch_sources import LedgerFile, Source, VoucherFile, network_of, require_network
from cocoon_p2p.errors import Unavailable
from cocoon_p2p.observability import configure_logging
from cocoon_p2p.payments.address import GLOBAL_IDS
from cocoon_p2p.units import Nano

if TYPE_CHECKING:
    from cocoon_p2p.payments.chain import Chain
    from cocoon_p2p.payments.treasury.watched import Watched
    from cocoon_p2p.payments.treasury.watchtower import WatchPolicy, Watchtower

AGAIN_SECONDS = 10.0
"How often a chain is tried that cannot be reached when the watch begins."

_PATH = click.Path(path_type=Path, dir_okay=False)


@click.command(short_help="Collect for a node that may be away.")
@click.option("--vouchers", type=_PATH, help="What `cocoon channels export` wrote.")
@click.option("--config", "file", type=_PATH, help="The node's TOML file: its ledger is read instead.")
@click.option("--chain", type=_PATH, required=True, help="The TON network's global.config.json.")
@click.option(
    "--network",
    type=click.Choice(["mainnet", "testnet", "local"]),
    help="Which TON network.  [default: the vouchers']",
)
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=3600.0,
    show_default=True,
    metavar="SECONDS",
    help="Look at each contract at least this often; where its close delay is short, more often.",
)
@click.option(
    "--above",
    type=TON,
    metavar="AMOUNT",
    help="Claim once this many TON are due.  [default: only when the payer begins to close]",
)
@click.option("--once", is_flag=True, help="Look at each contract once, and end: 3 if something failed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON objects, one a line; amounts in nanoTON.")
def watch(
    vouchers: Path | None,
    file: Path | None,
    chain: Path,
    network: str | None,
    every: float,
    above: Nano | None,
    once: bool,
    as_json: bool,
) -> None:
    """Collect for a node that may be away, when a payer begins to close without it.

    It looks at each contract eight times within its close delay, and claims by messages that are paid for
    out of what is due: it has no key and needs no money. A file of vouchers that changes is read again;
    one that cannot be read, and a chain that cannot be reached, are tried again.
    """
    import trio

    from cocoon_p2p.payments.treasury.watchtower import WatchPolicy

    if (vouchers is None) is (file is None):
        raise click.UsageError("give --vouchers or --config: whose vouchers are they?")
    configure_logging(sys.stderr, level="warning", as_json=as_json)
    policy = WatchPolicy(every, above)
    trio.run(_watch, _source(vouchers, file), chain, network, policy, once, as_json)


def _source(vouchers: Path | None, file: Path | None) -> Source:
    from cocoon_p2p.config.folder import LEDGER

    if vouchers is not None:
        return VoucherFile(vouchers)
    assert file is not None
    return LedgerFile(data_folder(file) / LEDGER)


async def _watch(
    source: Source, chain: Path, network: str | None, policy: "WatchPolicy", once: bool, as_json: bool
) -> None:
    import trio

    from cocoon_p2p.payments.treasury.watchtower import Watchtower

    # Read here first: a mistake in it ends the command, while later on what is known is watched on.
    first: list[Sequence[Watched] | None] = [source.read()]
    global_id = network_of(first[0] or (), None if network is None else GLOBAL_IDS[network])

    async def read() -> "Sequence[Watched] | None":
        found = first.pop() if first else await trio.to_thread.run_sync(source.read)
        network_of(found or (), global_id)
        return found

    printer = WatchPrinter(as_json=as_json)
    async with AsyncExitStack() as stack:
        lite = await _opened(stack, chain, global_id, printer, is_patient=not once)
        require_network(lite.global_id, global_id)
        tower = Watchtower(lite, read, policy, printer.tell)
        if not once:
            await _until_told(tower)
        elif not await tower.once():
            raise Unavailable("not every contract could be looked after", hint="what failed is said above")


async def _opened(
    stack: AsyncExitStack, config: Path, global_id: int, printer: WatchPrinter, *, is_patient: bool
) -> "Chain":
    """Open the chain; if need be, and it is for a patient one, wait until there is one."""
    import trio

    from cocoon_p2p.payments.lite import NETWORKS, open_chain

    # A local chain may have any number.
    name = next((name for name, number in GLOBAL_IDS.items() if number == global_id), "local")
    while True:
        try:
            return await stack.enter_async_context(open_chain(config, NETWORKS[name]))
        except Unavailable as exc:
            if not is_patient:
                raise
            printer.away(exc)
        await trio.sleep(AGAIN_SECONDS)


async def _until_told(tower: "Watchtower") -> None:
    """Watch until SIGTERM or SIGINT."""
    import trio

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tower.run)
            async for _ in signals:
                nursery.cancel_scope.cancel()
                return
