"""`cocoon top FILE`: a running node, live in the terminal, until `q`.

The terminal's alternate screen is used, and given back however it ends. Without a terminal one frame is
printed.
"""

import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from cocoon_p2p.cli.node_folder import data_folder, role_of
from cocoon_p2p.errors import Unavailable

if TYPE_CHECKING:
    from cocoon_p2p.cli.top_screen import TopLine
    from cocoon_p2p.overview.snapshot import Snapshot

EVERY_SECONDS = 1.0

PATIENCE_SECONDS = 5.0
"For a node that has taken the question, and may be busy."

_LOOKS = {"plain": "", "title": "1", "good": "32", "bad": "31", "faint": "2"}
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def top(file: Path) -> None:
    """Watch the running node that FILE describes: load, rates, what has just ended, money. q quits.

    Where the output is no terminal, one frame is printed. NO_COLOR is heard.
    """
    seen = _seen(file)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        # Not cut to a width that nobody has.
        for line in _drawn(seen, os.terminal_size((120, 40))):
            click.echo(line.text)
        return
    with _screen(sys.stdin, sys.stdout):
        while True:
            _draw(seen, sys.stdout, has_colours=not os.environ.get("NO_COLOR"))
            if _is_told_to_quit(sys.stdin):
                return
            seen = _seen(file)


def _seen(file: Path) -> "Snapshot":
    from cocoon_p2p.config.folder import CONTROL_SOCKET
    from cocoon_p2p.control import ask
    from cocoon_p2p.overview.snapshot import SNAPSHOT, ShowSnapshot

    socket = data_folder(file) / CONTROL_SOCKET
    try:
        return ask(socket, SNAPSHOT, ShowSnapshot(), patience_seconds=PATIENCE_SECONDS)
    except Unavailable as exc:
        role = role_of(file)
        start = "a client runs while it asks" if role == "client" else f"start it: cocoon {role} {file}"
        raise Unavailable(
            f"only a running node can be watched: {exc}",
            hint=f"{start}; what is known of one that is down: cocoon status {file}",
        ) from exc


def _drawn(seen: "Snapshot", size: os.terminal_size) -> "list[TopLine]":
    from cocoon_p2p.cli.top_screen import frame

    return frame(seen, width=size.columns, height=size.lines)


def _draw(seen: "Snapshot", out: TextIO, *, has_colours: bool) -> None:
    lines = [_spell(line, has_colours) for line in _drawn(seen, shutil.get_terminal_size())]
    # Drawn over the frame before, in one write: an empty screen in between would flicker.
    out.write(_HOME + f"{_REST_OF_LINE}\r\n".join(lines) + _REST_OF_LINE + _REST_OF_SCREEN)
    out.flush()


def _spell(line: "TopLine", has_colours: bool) -> str:
    look = _LOOKS[line.look]
    return f"\x1b[{look}m{line.text}\x1b[0m" if has_colours and look else line.text


@contextmanager
def _screen(keys: TextIO, out: TextIO) -> Iterator[None]:
    """Have the terminal's other screen, and each key as it is struck, while the block runs."""
    before = termios.tcgetattr(keys)
    # What ends a program without a word leaves it no time to tidy up.
    ended = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        tty.setcbreak(keys)
        out.write(_ENTER)
        yield
    finally:
        out.write(_LEAVE)
        out.flush()
        termios.tcsetattr(keys, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTERM, ended)


def _is_told_to_quit(keys: TextIO) -> bool:
    """Wait for the next look; say whether `q` was struck, or nobody can strike it any more."""
    ready, _, _ = select.select([keys], [], [], EVERY_SECONDS)
    if not ready:
        return False
    struck = os.read(keys.fileno(), 64)
    return not struck or b"q" in struck.lower()
