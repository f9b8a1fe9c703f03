"""Reads a node's file, and judges it whole: every mistake at once."""

import dataclasses
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast, get_args, get_origin

import msgspec

from cocoon_p2p.config.roles import BootstrapFile, ClientFile, ProxyFile, WorkerFile
from cocoon_p2p.config.sections import Section
from cocoon_p2p.strict_toml import (
    ConfigurationMistakes,
    Mistake,
    Where,
    locate,
    meant,
    read_toml,
    table_mistakes,
)

F = TypeVar("F", WorkerFile, ProxyFile, BootstrapFile, ClientFile)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[F]):
    """A checked file, and where it stood: its relative paths start there."""

    settings: F
    path: Path
    origins: Mapping[Where, str] = dataclasses.field(default_factory=dict[Where, str])
    "Where each key was set: `worker.toml:5`, or the name of a variable. What is missing has its default."

    def resolve(self, relative: str) -> Path:
        """Make a path that was written in the file absolute."""
        return (self.path.parent / relative).resolve()

    @property
    def data_directory(self) -> Path:
        return self.resolve(self.settings.data.directory)


def load(kind: type[F], path: Path, environment: Mapping[str, str]) -> Loaded[F]:
    """Read and check a node's file.

    Raises:
        ConfigurationError: It cannot be read.
        ConfigurationMistakes: It is not TOML, or some of its keys or values cannot be.
    """
    source, tables = read_toml(path, what="the node's TOML file")
    overridden = _override(tables, kind, environment)
    mistakes = [
        Mistake(0, 0, f"{overridden[where]}: {text}")
        if where in overridden
        else Mistake(*locate(source, where), text)
        for where, text in _mistakes(kind, tables)
    ]
    if mistakes:
        raise ConfigurationMistakes(path, source, mistakes)
    origins = {where: f"{path.name}:{locate(source, where)[0]}" for where in _written(tables)}
    return Loaded(msgspec.convert(tables, kind), path.resolve(), origins | overridden)


def _override(tables: dict[str, Any], kind: type, environment: Mapping[str, str]) -> dict[Where, str]:
    """Lay `COCOON_<SECTION>__<KEY>` over the file; a value is TOML if it reads as such, else text.

    Returns:
        The places that were set so, and by which variable.
    """
    overridden: dict[Where, str] = {}
    for section in msgspec.structs.fields(kind):
        if _is_array(section):
            continue
        for field in msgspec.structs.fields(_kind_of(section)):
            variable = f"COCOON_{section.name}__{field.name}".upper()
            text = environment.get(variable)
            if text is None:
                continue
            try:
                value = tomllib.loads(f"value = {text}")["value"]
            except tomllib.TOMLDecodeError:
                value = text
            table = tables.setdefault(section.name, {})
            if isinstance(table, dict):
                table[field.name] = value
                overridden[section.name, field.name] = variable
    return overridden


def _written(tables: Mapping[str, Any]) -> Iterator[Where]:
    for name, table in tables.items():
        if isinstance(table, list):
            for number, each in enumerate(cast("list[dict[str, Any]]", table), 1):
                yield from ((f"{name} {number}", key) for key in each)
        else:
            yield from ((name, key) for key in table)


def _mistakes(kind: type, tables: Mapping[str, Any]) -> list[tuple[Where, str]]:
    sections = {field.name: field for field in msgspec.structs.fields(kind)}
    found: list[tuple[Where, str]] = []
    for name in tables:
        if name not in sections:
            found.append(((name, ""), f"unknown section [{name}]{meant(name, sections)}"))
    for name, section in sections.items():
        table = tables.get(name)
        if table is None:
            if section.required:
                found.append(((name, ""), f"section [{name}] is missing"))
        elif _is_array(section):
            found += _array_mistakes(name, _kind_of(section), table)
        elif not isinstance(table, dict):
            found.append(((name, ""), f"[{name}] is a section, not a value"))
        else:
            found += table_mistakes(name, _kind_of(section), cast("dict[str, Any]", table))
    if kind is WorkerFile:
        found += _served_mistakes(tables)
        found += _paid_mistakes(tables)
    return found


def _array_mistakes(name: str, kind: type[Section], tables: object) -> list[tuple[Where, str]]:
    if not isinstance(tables, list):
        return [((name, ""), f"[{name}] is one of several: write [[{name}]]")]
    found: list[tuple[Where, str]] = []
    for number, table in enumerate(cast("list[object]", tables), 1):
        if isinstance(table, dict):
            found += table_mistakes(f"{name} {number}", kind, cast("dict[str, Any]", table))
        else:
            found.append(((name, ""), f"[[{name}]] is a section, not a value"))
    return found


def _served_mistakes(tables: Mapping[str, Any]) -> list[tuple[Where, str]]:
    """Say whether a worker's file names one model, or several, and not both."""
    worker = tables.get("worker")
    if not isinstance(worker, dict):
        return []
    is_several = bool(tables.get("model"))
    said = [key for key in ("model", "name") if cast("dict[str, Any]", worker).get(key)]
    if is_several:
        return [(("worker", key), f"`{key}` in [worker] beside [[model]]: write it there") for key in said]
    if "model" not in said:
        return [(("worker", "model"), "`model` is missing in [worker]")]
    return []


def _paid_mistakes(tables: Mapping[str, Any]) -> list[tuple[Where, str]]:
    """Say whether a worker on a chain says where it is paid: its proxies could open no channel to it."""
    wallet = tables.get("wallet", {})
    if "chain" not in tables or not isinstance(wallet, dict):
        return []
    if any(cast("dict[str, Any]", wallet).get(key) for key in ("payout", "file")):
        return []
    return [(("wallet", "payout"), "`payout` in [wallet] is missing: with a [chain], say where you are paid")]


def _is_array(section: msgspec.structs.FieldInfo) -> bool:
    return get_origin(section.type) is list


def _kind_of(section: msgspec.structs.FieldInfo) -> type[Section]:
    """Give a section's class, also of one that may be left out."""
    kinds = (section.type, *get_args(section.type))
    return next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section))
