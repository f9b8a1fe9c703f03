"""What a program has started ends with it."""

import os
import subprocess
import sys
import time

import pytest

from cocoon_p2p.lifeline import VARIABLE

PARENT = """
import subprocess, sys, time
command = [sys.executable, "-m", "cocoon_p2p.cli", "devchain", "--json"]
pipe = subprocess.PIPE
child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize("value", ["stdin", ""])
def test_a_node_ends_with_who_started_it_if_it_was_asked_to(value: str) -> None:
    pytest.importorskip("tonpy", reason="tonpy is missing: `make test` installs it where it has a wheel")
    environment = {**os.environ, VARIABLE: value}
    with subprocess.Popen([sys.executable, "-c", PARENT], env=environment, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()

    is_gone = _ends(child, within_seconds=60 if value else 1)

    if not is_gone:
        os.kill(child, 9)
    assert is_gone is bool(value)


@pytest.mark.slow
def test_a_node_that_ends_by_itself_gives_its_own_exit_code() -> None:
    command = [sys.executable, "-m", "cocoon_p2p.cli", "worker", "no-such-file.toml"]
    pipe = subprocess.PIPE
    environment = {**os.environ, VARIABLE: "stdin"}
    with subprocess.Popen(command, env=environment, stdin=pipe, stderr=pipe, text=True) as node:
        assert node.stderr is not None
        said = node.stderr.read()

    assert "Fatal Python error" not in said
    assert node.returncode == 2


def _ends(pid: int, *, within_seconds: float) -> bool:
    # It is not our child, so there is nothing to wait for but its end.
    until = time.monotonic() + within_seconds
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False
