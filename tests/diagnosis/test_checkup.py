"""A node is looked at from outside: each fault that is put into one is found, with what to do about it."""

import json
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from cocoon_p2p.cli import cocoon
from cocoon_p2p.cli.node_folder import load_any
from cocoon_p2p.diagnosis import Finding, Patient, Severity, check_up
from cocoon_p2p.diagnosis import checkup as checkup_module
from cocoon_p2p.diagnosis.machine import check_disk, check_files
from cocoon_p2p.diagnosis.money import check_channels
from cocoon_p2p.diagnosis.network import check_network
from cocoon_p2p.diagnosis.serving import check_engine, check_policy
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import Identity
from cocoon_p2p.network.libp2p.host import open_transport
from cocoon_p2p.network.libp2p.kad import open_directory

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
    return {finding.check: finding async for finding in check_up(patient, checks=named, **limits)}


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


async def test_what_a_check_raises_is_its_finding_with_its_hint(tmp_path: Path) -> None:
    async def refuses(_: Patient) -> Sequence[Finding]:
        await trio.lowlevel.checkpoint()
        raise ConfigurationError("no such thing", hint="make one")

    seen = await found(patient_of(tmp_path, "[client]"), [refuses])

    assert (seen["refuses"].text, seen["refuses"].remedy) == ("no such thing", "make one")


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
    assert {json.loads(line)["check"] for line in told.stdout.splitlines()} == {"one", "two"}
