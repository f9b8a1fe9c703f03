"""`cocoon config`: is a node's file right, what holds in the end, and what may stand in it."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from cocoon_p2p.cli.node_folder import load_any, role_of

_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.group()
def config() -> None:
    """Look at a node's file before the node does."""


@config.command()
@_file
@click.option("--json", "as_json", is_flag=True, help="Print the mistakes as one JSON object.")
def check(file: Path, as_json: bool) -> None:
    """Say everything that is wrong with FILE, at once: line, column, what was probably meant.

    The exit code is 0 where nothing is, else 2.
    """
    from cocoon_p2p.node.payable import check_addresses
    from cocoon_p2p.strict_toml import ConfigurationMistakes

    if not as_json:
        check_addresses(load_any(file))
        click.echo(f"{file}: a {role_of(file)}'s file, and nothing is wrong with it", err=True)
        return
    mistakes: list[dict[str, Any]] = []
    try:
        check_addresses(load_any(file))
    except ConfigurationMistakes as exc:
        mistakes = [{"line": each.line, "column": each.column, "text": each.text} for each in exc.mistakes]
    click.echo(json.dumps({"file": str(file), "role": role_of(file), "mistakes": mistakes}))
    if mistakes:
        sys.exit(2)


@config.command()
@_file
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with what each key means.")
def show(file: Path, as_json: bool) -> None:
    """Print every key of FILE as it holds, and whether file, environment or default says so."""
    from cocoon_p2p.config.reference import in_effect, write_toml

    settings = in_effect(load_any(file))
    if not as_json:
        click.echo(write_toml(settings), nl=False)
        return
    sections: dict[str, dict[str, Any]] = {}
    for each in settings:
        told = {"value": each.value, "from": each.origin or "default", "meaning": each.meaning}
        sections.setdefault(each.section, {})[each.key] = told
    click.echo(json.dumps(sections, ensure_ascii=False))


@config.command()
@click.argument("role", type=click.Choice(["worker", "proxy", "bootstrap", "client"]))
def schema(role: str) -> None:
    """Print the JSON Schema of a ROLE's file, for editors."""
    from cocoon_p2p.config.reference import FILES, json_schema

    click.echo(json.dumps(json_schema(FILES[role]), indent=2, ensure_ascii=False))
