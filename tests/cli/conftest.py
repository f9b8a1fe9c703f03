"""Whatever a command of ours prints with `--json` in these tests is judged by its schema in docs/json."""

from collections.abc import Sequence
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from cocoon_p2p.cli import cocoon
from tests.json_schemas.making import faults
from tests.json_schemas.outputs import OUTPUTS


@pytest.fixture(autouse=True)
def _judged(monkeypatch: pytest.MonkeyPatch) -> None:
    invoke = CliRunner.invoke

    def judged(self: CliRunner, cli: click.Command, args: Sequence[str] = (), **more: Any) -> Result:
        result = invoke(self, cli, args, **more)
        command = _name(list(args))
        if cli is cocoon and "--json" in args and command in OUTPUTS and result.exception is None:
            assert not faults(command, result.stdout), (command, faults(command, result.stdout))
        return result

    monkeypatch.setattr(CliRunner, "invoke", judged)


def _name(arguments: Sequence[str]) -> str:
    """Give the longest beginning that names a command."""
    for count in (3, 2, 1):
        if (name := " ".join(arguments[:count])) in OUTPUTS:
            return name
    return ""
