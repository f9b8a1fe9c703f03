"""The reference's pages, made from the code: commands, configuration, and the library for mkdocstrings.

They stand nowhere in the repository, so they cannot fall behind it.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from cocoon_p2p.cli import cocoon
from cocoon_p2p.config.reference import FILES, meanings, spell_toml
from cocoon_p2p.config.sections import Section

LIBRARY = {
    "client": ("cocoon_p2p", "The library on trio, and the names that all faces share."),
    "asyncio": ("cocoon_p2p.aio", "The same for programs on asyncio or uvloop."),
    "sync": ("cocoon_p2p.sync", "The same for scripts and notebooks: every call waits."),
    "gateway": ("cocoon_p2p.gateway", "OpenAI's API in front of a client."),
    "telegram": ("cocoon_p2p.telegram", "The kit for Telegram bots."),
    "testing": ("cocoon_p2p.testing", "The test kit: networks in memory, or in processes on this machine."),
    "errors": ("cocoon_p2p.errors", "Every error that is raised on purpose."),
}
"The library's pages: the module, and what it is for."

_TESTING = ("processes", "memory", "engine", "store", "chain", "bot_api")
"What of the test kit is meant for others. It has no names of its own, only modules."

_WIDTH = 100
"Of a terminal, for `--help`."


def reference(root: Path) -> Iterator[tuple[str, str]]:
    """Make the pages: their names, and their texts."""
    yield "commands", commands_page()
    yield "configuration", configuration_page()
    for name, (module, what_for) in LIBRARY.items():
        yield f"library-{name}", library_page(root, module, what_for)


def commands_page() -> str:
    """Show what `--help` says of every command."""
    exit_codes = "[troubleshooting](../docs/troubleshooting.md#exit-codes)"
    lines = ["# Commands", "", f"What `--help` says of each. What they end with: {exit_codes}."]
    for name, text in _helps(cocoon, "cocoon", None):
        lines += ["", f"## {name}", "", "```text", text, "```"]
    return "\n".join(lines) + "\n"


def _helps(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    context = click.Context(
        command, info_name=name, parent=parent, terminal_width=_WIDTH, max_content_width=_WIDTH
    )
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            inner = command.get_command(context, each)
            if inner is not None:
                yield from _helps(inner, each, context)


def configuration_page() -> str:
    """Show every key of every role's file, with its default and its meaning."""
    lines = [
        "# Configuration",
        "",
        "`cocoon config show FILE` prints the same of a file as it holds; `cocoon config schema ROLE` prints",
        "what an editor needs. Every key can be set by the environment too: `COCOON_WORKER__MODEL`.",
    ]
    for role, kind in FILES.items():
        lines += ["", f"## {role}.toml"]
        for field in msgspec.structs.fields(kind):
            lines += ["", f"### [{field.name}] of a {role}", "", *_keys(_section(field.type))]
    return "\n".join(lines) + "\n"


def _section(annotation: object) -> type[Section]:
    named = (annotation, *getattr(annotation, "__args__", ()))
    return next(each for each in named if isinstance(each, type) and issubclass(each, Section))


def _keys(section: type[Section]) -> Iterator[str]:
    told = meanings(section)
    yield "| key | default | meaning |"
    yield "|---|---|---|"
    for field in msgspec.structs.fields(section):
        yield f"| `{field.name}` | {_default(field)} | {_cell(told.get(field.name, ''))} |"


def _cell(text: str) -> str:
    """Spell a text for a table's cell: what is no code must not be taken for HTML."""
    parts = text.replace("|", "\\|").split("`")
    return "`".join(part if number % 2 else part.replace("<", "&lt;") for number, part in enumerate(parts))


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return ""
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return "left out" if value is None else f"`{spell_toml(value)}`"


def library_page(root: Path, module: str, what_for: str) -> str:
    """Name what a module makes public, for mkdocstrings to fill in."""
    file = root / module.replace(".", "/")
    source = (file / "__init__.py" if file.is_dir() else file.with_suffix(".py")).read_text()
    # Errors have a page of their own.
    names = [name for name in _reexported(ast.parse(source)) if ".errors." not in name]
    if module == "cocoon_p2p.testing":
        names = [f"{module}.{name}" for name in _TESTING]
    lines = [f"# {module}", "", what_for, *(f"\n::: {name}" for name in names or [module])]
    return "\n".join(lines) + "\n"


def _reexported(tree: ast.Module) -> Iterator[str]:
    """Find the names that a module shows as its own: `from X import Y as Y`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{each.name}" for each in node.names if each.asname == each.name)
