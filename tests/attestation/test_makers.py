"""Machines that prove themselves: through the kernel, and through dstack."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from cocoon_p2p.attestation import Cause, configuration_event, decode_evidence
from cocoon_p2p.attestation.events import event_digest
from cocoon_p2p.attestation.evidence import TDX_GPU, GpuEvidence, RuntimeEvent
from cocoon_p2p.attestation.makers import attest
from cocoon_p2p.attestation.makers.configfs import ConfigfsMachine, Register, ReportFolder
from cocoon_p2p.attestation.makers.dstack import DstackMachine
from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.testing.gpus import PaperGpu
from cocoon_p2p.testing.machines import PaperMachine
from tests.attestation.kernel import Agent, KernelFolder, KernelRegister, serving
from tests.attestation.scene import CPU, NETWORK, NOW, ON_GPU, Scene, image_of, policy_for

PAPER = PaperMachine(now=NOW)
CONFIGURATION = configuration_event(CPU)


class Kernel:
    """The kernel's two folders, and the machine under test on them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.register = KernelRegister(path / "measurements")
        self.reports = KernelFolder(path / "report", PAPER, self.register)

    def machine(self) -> ConfigfsMachine:
        return ConfigfsMachine(reports=self.reports, register=self.register, log=self.path / "run" / "log")

    @property
    def left(self) -> list[Path]:
        return list(self.reports.folder.iterdir())


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


async def test_a_machine_proves_itself_through_its_kernel(kernel: Kernel) -> None:
    machine, scene = kernel.machine(), Scene()
    await machine.measure(CONFIGURATION)

    evidence = await attest(machine, scene.statement, NETWORK)

    assert scene.judge(evidence=evidence).has_passed
    assert kernel.left == []


async def test_a_quote_that_the_kernel_pads_is_cut_to_what_is_signed(kernel: Kernel) -> None:
    kernel.reports.padding = bytes(3_000)
    machine, scene = kernel.machine(), Scene()
    await machine.measure(CONFIGURATION)

    assert await attest(machine, scene.statement, NETWORK) == scene.evidence


async def test_what_was_measured_is_measured_once_a_boot(kernel: Kernel) -> None:
    await kernel.machine().measure(CONFIGURATION)
    register = kernel.register.read()

    await kernel.machine().measure(CONFIGURATION)

    assert kernel.register.read() == register
    with pytest.raises(ConfigurationError, match="another cocoon-configuration"):
        await kernel.machine().measure(configuration_event(replace(CPU, log_level="debug")))
    assert kernel.register.read() == register


async def test_a_crash_between_log_and_register_is_made_good(kernel: Kernel) -> None:
    kernel.register.crashes_before_extending = True
    with pytest.raises(KeyboardInterrupt):
        await kernel.machine().measure(CONFIGURATION)
    kernel.register.crashes_before_extending = False
    scene = Scene()

    evidence = await attest(kernel.machine(), scene.statement, NETWORK)

    assert scene.judge(evidence=evidence).has_passed


async def test_a_register_that_somebody_else_extended_is_not_explained_away(kernel: Kernel) -> None:
    kernel.register.extend(event_digest(RuntimeEvent("stranger", b"")))

    for act in (kernel.machine().measure(CONFIGURATION), kernel.machine().quote(bytes(64))):
        with pytest.raises(ConfigurationError, match="RTMR3 holds what our log does not say"):
            await act


async def test_a_damaged_log_is_an_error(kernel: Kernel) -> None:
    await kernel.machine().measure(CONFIGURATION)
    (kernel.path / "run" / "log").write_bytes(b"\xa1\x01")

    with pytest.raises(ConfigurationError, match="damaged"):
        await kernel.machine().quote(bytes(64))


@pytest.mark.parametrize("trouble", ["busy", "disturbed", "sev", "long", "gone", "no register"])
async def test_trouble_with_the_kernel_gives_no_quote_and_leaves_no_folder(
    kernel: Kernel, trouble: str
) -> None:
    kernel.reports.is_busy = trouble == "busy"
    kernel.reports.is_disturbed = trouble == "disturbed"
    if trouble == "sev":
        kernel.reports.provider = b"sev_guest\n"
    if trouble == "long":
        kernel.reports.padding = bytes(40_000)
    if trouble == "gone":
        kernel.reports.folder.rmdir()
    if trouble == "no register":
        kernel.register.file.unlink()

    with pytest.raises(Unavailable):
        await kernel.machine().quote(bytes(64))
    assert trouble == "gone" or kernel.left == []


