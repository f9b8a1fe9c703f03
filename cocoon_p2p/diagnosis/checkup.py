"""All checks of a node, side by side, each with a limit: one that hangs is a finding too.

Nothing is changed by looking: no money moves, nothing is published, no key is made.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import trio

from cocoon_p2p.config import Loaded
from cocoon_p2p.diagnosis.clock import check_clock
from cocoon_p2p.diagnosis.finding import Finding, Severity
from cocoon_p2p.diagnosis.machine import check_disk, check_files, check_versions
from cocoon_p2p.diagnosis.money import check_chain, check_channels, check_wallet
from cocoon_p2p.diagnosis.network import check_network
from cocoon_p2p.diagnosis.patient import Patient
from cocoon_p2p.diagnosis.serving import check_attestation, check_engine, check_policy
from cocoon_p2p.diagnosis.ways_in import check_nat, check_ports
from cocoon_p2p.errors import CocoonError
from cocoon_p2p.node.self_checks import Check as SelfCheck
from cocoon_p2p.node.self_checks import Insides
from cocoon_p2p.overview.snapshot import FindingView

Check = Callable[[Patient], Awaitable[Sequence[Finding]]]

CHECKS: dict[str, Check] = {
    "files": check_files,
    "disk": check_disk,
    "versions": check_versions,
    "clock": check_clock,
    "network": check_network,
    "ports": check_ports,
    "nat": check_nat,
    "chain": check_chain,
    "wallet": check_wallet,
    "channels": check_channels,
    "policy": check_policy,
    "attestation": check_attestation,
    "engine": check_engine,
}

OF_ITS_OWN = frozenset({"ports", "engine"})
"What a running node holds itself: nobody else can try it meanwhile."

LIMIT_SECONDS = 18.0
"Of each check."


def from_inside(loaded: Loaded[Any], now: Callable[[], float] = time.time) -> SelfCheck:
    """Give what a running node looks itself over with."""

    async def look(insides: Insides) -> Sequence[FindingView]:
        patient = Patient(loaded, now, insides.showing.snapshot(), insides)
        found: list[Finding] = []
        await check_up(patient, found.append)
        return [finding.view for finding in sorted(found, key=attrgetter("check"))]

    return look


async def check_up(
    patient: Patient,
    tell: Callable[[Finding], None],
    *,
    limit_seconds: float = LIMIT_SECONDS,
    checks: Mapping[str, Check] | None = None,
) -> None:
    """Look at a node in every respect, and tell each finding as it comes."""
    async with trio.open_nursery() as nursery:
        for name, check in (CHECKS if checks is None else checks).items():
            nursery.start_soon(_look, name, check, patient, limit_seconds, tell)


async def _look(
    name: str, check: Check, patient: Patient, limit_seconds: float, tell: Callable[[Finding], None]
) -> None:
    found: Sequence[Finding] = ()
    with trio.move_on_after(limit_seconds) as limit:
        try:
            found = await check(patient)
        except CocoonError as exc:
            found = [Finding(name, Severity.FAILURE, str(exc), exc.hint or "")]
        except OSError as exc:
            text = f"the system does not let us look: {exc}"
            found = [Finding(name, Severity.FAILURE, text, "run this as the node's owner")]
    if limit.cancelled_caught:
        text = f"no answer in {limit_seconds:.0f} s"
        found = [Finding(name, Severity.FAILURE, text, "try again; if it stays so, look at the node's log")]
    for finding in found:
        tell(finding)
