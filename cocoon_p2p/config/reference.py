"""What may stand in a node's file, told to people and to editors.

The vocabulary is the sections' own code: names, types, defaults, and the text under each key. So what
`cocoon config show` says and what the JSON Schema says cannot differ from what is read.

Source: JSON Schema, draft 2020-12.
"""

import ast
import inspect
import itertools
import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, cast, get_args, get_origin

import msgspec

from cocoon_p2p.config.loading import Loaded
from cocoon_p2p.config.roles import BootstrapFile, ClientFile, ProxyFile, WorkerFile
from cocoon_p2p.config.sections import Section
from cocoon_p2p.strict_toml import without_secrets

File = WorkerFile | ProxyFile | BootstrapFile | ClientFile
FILES: dict[str, type[File]] = {
    "worker": WorkerFile,
    "proxy": ProxyFile,
    "bootstrap": BootstrapFile,
    "client": ClientFile,
}
"What describes a role's file, by the role."


@dataclass(frozen=True, slots=True)
class Setting:
    """One key as it stands in effect.

    Attributes:
        section: Its table's name; the second `[[model]]` is `model 2`.
        key: Its own.
        value: What holds; None where it may be left out and is.
        origin: `worker.toml:5`, a variable's name, or empty: the default.
        meaning: What is said of the key.
    """

    section: str
    key: str
    value: object
    origin: str
    meaning: str


def in_effect(loaded: Loaded[Any]) -> tuple[Setting, ...]:
    """List every key of a file, written or not, in the vocabulary's order; of passwords only dots."""
    return tuple(
        Setting(
            name,
            field.name,
            _shown(getattr(section, field.name)),
            loaded.origins.get((name, field.name), ""),
            meanings(type(section)).get(field.name, ""),
        )
        for name, section in _sections(loaded.settings)
        for field in msgspec.structs.fields(section)
    )


def write_toml(settings: tuple[Setting, ...]) -> str:
    """Write settings as a file that is read to the same settings, with where each came from behind it."""
    lines: list[str] = []
    section = ""
    for setting in settings:
        if setting.section != section:
            section = setting.section
            name, _, number = section.partition(" ")
            lines += [""] * bool(lines) + [f"[[{name}]]" if number else f"[{name}]"]
        said = setting.origin or "default"
        # TOML has no word for nothing: what is left out stays so.
        is_left_out = setting.value is None
        written = f"{setting.key} = {spell_toml(setting.value)}"
        text = f"# {setting.key} is left out" if is_left_out else written
        lines.append(f"{text:<48}  # {said}")
    return "\n".join(lines) + "\n"


def json_schema(kind: type[File]) -> dict[str, Any]:
    """Describe a role's file to editors that know JSON Schema (Taplo, Even Better TOML)."""
    schema = msgspec.json.schema(kind)
    for name, described in cast("dict[str, dict[str, Any]]", schema["$defs"]).items():
        described["additionalProperties"] = False
        told = meanings(_kinds(kind)[name]) if name in _kinds(kind) else {}
        for key, facts in cast("dict[str, dict[str, Any]]", described["properties"]).items():
            if key in told:
                facts["description"] = told[key]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": kind.__name__, **schema}


@cache
def meanings(kind: type[Section]) -> dict[str, str]:
    """Read the text under each key of a section, in one line each."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    body = cast("ast.ClassDef", tree.body[0]).body
    told: dict[str, str] = {}
    for statement, below in itertools.pairwise(body):
        match statement, below:
            case ast.AnnAssign(target=ast.Name(id=key)), ast.Expr(value=ast.Constant(value=str(text))):
                told[key] = " ".join(text.split())
            case _:
                pass
    return told


def _shown(value: object) -> object:
    match value:
        case str():
            return without_secrets(value)
        case list():
            return [_shown(each) for each in cast("list[object]", value)]
        case _:
            return value


def _sections(settings: File) -> Iterator[tuple[str, Section]]:
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, list):
            for number, table in enumerate(cast("list[Section]", value), 1):
                yield f"{field.name} {number}", table
        elif value is not None:
            yield field.name, value


@cache
def _kinds(kind: type[File]) -> dict[str, type[Section]]:
    named = [each for field in msgspec.structs.fields(kind) for each in (field.type, *get_args(field.type))]
    return {
        each.__name__: each
        for each in named
        if get_origin(each) is None and isinstance(each, type) and issubclass(each, Section)
    }


def spell_toml(value: object) -> str:
    """Spell what a section may hold: text, numbers, truth, lists and tables of text."""
    match value:
        case bool():
            return str(value).lower()
        case int():
            return f"{value:_}"
        case list():
            return f"[{', '.join(map(spell_toml, cast('list[object]', value)))}]"
        case dict():
            pairs = cast("dict[str, object]", value).items()
            return "{" + ", ".join(f"{spell_toml(key)} = {spell_toml(each)}" for key, each in pairs) + "}"
        case _:
            # JSON's strings are TOML's basic ones, but for the one control character that JSON lets stand.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
