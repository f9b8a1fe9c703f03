"""Reads a node's file, and judges it whole: every mistake at once."""

import dataclasses
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import msgspec

from cocoon_p2p.config.judging import is_array, kind_of, section_mistakes
from cocoon_p2p.config.naming import Named, take_network, take_payout
from cocoon_p2p.config.pricing import price_mistakes
from cocoon_p2p.config.roles import BootstrapFile, ClientFile, ProxyFile, WorkerFile
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.strict_toml import ConfigurationMistakes, Mistake, Where, locate, meant, read_toml

CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""Where systemd puts a unit's credentials. A path in a node's file may begin with `$CREDENTIALS_DIRECTORY/`:
only the running unit knows where that is."""

F = TypeVar("F", WorkerFile, ProxyFile, BootstrapFile, ClientFile)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[F]):
    """A checked file, and where it stood: its relative paths start there."""

    settings: F
    path: Path
    origins: Mapping[Where, str] = dataclasses.field(default_factory=dict[Where, str])
    "Where each key was set: `worker.toml:5`, or the name of a variable. What is missing has its default."

    def resolve(self, relative: str) -> Path:
        """Make a path that was written in the file absolute.

        Raises:
            ConfigurationError: It is a credential, and this process has none.
        """
        credential = relative.removeprefix(f"${CREDENTIALS}/")
        if credential == relative:
            return (self.path.parent / relative).resolve()
        if not (folder := os.environ.get(CREDENTIALS)):
            raise ConfigurationError(
                f"there is no credential here: {relative}",
                hint="systemd gives it to a unit with LoadCredential=; elsewhere name a file of mode 0600",
            )
        return Path(folder) / credential

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
    origins = {where: f"{path.name}:{locate(source, where)[0]}" for where in _written(tables)} | overridden
    named = take_network(kind, tables, path)
    found = _found(kind, tables, origins, named)
    mistakes = [
        Mistake(0, 0, f"{overridden[where]}: {text}")
        if where in overridden
        else Mistake(*locate(source, where), text)
        for where, text in found
    ]
    mistakes += [Mistake(0, 0, text) for text in _stray(kind, environment)]
    if mistakes:
        raise ConfigurationMistakes(path, source, mistakes, others=named.others)
    return Loaded(msgspec.convert(tables, kind), path.resolve(), {**origins, **named.origins})


def _found(
    kind: type, tables: dict[str, Any], origins: dict[Where, str], named: Named
) -> list[tuple[Where, str]]:
    """Say what is wrong with a file's tables; a worker's payout is laid into its wallet."""
    found = [*named.mistakes, *section_mistakes(kind, tables)]
    if kind is WorkerFile:
        found += _served_mistakes(tables)
        found += price_mistakes(tables)
        found += take_payout(tables, origins, is_network_known=named.is_known)
    return found


def _override(tables: dict[str, Any], kind: type, environment: Mapping[str, str]) -> dict[Where, str]:
    """Lay `COCOON_<SECTION>__<KEY>` over the file; a value is TOML if it reads as such, else text.

    Returns:
        The places that were set so, and by which variable.
    """
    overridden: dict[Where, str] = {}
    for section in msgspec.structs.fields(kind):
        if is_array(section):
            continue
        for field in msgspec.structs.fields(kind_of(section)):
            variable = f"COCOON_{section.name}__{field.name}".upper()
            text = environment.get(variable)
            if text is None:
                continue
            try:
                value = tomllib.loads(f"value = {text}")["value"]
            except (ValueError, RecursionError):
                value = text
            table = tables.setdefault(section.name, {})
            if isinstance(table, dict):
                table[field.name] = value
                overridden[section.name, field.name] = variable
    return overridden


def _written(tables: Mapping[str, Any]) -> Iterator[Where]:
    for name, table in tables.items():
        if isinstance(table, list):
            for number, each in enumerate(cast("list[object]", table), 1):
                if isinstance(each, dict):
                    yield from ((f"{name} {number}", key) for key in cast("dict[str, Any]", each))
        elif isinstance(table, dict):
            yield from ((name, key) for key in cast("dict[str, Any]", table))


def _stray(kind: type, environment: Mapping[str, str]) -> Iterator[str]:
    """Say which variables look like one of this file's keys, and are none."""
    for section in msgspec.structs.fields(kind):
        prefix = f"COCOON_{section.name}__".upper()
        keys = {field.name for field in msgspec.structs.fields(kind_of(section))}
        for variable in environment:
            key = variable.removeprefix(prefix).lower()
            if variable.startswith(prefix) and (is_array(section) or key not in keys):
                yield f"{variable}: unknown key `{key}` in [{section.name}]{meant(key, keys)}"


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
