"""`cocoon model pull`: what is shown while a model comes, and whose token is sent along."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.inference.models.catalogue import Catalogue
from cocoon_p2p.inference.models.download import Progress
from cocoon_p2p.inference.models.entry import ModelEntry
from cocoon_p2p.inference.models.fetching import open_fetcher
from cocoon_p2p.inference.models.folder import ModelFolder
from cocoon_p2p.inference.models.pulling import Plan, plan_pull
from cocoon_p2p.inference.models.pulling import pull as pull_planned
from cocoon_p2p.inference.models.source import HUB_URL, parse_source

_TOKEN_MAX_BYTES = 4096


def pull(
    text: str,
    folder: ModelFolder,
    catalogue: Catalogue,
    *,
    revision: str,
    sha256: str,
    name: str,
    token_file: Path | None,
) -> tuple[ModelEntry, bool]:
    """Fetch a model, and show how far it is.

    Returns:
        What came, and whether somebody had said beforehand what each file must hash to.
    """
    hub = hub_address(os.environ)
    token = find_token(os.environ, token_file)

    async def run() -> tuple[ModelEntry, bool]:
        async with open_fetcher(hub=hub, token=token) as fetcher:
            plan = await plan_pull(
                text, name=name, revision=revision, sha256=sha256, catalogue=catalogue, fetcher=fetcher
            )
            if folder.find(plan.name) is not None:
                click.echo(f"{plan.name} is here already", err=True)
            with _shown(plan) as progress:
                entry = await pull_planned(plan, folder, catalogue, fetcher, progress=progress)
        return entry, all(wanted.sha256 or wanted.git_blob for wanted in plan.files)

    return trio.run(run)


@contextmanager
def _shown(plan: Plan) -> Iterator[Progress]:
    """Show bytes, rate and what time is left on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Bars(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks = {wanted.name: bars.add_task(wanted.name, start=False) for wanted in plan.files}
        begun = set[str]()

        def tell(name: str, done_bytes: int, total_bytes: int | None) -> None:
            if name not in begun:
                # What was there before did not come at today's rate.
                bars.reset(tasks[name], total=total_bytes, completed=done_bytes)
                begun.add(name)
            bars.update(tasks[name], completed=done_bytes, total=total_bytes)

        yield tell


def hub_address(environment: Mapping[str, str]) -> str:
    """Give the hub's address: HF_ENDPOINT names a mirror."""
    hub = environment.get("HF_ENDPOINT", HUB_URL).rstrip("/")
    parse_source(f"{hub}/model")
    return hub


def find_token(environment: Mapping[str, str], named: Path | None) -> str:
    """Give the hub's token, or nothing: from a file, HF_TOKEN, or where the hub's own tools keep it."""
    where, token = "HF_TOKEN", environment.get("HF_TOKEN", "")
    if named is not None or not token:
        home = environment.get("HF_HOME") or "~/.cache/huggingface"
        path = named or Path(environment.get("HF_TOKEN_PATH") or f"{home}/token").expanduser()
        where, token = str(path), _read(path, must_be_there=named is not None)
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError(f"{where} holds no token", hint="a token is one word on one line")
    return token


def _read(path: Path, *, must_be_there: bool) -> str:
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            return file.read(_TOKEN_MAX_BYTES).strip()
    except OSError as exc:
        if must_be_there:
            raise ConfigurationError(
                f"cannot read {path}: {exc.strerror}", hint="name a file that holds the token"
            ) from exc
        return ""
