"""`cocoon backup FILE OUT` and `cocoon restore BACKUP FOLDER`: a node in one sealed file, and back."""

import json
import time
from pathlib import Path

import click

from cocoon_p2p.cli.spell import harmless

_PATH = click.Path(path_type=Path, dir_okay=False)
_passphrase_file = click.option(
    "--passphrase-file", type=_PATH, help="Take the passphrase from the first line of FILE, of mode 0600."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command()
@click.argument("file", type=_PATH)
@click.argument("out", type=_PATH)
@_passphrase_file
@_json
def backup(file: Path, out: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Seal what the node of FILE cannot do without into OUT: its key, its wallet, its ledger, FILE itself.

    The node may run meanwhile. Whoever has OUT and the passphrase has the node and its money.
    """
    from cocoon_p2p.backup import make_backup
    from cocoon_p2p.cli.node_folder import load_any

    loaded = load_any(file)
    passphrase = _read(passphrase_file) or _new()
    made = make_backup(loaded, out, passphrase, now=time.time())
    for left in made.left_out:
        click.echo(f"  not in it: {left}", err=True)
    manifest = made.manifest
    if as_json:
        files = [{"name": each.name, "bytes": each.size} for each in manifest.files]
        facts = {"file": str(out), "bytes": out.stat().st_size, "role": manifest.role, "peer": manifest.peer}
        click.echo(json.dumps({**facts, "at": manifest.at, "files": files, "left_out": made.left_out}))
        return
    click.echo(f"{out}: {manifest.role} {manifest.peer}, {out.stat().st_size:,} bytes, sealed", err=True)
    for each in manifest.files:
        click.echo(f"  {each.name}  {each.size:,} bytes", err=True)


@click.command()
@click.argument("file", metavar="BACKUP", type=_PATH)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@_passphrase_file
@_json
def restore(file: Path, folder: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Put the node that BACKUP holds into FOLDER, which must be empty or not there yet.

    Its ledger is then as old as the backup, and the node knows it. Never run it while the one that was backed
    up still runs somewhere.
    """
    from cocoon_p2p.backup import restore as put_back

    passphrase = _read(passphrase_file) or click.prompt("Passphrase", hide_input=True, err=True)
    restored = put_back(file, folder, passphrase)
    manifest = restored.manifest
    age = max(0, int(time.time()) - manifest.at)
    if as_json:
        facts = {"folder": str(folder), "config": str(restored.config), "role": manifest.role}
        more = {"peer": manifest.peer, "at": manifest.at, "age_seconds": age, "to_set": manifest.moved}
        click.echo(json.dumps({**facts, **more}))
        return
    click.echo(f"{folder}: {manifest.role} {manifest.peer}, as it was {_ago(age)} ago", err=True)
    for key, place in manifest.moved.items():
        click.echo(harmless(f'  in {restored.config} set {key} = "{place}"'), err=True)
    if manifest.role == "client":
        return
    click.echo(f"  cocoon {manifest.role} {restored.config}", err=True)


def _ago(seconds: int) -> str:
    for size, name in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {name}"
    return f"{seconds} seconds"


def _read(file: Path | None) -> str:
    from cocoon_p2p import private_files
    from cocoon_p2p.errors import ConfigurationError

    if file is None:
        return ""
    try:
        passphrase = private_files.read(file).decode().partition("\n")[0]
    except FileNotFoundError:
        raise ConfigurationError(f"there is no {file}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file} holds no text") from None
    if not passphrase:
        raise ConfigurationError(f"{file} is empty", hint="write a passphrase into its first line")
    return passphrase


def _new() -> str:
    entered: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True)
    return entered
