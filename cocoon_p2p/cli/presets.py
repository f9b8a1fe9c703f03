"""`cocoon translate`, `cocoon summarize`: chats of our own wording."""

import functools
from pathlib import Path
from typing import Any

import click

from cocoon_p2p.cli.buying import (
    config_option,
    cost_option,
    first_model,
    json_option,
    read_text,
    run_client,
    tokens_option,
    trust_option,
    weights_option,
    wishes_given,
)
from cocoon_p2p.cli.telling import tell
from cocoon_p2p.client.presets import summary, translation


@click.command()
@click.argument("text")
@click.option("--to", required=True, help="The language, such as Spanish or es.")
@click.option("--from", "source", help="The language it is in. Left out: the model sees.")
@click.option("--model", help="By default the first that can be bought.")
@tokens_option
@cost_option
@trust_option
@weights_option
@config_option
@json_option
def translate(
    text: str,
    to: str,
    source: str | None,
    model: str | None,
    max_tokens: int | None,
    max_cost: int | None,
    trust: str | None,
    weights: str | None,
    config_file: Path,
    as_json: bool,
) -> None:
    """Translate TEXT. A text of `-` is read from standard input."""
    text = read_text(Path("-")) if text == "-" else text
    # What is wrong is said before anything is dialled.
    translation(text, to=to, source=source)
    wishes = wishes_given(max_tokens, max_cost, trust, weights) | {"to": to, "source": source}
    run_client(
        config_file,
        functools.partial(_ask, verb="translate", text=text, model=model, wishes=wishes, as_json=as_json),
    )


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), default="-")
@click.option("--sentences", type=int, help="How many it may have. Left out: as the model thinks right.")
@click.option("--language", help="Of the summary. Left out: the text's own.")
@click.option("--model", help="By default the first that can be bought.")
@tokens_option
@cost_option
@trust_option
@weights_option
@config_option
@json_option
def summarize(
    file: Path,
    sentences: int | None,
    language: str | None,
    model: str | None,
    max_tokens: int | None,
    max_cost: int | None,
    trust: str | None,
    weights: str | None,
    config_file: Path,
    as_json: bool,
) -> None:
    """Sum up what FILE says; without one, or with `-`, standard input."""
    text = read_text(file)
    summary(text, sentences=sentences, language=language)
    wishes = wishes_given(max_tokens, max_cost, trust, weights)
    wishes |= {"sentences": sentences, "language": language}
    run_client(
        config_file,
        functools.partial(_ask, verb="summarize", text=text, model=model, wishes=wishes, as_json=as_json),
    )


async def _ask(
    client: Any, *, verb: str, text: str, model: str | None, wishes: dict[str, Any], as_json: bool
) -> None:
    name = model or await first_model(client)
    await tell(getattr(client, verb)(name, text, **wishes), as_json=as_json)
