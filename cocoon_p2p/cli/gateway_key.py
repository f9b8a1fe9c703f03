"""`cocoon gateway key`: who may ask the gateway, how much it may spend, and how often.

A gateway that runs is asked to do it; where no program owns the ledger, the command does it there itself.
"""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from cocoon_p2p.cli.amounts import TON, ton
from cocoon_p2p.cli.channel_tables import spell_time
from cocoon_p2p.cli.node_folder import is_running
from cocoon_p2p.cli.tables import UNIT, print_json, print_table
from cocoon_p2p.config import ClientFile, Loaded, load
from cocoon_p2p.errors import ConfigurationError, MalformedMessage
from cocoon_p2p.units import Nano, format_ton

if TYPE_CHECKING:
    from cocoon_p2p.control import Request, Verb
    from cocoon_p2p.gateway.key_deeds import KeyDeeds, KeyView

    Q = TypeVar("Q", bound=Request)

R = TypeVar("R")

_WINDOWS = {"hour": 3600, "day": 86_400, "week": 7 * 86_400}

_config = click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("client.toml"),
    show_default=True,
    help="The gateway's TOML file: a client's.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object; amounts in nanoTON.")


@click.group("key")
def key() -> None:
    """Make and take back API keys, while the gateway runs or while it does not."""


@key.command(short_help="Make a key; its secret is shown this once.")
@click.argument("name")
@click.option("--budget", type=TON, help="What it may spend, in TON.  [default: only counted, not limited]")
@click.option("--every", type=click.Choice(tuple(_WINDOWS)), help="The budget is there again each ... (UTC).")
@click.option(
    "--requests-per-minute", type=click.IntRange(1, 1_000_000), help="How often it may ask.  [default: ever]"
)
@_config
@_json
def create(
    name: str,
    budget: Nano | None,
    every: str | None,
    requests_per_minute: int | None,
    file: Path,
    as_json: bool,
) -> None:
    """Make an API key for NAME, and print its secret: nobody can show it again.

    From the first key on, the gateway answers nobody who brings none.
    """
    from cocoon_p2p.gateway.key_deeds import MAKE_KEY, MakeKey

    if every is not None and budget is None:
        raise click.UsageError("--every says how often the --budget is there again: give one")
    window = None if every is None else _WINDOWS[every]
    request = MakeKey(name, budget, window, requests_per_minute)
    view = _carry_out(file, MAKE_KEY, request, lambda deeds: deeds.make(request))
    if as_json:
        print_json(view)
        return
    click.echo(view.secret)
    click.echo(f"key {view.id}: {_allowance(view)}; the secret is not shown again", err=True)


@key.command("list", short_help="Show every key, and what it has spent.")
@_config
@_json
def list_keys(file: Path, as_json: bool) -> None:
    """Show every key, and what it has spent. Amounts are in TON."""
    from cocoon_p2p.gateway.key_deeds import LIST_KEYS, ListKeys

    views = _carry_out(file, LIST_KEYS, ListKeys(), lambda deeds: deeds.list(ListKeys()))
    if as_json:
        print_json({"keys": views})
        return
    columns = ("id", "name", "made", "budget", "spent", "reserved", "left", "all told", "a minute")
    print_table(columns, map(_row, views), amounts=("spent", "reserved", "left", "all told"))
    click.echo(UNIT, err=True)


@key.command(short_help="Take a key back.")
@click.argument("key_id", metavar="ID")
@_config
@_json
def revoke(key_id: str, file: Path, as_json: bool) -> None:
    """Take the key ID back: who brings it is refused from now on. Answers that run go on."""
    from cocoon_p2p.gateway.key_deeds import REVOKE_KEY, RevokeKey

    request = RevokeKey(key_id)
    view = _carry_out(file, REVOKE_KEY, request, lambda deeds: deeds.revoke(request))
    if as_json:
        print_json(view)
    else:
        click.echo(f"key {view.id} is no more; it has spent {format_ton(view.total_nano)}")


@key.command("top-up", short_help="Add to what a key can spend.")
@click.argument("key_id", metavar="ID")
@click.argument("amount", type=TON)
@_config
@_json
def top_up(key_id: str, amount: Nano, file: Path, as_json: bool) -> None:
    """Add AMOUNT TON to what the key ID can spend once its budget is spent, until it is spent too."""
    from cocoon_p2p.gateway.key_deeds import TOP_UP_KEY, TopUpKey

    request = TopUpKey(key_id, amount)
    view = _carry_out(file, TOP_UP_KEY, request, lambda deeds: deeds.top_up(request))
    if as_json:
        print_json(view)
    else:
        click.echo(f"key {view.id} has {format_ton(view.left_nano or 0)} left")


# ---------------------------------------------------------------- who does it


def _carry_out(file: Path, verb: "Verb[Q, R]", request: "Q", here: "Callable[[KeyDeeds], Awaitable[R]]") -> R:
    """Have the gateway that runs do it, or do it here; say on stderr which it was."""
    from cocoon_p2p.config.folder import CONTROL_SOCKET
    from cocoon_p2p.control import ask

    loaded = load(ClientFile, file, os.environ)
    folder = loaded.data_directory
    if not is_running(folder):
        import trio

        click.echo("no program uses this ledger: done here", err=True)
        return trio.run(_here, loaded, here)
    click.echo("through the running gateway", err=True)
    try:
        return ask(folder / CONTROL_SOCKET, verb, request)
    except MalformedMessage as exc:
        raise ConfigurationError(
            f"what runs on this ledger is no gateway: {exc}", hint="stop it, then give the command again"
        ) from exc


async def _here(loaded: Loaded[ClientFile], do: "Callable[[KeyDeeds], Awaitable[R]]") -> R:
    import time

    from cocoon_p2p.client import Purses
    from cocoon_p2p.gateway.key_deeds import KeyDeeds
    from cocoon_p2p.gateway.keys import Keys
    from cocoon_p2p.keyfile import load_or_create
    from cocoon_p2p.node import IDENTITY_KEY, ledger_of
    from cocoon_p2p.store import open_store

    # Keys may be made before the gateway has ever run: its folder is made as it would make it.
    load_or_create(loaded.data_directory / IDENTITY_KEY)
    async with open_store(ledger_of(loaded)) as store:
        purses = Purses(store, time.time)
        await purses.load()
        keys = Keys(store, purses, time.time)
        await keys.load()
        deeds = KeyDeeds()
        deeds.begin(keys, purses)
        return await do(deeds)


# ---------------------------------------------------------------- how it is told


def _row(view: "KeyView") -> tuple[str, ...]:
    return (
        view.id,
        view.name,
        spell_time(view.created_at),
        _budget(view),
        ton(view.spent_nano),
        ton(view.reserved_nano),
        "-" if view.left_nano is None else ton(view.left_nano),
        ton(view.total_nano),
        "-" if view.requests_per_minute is None else str(view.requests_per_minute),
    )


def _budget(view: "KeyView") -> str:
    if view.limit_nano is None:
        return "-"
    names = {seconds: f" a {name}" for name, seconds in _WINDOWS.items()}
    window = "" if view.every_seconds is None else names.get(view.every_seconds, f" a {view.every_seconds} s")
    return ton(view.limit_nano) + window


def _allowance(view: "KeyView") -> str:
    return "counted, not limited" if view.limit_nano is None else f"may spend (in TON) {_budget(view)}"
