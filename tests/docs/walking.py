"""Walks a journey as a stranger: in a copy of the repository, with nothing but what its page says."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.docs.pages import Command, Edit, steps_of
from tests.docs.terminals import Terminal, Unlike, filled

ROOT = Path(__file__).parents[2]


def walk(page: str, clone: Path) -> None:
    """Do what a page says, from the top to the bottom.

    Raises:
        Unlike: Something else was printed than the page shows, or a command ended with an error that the page
            does not look at (`echo $?`).
    """
    steps, known = steps_of(page), dict[str, str]()
    with ExitStack() as ends:
        terminals = _Terminals(clone, ends)
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            if isinstance(step, Edit):
                write(terminals[""].working_folder() / step.file, filled(step.text, known))
                continue
            terminal = terminals[step.terminal]
            known |= terminal.do(step, known)
            is_looked_at = isinstance(following, Command) and following.text == "echo $?"
            if not step.terminal and terminal.code and not is_looked_at:
                raise Unlike(f"$ {step.text}\nended with {terminal.code}, of which the page says nothing")


class _Terminals(dict[str, Terminal]):
    """A terminal is opened when it is first named, where the first one is by then, and all end at last."""

    def __init__(self, clone: Path, ends: ExitStack) -> None:
        super().__init__()
        self._clone, self._ends = clone, ends

    def __missing__(self, title: str) -> Terminal:
        folder = self[""].working_folder() if title else self._clone
        terminal = Terminal(folder, _environment(self._clone))
        self._ends.callback(terminal.end)
        self[title] = terminal
        return terminal


def _environment(clone: Path) -> dict[str, str]:
    """Give what a new terminal has: nothing of this one's Python or make, and the clone's own code."""
    ours = ("COCOON_", "VIRTUAL_ENV", "MAKE", "MFLAGS")
    own = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    here = str(Path(sys.prefix) / "bin")
    path = [folder for folder in own["PATH"].split(os.pathsep) if folder != here]
    # As wide as a reader's, who has no tables broken.
    return own | {"PATH": os.pathsep.join(path), "PYTHONPATH": str(clone), "COLUMNS": "120"}


def fresh_clone(folder: Path) -> Path:
    """Copy what belongs to the repository, with an environment that `make setup` finds done.

    The environment is this one's programs in a folder of the clone's own, so that nothing which a page says
    can spoil this one.
    """
    clone = folder / "cocoon-p2p"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            (clone / name).write_bytes((ROOT / name).read_bytes())
    environment = clone / ".venv"
    environment.mkdir()
    (environment / "bin").symlink_to(Path(sys.prefix) / "bin")
    # Newer than all that it is made of.
    (environment / ".installed").touch()
    return clone


_KEY = re.compile(r"^(?:# ?)?(\w+) *=")


def write(file: Path, text: str) -> None:
    """Write a file as a page shows it; or where it is there the keys that the page shows.

    A key stands where it stood, one that is new at the head of its section.

    Raises:
        Unlike: There is no such section.
    """
    if not file.exists():
        file.write_text(text)
        return
    lines = file.read_text().splitlines()
    for (section, key), (_, line) in _keys(text.splitlines()).items():
        if (section, key) in (stands := _keys(lines)):
            lines[stands[section, key][0]] = line
        elif f"[{section}]" in lines:
            lines.insert(lines.index(f"[{section}]") + 1, line)
        else:
            raise Unlike(f"{file.name} has no [{section}], to which {key} belongs")
    file.write_text("\n".join(lines) + "\n")


def _keys(lines: list[str]) -> Mapping[tuple[str, str], tuple[int, str]]:
    """Find each key's line, by its section and name."""
    section, found = "", dict[tuple[str, str], tuple[int, str]]()
    for number, line in enumerate(lines):
        if line.startswith("["):
            section = line.partition("]")[0].strip("[")
        elif key := _KEY.match(line):
            found.setdefault((section, key[1]), (number, line))
    return found
