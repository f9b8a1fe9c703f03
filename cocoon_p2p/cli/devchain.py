"""`cocoon devchain`: a TON chain of one's own, for wallets, tests and the demo to talk to.

By itself it runs the chain; `give`, `advance` and `look` speak to a running one, through the
socket beside the file that it is kept in.
"""

import json
import signal
import sys
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path

import click
import trio

from cocoon_p2p.cli.steps import StepPrinter
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.observability import configure_logging
from cocoon_p2p.payments.address import GLOBAL_IDS, parse_address
from cocoon_p2p.payments.devchain.control import Advance, Give, Look, Reply, Wish, ask, control_path
from cocoon_p2p.payments.devchain.messages import AccountId
from cocoon_p2p.payments.devchain.service import Settings, run_devchain
from cocoon_p2p.units import Nano, format_ton, parse_ton

_STATE = click.Path(path_type=Path, dir_okay=False)
_running = click.option(
    "--state", type=_STATE, required=True, help="The file that the running chain is kept in."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON objects, one a line.")


@click.group(invoke_without_command=True)
@click.option("--listen", default="127.0.0.1:0", show_default=True, help="HOST:PORT; port 0: any free one.")
@click.option("--state", type=_STATE, help="Keep the chain in FILE, its key and control socket beside it.")
@click.option(
    "--fund",
    multiple=True,
    metavar="ADDRESS=AMOUNT",
    help="See to it that ADDRESS has AMOUNT TON at the start. May be repeated.",
)
@_json
@click.pass_context
def devchain(
    context: click.Context, listen: str, state: Path | None, fund: tuple[str, ...], as_json: bool
) -> None:
    """Run a TON chain on this machine: real contracts and blocks, no validators, money for nothing.

    The network's config JSON, which wallets take, goes to stdout. SIGTERM or Ctrl-C saves the chain.
    """
    if context.invoked_subcommand is not None:
        return
    configure_logging(sys.stderr, level="warning", as_json=as_json)
    host, port = _place(listen)
    settings = Settings(host, port, state, tuple(map(_funding, fund)))
    trio.run(_until_told, settings, as_json)


@devchain.command()
@click.argument("address")
@click.argument("amount")
@_running
@_json
def give(address: str, amount: str, state: Path, as_json: bool) -> None:
    """Give ADDRESS AMOUNT TON out of nothing, on a running chain."""
    _print(_asked(state, Give(address, _amount(amount))), as_json)


@devchain.command()
@click.argument("seconds", type=click.IntRange(min=0))
@_running
@_json
def advance(seconds: int, state: Path, as_json: bool) -> None:
    """Move a running chain's time forward by SECONDS."""
    _print(_asked(state, Advance(seconds)), as_json)


@devchain.command()
@click.argument("address")
@_running
@_json
def look(address: str, state: Path, as_json: bool) -> None:
    """Show what ADDRESS has, on a running chain."""
    _print(_asked(state, Look(address)), as_json)


def _asked(state: Path, wish: Wish) -> Reply:
    return ask(control_path(state), wish)


def _print(reply: Reply, as_json: bool) -> None:
    facts = {"now": reply.now, "seqno": reply.seqno}
    if reply.balance is not None:
        facts["balance"] = reply.balance
    if as_json:
        click.echo(json.dumps(facts))
    elif reply.balance is not None:
        click.echo(format_ton(reply.balance))
    else:
        click.echo(str(reply.now))


async def _until_told(settings: Settings, as_json: bool) -> None:
    """Run the chain until the first SIGTERM or Ctrl-C."""
    stop = trio.Event()
    steps = StepPrinter(as_json=as_json)

    def announce(step: str, **facts: object) -> None:
        if step == "config" and not as_json:
            click.echo(json.dumps(facts["config"], indent=2))
        else:
            steps(step, **facts)

    async def listen() -> None:
        async for _ in signals:
            stop.set()

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_service_nursery() as nursery:
            nursery.start_soon(listen)
            await run_devchain(settings, announce, stop)


def _place(text: str) -> tuple[IPv4Address, int]:
    host, colon, port = text.rpartition(":")
    try:
        if not colon or not 0 <= int(port) <= 65_535:
            raise ValueError
        return IPv4Address(host), int(port)
    except (AddressValueError, ValueError):
        raise ConfigurationError(
            f"not an IPv4 address and port: {text!r}", hint="write --listen 127.0.0.1:4443"
        ) from None


def _funding(text: str) -> tuple[AccountId, Nano]:
    # An address may end in `=`, an amount holds none.
    address, _, amount = text.rpartition("=")
    try:
        return parse_address(address, global_id=GLOBAL_IDS["local"]).account, _amount(amount)
    except ConfigurationError as exc:
        raise ConfigurationError(f"--fund: {exc}", hint="write --fund ADDRESS=AMOUNT, in TON") from None


def _amount(text: str) -> Nano:
    try:
        return parse_ton(text)
    except ValueError as exc:
        raise ConfigurationError(str(exc), hint="write an amount in TON, such as 0.5") from None
