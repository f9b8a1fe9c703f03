"""Ctrl-C in a real process: once it ends clean, with the worker stopped; twice it ends anyhow."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

PATIENCE_SECONDS = 280


@pytest.mark.slow
@pytest.mark.parametrize("face", ["asyncio", "sync"])
def test_one_interrupt_stops_the_worker_before_the_program_ends(face: str, tmp_path: Path) -> None:
    told = tmp_path / "told"
    child = _start(face, told)

    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=PATIENCE_SECONDS)

    assert child.returncode == 0, errors
    assert told.read_text() == "interrupted, running=0"
    assert errors == ""


@pytest.mark.slow
@pytest.mark.parametrize("face", ["asyncio", "sync"])
def test_two_interrupts_end_the_program(face: str, tmp_path: Path) -> None:
    child = _start(face, tmp_path / "told")

    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGINT)
    # This raises where the program goes on.
    child.communicate(timeout=PATIENCE_SECONDS)


def _start(face: str, told: Path) -> subprocess.Popen[str]:
    """Start the program, and wait until it reads."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.aio.program", face, str(told)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    assert child.stdout.readline().startswith("word")
    return child
