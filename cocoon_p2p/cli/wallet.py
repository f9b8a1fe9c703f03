"""`cocoon wallet`: make a wallet, look at it, send from it.

The words appear on a terminal, or where `--show-words` asks for them, and nowhere else: what these
commands write to a pipe or a log is never worth stealing.
"""

import json
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.units import format_ton

if TYPE_CHECKING:
    from cocoon_p2p.payments.chain import Chain
    from cocoon_p2p.payments.wallet import Transfer, WalletKey
    from cocoon_p2p.payments.wallet.wallet_file import WalletFile

_WORDS_MAX_BYTES = 4096
_PER_LINE = 6

_PATH = click.Path(path_type=Path, dir_okay=False)
_file = click.argument("file", type=_PATH)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_network = click.option(
    "--network",
    type=click.Choice(["mainnet", "testnet", "local"]),
    default="mainnet",
    show_default=True,
    help="Which TON network the wallet is on.",
)
_chain = click.option("--chain", "config", type=_PATH, help="The network's global.config.json.")
_chain_needed = click.option(
    "--chain", "config", type=_PATH, required=True, help="The network's global.config.json."
)
_passphrase_file = click.option(
    "--passphrase-file", type=_PATH, help="Take the passphrase from the first line of FILE."
)
_lock = click.option("--passphrase", "ask", is_flag=True, help="Lock the file with a passphrase: ask for it.")
_show_words = click.option(
    "--show-words", is_flag=True, help="Show the 24 words on stderr even if that is no terminal."
)


@click.group()
def wallet() -> None:
    """A TON wallet (V5R1): what a client pays from, and a worker is paid to."""


@wallet.command()
@_file
@_network
@_lock
@_passphrase_file
@_show_words
@_json
def new(
    file: Path, network: str, ask: bool, passphrase_file: Path | None, show_words: bool, as_json: bool
) -> None:
    """Make a wallet, and write it to FILE. Its 24 words are shown on the terminal, to be written down."""
    from cocoon_p2p.payments.wallet.mnemonic import new_words
    from cocoon_p2p.payments.wallet.wallet_file import create

    passphrase = _new_passphrase(ask, passphrase_file)
    words = new_words()
    made = create(file, words, network, passphrase=passphrase)
    if show_words or sys.stderr.isatty():
        click.echo(
            "Write these words down. Whoever has them has the money; nothing else restores it.", err=True
        )
        _show(words)
    else:
        click.echo(f"The 24 words are in {file}. To write them down: cocoon wallet words {file}", err=True)
    _print_made(made, as_json)


@wallet.command()
@_file
@_network
@_lock
@_passphrase_file
@_json
def restore(file: Path, network: str, ask: bool, passphrase_file: Path | None, as_json: bool) -> None:
    """Write a wallet to FILE from its 24 words, which are typed in or come on stdin."""
    from cocoon_p2p.payments.wallet.wallet_file import create

    passphrase = _new_passphrase(ask, passphrase_file)
    if sys.stdin.isatty():
        text = click.prompt("The 24 words (they do not show)", hide_input=True, err=True)
    else:
        text = sys.stdin.read(_WORDS_MAX_BYTES)
    made = create(file, text.lower().split(), network, passphrase=passphrase)
    click.echo("If another wallet shows another address for these words, choose V5 (W5) there.", err=True)
    _print_made(made, as_json)


@wallet.command()
@_file
@_passphrase_file
def words(file: Path, passphrase_file: Path | None) -> None:
    """Show a wallet's 24 words, on stderr. Whoever sees them has the money."""
    from cocoon_p2p.payments.wallet.wallet_file import read

    found = read(file)
    _show(found.words(_passphrase(found, passphrase_file)))


@wallet.command()
@_file
@_chain
@_json
def show(file: Path, config: Path | None, as_json: bool) -> None:
    """Show a wallet's address, and with --chain its balance."""
    import trio

    from cocoon_p2p.payments.wallet.wallet_file import read

    found = read(file)
    facts: dict[str, object] = {"network": found.network, "address": found.address}
    if config is not None:
        try:
            facts |= trio.run(_look, found, config)
        except Unavailable as exc:
            facts["unavailable"] = str(exc)
            click.echo(f"the balance is not known: {exc}", err=True)
    _print(facts, as_json)


