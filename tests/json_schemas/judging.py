"""Whatever a command of ours prints with `--json` in a folder's tests is judged by its schema in docs/json.

A folder's conftest imports `judged`.
"""

import subprocess
from collections.abc import Sequence
from typing import Any

import click
import pytest
import trio
from click.testing import CliRunner, Result

from cocoon_p2p.cli import cocoon
from tests.json_schemas.making import faults
from tests.json_schemas.outputs import OUTPUTS

MODULE = "cocoon_p2p.cli"


def judge(arguments: Sequence[object], printed: bytes | str) -> None:
    """Hold what was printed against the command's schema, if it was to be JSON."""
    words = [str(argument) for argument in arguments]
    command = _name(words)
    if "--json" not in words or not command:
        return
    text = printed.decode() if isinstance(printed, bytes) else printed
    # Whoever watches is told again and again, a line each time.
    for told in text.splitlines() if "--watch" in words else [text]:
        found = faults(command, told) if told.strip() else []
        assert not found, (command, found)


@pytest.fixture(autouse=True)
def judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge what runs within the test, and what it runs as a process and reads to its end."""
    invoke, run, run_in_trio = CliRunner.invoke, subprocess.run, trio.run_process

    def invoke_judged(self: CliRunner, cli: click.Command, args: Sequence[str] = (), **more: Any) -> Result:
        result = invoke(self, cli, args, **more)
        if cli is cocoon:
            judge(args, result.stdout)
        return result

    def run_judged(command: Any, *others: Any, **more: Any) -> Any:
        done = run(command, *others, **more)
        judge(_arguments(command), done.stdout or "")
        return done

    async def run_judged_in_trio(command: Any, **more: Any) -> Any:
        done = await run_in_trio(command, **more)
        judge(_arguments(command), done.stdout or "")
        return done

    monkeypatch.setattr(CliRunner, "invoke", invoke_judged)
    monkeypatch.setattr(subprocess, "run", run_judged)
    monkeypatch.setattr(trio, "run_process", run_judged_in_trio)


def _arguments(command: str | Sequence[object]) -> Sequence[object]:
    """Give what a process of ours is asked; nothing of another one."""
    is_ours = not isinstance(command, str) and list(command[1:3]) == ["-m", MODULE]
    return command[3:] if is_ours else ()


def _name(words: Sequence[str]) -> str:
    """Give the longest beginning that names a command."""
    for count in (3, 2, 1):
        if (name := " ".join(words[:count])) in OUTPUTS:
            return name
    return ""
