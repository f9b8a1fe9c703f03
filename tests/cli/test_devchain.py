"""`cocoon devchain` as a person and as a script use it."""

import json
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cocoon_p2p.cli.devchain import devchain
from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.payments.address import GLOBAL_IDS, spell_address
from cocoon_p2p.payments.devchain import DevChain, save
from cocoon_p2p.payments.devchain.control import Advance, Give, Look, ask, control_path
from cocoon_p2p.units import NANO_PER_TON
from tests.json_schemas.judging import judge
from tests.payments.devchain.bait import STRANGER

ADDRESS = spell_address(STRANGER, global_id=GLOBAL_IDS["local"])
COMMAND = [sys.executable, "-m", "cocoon_p2p.cli", "devchain"]


def read_steps(process: "subprocess.Popen[str]", last: str) -> dict[str, dict[str, Any]]:
    """Read JSON steps up to one, and give them by name."""
    assert process.stdout is not None
    steps: dict[str, dict[str, Any]] = {}
    for line in process.stdout:
        judge(["devchain", "--json"], line)
        step = json.loads(line)
        steps[step.pop("step")] = step
        if last in steps:
            return steps
    raise AssertionError(f"it ended before {last}: {steps} {process.communicate()}")


@contextmanager
def running(*options: str) -> "Iterator[tuple[subprocess.Popen[str], dict[str, dict[str, Any]]]]":
    """Run the command until the block ends, then end it as a service manager would."""
    with subprocess.Popen(
        [*COMMAND, "--json", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process, read_steps(process, "config")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(280)


@pytest.mark.slow
def test_a_chain_is_run_used_saved_and_goes_on(tmp_path: Path) -> None:
    state = tmp_path / "chain"

    with running("--state", str(state), "--fund", f"{ADDRESS}=2.5") as (process, steps):
        assert list(steps) == ["begun", "funded", "listening", "config"]
        (server,) = steps["config"]["config"]["liteservers"]
        assert server["id"]["key"] == steps["listening"]["key"]
        assert steps["listening"]["address"] == f"127.0.0.1:{server['port']}"
        given = ask(control_path(state), Give(ADDRESS, NANO_PER_TON))
        moved = ask(control_path(state), Advance(10**6))
        # A second process would save over the first one's chain.
        second = subprocess.run(
            [*COMMAND, "--state", str(state)], capture_output=True, text=True, check=False
        )
        assert (second.returncode, "in use" in second.stderr) == (2, True)
    assert process.returncode == 0
    assert given.balance is not None
    assert abs(given.balance - 3.5 * NANO_PER_TON) < 1000

    # It has what it was to have at least, so nothing is given the second time.
    with running("--state", str(state), "--fund", f"{ADDRESS}=2.5") as (_, again):
        assert list(again) == ["restored", "listening", "config"]
        assert again["listening"]["key"] == steps["listening"]["key"]
        looked = ask(control_path(state), Look(ADDRESS))
        assert looked.balance == given.balance
        assert looked.now >= moved.now
        assert looked.seqno > moved.seqno

    assert sorted(path.name for path in tmp_path.iterdir()) == ["chain", "chain.key"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.slow
def test_a_killed_chain_has_all_that_it_has_shown(tmp_path: Path) -> None:
    state = tmp_path / "chain"

    with running("--state", str(state)) as (process, steps):
        given = ask(control_path(state), Give(ADDRESS, NANO_PER_TON))
        process.kill()

    with running("--state", str(state)) as (_, again):
        looked = ask(control_path(state), Look(ADDRESS))
    first = [the["config"]["config"]["validator"]["zero_state"] for the in (steps, again)]
    assert looked.balance == given.balance == NANO_PER_TON
    assert looked.seqno >= given.seqno
    assert first[0] == first[1]


@pytest.mark.slow
def test_a_chain_that_slept_wakes_up_today(tmp_path: Path) -> None:
    state = tmp_path / "chain"
    long_ago = 1_000_000_000
    save(DevChain(now=long_ago), state)

    with running("--state", str(state)):
        looked = ask(control_path(state), Look(ADDRESS))

    # Later than these lines were written, that is.
    assert looked.now > 1_750_000_000


@pytest.mark.slow
def test_without_a_file_the_chain_is_gone_in_the_end(tmp_path: Path) -> None:
    with subprocess.Popen(
        COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        shown = ""
        for line in process.stdout:
            shown += line
            if line == "}\n":
                break
        process.send_signal(signal.SIGINT)
        _, steps = process.communicate(timeout=280)

    assert json.loads(shown)["@type"] == "config.global"
    assert process.returncode == 0
    assert "listening" in steps
    assert "saved" not in steps
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_other_commands_speak_to_a_running_chain(tmp_path: Path) -> None:
    state = tmp_path / "chain"
    place = ["--state", str(state)]
    with running(*place):
        runner = CliRunner()
        given = runner.invoke(devchain, ["give", ADDRESS, "1.5", *place])
        looked = runner.invoke(devchain, ["look", ADDRESS, "--json", *place])
        moved = runner.invoke(devchain, ["advance", "60", *place])
        wrong = runner.invoke(devchain, ["give", "nobody", "1", *place])

    assert given.output == "1.5 TON\n"
    assert json.loads(looked.output)["balance"] == 1.5 * NANO_PER_TON
    assert int(moved.output) >= json.loads(looked.output)["now"] + 60
    assert isinstance(wrong.exception, ConfigurationError)


def test_where_no_chain_runs_the_other_commands_say_so(tmp_path: Path) -> None:
    done = CliRunner().invoke(devchain, ["look", ADDRESS, "--state", str(tmp_path / "chain")])

    assert isinstance(done.exception, Unavailable)
    assert done.exception.hint


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--listen", "nowhere"], "IPv4"),
        (["--listen", "::1:80"], "IPv4"),
        (["--listen", "127.0.0.1:99999"], "IPv4"),
        (["--listen", "192.0.2.1:0"], "cannot listen"),
        (["--fund", "nobody=5"], "not a TON address"),
        (["--fund", f"{ADDRESS}=much"], "amount"),
        (["--fund", ADDRESS], "not a TON address"),
    ],
)
def test_an_option_that_cannot_be_is_named(options: list[str], what: str) -> None:
    done = CliRunner().invoke(devchain, options)

    assert isinstance(done.exception, ConfigurationError)
    assert what in str(done.exception)
    assert done.exception.hint


def test_a_file_that_is_no_chain_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "chain").write_text("my diary")

    done = CliRunner().invoke(devchain, ["--state", str(tmp_path / "chain")])

    assert isinstance(done.exception, ConfigurationError)
    assert (tmp_path / "chain").read_text() == "my diary"
