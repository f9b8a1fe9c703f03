"""Makes docs/json out of `outputs`, and judges what commands print by it.

`python -m tests.json_schemas.making` writes the files.
"""

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import click
import msgspec

from cocoon_p2p.cli import cocoon
from tests.json_schemas.outputs import LINES, OPEN, OUTPUTS

# It has no types.
jsonschema: Any = import_module("jsonschema")

FOLDER = Path(__file__).parents[2] / "docs" / "json"

_README = """# What commands print with `--json`

One JSON Schema (2020-12) a command. A field keeps its name and its meaning; new ones may come, so whoever
reads passes over what it does not know. Money is in nanoTON (1 TON is 10^9), a time in seconds since the Unix
epoch where its name ends in `_at`, and a span in seconds. Data goes to stdout, words for people to stderr.

| command | schema | prints |
|---|---|---|
"""


def commands() -> Iterator[tuple[str, str]]:
    """Give every command that has `--json`, by its name, and what its help says of it."""

    def walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        for option in command.params:
            if isinstance(option, click.Option) and "--json" in option.opts:
                yield " ".join(path), option.help or ""
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                assert inner is not None
                yield from walk(inner, (*path, name))

    return walk(cocoon, ())


def name_of(command: str) -> str:
    """Name the file of a command's schema."""
    return f"{command.replace(' ', '-')}.json"


def schema_of(command: str) -> dict[str, Any]:
    """Make the schema of what a command prints, or of each line of it."""
    each = "each line of " if command in LINES else ""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"cocoon {command} --json",
        "description": f"What {each}`cocoon {command} --json` prints.",
        **msgspec.json.schema(OUTPUTS[command]),
    }


def files() -> dict[str, str]:
    """Give every file of docs/json, by its name."""
    made = {name_of(command): json.dumps(schema_of(command), indent=1) + "\n" for command in sorted(OUTPUTS)}
    rows = [
        f"| `cocoon {command}` | [{name_of(command)}]({name_of(command)})"
        f" | {'an object a line' if command in LINES else 'one JSON value'} |"
        for command in sorted(OUTPUTS)
    ]
    return made | {"README.md": _README + "\n".join(rows) + "\n"}


def faults(command: str, printed: str) -> list[str]:
    """Say what is wrong with what a command printed; a field that its schema does not name is, too."""
    lines = printed.splitlines() if command in LINES else [printed]
    schema = schema_of(command)
    is_open = OUTPUTS[command] in OPEN
    validator = jsonschema.Draft202012Validator(schema if is_open else _closed(schema))
    found = (error for line in lines if line.strip() for error in validator.iter_errors(json.loads(line)))
    return [f"{error.json_path}: {error.message}" for error in found]


def _closed(schema: Any) -> Any:
    """Let no object have more fields than are named."""
    if isinstance(schema, list):
        return list(map(_closed, schema))  # pyright: ignore[reportUnknownArgumentType]  (it is JSON)
    if not isinstance(schema, dict):
        return schema
    found = {name: _closed(item) for name, item in cast("dict[str, Any]", schema).items()}
    if found.get("type") == "object" and "properties" in found:
        found["additionalProperties"] = False
    return found


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
