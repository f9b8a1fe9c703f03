"""A node is looked at from outside: each fault that is put into one is found, with what to do about it."""

import errno
import json
import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from cocoon_p2p.cli import cocoon
from cocoon_p2p.cli.node_folder import load_any
from cocoon_p2p.config.folder import CONTROL_SOCKET
from cocoon_p2p.control import serve_control
from cocoon_p2p.diagnosis import Check, Finding, Patient, Severity, check_up, from_inside
from cocoon_p2p.diagnosis import checkup as checkup_module
from cocoon_p2p.diagnosis.machine import check_disk, check_files
from cocoon_p2p.diagnosis.money import check_channels
from cocoon_p2p.diagnosis.network import check_network
from cocoon_p2p.diagnosis.serving import check_engine, check_policy
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import Identity
from cocoon_p2p.network.libp2p.host import open_transport
from cocoon_p2p.network.libp2p.kad import open_directory
from cocoon_p2p.node.self_checks import Insides
from cocoon_p2p.node.showing import Showing
from cocoon_p2p.overview.findings import CHECK_UP, CheckedUp, CheckUp
from cocoon_p2p.overview.snapshot import SNAPSHOT, FindingView, ShowSnapshot, Snapshot
from tests.cli.snapshots import HEALTH, NOW, REACH, snapshot

NOBODY = "/ip4/127.0.0.1/tcp/{}/p2p/12D3KooWE6eMZQob7bqHGnwby6UW7xH3sj1FEwRhoASqLwWUFvj6"
OTHER = Identity.from_seed(b"\x61" * 32)


def patient_of(folder: Path, text: str, *, bootstrap: Sequence[str] = ()) -> Patient:
    file = folder / "node.toml"
    file.write_text(f'{text}\n[network]\nname = "mine"\nbootstrap = {json.dumps(list(bootstrap))}\n')
    return Patient(load_any(file), lambda: 1_800_000_000.0)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


async def found(patient: Patient, checks: Any = None, **limits: float) -> dict[str, Finding]:
    named = {check.__name__: check for check in checks}
    told: list[Finding] = []
    await check_up(patient, told.append, checks=named, **limits)
    return {finding.check: finding for finding in told}


async def test_a_folder_that_others_can_open_is_found_and_the_remedy_mends_it(tmp_path: Path) -> None:
    patient = patient_of(tmp_path, "[client]")
    patient.data.mkdir(mode=0o755)

    seen = await found(patient, [check_files, check_disk, check_channels])

    assert seen["files"].severity is Severity.FAILURE
    assert seen["files"].remedy == f"chmod 700 {patient.data}"
    patient.data.chmod(0o700)
    assert {each.severity for each in (await found(patient, [check_files])).values()} == {Severity.FINE}


async def test_a_key_that_others_can_read_is_found(tmp_path: Path) -> None:
    patient = patient_of(tmp_path, "[client]")
    patient.data.mkdir(mode=0o700)
    (patient.data / "identity.key").write_bytes(b"")
    (patient.data / "identity.key").chmod(0o644)

    seen = await found(patient, [check_files])

    assert seen["files"].remedy.startswith("chmod 600 ")


async def test_a_folder_that_is_not_there_yet_is_none_the_worse(tmp_path: Path) -> None:
    seen = await found(patient_of(tmp_path, "[client]"), [check_files, check_disk, check_channels])

    assert seen["files"].severity is Severity.FINE
    assert not (tmp_path / "data").exists()


async def test_a_file_without_a_bootstrap_says_whom_to_ask(tmp_path: Path) -> None:
    seen = await found(patient_of(tmp_path, "[client]"), [check_network])

    assert seen["bootstrap"].severity is Severity.FAILURE
    assert "[network] bootstrap" in seen["bootstrap"].remedy


@pytest.mark.slow
async def test_a_bootstrap_that_is_down_is_found(tmp_path: Path) -> None:
    patient = patient_of(tmp_path, "[client]", bootstrap=[NOBODY.format(closed_port())])

    seen = await found(patient, [check_network], limit_seconds=60.0)

    assert (seen["bootstrap"].severity, seen["bootstrap"].text) == (
        Severity.FAILURE,
        "0 of 1 bootstrap nodes answer",
    )


@pytest.mark.slow
async def test_a_network_in_which_nobody_sells_is_told_apart_from_one_that_does_not_answer(
    tmp_path: Path,
) -> None:
    async with (
        open_transport(OTHER, listen=["/ip4/127.0.0.1/tcp/0"]) as transport,
        open_directory(transport, network_name="mine", mode="server"),
    ):
        patient = patient_of(tmp_path, "[client]", bootstrap=transport.addresses)
        seen = await found(patient, [check_network], limit_seconds=60.0)

    assert seen["bootstrap"].severity is Severity.FINE
    assert seen["directory"].severity is Severity.WARNING
    assert "no proxy that can be believed in 'mine'" in seen["directory"].text


