"""`cocoon embed`: turn texts into vectors."""

import functools
import json
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
    trust_option,
    weights_option,
    wishes_given,
)
from cocoon_p2p.cli.spell import answer_facts, footer
from cocoon_p2p.protocols.ids import Kind


@click.command()
@click.argument("texts", metavar="TEXT...", nargs=-1, required=True)
@click.option("--model", help="By default the first that can be bought for this.")
@cost_option
@trust_option
@weights_option
@config_option
@json_option
def embed(
    texts: tuple[str, ...],
    model: str | None,
    max_cost: int | None,
    trust: str | None,
    weights: str | None,
    config_file: Path,
    as_json: bool,
) -> None:
    """Turn each TEXT into a vector: a line of numbers each. A text of `-` is read from standard input."""
    inputs = [read_text(Path("-")) if text == "-" else text for text in texts]
    wishes = wishes_given(None, max_cost, trust, weights)
    run_client(
        config_file, functools.partial(_embed, inputs=inputs, model=model, wishes=wishes, as_json=as_json)
    )


async def _embed(
    client: Any, *, inputs: list[str], model: str | None, wishes: dict[str, Any], as_json: bool
) -> None:
    name = model or await first_model(client, Kind.EMBEDDING)
    made = await client.embed(name, inputs, **wishes)
    vectors = [vector.tolist() for vector in made.vectors]
    if as_json:
        facts = answer_facts(made.answer)
        click.echo(
            json.dumps({"vectors": vectors} | {name: facts[name] for name in facts if name != "answer"})
        )
        return
    for vector in vectors:
        click.echo(" ".join(f"{number:.9g}" for number in vector))
    click.echo(footer(made.answer), err=True)
