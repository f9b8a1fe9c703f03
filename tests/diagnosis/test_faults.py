"""A fault is put into each thing that is looked at, and it is found, with what to do about it."""

import json
import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from cocoon_p2p.cli.node_folder import load_any
from cocoon_p2p.diagnosis import Finding, Patient, Severity
from cocoon_p2p.diagnosis.clock import KernelClock, check_clock, judge_dates
from cocoon_p2p.diagnosis.machine import check_disk, check_versions
from cocoon_p2p.diagnosis.money import check_chain, check_channels
from cocoon_p2p.diagnosis.network import check_network, look_from_outside
from cocoon_p2p.diagnosis.serving import check_attestation, check_engine, judge_outcomes, judge_statement
from cocoon_p2p.diagnosis.ways_in import check_nat, check_ports, judge_nat, judge_ports
from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import Identity, network_id
from cocoon_p2p.inference.engine import Engine
from cocoon_p2p.network.directory import Directory
from cocoon_p2p.network.libp2p.host import open_transport
from cocoon_p2p.network.libp2p.kad import open_directory
from cocoon_p2p.network.reachability import ReachabilityView, Seen, Source
from cocoon_p2p.node.chain_heard import ChainHeard
from cocoon_p2p.node.self_checks import Insides
from cocoon_p2p.node.showing import Showing
from cocoon_p2p.overview.snapshot import StepView
from cocoon_p2p.payments.chain import AccountSeen, Chain
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.protocols.ids import STATEMENT_LIFETIME_MAX_SECONDS, Kind, Role
from cocoon_p2p.protocols.messages import ChannelId, ExchangeId
from cocoon_p2p.protocols.papers import encode_signed
from cocoon_p2p.records import make_record, make_statement
from cocoon_p2p.testing.engine import ScriptedEngine, scripted_model
from cocoon_p2p.units import Nano
from cocoon_p2p.worker import Worker
from cocoon_p2p.worker.slots import Slots
from tests.cli.snapshots import HEALTH, REACH, snapshot
from tests.diagnosis.test_judging import channel

FINE, WARNING, FAILURE = Severity
NOW = 1_800_000_000.0
OTHER = Identity.from_seed(b"\x72" * 32)
PROXY = Identity.from_seed(b"\x71" * 32)
WORKER = '[worker]\nmodel = "demo"'


def patient_of(
    folder: Path,
    text: str = WORKER,
    *,
    listen: Sequence[str] = (),
    bootstrap: Sequence[str] = (),
    **more: Any,
) -> Patient:
    file = folder / "node.toml"
    network = {"bootstrap": list(bootstrap), "listen": list(listen)}
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in network.items())
    file.write_text(f'{text}\n[network]\nname = "mine"\n{lines}\n')
    given: dict[str, Any] = {"now": lambda: NOW}
    return Patient(load_any(file), **(given | more))


def only(findings: Sequence[Finding]) -> Finding:
    (finding,) = findings
    return finding


# ---------------------------------------------------------------- clock


async def test_a_clock_that_nothing_keeps_right_is_told_and_is_no_fault_by_itself(tmp_path: Path) -> None:
    loose = only(await check_clock(patient_of(tmp_path), look=lambda: KernelClock(False, 16.0)))
    kept = only(await check_clock(patient_of(tmp_path), look=lambda: KernelClock(True, 0.1)))

    assert (loose.severity, kept.severity) == (FINE, FINE)
    assert "timedatectl" in loose.remedy


async def test_a_kernel_that_does_not_say_harms_nothing(tmp_path: Path) -> None:
    def refuses() -> KernelClock:
        raise OSError

    assert only(await check_clock(patient_of(tmp_path), look=refuses)).severity is FINE
    assert only(await check_clock(patient_of(tmp_path))).severity is FINE


@pytest.mark.long
@pytest.mark.parametrize(("off", "way"), [(-3_600.0, "behind"), (3_600.0, "ahead of")])
async def test_a_clock_that_is_off_is_seen_by_what_others_have_signed(
    off: float, way: str, tmp_path: Path
) -> None:
    with trio.fail_after(120):
        async with (
            open_transport(OTHER, listen=["/ip4/127.0.0.1/tcp/0"]) as first,
            open_directory(first, network_name="mine", mode="server"),
            open_transport(PROXY, listen=["/ip4/127.0.0.1/tcp/0"]) as transport,
            open_directory(
                transport, network_name="mine", mode="server", bootstrap=first.addresses
            ) as directory,
        ):
            await _publish(directory)
            patient = patient_of(tmp_path, bootstrap=first.addresses, now=lambda: time.time() + off)
            found = dict[str, Finding]()
            # On a machine that is busy a stranger's search may end before anybody has answered.
            while "clock" not in found:
                found = {finding.check: finding for finding in await look_from_outside(patient)}

    assert found["clock"].severity is FAILURE
    assert f" s {way} those of others" in found["clock"].text
    assert "timedatectl" in found["clock"].remedy