@wallet.command()
@_file
@click.argument("to")
@click.argument("amount", required=False)
@_chain_needed
@click.option("--all", "everything", is_flag=True, help="Send all there is, the reserve included.")
@click.option("--comment", "text", help="Say something along with it. Everybody can read it.")
@click.option("--yes", is_flag=True, help="Do not ask on the terminal.")
@_passphrase_file
@_json
def send(
    file: Path,
    to: str,
    amount: str | None,
    config: Path,
    everything: bool,
    text: str | None,
    yes: bool,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Send AMOUNT TON to the address TO, and wait until it is done.

    Interrupted at whatever moment, the payment is made once or not at all: the next `send` or `settle`
    finds out which before it does anything else.
    """
    import trio

    from cocoon_p2p.cli.wallet_on_chain import transfer_of
    from cocoon_p2p.payments.wallet.wallet_file import held, read

    found = read(file)
    transfer = transfer_of(found, to, amount, everything=everything, text=text)
    with held(file):
        key = found.open(_passphrase(found, passphrase_file))
        what = "all there is" if transfer.amount is None else format_ton(transfer.amount)
        if not yes and sys.stdin.isatty() and sys.stderr.isatty():
            click.confirm(f"Send {what} to {to}?", abort=True, err=True)
        try:
            facts = trio.run(_send, found, key, config, transfer)
        finally:
            _tell_if_pending(file)
    _print(facts, as_json)


@wallet.command()
@_file
@_chain_needed
@_passphrase_file
@_json
def settle(file: Path, config: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Find out what became of a payment that was interrupted."""
    import trio

    from cocoon_p2p.payments.wallet.wallet_file import held, read

    found = read(file)
    with held(file):
        key = found.open(_passphrase(found, passphrase_file))
        facts = trio.run(_settle, found, key, config)
    _print(facts, as_json)


# ---------------------------------------------------------------- on the chain


async def _look(found: "WalletFile", config: Path) -> dict[str, object]:
    from cocoon_p2p.cli.wallet_on_chain import look_on

    async with _open(found, config) as chain:
        return await look_on(chain, found)


async def _send(
    found: "WalletFile", key: "WalletKey", config: Path, transfer: "Transfer"
) -> dict[str, object]:
    from cocoon_p2p.cli.wallet_on_chain import send_on

    async with _open(found, config) as chain:
        return await send_on(chain, found, key, transfer)


async def _settle(found: "WalletFile", key: "WalletKey", config: Path) -> dict[str, object]:
    from cocoon_p2p.cli.wallet_on_chain import settle_on

    async with _open(found, config) as chain:
        return await settle_on(chain, found, key)


def _tell_if_pending(file: Path) -> None:
    from cocoon_p2p.payments.wallet.spending_file import FileJournal

    if not FileJournal.beside(file).is_empty:
        click.echo("A payment is under way. What becomes of it is told by: cocoon wallet settle", err=True)


def _open(found: "WalletFile", config: Path) -> "AbstractAsyncContextManager[Chain]":
    from cocoon_p2p.payments.lite import NETWORKS, open_chain

    return open_chain(config, NETWORKS[found.network])


# ---------------------------------------------------------------- secrets


def _new_passphrase(ask: bool, path: Path | None) -> str | None:
    if path is not None:
        return _first_line(path)
    if not ask:
        return None
    if not sys.stderr.isatty():
        raise ConfigurationError(
            "there is no terminal to ask for a passphrase", hint="give it with --passphrase-file"
        )
    return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True))


def _passphrase(found: "WalletFile", path: Path | None) -> str | None:
    if not found.is_locked:
        return None
    if path is not None:
        return _first_line(path)
    if not sys.stdin.isatty():
        # `open` says what is missing.
        return None
    return str(click.prompt("Passphrase", hide_input=True, err=True))


def _first_line(path: Path) -> str:
    from cocoon_p2p.private_files import read

    try:
        return read(path).decode().splitlines()[0]
    except FileNotFoundError:
        raise ConfigurationError(f"no passphrase file at {path}") from None
    except (UnicodeDecodeError, IndexError):
        raise ConfigurationError(f"{path} has no passphrase in its first line") from None


def _show(words: "tuple[str, ...]") -> None:
    for at in range(0, len(words), _PER_LINE):
        line = (f"{number:2}. {word:<9}" for number, word in enumerate(words[at : at + _PER_LINE], at + 1))
        click.echo("  ".join(line).rstrip(), err=True)


# ---------------------------------------------------------------- how it is spelled


def _print_made(made: "WalletFile", as_json: bool) -> None:
    if as_json:
        _print({"network": made.network, "address": made.address, "file": str(made.path)}, as_json)
    else:
        click.echo(made.address)


def _print(facts: Mapping[str, object], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts))
        return
    for name, fact in facts.items():
        if not name.endswith("_nano"):
            click.echo(f"{name.replace('_', ' '):<22}{fact}")