async def test_a_machine_without_tdx_says_what_is_missing(tmp_path: Path) -> None:
    machine = ConfigfsMachine(
        reports=ReportFolder(tmp_path / "none"), register=Register(tmp_path / "none"), log=tmp_path / "log"
    )

    with pytest.raises(Unavailable) as failure:
        await machine.quote(bytes(64))
    assert "TDX guest" in failure.value.hint


class Gpus:
    """The GPUs of a machine, on paper."""

    async def read(self, nonce: bytes) -> tuple[GpuEvidence, ...]:
        return tuple(PaperGpu(number=number).evidence(nonce) for number in (1, 2))


async def test_gpus_answer_the_quote_that_they_are_shown_with(kernel: Kernel) -> None:
    scene = Scene(configuration=ON_GPU, gpus=(PaperGpu(number=1), PaperGpu(number=2)))
    machine = kernel.machine()
    await machine.measure(configuration_event(ON_GPU))

    evidence = await attest(machine, scene.statement, NETWORK, gpus=Gpus())

    assert decode_evidence(evidence).type == TDX_GPU
    assert len(scene.examine(evidence=evidence).gpus) == 2


class Confused:
    """A machine that quotes what it was not given, or logs what it did not measure."""

    def __init__(self, data: bytes, events: tuple[RuntimeEvent, ...]) -> None:
        self._answer = (PAPER.quote(data), events)

    async def measure(self, event: RuntimeEvent) -> None: ...

    async def quote(self, data: bytes) -> tuple[bytes, tuple[RuntimeEvent, ...]]:
        return self._answer


async def test_what_others_would_refuse_is_not_sent() -> None:
    from cocoon_p2p.attestation import report_data

    statement = Scene().statement

    with pytest.raises(Unavailable, match="other bytes"):
        await attest(Confused(bytes(64), ()), statement, NETWORK)
    with pytest.raises(Unavailable, match="rtmr3"):
        await attest(Confused(report_data(NETWORK, statement), (CONFIGURATION,)), statement, NETWORK)


# ---------------------------------------------------------------- dstack

COMPOSE = RuntimeEvent("compose-hash", b"\x12" * 32)
OTHER_KIND = {"imr": 3, "event_type": 1, "digest": "", "event": "x", "event_payload": ""}


@pytest.fixture
def agent() -> Agent:
    boot = {"imr": 0, "event_type": 1, "digest": "aa", "event": "", "event_payload": ""}
    return Agent(PAPER, [COMPOSE], hidden=[boot])


@pytest.fixture
async def dstack(agent: Agent, tmp_path: Path) -> AsyncIterator[DstackMachine]:
    with serving(agent, tmp_path / "dstack.sock"):
        yield DstackMachine(tmp_path / "dstack.sock", timeout_seconds=5.0)


async def test_a_machine_proves_itself_through_dstack(dstack: DstackMachine) -> None:
    await dstack.measure(CONFIGURATION)
    scene = Scene(extra_events=(COMPOSE,))

    evidence = await attest(dstack, scene.statement, NETWORK)

    image = image_of(scene.body, events={"compose-hash": frozenset({COMPOSE.payload})})
    verdict = scene.judge(policy_for(images=(image,)), evidence=evidence)
    assert verdict.cause is Cause.PASSED


async def test_dstack_measures_once_a_boot(dstack: DstackMachine, agent: Agent) -> None:
    await dstack.measure(CONFIGURATION)
    await dstack.measure(CONFIGURATION)

    assert agent.events == [COMPOSE, CONFIGURATION]
    with pytest.raises(ConfigurationError):
        await dstack.measure(configuration_event(ON_GPU))
    assert agent.events == [COMPOSE, CONFIGURATION]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"{}",
        b'{"quote": "zz", "event_log": "[]"}',
        b'{"quote": "00", "event_log": "{}x"}',
        b'{"quote": "00", "event_log": "[1]"}',
        json.dumps({"quote": "00", "event_log": json.dumps([OTHER_KIND])}).encode(),
        b"[" * 100_000,
        b'{"quote": "00", "event_log": "[]"}' + b" " * 2_000_000,
    ],
)
async def test_an_answer_of_dstacks_that_is_none_gives_no_quote(
    dstack: DstackMachine, agent: Agent, answer: bytes
) -> None:
    agent.answer = answer

    with pytest.raises(Unavailable):
        await dstack.quote(bytes(64))


async def test_a_refusal_of_dstacks_gives_no_quote(dstack: DstackMachine, agent: Agent) -> None:
    agent.status = 500

    with pytest.raises(Unavailable, match="status 500"):
        await dstack.quote(bytes(64))


async def test_no_dstack_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="dstack does not answer"):
        await DstackMachine(tmp_path / "nothing").quote(bytes(64))