async def _publish(directory: Directory) -> None:
    """Publish a proxy's record, once there is a server that takes it."""
    now, network = int(time.time()), network_id("mine")
    statement = make_statement(
        PROXY, network, role=Role.PROXY, sealing_key=bytes(32), now=now, nonce=bytes(16)
    )
    addresses = ["/ip4/127.0.0.1/tcp/4001"]
    record = make_record(
        PROXY, network, role=Role.PROXY, statement=statement, addresses=addresses, models=[], now=now,
        sequence=1,
    )  # fmt: skip
    while True:
        with suppress(Unavailable):
            await directory.publish(encode_signed(record))
            return
        await trio.sleep(0.1)


def test_one_proxy_whose_clock_is_wrong_says_nothing_of_ours() -> None:
    good = [(NOW - 60, NOW + 540)] * 2

    assert not judge_dates([*good, (NOW + 9_000, NOW + 9_600)], NOW)
    assert not judge_dates([], NOW)


# ---------------------------------------------------------------- the machine


def _told(left: os.statvfs_result, _place: Path) -> os.statvfs_result:
    return left


async def test_a_full_disk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = os.statvfs_result((4096, 4096, 1000, 10, 10, 1000, 10, 10, 0, 255))
    monkeypatch.setattr("cocoon_p2p.diagnosis.machine.os.statvfs", partial(_told, left))

    assert only(await check_disk(patient_of(tmp_path))).severity is FAILURE


async def test_a_disk_that_holds_no_more_files_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = os.statvfs_result((4096, 4096, 10**9, 10**9, 10**9, 1000, 0, 0, 0, 255))
    monkeypatch.setattr("cocoon_p2p.diagnosis.machine.os.statvfs", partial(_told, left))

    finding = only(await check_disk(patient_of(tmp_path)))

    assert finding.severity is FAILURE
    assert "not one more file" in finding.text


async def test_an_upgrade_that_was_not_started_is_found(tmp_path: Path) -> None:
    finding = only(await check_versions(patient_of(tmp_path, snapshot=snapshot(version="0.0.1"))))

    assert finding.severity is WARNING
    assert finding.remedy.startswith("restart")


async def test_a_ledger_of_another_program_is_found(tmp_path: Path) -> None:
    patient = patient_of(tmp_path)
    patient.data.mkdir()
    (patient.data / "ledger.db").write_bytes(b"no database at all, but long enough to look like one" * 4)

    with pytest.raises(Exception, match="not a ledger"):
        await check_versions(patient)


# ---------------------------------------------------------------- ways in


