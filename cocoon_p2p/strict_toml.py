"""TOML that a person wrote, read strictly: every mistake at once, each shown where it stands.

Each mistake has file, line, column, a caret and, for a misspelt key, what was probably meant.
A file is a number of tables, each with a `msgspec.Struct` as its vocabulary.
"""

import difflib
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from cocoon_p2p.errors import ConfigurationError

SIZE_MAX_BYTES = 4 * 1024 * 1024
"Far more than anybody writes by hand."

DOTS_MAX = 1000
"In one line. TOML's reader needs the square of a dotted key's parts: half a minute for those of 64 KiB."

UNKNOWN_MAX = 20
"Unknown names that are told one by one; of the others the number is told."

_NAME_SHOWN_MAX = 64
_LINE_SHOWN_MAX = 320


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

    def __init__(
        self, path: Path, source: str, mistakes: list[Mistake], *, others: Sequence[ConfigurationError] = ()
    ) -> None:
        """Show the mistakes of a file, and after them those of `others` that it names."""
        self.mistakes = tuple(sorted(mistakes, key=lambda mistake: (mistake.line, mistake.column)))
        lines = source.splitlines()
        shown = [_show(path, lines, mistake) for mistake in self.mistakes]
        super().__init__("\n".join([*shown, *map(str, others)]), hint=f"correct {path.name} and try again")


def read_toml(path: Path, *, what: str, size_max_bytes: int = SIZE_MAX_BYTES) -> tuple[str, dict[str, Any]]:
    """Read a file as text and as TOML.

    Args:
        path: The file.
        what: What it should be, for the hint of an error: `the node's TOML file`.
        size_max_bytes: What is longer is not read.

    Raises:
        ConfigurationError: It cannot be read, or is too large.
        ConfigurationMistakes: It is not TOML.
    """
    try:
        with path.open("rb") as file:
            data = file.read(size_max_bytes + 1)
        if len(data) > size_max_bytes:
            raise ConfigurationError(
                f"{path} is too large (limit={size_max_bytes} bytes)", hint=f"name {what}"
            )
        source = data.decode("utf-8")
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path}: {exc.strerror}", hint=f"name {what}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"{path} is not UTF-8 text", hint=f"name {what}") from exc
    for number, line in enumerate(source.split("\n"), 1):
        if line.count(".") > DOTS_MAX:
            raise ConfigurationMistakes(path, source, [Mistake(number, 1, "too many dots in one line")])
    try:
        return source, tomllib.loads(source)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigurationMistakes(path, source, [_toml_mistake(str(exc))]) from exc
    except ValueError:
        # The interpreter's own bound, of which tomllib knows nothing.
        raise ConfigurationMistakes(path, source, [Mistake(0, 0, "a number has too many digits")]) from None
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
    unknown = [key for key in table if key not in keys]
    found: list[tuple[Where, str]] = [
        ((name, key), f"unknown key `{cut(key)}` in [{name}]{meant(key, keys)}")
        for key in unknown[:UNKNOWN_MAX]
    ]
    if len(unknown) > UNKNOWN_MAX:
        found.append(((name, ""), f"{len(unknown) - UNKNOWN_MAX} more unknown keys in [{name}]"))
    for key in filter(keys.__contains__, table):
        try:
            msgspec.convert(table[key], keys[key].type)
        except msgspec.ValidationError as exc:
            found.append(((name, key), f"`{key}`: {cut(_plain(str(exc)), _LINE_SHOWN_MAX)}"))
    for key, field in keys.items():
        if field.required and key not in table:
            found.append(((name, ""), f"`{key}` is missing in [{name}]"))
    return found


def cut(text: str, letters_max: int = _NAME_SHOWN_MAX) -> str:
    """Shorten what somebody made up, for a message."""
    return text if len(text) <= letters_max else f"{text[:letters_max]}..."


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


_SECRET_KEY = re.compile(
    r"""^(\s*["']?\w*(?:api_?key|password|passphrase|passwd|secret|token|mnemonic|words|seed)["']?\s*=\s*)\S.*$""",
    re.IGNORECASE,
)
_SECRET_IN_URL = re.compile(r"(://[^\s/:@\"']*):[^\s/@\"']+@")
_SECRET_IN_QUERY = re.compile(
    r"([?&](?:[\w-]*(?:password|secret|token|api[_-]?key)|key)=)[^&\s\"']+", re.IGNORECASE
)


def without_secrets(text: str) -> str:
    """Write dots for what looks like a secret that somebody wrote into a file, where it does not belong."""
    text = _SECRET_KEY.sub(r"\1...", text)
    return _SECRET_IN_QUERY.sub(r"\1...", _SECRET_IN_URL.sub(r"\1:...@", text))


def _show(path: Path, lines: list[str], mistake: Mistake) -> str:
    if not 1 <= mistake.line <= len(lines):
        return f"{path}: {mistake.text}"
    line = cut(without_secrets(lines[mistake.line - 1]), _LINE_SHOWN_MAX)
    return (
        f"{path}:{mistake.line}:{mistake.column}: {mistake.text}\n"
        f"    {line}\n"
        f"    {' ' * min(mistake.column - 1, _LINE_SHOWN_MAX)}^"
    )
