"""`cocoon ask`, `chat`, `models`: buy from the network that a client's config names."""

import functools
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import trio

from cocoon_p2p.cli.beyond_text import beyond_text, call_lines, logprob_facts, read_wishes, user_message
from cocoon_p2p.cli.buying import (
    config_option,
    cost_option,
    first_model,
    json_option,
    offers_of,
    prefer_option,
    read_text,
    run_client,
    tokens_option,
    trust_option,
    weights_option,
    wishes_given,
)
from cocoon_p2p.cli.spell import answer_facts, footer, harmless
from cocoon_p2p.errors import CocoonError, ConfigurationError, Unavailable


@click.command()
@config_option
@json_option
def models(config_file: Path, as_json: bool) -> None:
    """List what can be bought, through which proxy, at what price."""
    run_client(config_file, functools.partial(_models, as_json=as_json))


@click.command()
@click.argument("prompt")
@click.option("--model", help="By default the first that can be bought.")
@tokens_option
@cost_option
@trust_option
@weights_option
@prefer_option
@beyond_text
@click.option(
    "--receipt",
    "receipt_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep what proves the bill in this file (`cocoon receipt verify`); of what broke off in FILE.1, ...",
)
@config_option
@json_option
def ask(
    prompt: str,
    model: str | None,
    max_tokens: int | None,
    max_cost: int | None,
    trust: str | None,
    weights: str | None,
    prefer: str | None,
    receipt_file: Path | None,
    config_file: Path,
    as_json: bool,
    images: tuple[Path, ...],
    **options: Any,
) -> None:
    """Ask PROMPT once and print the answer. A prompt of `-` is read from standard input."""
    if receipt_file is not None and not receipt_file.absolute().parent.is_dir():
        raise ConfigurationError(f"there is no folder for the receipt: {receipt_file.absolute().parent}")
    if options["logprobs"] is not None and not as_json:
        raise ConfigurationError("--logprobs is shown in JSON alone", hint="say --json too")
    text = read_text(Path("-")) if prompt == "-" else prompt
    use = functools.partial(
        buy,
        message=user_message(text, images),
        model=model,
        wishes=wishes_given(max_tokens, max_cost, trust, weights, prefer) | read_wishes(options),
        receipt_file=receipt_file,
        as_json=as_json,
    )
    run_client(config_file, use)


@click.command()
@click.argument("model", required=False)
@tokens_option
@cost_option
@trust_option
@weights_option
@prefer_option
@config_option
def chat(
    model: str | None,
    max_tokens: int | None,
    max_cost: int | None,
    trust: str | None,
    weights: str | None,
    prefer: str | None,
    config_file: Path,
) -> None:
    """Talk to MODEL (by default the first that can be bought). An empty line or Ctrl-D ends it."""
    wishes = wishes_given(max_tokens, max_cost, trust, weights, prefer)
    run_client(config_file, functools.partial(talk, model=model, wishes=wishes))


async def _models(client: Any, *, as_json: bool) -> None:
    from cocoon_p2p.cli.spell import offer_facts, offer_table

    offers = await offers_of(client)
    if as_json:
        click.echo(json.dumps([offer_facts(offer) for offer in offers]))
    else:
        offer_table(offers)


async def buy(
    client: Any,
    *,
    message: dict[str, Any],
    model: str | None,
    wishes: dict[str, Any],
    receipt_file: Path | None,
    as_json: bool,
) -> None:
    """Ask once, show the answer, and keep what proves the bill, also of what broke off."""
    answer, logprobs = None, []
    try:
        async with client.chat(model or await first_model(client), [message], **wishes) as answer:
            async for piece in answer:
                logprobs += piece.logprobs
                if not as_json:
                    click.echo(harmless(piece.text), nl=False)
    except CocoonError:
        # What broke off may have cost something: that is worth proving too.
        if receipt_file is not None and answer is not None:
            # Of its last part there may be nothing to keep yet.
            with suppress(Unavailable):
                await _keep(answer, receipt_file)
        raise
    if as_json:
        told = {"logprobs": logprob_facts(logprobs)} if "logprobs" in wishes else {}
        click.echo(json.dumps(answer_facts(answer) | told))
    else:
        click.echo(call_lines(answer.tool_calls))
        click.echo(footer(answer), err=True)
    if receipt_file is not None:
        await _keep(answer, receipt_file)


async def _keep(answer: Any, file: Path) -> None:
    """Keep what proves the bill; of an answer of several exchanges, the others' in FILE.1, ..."""
    from cocoon_p2p.private_files import replace
    from cocoon_p2p.protocols.exchange.bundle import encode_bundle

    for number, part in enumerate(answer.parts, 1):
        if part.bundle not in (None, answer.bundle):
            place = file.with_name(f"{file.name}.{number}")
            await trio.to_thread.run_sync(replace, place, encode_bundle(part.bundle))
    await answer.save_bundle(file)


async def talk(client: Any, *, model: str | None, wishes: dict[str, Any]) -> None:
    """Read lines from the terminal, answer each, and remember them all."""
    name = model or await first_model(client)
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
