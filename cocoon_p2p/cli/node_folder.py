"""Which node a command is about, and how it is asked: running or not.

It is named by its config, whatever its role, or by its data folder.
"""

import functools
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from cocoon_p2p.cli.spell import harmless
from cocoon_p2p.config import BootstrapFile, ClientFile, Loaded, ProxyFile, WorkerFile, load
from cocoon_p2p.errors import ConfigurationError

T = TypeVar("T")

_CONFIG = Path("client.toml")

RoleName = Literal["worker", "bootstrap", "proxy", "client"]
_ROLES: tuple[RoleName, ...] = ("worker", "bootstrap", "proxy", "client")


def of_node(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command FILE, or the options `--config` and `--data`; it is called with the data `folder`."""

    @click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
    @click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"The node's TOML file, of any role.  [default: {_CONFIG}]",
    )
    @click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        help="Its data folder, where there is no such file.",
    )
    @functools.wraps(command)
    def wrapped(file: Path | None, config_file: Path | None, data: Path | None, **rest: object) -> None:
        if [file, config_file, data].count(None) < 2:
            raise click.UsageError("FILE, --config and --data each say which node is meant: give one of them")
        command(folder=data or data_folder(file or config_file or _CONFIG), **rest)

    return wrapped


def role_of(file: Path) -> RoleName:
    """Say whose file it is: `client`, where nothing in it says otherwise (or it cannot be read)."""
    tables = _tables(file)
    for role in _ROLES:
        if role in tables:
            return role
    # A bootstrap node's file may do without a section of its own; it always says where it listens.
    network = tables.get("network")
    return "bootstrap" if isinstance(network, dict) and "listen" in network else "client"


def is_running(folder: Path) -> bool:
    """Whether a process answers at a node's socket. One that is busy does.

    Raises:
        ConfigurationError: It is for another user to ask.
    """
    import socket

    from cocoon_p2p.config.folder import CONTROL_SOCKET

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        try:
            stream.connect(os.fspath(folder / CONTROL_SOCKET))
        except PermissionError as exc:
            raise ConfigurationError(
                f"{folder} is another user's", hint="run this as the node's owner"
            ) from exc
        except OSError:
            return False
    return True


def data_folder(file: Path) -> Path:
    """Give the data folder that a node's file names.

    Raises:
        ConfigurationError: The file cannot be read, or has mistakes.
    """
    return load_any(file).data_directory


def load_any(file: Path) -> Loaded[Any]:
    """Read a node's file, of whatever role it is.

    Raises:
        ConfigurationError: The file cannot be read, or has mistakes.
    """
    match role_of(file):
        case "worker":
            return load(WorkerFile, file, os.environ)
        case "bootstrap":
            return load(BootstrapFile, file, os.environ)
        case "proxy":
            return load(ProxyFile, file, os.environ)
        case _:
            return load(ClientFile, file, os.environ)


def _tables(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        # What is wrong with it is said when it is loaded.
        return {}


def ask_or_read(folder: Path, ask_node: Callable[[Path], T], read: Callable[[Path], T]) -> tuple[str, T]:
    """Ask the node that owns a data folder; where none answers, read its ledger. Say which on stderr.

    Returns:
        `daemon` or `ledger`, and what came of it.

    Raises:
        ConfigurationError: There is no ledger either.
        CocoonError: What the running node has to say against it.
    """
    from cocoon_p2p.config.folder import CONTROL_SOCKET, LEDGER
    from cocoon_p2p.errors import Unavailable

    try:
        result = ask_node(folder / CONTROL_SOCKET)
    except Unavailable as exc:
        why = str(exc)
    else:
        click.echo("from the running node", err=True)
        return "daemon", result
    result = read(folder / LEDGER)
    click.echo(harmless(f"from the ledger: {why}"), err=True)
    return "ledger", result
