"""An answer as it is printed: its text while it comes, or all that is known of it as JSON."""

import json
from contextlib import AbstractAsyncContextManager
from typing import Any

import click

from cocoon_p2p.cli.spell import answer_facts, footer, harmless


async def tell(block: AbstractAsyncContextManager[Any], *, as_json: bool) -> None:
    """Enter an answer's block, print what comes of it, and what it cost."""
    async with block as answer:
        async for piece in answer:
            if not as_json:
                click.echo(harmless(piece.text), nl=False)
    if as_json:
        click.echo(json.dumps(answer_facts(answer)))
    else:
        click.echo()
        click.echo(footer(answer), err=True)
