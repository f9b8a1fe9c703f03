"""What the commands that buy have in common: their options, the client that they run, the model they take."""

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
import trio

from cocoon_p2p.config import ClientFile, Loaded, load
from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.observability import configure_logging
from cocoon_p2p.protocols.ids import REQUEST_TEXT_MAX_BYTES, Kind

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    default=Path("client.toml"),
    show_default=True,
    help="The client's TOML file.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
tokens_option = click.option(
    "--max-tokens", type=click.IntRange(1), help="End the answer after so many tokens."
)
cost_option = click.option("--max-cost", type=click.IntRange(1), help="The most it may cost, in nanoTON.")
weights_option = click.option(
    "--weights", metavar="HASH", help="Only a worker with these weights will do (`cocoon model hash`)."
)
trust_option = click.option(
    "--trust",
    type=click.Choice(("open", "sim", "tdx", "tdx+gpu")),
    help="What must be proven about the worker's machine.",
)
prefer_option = click.option(
    "--prefer",
    type=click.Choice(("cheap", "balanced", "fast")),
    help="What counts more: the price, or the time. `fast` asks a second worker where a first token is late.",
)


def wishes_given(
    max_tokens: int | None,
    max_cost: int | None,
    trust: str | None,
    weights: str | None,
    prefer: str | None = None,
) -> dict[str, Any]:
    """Take what was said on the command line as the client's wishes; what was not is the policy's."""
    wishes = {
        "completion_tokens_max": max_tokens,
        "max_cost": max_cost,
        "trust": trust,
        "weights": weights,
        "prefer": prefer,
    }
    return {name: value for name, value in wishes.items() if value is not None}


def read_text(file: Path) -> str:
    """Read a file, or standard input, as far as a request may go.

    Raises:
        ConfigurationError: It cannot be read, is too long, or no text.
    """
    try:
        with click.open_file(str(file), "rb") as stream:
            data: bytes = stream.read(REQUEST_TEXT_MAX_BYTES + 1)
        if len(data) > REQUEST_TEXT_MAX_BYTES:
            raise ConfigurationError(f"the text is too long (max={REQUEST_TEXT_MAX_BYTES} bytes)")
        return data.decode()
    except OSError as exc:
        raise ConfigurationError(f"cannot read {file}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"not a text in UTF-8: {file}") from exc


def run_client(config_file: Path, use: Callable[[Any], Awaitable[None]]) -> None:
    """Run a client by its file, and what is done with it, to the end of that."""
    loaded = load(ClientFile, config_file, os.environ)
    configure_logging(sys.stderr, level=loaded.settings.log.level, as_json=loaded.settings.log.json)
    trio.run(_with_client, loaded, use)


async def _with_client(loaded: Loaded[ClientFile], use: Callable[[Any], Awaitable[None]]) -> None:
    from cocoon_p2p.node import open_client

    async with open_client(loaded) as client:
        await use(client)


async def offers_of(client: Any, kind: Kind | None = None) -> Any:
    """List what can be bought, of one kind or of all.

    Raises:
        Unavailable: Nothing is offered.
    """
    offers = [offer for offer in await client.models() if kind is None or offer.model.kind.serves(kind)]
    if not offers:
        what = "a model" if kind is None else f"a model for {kind.name.lower()}"
        raise Unavailable(
            f"no proxy offers {what} right now",
            hint="check [network] bootstrap in the client's file and this machine's clock, "
            "or wait for a proxy to come up",
        )
    return offers


async def first_model(client: Any, kind: Kind = Kind.CHAT) -> str:
    """Name the first model of a kind that can be bought. Raises as `offers_of` does."""
    name: str = (await offers_of(client, kind))[0].model.name
    return name