@pytest.mark.slow
async def test_a_model_that_is_damaged_is_found(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(64))
    patient = patient_of(tmp_path, '[worker]\nmodel = "./broken.gguf"')

    seen = await found(patient, [check_engine], limit_seconds=60.0)

    (finding,) = seen.values()
    assert finding.severity is Severity.FAILURE
    assert "broken.gguf" in finding.text


async def test_a_policy_that_cannot_be_read_is_found(tmp_path: Path) -> None:
    keys = f'policy = "missing.policy"\nkeys = ["{"ab" * 32}"]'
    seen = await found(patient_of(tmp_path, f"[client]\n[trust]\n{keys}"), [check_policy])

    (finding,) = seen.values()
    assert finding.severity is Severity.FAILURE
    assert "missing.policy" in finding.text


async def test_a_check_that_hangs_is_a_finding_and_holds_nobody_up(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async def hangs(_: Patient) -> Sequence[Finding]:
        await trio.sleep_forever()
        raise AssertionError

    async def works(_: Patient) -> Sequence[Finding]:
        await trio.lowlevel.checkpoint()
        return [Finding("works", Severity.FINE, "well")]

    seen = await found(patient_of(tmp_path, "[client]"), [hangs, works])

    assert seen["works"].severity is Severity.FINE
    assert seen["hangs"].severity is Severity.FAILURE
    assert trio.current_time() < 2 * checkup_module.LIMIT_SECONDS


@pytest.mark.parametrize(
    ("call", "check"), [("statvfs", check_disk), ("access", check_files)], ids=["disk", "files"]
)
async def test_a_file_system_that_never_answers_is_a_finding_too(
    call: str, check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = patient_of(tmp_path, "[client]")
    patient.data.mkdir(mode=0o700)
    answers = threading.Event()
    monkeypatch.setattr(os, call, lambda *_: answers.wait(60.0))
    try:
        with trio.fail_after(30.0):
            seen = await found(patient, [check], limit_seconds=0.05)
    finally:
        answers.set()

    (finding,) = seen.values()
    assert finding.severity is Severity.FAILURE
    assert "no answer" in finding.text


async def test_what_a_check_raises_is_its_finding_with_its_hint(tmp_path: Path) -> None:
    async def refuses(_: Patient) -> Sequence[Finding]:
        await trio.lowlevel.checkpoint()
        raise ConfigurationError("no such thing", hint="make one")

    seen = await found(patient_of(tmp_path, "[client]"), [refuses])

    assert (seen["refuses"].text, seen["refuses"].remedy) == ("no such thing", "make one")


async def test_what_the_system_forbids_is_a_finding_too(tmp_path: Path) -> None:
    async def forbidden(_: Patient) -> Sequence[Finding]:
        await trio.lowlevel.checkpoint()
        raise PermissionError(13, "Permission denied", "ledger.db")

    seen = await found(patient_of(tmp_path, "[client]"), [forbidden])

    assert seen["forbidden"].severity is Severity.FAILURE
    assert "owner" in seen["forbidden"].remedy


@pytest.mark.parametrize(
    ("severity", "code"), [(Severity.FINE, 0), (Severity.WARNING, 7), (Severity.FAILURE, 8)]
)
def test_the_worst_finding_is_the_exit_code(
    severity: Severity, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(_: Patient) -> Sequence[Finding]:
        await trio.lowlevel.checkpoint()
        return [Finding("one", Severity.FINE, "well"), Finding("two", severity, "so so", "mend \x1b[2J it")]

    monkeypatch.setattr(checkup_module, "CHECKS", {"check": check})
    file = tmp_path / "client.toml"
    file.write_text('[client]\n[network]\nname = "mine"\n')

    shown = CliRunner().invoke(cocoon, ["doctor", str(file)])
    told = CliRunner().invoke(cocoon, ["doctor", str(file), "--json"])

    assert shown.exit_code == told.exit_code == code
    assert "\x1b" not in shown.stdout
    assert {json.loads(line)["check"] for line in told.stdout.splitlines()} == {
        "running",
        "one",
        "two",
    }


def test_who_reads_no_further_ends_it_without_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def quick(_: Patient) -> Sequence[Finding]:
        await trio.lowlevel.checkpoint()
        return [Finding("quick", Severity.FINE, "well")]

    async def slow(_: Patient) -> Sequence[Finding]:
        await trio.sleep_forever()
        raise AssertionError

    def show(view: FindingView, *, as_json: bool) -> None:
        if view.check == "quick":
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(checkup_module, "CHECKS", {"quick": quick, "slow": slow})
    monkeypatch.setattr("cocoon_p2p.cli.doctor._print", show)
    file = tmp_path / "client.toml"
    file.write_text('[client]\n[network]\nname = "mine"\n')

    result = CliRunner().invoke(cocoon, ["doctor", str(file)])

    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)


LAST = FindingView("disk", "warning", "0.5 GB are free", "make \x1b[2J room", "docs/status.md#disk")


def test_what_a_peer_named_passes_for_no_other_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(_: Patient) -> Sequence[Finding]:
        await trio.lowlevel.checkpoint()
        return [Finding("directory", Severity.FINE, "1 proxies, which sell m\nok     wallet  99 TON")]

    monkeypatch.setattr(checkup_module, "CHECKS", {"check": check})
    file = tmp_path / "client.toml"
    file.write_text('[client]\n[network]\nname = "mine"\n')

    shown = CliRunner().invoke(cocoon, ["doctor", str(file)])

    assert [line.split()[1] for line in shown.stdout.splitlines()] == ["running", "directory"]


async def doctor_beside(place: Path, seen: Snapshot, *arguments: str) -> Result:
    """Run the command beside a node that shows this, and finds nothing when it looks again."""
    (place / "data").mkdir(mode=0o700)
    file = place / "node.toml"
    file.write_text('[client]\n[network]\nname = "mine"\n')

    async def show(_request: ShowSnapshot) -> Snapshot:
        await trio.lowlevel.checkpoint()
        return seen

    async def check(_request: CheckUp) -> CheckedUp:
        await trio.lowlevel.checkpoint()
        return CheckedUp([FindingView("disk", "fine", "50 GB are free")], NOW)

    async with trio.open_nursery() as nursery:
        answers = [SNAPSHOT.by(show), CHECK_UP.by(check)]
        await nursery.start(serve_control, place / "data" / CONTROL_SOCKET, answers)
        result = await trio.to_thread.run_sync(
            CliRunner().invoke, cocoon, ["doctor", str(file), *arguments, "--json"]
        )
        nursery.cancel_scope.cancel()
    return result


async def test_a_running_node_tells_what_it_found_last(tmp_path: Path) -> None:
    seen = snapshot("client", findings=[LAST], checked_at=NOW - 300)

    result = await doctor_beside(tmp_path, seen)

    assert result.exit_code == 7
    assert json.loads(result.stdout)["page"] == "docs/status.md#disk"
    assert "300 s ago" in result.stderr


@pytest.mark.parametrize(("checked_at", "options"), [(None, []), (NOW, ["--live"])])
async def test_with_live_and_before_its_first_look_a_node_looks_itself_over(
    checked_at: float | None, options: list[str], tmp_path: Path
) -> None:
    seen = snapshot("client", findings=[LAST], checked_at=checked_at)

    result = await doctor_beside(tmp_path, seen, *options)

    assert result.exit_code == 0
    assert json.loads(result.stdout)["text"] == "50 GB are free"


def test_a_node_that_hangs_is_a_failure_and_is_looked_at_from_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cocoon_p2p.cli.doctor.PATIENCE_SECONDS", 0.05)
    (tmp_path / "data").mkdir(mode=0o700)
    file = tmp_path / "node.toml"
    file.write_text('[worker]\nmodel = "demo"\n[network]\nname = "mine"\nlisten = ["/ip4/127.0.0.1/tcp/0"]\n')
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hanging:
        hanging.bind(str(tmp_path / "data" / CONTROL_SOCKET))
        hanging.listen(8)

        result = CliRunner().invoke(cocoon, ["doctor", str(file), "--json"])

    found = {told["check"]: told for told in map(json.loads, result.stdout.splitlines())}
    assert result.exit_code == 8
    assert "does not answer" in found["running"]["text"]
    assert found["files"]["severity"] == "fine"
    # It may be busy only: another copy of its model, beside it, would end it.
    assert not {"ports", "engine"} & set(found)


async def test_from_inside_every_check_is_made_and_what_fails_is_a_finding(tmp_path: Path) -> None:
    patient = patient_of(tmp_path, "[client]")
    patient.data.mkdir(mode=0o755)
    showing = Showing("client", "mine", clock=lambda: NOW)
    showing.stands_on(lambda: HEALTH, lambda: REACH, None)

    views = {view.check: view for view in await from_inside(patient.loaded)(Insides(showing))}

    assert views["files"].severity == "failure"
    assert {"disk", "clock", "versions", "running", "ports"} <= set(views)
