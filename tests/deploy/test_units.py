"""The systemd units: what systemd itself says of them, and what must not be forgotten in one of them."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cocoon_p2p.cli import cocoon

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
SHARED = "# How it lives and ends, and what it may touch: the same in every unit of this folder."
EXPOSURE_MAX = 2.0
"Of ten: what `systemd-analyze security` calls OK ends at 5."

analysed = pytest.mark.skipif(
    not shutil.which("systemd-analyze"),
    reason="systemd-analyze is missing: Debian, Ubuntu: apt install systemd",
)


def name(unit: Path) -> str:
    return unit.stem.removesuffix("@")


def command_of(unit: Path) -> list[str]:
    (line,) = re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)
    program, *arguments = line.split()
    assert program == "/usr/local/bin/cocoon"
    return list(arguments)


def test_every_role_that_runs_on_has_a_unit() -> None:
    assert {name(unit) for unit in UNITS} == {
        f"cocoon-{role}" for role in ("bootstrap", "explorer", "gateway", "proxy", "worker")
    }


@pytest.mark.parametrize("unit", UNITS, ids=name)
def test_how_a_unit_lives_and_what_it_may_touch_is_the_same_in_all(unit: Path) -> None:
    (first, *_) = UNITS

    assert unit.read_text().partition(SHARED)[2] == first.read_text().partition(SHARED)[2] != ""


@pytest.mark.parametrize("unit", UNITS, ids=name)
def test_a_units_command_is_one_that_cocoon_takes(unit: Path) -> None:
    command, *arguments = command_of(unit)

    found = cocoon.get_command(click.Context(cocoon), command)
    assert found is not None
    # Parsing alone: nothing is run.
    found.make_context(command, arguments)


@pytest.mark.parametrize("unit", UNITS, ids=name)
def test_a_stop_is_heard_by_the_node_alone_and_given_its_time(unit: Path) -> None:
    parser = configparser.RawConfigParser(strict=False)
    # systemd's keys have capitals, and a comment may begin a line.
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit.read_text())
    service = parser["Service"]

    assert (service["Type"], service["KillMode"], service["OOMPolicy"]) == ("notify", "mixed", "continue")
    assert int(service["TimeoutStopSec"]) >= 90
    assert service["RestartPreventExitStatus"] == "2"


@analysed
@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS, ids=name)
def test_systemd_finds_no_mistake_in_a_unit_and_little_that_it_exposes(unit: Path, tmp_path: Path) -> None:
    # It looks whether the program is there.
    text = unit.read_text().replace("/usr/local/bin/cocoon", sys.executable)
    (tmp_path / unit.name).write_text(text)
    instance = tmp_path / unit.name.replace("@", "@main")

    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", instance], capture_output=True, text=True, check=False
    )
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", tmp_path / unit.name],
        capture_output=True,
        text=True,
        check=False,
    )

    # Of other units of the machine it may complain as well.
    complaints = [line for line in verified.stderr.splitlines() if "cocoon" in line]
    assert complaints == []
    (exposure,) = re.findall(r"Overall exposure level for .*: ([0-9.]+)", judged.stdout)
    assert float(exposure) <= EXPOSURE_MAX
