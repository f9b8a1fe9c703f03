"""The network around a node: as the running node sees it, else by joining it as a stranger would."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress

from cocoon_p2p.config import NetworkSection
from cocoon_p2p.diagnosis.clock import judge_dates
from cocoon_p2p.diagnosis.finding import Finding, Severity
from cocoon_p2p.diagnosis.patient import Patient
from cocoon_p2p.errors import RemoteProtocolError, Unavailable
from cocoon_p2p.identity import Identity, PeerId, network_id
from cocoon_p2p.overview.snapshot import Snapshot
from cocoon_p2p.protocols.ids import Role
from cocoon_p2p.protocols.messages import Record
from cocoon_p2p.protocols.papers import decode_signed
from cocoon_p2p.protocols.schema import decode_paper
from cocoon_p2p.records import check_record, dht_key, validate_dht

NAMES_TOLD = 16
"Models of the network that are named."


async def check_network(patient: Patient) -> Sequence[Finding]:
    """Say whether a node's bootstraps answer, and whether anybody sells in its network."""
    if patient.snapshot is not None:
        return judge_running(patient.snapshot)
    network: NetworkSection = patient.section("network")
    if not network.bootstrap:
        if patient.role == "bootstrap":
            return [Finding("bootstrap", Severity.FINE, "it is where others begin")]
        remedy = "ask whoever runs the network for one: [network] bootstrap"
        return [Finding("bootstrap", Severity.FAILURE, "the file names no bootstrap node", remedy)]
    return await _join(network, patient)


def judge_running(seen: Snapshot) -> Sequence[Finding]:
    """Judge what a running node says of its network."""
    health = seen.health
    silent = sum(each.is_reached is False for each in health.bootstraps)
    found = [_of_readiness(seen)]
    if health.bootstraps:
        found.append(_of_bootstraps(len(health.bootstraps), silent))
    if not health.servers and seen.role != "bootstrap":
        text, remedy = "it knows no server of the directory", "check [network] name and bootstrap"
        found.append(Finding("directory", Severity.FAILURE, text, remedy))
    else:
        found.append(Finding("directory", Severity.FINE, f"{health.servers} servers known"))
    advice = seen.reach.advice
    severity = Severity.WARNING if advice else Severity.FINE
    found.append(Finding("reachability", severity, health.reachability, advice or ""))
    return found


def _of_readiness(seen: Snapshot) -> Finding:
    text = f"the {seen.role} runs, as {seen.peer}"
    if seen.is_ready:
        return Finding("running", Severity.FINE, text)
    if seen.load is not None and seen.load.is_draining:
        return Finding("running", Severity.WARNING, f"{text}, and is stopping", "wait: it finishes what runs")
    lacks = {"worker": "no proxy offers it", "proxy": "it is not announced"}.get(seen.role, "it knows nobody")
    late = next((step for step in seen.steps if step.status != "ok"), None)
    remedy = late.remedy if late is not None else "see what else is found here"
    return Finding("running", Severity.FAILURE, f"{text}, but {lacks}", remedy)


def _of_bootstraps(number: int, silent: int) -> Finding:
    text = f"{number - silent} of {number} bootstrap nodes answer"
    if not silent:
        return Finding("bootstrap", Severity.FINE, text)
    severity = Severity.FAILURE if silent == number else Severity.WARNING
    remedy = "check [network] bootstrap and this machine's way out; their operator may know more"
    return Finding("bootstrap", severity, text, remedy)


async def look_from_outside(patient: Patient) -> Sequence[Finding]:
    """Join a running node's network as a stranger would, and say what one finds there."""
    network: NetworkSection = patient.section("network")
    return await _join(network, patient) if network.bootstrap else []


async def _join(network: NetworkSection, patient: Patient) -> Sequence[Finding]:
    from cocoon_p2p.network.libp2p.host import open_transport
    from cocoon_p2p.network.libp2p.kad import open_directory

    stranger = Identity.from_seed(os.urandom(32))
    answered = 0
    async with open_transport(stranger, listen=[]) as transport:
        for address in network.bootstrap:
            with suppress(Unavailable):
                await transport.dial([address])
                answered += 1
        found = [_of_bootstraps(len(network.bootstrap), len(network.bootstrap) - answered)]
        if not answered:
            return found
        async with open_directory(
            transport,
            network_name=network.name,
            mode="client",
            bootstrap=network.bootstrap,
            validate=_at_any_time(network.name),
        ) as directory:
            papers = await directory.find_proxies()
    dates = judge_dates(_dates(papers), patient.now())
    return [*found, judge_papers(papers, network.name, patient.now()), *dates]


def judge_papers(papers: Sequence[bytes], network_name: str, now: float) -> Finding:
    """Judge what the directory has of the network's proxies."""
    records = [record for paper in papers if (record := _record(paper, network_name, now)) is not None]
    if not records:
        text = f"no proxy that can be believed in {network_name!r}"
        remedy = "check [network] name, and this machine's clock; or nobody sells there yet"
        return Finding("directory", Severity.WARNING, text, remedy)
    names = sorted({offer.name for record in records for offer in record.models})
    told = [*names[:NAMES_TOLD], *([f"{len(names) - NAMES_TOLD} more"] if len(names) > NAMES_TOLD else [])]
    text = f"{len(records)} proxies, which sell {', '.join(told) or 'nothing now'}"
    return Finding("directory", Severity.FINE, text)


def _at_any_time(network_name: str) -> Callable[[PeerId, bytes], float]:
    """Judge records as a directory does, but for their dates: whether ours are right is the question."""

    def validate(peer: PeerId, value: bytes) -> float:
        issued = decode_paper(Record, decode_signed(value).body).issued
        key = dht_key(network_name, peer)
        return validate_dht(key, value, network=network_id(network_name), now=issued).expires

    return validate


def _dates(papers: Sequence[bytes]) -> list[tuple[float, float]]:
    records = [decode_paper(Record, decode_signed(paper).body) for paper in papers]
    return [(record.issued, record.expires) for record in records]


def _record(paper: bytes, network_name: str, now: float) -> Record | None:
    try:
        return check_record(decode_signed(paper), network=network_id(network_name), now=now, role=Role.PROXY)
    except RemoteProtocolError:
        # Anybody can put anything there.
        return None
