"""TOML that a person wrote, read strictly: every mistake at once, each shown where it stands.

Each mistake has file, line, column, a caret and, for a misspelt key, what was probably meant.
A file is a number of tables, each with a `msgspec.Struct` as its vocabulary.
"""

import difflib
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from cocoon_p2p.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong with a file. `line` and `column` count from 1; 0 where it is in no line."""

    line: int
    column: int
    text: str


class ConfigurationMistakes(ConfigurationError):
    """A file with all that is wrong with it.

    Attributes:
        mistakes: In the order of their lines.
    """

    def __init__(self, path: Path, source: str, mistakes: list[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda mistake: (mistake.line, mistake.column)))
        lines = source.splitlines()
        shown = [_show(path, lines, mistake) for mistake in self.mistakes]
        super().__init__("\n".join(shown), hint=f"correct {path.name} and try again")


def read_toml(path: Path, *, what: str) -> tuple[str, dict[str, Any]]:
    """Read a file as text and as TOML.

    Args:
        path: The file.
        what: What it should be, for the hint of an error: `the node's TOML file`.

    Raises:
        ConfigurationError: It cannot be read.
        ConfigurationMistakes: It is not TOML.
    """
    try:
        source = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path}: {exc.strerror}", hint=f"name {what}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"{path} is not UTF-8 text", hint=f"name {what}") from exc
    try:
        return source, tomllib.loads(source)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigurationMistakes(path, source, [_toml_mistake(str(exc))]) from exc
    except RecursionError:
        raise ConfigurationMistakes(path, source, [Mistake(0, 0, "too deeply nested")]) from None


Where = tuple[str, str]
"""Section and key; the key is empty where the section itself is meant. The second table of an array
`[[file]]` is `file 2`."""


def table_mistakes(name: str, kind: type, table: Mapping[str, Any]) -> list[tuple[Where, str]]:
    """Say what is wrong with one table: unknown keys, missing ones, values of the wrong kind.

    Args:
        name: Its own; the second table of an array `[[file]]` is `file 2`.
        kind: A `msgspec.Struct`, the table's vocabulary.
        table: What was written.
    """
    keys = {field.name: field for field in msgspec.structs.fields(kind)}
    found: list[tuple[Where, str]] = []
    for key, value in table.items():
        if key not in keys:
            found.append(((name, key), f"unknown key `{key}` in [{name}]{meant(key, keys)}"))
            continue
        try:
            msgspec.convert(value, keys[key].type)
        except msgspec.ValidationError as exc:
            found.append(((name, key), f"`{key}`: {_plain(str(exc))}"))
    for key, field in keys.items():
        if field.required and key not in table:
            found.append(((name, ""), f"`{key}` is missing in [{name}]"))
    return found


def meant(word: str, known: Iterable[str]) -> str:
    """Say which of the known words was probably meant, else all of them, to end a message with."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f", did you mean `{close[0]}`?" if close else f" (known: {', '.join(known)})"


def _plain(text: str) -> str:
    return text[:1].lower() + text[1:].replace(" - at `$`", "")


def _toml_mistake(text: str) -> Mistake:
    place = re.search(r" \(at line (\d+), column (\d+)\)", text)
    if place is None:
        return Mistake(0, 0, _plain(text))
    return Mistake(int(place[1]), int(place[2]), _plain(text.replace(place[0], "")))


def locate(source: str, where: Where) -> tuple[int, int]:
    """Find the line and column of a key, or of its section. TOML's reader gives no positions."""
    section, key = where
    current, fallback, arrays = "", (0, 0), Counter[str]()
    for number, line in enumerate(source.splitlines(), 1):
        header = re.match(r"\s*(\[\[?)\s*([^\]\s]+)\s*\]", line)
        if header:
            current = header[2]
            if header[1] == "[[":
                arrays[current] += 1
                current = f"{current} {arrays[current]}"
            if current == section:
                fallback = (number, line.index("[") + 1)
        elif current == section and key and (found := re.match(rf"(\s*)[\"']?{re.escape(key)}\b", line)):
            return number, len(found[1]) + 1
    return fallback


def _show(path: Path, lines: list[str], mistake: Mistake) -> str:
    if not 1 <= mistake.line <= len(lines):
        return f"{path}: {mistake.text}"
    return (
        f"{path}:{mistake.line}:{mistake.column}: {mistake.text}\n"
        f"    {lines[mistake.line - 1]}\n"
        f"    {' ' * (mistake.column - 1)}^"
    )