async def test_a_port_that_another_program_has_is_found(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"/ip4/127.0.0.1/tcp/{other.getsockname()[1]}"
        taken = only(await check_ports(patient_of(tmp_path, listen=[listen])))
    free = only(await check_ports(patient_of(tmp_path, listen=[listen])))

    assert (taken.severity, free.severity) == (FAILURE, FINE)
    assert "ss -ltnp" in taken.remedy


async def test_an_address_of_another_machine_is_found(tmp_path: Path) -> None:
    finding = only(await check_ports(patient_of(tmp_path, listen=["/ip4/192.0.2.1/tcp/4001"])))

    assert finding.severity is FAILURE


def reach(*seen: Seen, observed: tuple[str, ...] = (), state: Any = "private") -> ReachabilityView:
    return ReachabilityView(state, (), seen, observed, "forward TCP port 4001")


def at(host: str, source: Source = "listening", *, reached: int = 0, missed: int = 0) -> Seen:
    return Seen(f"/ip4/{host}/tcp/4001", source, reached, missed)


def test_a_port_that_nobody_reaches_is_found() -> None:
    finding = only(judge_ports(reach(at("203.0.113.7", "observed", missed=3))))

    assert finding.severity is WARNING
    assert "nobody of 3" in finding.text
    assert finding.remedy == "forward TCP port 4001"
    assert only(judge_ports(reach(at("203.0.113.7", reached=2), at("10.0.0.1", missed=9)))).severity is FINE


@pytest.mark.parametrize(
    ("seen", "severity", "text"),
    [
        (reach(at("8.8.4.4"), observed=("8.8.4.4",), state="public"), FINE, "no router"),
        (reach(at("192.168.1.5"), observed=("8.8.4.4",), state="public"), FINE, "lets its port through"),
        (reach(at("192.168.1.5"), observed=("8.8.4.4",)), WARNING, "lets nobody in, seen at 8.8.4.4"),
        (reach(at("192.168.1.5"), observed=("8.8.4.4", "8.8.8.8")), WARNING, "from 2 addresses"),
        (reach(at("100.64.3.4"), observed=("8.8.4.4",)), WARNING, "provider's own router"),
        (reach(at("192.168.1.5"), at("100.64.3.4", "upnp")), WARNING, "provider's own router"),
        (reach(at("192.168.1.5")), FINE, "nobody has said yet"),
        (reach(at("rubbish"), observed=("rubbish",)), FINE, "nobody has said yet"),
    ],
)
def test_each_kind_of_router_is_told(seen: ReachabilityView, severity: Severity, text: str) -> None:
    finding = judge_nat(seen)

    assert finding.severity is severity
    assert text in finding.text
    assert bool(finding.remedy) is (severity is WARNING)


async def test_a_node_that_only_dials_out_needs_no_port(tmp_path: Path) -> None:
    patient = patient_of(tmp_path, snapshot=snapshot())

    assert only(await check_ports(patient)).severity is FINE
    assert not await check_nat(patient)


# ---------------------------------------------------------------- running


async def test_a_worker_that_no_proxy_offers_is_found_with_what_its_late_step_says(tmp_path: Path) -> None:
    late = StepView("registered", 9.0, {}, "is a proxy there?", "waiting")
    stuck = snapshot(is_ready=False, steps=[late])

    found = {each.check: each for each in await check_network(patient_of(tmp_path, snapshot=stuck))}

    assert found["running"].severity is FAILURE
    assert found["running"].remedy == "is a proxy there?"


# ---------------------------------------------------------------- the chain


class StuckChain:
    """A chain that is behind, away, or has a poor wallet."""

    def __init__(self, *, at: float = NOW, is_away: bool = False, balance: int = 10**9) -> None:
        self.at, self.is_away, self.balance = int(at), is_away, balance

    @property
    def global_id(self) -> int:
        return -3

    async def time(self) -> int:
        await trio.lowlevel.checkpoint()
        if self.is_away:
            raise Unavailable("no lite server answers", hint="check [chain] servers")
        return self.at

    async def account(self, account: AccountId) -> AccountSeen:
        return AccountSeen(account, Nano(self.balance), None, None, 1, await self.time())


CHAIN = '[client]\n[chain]\nnetwork = "testnet"\nservers = "chain.json"'


def on_chain(tmp_path: Path, chain: StuckChain) -> Patient:
    heard = ChainHeard(cast(Chain, chain), clock=lambda: NOW)
    insides = Insides(Showing("worker", "mine"), heard)
    return patient_of(tmp_path, CHAIN, insides=insides, snapshot=snapshot())


async def test_a_chain_that_lags_is_found_inside_the_node(tmp_path: Path) -> None:
    patient = on_chain(tmp_path, StuckChain(at=NOW - 600))

    finding = only(await check_chain(patient))

    assert finding.severity is WARNING
    assert "600 s old" in finding.text
    assert cast(ChainHeard, cast(Insides, patient.insides).chain).standing == "behind"


async def test_a_clock_behind_the_chains_is_found_inside_the_node(tmp_path: Path) -> None:
    finding = only(await check_chain(on_chain(tmp_path, StuckChain(at=NOW + 900))))

    assert (finding.check, finding.severity) == ("clock", FAILURE)


async def test_a_chain_that_is_away_is_found_and_stays_known(tmp_path: Path) -> None:
    patient = on_chain(tmp_path, StuckChain(is_away=True))

    with pytest.raises(Unavailable, match="no lite server"):
        await check_chain(patient)

    assert cast(ChainHeard, cast(Insides, patient.insides).chain).standing == "away"


@pytest.mark.long
async def test_a_chain_whose_server_is_down_is_found_from_outside(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    key = "aF91CuUHuuOv9rm2W5+O/4h38M3sRm40DtSdRxQhmtQ="
    server = {"ip": 2130706433, "port": port, "id": {"@type": "pub.ed25519", "key": key}}
    zero = {
        "workchain": -1, "shard": -9223372036854775808, "seqno": 0,
        "root_hash": f"{'A' * 43}=",
        "file_hash": f"{'A' * 43}=",
    }  # fmt: skip
    directory = {"@type": "config.global", "liteservers": [server], "validator": {"zero_state": zero}}
    (tmp_path / "chain.json").write_text(json.dumps(directory))
    patient = patient_of(tmp_path, CHAIN.replace("testnet", "local"))

    with pytest.raises(Unavailable):
        await check_chain(patient)


# ---------------------------------------------------------------- channels


async def test_a_channel_near_its_limit_is_found_among_many_others(tmp_path: Path) -> None:
    showing = Showing("proxy", "mine")
    risky = channel(vouchered_nano=950)
    showing.stands_on(lambda: HEALTH, lambda: REACH, cast(Any, SimpleNamespace(at_risk=lambda: [risky])))
    patient = patient_of(tmp_path, insides=Insides(showing), snapshot=snapshot())

    finding = only(await check_channels(patient))

    assert finding.severity is WARNING
    assert "95% of its capacity" in finding.text


async def test_channels_that_are_well_are_only_counted_inside_the_node(tmp_path: Path) -> None:
    patient = patient_of(tmp_path, insides=Insides(Showing("proxy", "mine")), snapshot=snapshot())

    assert only(await check_channels(patient)).text == "2 open"


# ---------------------------------------------------------------- engine


def worker_with(engine: ScriptedEngine, *, slots: int = 2) -> tuple[Insides, Slots]:
    held = Slots(slots)
    shop = SimpleNamespace(slots=held, papers=SimpleNamespace(statement_expires=NOW + 60.0))
    showing = Showing("worker", "mine")
    showing.seller = Worker(cast(Any, shop), lambda _standing: None)
    return Insides(showing, engine=cast(Engine, engine)), held


async def test_an_engine_that_says_nothing_is_found(tmp_path: Path) -> None:
    insides, _ = worker_with(ScriptedEngine(lambda _request: ()))

    finding = only(await check_engine(patient_of(tmp_path, insides=insides, snapshot=snapshot())))

    assert finding.severity is FAILURE
    assert "nothing to say" in finding.text


async def test_an_engine_that_works_is_well_and_no_slot_was_taken(tmp_path: Path) -> None:
    insides, slots = worker_with(ScriptedEngine(lambda _request: ("Hi",)))

    finding = only(await check_engine(patient_of(tmp_path, insides=insides, snapshot=snapshot())))

    assert finding.severity is FINE
    assert (slots.free, slots.running) == (2, 0)


@pytest.mark.parametrize("kind", [Kind.EMBEDDING, Kind.TRANSCRIPTION])
async def test_a_model_that_does_not_chat_is_asked_for_what_it_does(kind: Kind, tmp_path: Path) -> None:
    engine = ScriptedEngine(lambda _request: (), models=[scripted_model(kind=kind)])
    insides, _ = worker_with(engine)

    finding = only(await check_engine(patient_of(tmp_path, insides=insides, snapshot=snapshot())))

    (asked,) = engine.requests
    assert finding.severity is FINE
    assert bool(asked.inputs) == (kind is Kind.EMBEDDING)
    assert (asked.audio is not None) == (kind is Kind.TRANSCRIPTION)


async def test_while_somebody_is_served_the_engine_is_left_alone(tmp_path: Path) -> None:
    insides, slots = worker_with(ScriptedEngine(lambda _request: ()))
    slots.take((ChannelId(bytes(32)), ExchangeId(bytes(16))))

    finding = only(await check_engine(patient_of(tmp_path, insides=insides, snapshot=snapshot())))

    assert (finding.severity, finding.text) == (FINE, "busy: 1 exchanges run")


def test_exchanges_that_all_fail_are_found_and_one_that_ended_well_clears_it() -> None:
    failed = judge_outcomes(["engine-failed"] * 5)

    assert failed is not None
    assert failed.severity is FAILURE
    assert judge_outcomes(["engine-failed"] * 4) is None
    assert judge_outcomes(["engine-failed"] * 4 + ["finished"]) is None


# ---------------------------------------------------------------- attestation


async def test_papers_that_are_not_renewed_are_found(tmp_path: Path) -> None:
    insides, _ = worker_with(ScriptedEngine())

    finding = only(await check_attestation(patient_of(tmp_path, insides=insides, snapshot=snapshot())))

    assert finding.severity is WARNING
    assert judge_statement(-1.0, "configfs").severity is FAILURE
    assert judge_statement(STATEMENT_LIFETIME_MAX_SECONDS / 2, "configfs").severity is FINE


async def test_a_machine_without_the_device_that_proves_it_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cocoon_p2p.diagnosis.serving.configfs.REPORTS", tmp_path / "missing")
    text = f'{WORKER}\n[attestation]\nevidence = "configfs"'

    finding = only(await check_attestation(patient_of(tmp_path, text)))

    assert finding.severity is FAILURE
    assert "missing" in finding.text
