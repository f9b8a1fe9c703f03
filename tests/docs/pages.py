"""What a journey's page asks of its reader, as data. How a page is written: docs/journeys/README.md."""

import re
from dataclasses import dataclass

_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)

VARIES = "…"
"Stands for what differs each time: some of a word, a word, the rest of a line, or any number of lines."

INTERRUPT = "^C"

_NUMBER = re.compile(r"(?<![\w.:])\d[\d_,]*\.\d+(?![\w.]*[.:]\d)")
"One with a point in it. Version 1.2.3 and 127.0.0.1 are no numbers."


@dataclass(frozen=True, slots=True)
class Command:
    """A command, and what it prints."""

    terminal: str
    "By the block's title; the first one has none."

    text: str
    "As a shell takes it, or `INTERRUPT`."

    shown: tuple[str, ...]

    is_last: bool
    "Whether its block ends with it: in a terminal with a title it may then run on."


@dataclass(frozen=True, slots=True)
class Edit:
    """What a reader writes into a file: keys of a TOML file that is there, or else a whole file."""

    file: str
    text: str


def steps_of(page: str) -> list[Command | Edit]:
    """Read a page's blocks: terminals are `console`, and every other block with a title is a file."""
    steps: list[Command | Edit] = []
    for kind, title, text in _BLOCK.findall(page):
        if kind == "console":
            steps += _commands(title, text)
        elif title:
            steps.append(Edit(title, text))
    return steps


def _commands(terminal: str, text: str) -> list[Command]:
    parts: list[tuple[list[str], list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ ") or line == INTERRUPT:
            parts.append(([line.removeprefix("$ ")], []))
        elif not parts:
            # What a command goes on to print, of which an earlier block has shown the beginning.
            parts.append(([""], [line]))
        elif line.startswith("> ") and not parts[-1][1]:
            parts[-1][0].append(line.removeprefix("> "))
        else:
            parts[-1][1].append(line)
    return [
        Command(terminal, "\n".join(command), tuple(shown), number == len(parts))
        for number, (command, shown) in enumerate(parts, 1)
    ]


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a page shows, as an expression for what is printed."""

    expression: re.Pattern[str]
    words: tuple[str, ...]
    "The words with `VARIES` in them, in the order of the expression's groups."


def pattern(shown: tuple[str, ...], *, is_whole: bool) -> Pattern:
    """Make lines of a page an expression: blanks in a row are one, and numbers with a point are any.

    Args:
        shown: The lines.
        is_whole: Whether nothing may be printed after them.
    """
    words: list[str] = []
    lines = [r"(?:.*\n)*?" if line.strip() == VARIES else _line(line, words) for line in shown]
    return Pattern(re.compile("".join(lines) + (r"\Z" if is_whole else "")), tuple(words))


class Sighting:
    """Looks for lines that a running program prints, in any order: it does several things at once."""

    def __init__(self, shown: tuple[str, ...]) -> None:
        self._wanted = [(line, pattern((line,), is_whole=True)) for line in shown if line.strip() != VARIES]
        self._is_all = len(self._wanted) == len(shown)
        self.known = dict[str, str]()
        self.end = 0
        "Behind the last line that was needed."

        self.missing: list[str] = []
        self.others: list[str] = []
        "Lines before the last that was needed, which the page does not show. None where it has `…`."

    def look(self, printed: str) -> bool:
        """Say whether every line is there."""
        wanted, self.known, self.end, others = list(self._wanted), {}, 0, list[str]()
        for line in printed.splitlines(keepends=True):
            if not wanted or not line.endswith("\n"):
                break
            self.end += len(line)
            matches = ((each, each[1].expression.match(line)) for each in wanted)
            found = next(((each, match) for each, match in matches if match is not None), None)
            if found is None:
                others.append(line)
            else:
                wanted.remove(found[0])
                self.known |= zip(found[0][1].words, found[1].groups(), strict=True)
        self.missing = [line for line, _ in wanted]
        self.others = others if self._is_all else []
        return not self.missing


def _line(line: str, words: list[str]) -> str:
    found = line.split()
    rest = r"[ \t]+\S.*" if found[1:] and found[-1] == VARIES else ""
    spelled = (_word(word, words) for word in (found[:-1] if rest else found))
    return r"[ \t]*" + r"[ \t]+".join(spelled) + rest + r"[ \t]*\n"


def _word(word: str, words: list[str]) -> str:
    parts = [_spelled(part) for part in word.split(VARIES)]
    if len(parts) == 1:
        return parts[0]
    if word == VARIES:
        return r"\S+"
    words.append(word)
    return "(" + r"\S*".join(parts) + ")"


def _spelled(text: str) -> str:
    """Escape text, but for its numbers with a point and its days, which are any."""
    days = r"\d{4}-\d\d-\d\d"
    parts = re.split(f"({_NUMBER.pattern}|{days})", text)
    return "".join(
        re.escape(part) if number % 2 == 0 else days if "-" in part else r"\d[\d_,]*(?:\.\d+)?"
        for number, part in enumerate(parts)
    )
