"""`cocoon ask`, `chat`, `models`: buy from the network that a client's config names."""

import functools
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
import trio

from cocoon_p2p.cli.spell import answer_facts, footer, harmless
from cocoon_p2p.config import ClientFile, Loaded, load
from cocoon_p2p.errors import CocoonError, ConfigurationError
from cocoon_p2p.observability import configure_logging

_config = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    default=Path("client.toml"),
    show_default=True,
    help="The client's TOML file.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_tokens = click.option("--max-tokens", type=click.IntRange(1), help="End the answer after so many tokens.")
_cost = click.option("--max-cost", type=click.IntRange(1), help="The most it may cost, in nanoTON.")
_weights = click.option(
    "--weights", metavar="HASH", help="Only a worker with these weights will do (`cocoon model hash`)."
)
_trust = click.option(
    "--trust",
    type=click.Choice(("open", "sim", "tdx", "tdx+gpu")),
    help="What must be proven about the worker's machine.",
)


@click.command()
@_config
@_json
def models(config_file: Path, as_json: bool) -> None:
    """List what can be bought, through which proxy, at what price."""
    _run(config_file, functools.partial(_models, as_json=as_json))


@click.command()
@click.argument("prompt")
@click.option("--model", help="By default the first that can be bought.")
@_tokens
@_cost
@_trust
@_weights
@click.option(
    "--receipt",
    "receipt_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep what proves the bill in this file (`cocoon receipt verify`).",
)
@_config
@_json
def ask(
    prompt: str,
    model: str | None,
    max_tokens: int | None,
    max_cost: int | None,
    trust: str | None,
    weights: str | None,
    receipt_file: Path | None,
    config_file: Path,
    as_json: bool,
) -> None:
    """Ask PROMPT once and print the answer. A prompt of `-` is read from standard input."""
    if receipt_file is not None and not receipt_file.absolute().parent.is_dir():
        raise ConfigurationError(f"there is no folder for the receipt: {receipt_file.absolute().parent}")
    text = sys.stdin.read() if prompt == "-" else prompt
    wishes = _wishes(max_tokens, max_cost, trust, weights)
    use = functools.partial(
        _ask, prompt=text, model=model, wishes=wishes, receipt_file=receipt_file, as_json=as_json
    )
    _run(config_file, use)


@click.command()
@click.argument("model", required=False)
@_tokens
@_cost
@_trust
@_weights
@_config
def chat(
    model: str | None,
    max_tokens: int | None,
    max_cost: int | None,
    trust: str | None,
    weights: str | None,
    config_file: Path,
) -> None:
    """Talk to MODEL (by default the first that can be bought). An empty line or Ctrl-D ends it."""
    wishes = _wishes(max_tokens, max_cost, trust, weights)
    _run(config_file, functools.partial(talk, model=model, wishes=wishes))


def _wishes(
    max_tokens: int | None, max_cost: int | None, trust: str | None, weights: str | None
) -> dict[str, Any]:
    wishes = {
        "completion_tokens_max": max_tokens,
        "max_cost": max_cost,
        "trust": trust,
        "weights": weights,
    }
    return {name: value for name, value in wishes.items() if value is not None}


def _run(config_file: Path, use: Callable[[Any], Awaitable[None]]) -> None:
    loaded = load(ClientFile, config_file, os.environ)
    configure_logging(sys.stderr, level=loaded.settings.log.level, as_json=loaded.settings.log.json)
    trio.run(_with_client, loaded, use)


async def _with_client(loaded: Loaded[ClientFile], use: Callable[[Any], Awaitable[None]]) -> None:
    from cocoon_p2p.node import open_client

    async with open_client(loaded) as client:
        await use(client)


async def _models(client: Any, *, as_json: bool) -> None:
    from cocoon_p2p.cli.spell import offer_facts, offer_table

    offers = await _offers(client)
    if as_json:
        click.echo(json.dumps([offer_facts(offer) for offer in offers]))
    else:
        offer_table(offers)


async def _offers(client: Any) -> Any:
    from cocoon_p2p.errors import Unavailable

    offers = await client.models()
    if not offers:
        raise Unavailable(
            "no proxy offers a model right now",
            hint="check [network] bootstrap in the client's file, or wait for a proxy to come up",
        )
    return offers


async def _first_model(client: Any) -> str:
    name: str = (await _offers(client))[0].model.name
    return name


async def _ask(
    client: Any,
    *,
    prompt: str,
    model: str | None,
    wishes: dict[str, Any],
    receipt_file: Path | None,
    as_json: bool,
) -> None:
    messages = [{"role": "user", "content": prompt}]
    answer = None
    try:
        async with client.chat(model or await _first_model(client), messages, **wishes) as answer:
            async for piece in answer:
                if not as_json:
                    click.echo(harmless(piece.text), nl=False)
    except CocoonError:
        # What broke off may have cost something: that is worth proving too.
        if receipt_file is not None and answer is not None and answer.bundle is not None:
            await answer.save_bundle(receipt_file)
        raise
    if as_json:
        click.echo(json.dumps(answer_facts(answer)))
    else:
        click.echo()
        click.echo(footer(answer), err=True)
    if receipt_file is not None:
        await answer.save_bundle(receipt_file)


async def talk(client: Any, *, model: str | None, wishes: dict[str, Any]) -> None:
    """Read lines from the terminal, answer each, and remember them all."""
    name = model or await _first_model(client)
    messages: list[dict[str, str]] = []
    click.echo(f"{harmless(name)}: ask something; an empty line ends it.", err=True)
    while line := await trio.to_thread.run_sync(_read_line, abandon_on_cancel=True):
        messages.append({"role": "user", "content": line})
        async with client.chat(name, messages, **wishes) as answer:
            async for piece in answer:
                click.echo(harmless(piece.text), nl=False)
        messages.append({"role": "assistant", "content": answer.text})
        click.echo()
        click.echo(footer(answer), err=True)


def _read_line() -> str:
    try:
        return input("> ").strip()
    except EOFError:
        return ""
