"""`cocoon top`: a frame fits every terminal, names cannot steer it, and `q` gives the terminal back."""

import io
import os
import pty
import select
import signal
import subprocess
import sys
import termios
from functools import partial
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from cocoon_p2p.cli import cocoon
from cocoon_p2p.cli.top import _screen
from cocoon_p2p.cli.top_screen import HEIGHT_MIN, WIDTH_MIN, fit, frame
from cocoon_p2p.config.folder import CONTROL_SOCKET
from cocoon_p2p.control import serve_control
from cocoon_p2p.errors import Unavailable
from cocoon_p2p.overview.snapshot import SNAPSHOT, MoneyView, ShowSnapshot, Snapshot
from tests.cli.snapshots import BAD, CONFIGS, entry, snapshot

TEXT = st.text(max_size=40)


@pytest.mark.slow
@given(TEXT, TEXT, st.integers(1, 200), st.integers(1, 60), st.integers(0, 30))
def test_a_frame_fits_every_terminal_whatever_peers_named(
    model: str, outcome: str, width: int, height: int, entries: int
) -> None:
    seen = snapshot(recent=[entry(model=model, outcome=outcome)] * entries, findings=[BAD])

    lines = frame(seen, width=width, height=height)

    assert len(lines) <= max(height, HEIGHT_MIN)
    assert all(cell_len(line.text) <= max(width, WIDTH_MIN) for line in lines)
    assert not any(letter < " " or "\x7f" <= letter <= "\x9f" for line in lines for letter in line.text)


@given(st.text(max_size=60), st.integers(1, 80))
def test_a_text_is_cut_to_the_width_that_there_is(text: str, width: int) -> None:
    assert cell_len(fit(text, width)) <= width


def test_all_that_matters_is_seen_on_a_small_terminal() -> None:
    text = "\n".join(line.text for line in frame(snapshot(findings=[BAD]), width=80, height=24))

    for part in ("worker on demo", "ready", "1 running, 1 of 4 slots", "12 exchanges", "today in 0.12 TON",
                 "disk: 0.0 GB are free", "qwen3", "finished", "100+50", "0.0015", "q quits"):  # fmt: skip
        assert part in text


@pytest.mark.parametrize("role", CONFIGS)
def test_every_role_is_drawn(role: str) -> None:
    assert frame(snapshot(role), width=40, height=12)[0].text.startswith(role)


def test_a_chain_that_is_away_stands_out() -> None:
    lines = frame(snapshot(money=MoneyView(chain="away")), width=80, height=24)

    assert any(line.look == "bad" and "CHAIN AWAY" in line.text for line in lines)


def config_of(place: Path) -> Path:
    (place / "data").mkdir(mode=0o700)
    file = place / "node.toml"
    file.write_text(CONFIGS["worker"])
    return file


async def beside(place: Path, seen: Snapshot, nursery: trio.Nursery) -> Path:
    file = config_of(place)

    async def show(_request: ShowSnapshot) -> Snapshot:
        await trio.lowlevel.checkpoint()
        return seen

    await nursery.start(partial(serve_control, place / "data" / CONTROL_SOCKET, [SNAPSHOT.by(show)]))
    return file


async def test_without_a_terminal_one_frame_is_printed(tmp_path: Path) -> None:
    result: Result | None = None
    async with trio.open_nursery() as nursery:
        file = await beside(tmp_path, snapshot(recent=[entry(model="\x1b[2Jevil")]), nursery)
        result = await trio.to_thread.run_sync(partial(CliRunner().invoke, cocoon, ["top", str(file)]))
        nursery.cancel_scope.cancel()

    assert result is not None
    assert result.exit_code == 0, result.output
    assert "worker on demo" in result.stdout
    assert "evil" in result.stdout
    assert "\x1b" not in result.stdout


def test_a_node_that_is_down_cannot_be_watched_and_it_is_said_what_can_be_done(tmp_path: Path) -> None:
    result = CliRunner().invoke(cocoon, ["top", str(config_of(tmp_path))])

    assert isinstance(result.exception, Unavailable)
    assert "cocoon status" in result.exception.hint


def test_who_is_told_to_end_gives_the_terminal_back_too() -> None:
    terminal, inner = pty.openpty()
    drawn = io.StringIO()
    # Were it not heard it would end the tests.
    former = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with os.fdopen(inner) as keys:
            before = termios.tcgetattr(keys)
            with pytest.raises(SystemExit) as end, _screen(keys, drawn):
                signal.raise_signal(signal.SIGTERM)
            after = termios.tcgetattr(keys)
    finally:
        signal.signal(signal.SIGTERM, former)
        os.close(terminal)

    assert end.value.code == 128 + signal.SIGTERM
    assert drawn.getvalue().endswith("\x1b[?1049l")
    assert after == before


@pytest.mark.long
@pytest.mark.parametrize("no_color", ["", "1"])
async def test_q_quits_and_gives_the_terminal_back(no_color: str, tmp_path: Path) -> None:
    terminal, inner = pty.openpty()
    environment = os.environ | {"NO_COLOR": no_color, "COLUMNS": "80", "LINES": "24"}
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            file = await beside(tmp_path, snapshot(), nursery)
            command = [sys.executable, "-m", "cocoon_p2p.cli", "top", str(file)]
            start = partial(subprocess.Popen, stdin=inner, stdout=inner, stderr=inner, env=environment)
            process = await trio.to_thread.run_sync(start, command)
            os.close(inner)
            drawn = await trio.to_thread.run_sync(_until, terminal, b"q quits")
            os.write(terminal, b"q")
            rest = await trio.to_thread.run_sync(_until, terminal, b"\x1b[?1049l")
            code = await trio.to_thread.run_sync(process.wait)
            nursery.cancel_scope.cancel()
    os.close(terminal)

    assert code == 0
    assert drawn.startswith(b"\x1b[?1049h")
    assert (b"\x1b[1m" in drawn + rest) is (not no_color)


def _until(terminal: int, sign: bytes) -> bytes:
    """Read what a program draws until it draws this."""
    drawn = b""
    while sign not in drawn:
        select.select([terminal], [], [], 30)
        drawn += os.read(terminal, 65536)
    return drawn
