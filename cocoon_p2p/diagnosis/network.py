"""The network around a node: as the running node sees it, else by joining it as a stranger would."""

import os
from collections.abc import Sequence
from contextlib import suppress

from cocoon_p2p.config import NetworkSection
from cocoon_p2p.diagnosis.finding import Finding, Severity
from cocoon_p2p.diagnosis.patient import Patient
from cocoon_p2p.errors import RemoteProtocolError, Unavailable
from cocoon_p2p.identity import Identity, network_id
from cocoon_p2p.overview.peers import Peers
from cocoon_p2p.protocols.ids import Role
from cocoon_p2p.protocols.messages import Record
from cocoon_p2p.protocols.papers import decode_signed
from cocoon_p2p.records import check_record

PAGE = "docs/network.md"


async def check_network(patient: Patient) -> Sequence[Finding]:
    """Say whether a node's bootstraps answer, and whether anybody sells in its network."""
    if patient.peers is not None:
        return judge_running(patient.peers)
    network: NetworkSection = patient.section("network")
    if not network.bootstrap:
        if patient.role == "bootstrap":
            return [Finding("bootstrap", Severity.FINE, "it is where others begin")]
        remedy = "ask whoever runs the network for one: [network] bootstrap"
        return [Finding("bootstrap", Severity.FAILURE, "the file names no bootstrap node", remedy, PAGE)]
    return await _join(network, patient)


def judge_running(peers: Peers) -> Sequence[Finding]:
    """Judge what a running node says of its network."""
    health = peers.health
    silent = sum(each.is_reached is False for each in health.bootstraps)
    found = [
        Finding("running", Severity.FINE, f"the {peers.role} runs, as {health.peer}"),
    ]
    if health.bootstraps:
        found.append(_of_bootstraps(len(health.bootstraps), silent))
    if not health.servers and peers.role != "bootstrap":
        text, remedy = "it knows no server of the directory", "check [network] name and bootstrap"
        found.append(Finding("directory", Severity.FAILURE, text, remedy, PAGE))
    else:
        found.append(Finding("directory", Severity.FINE, f"{health.servers} servers known"))
    advice = peers.reach.advice
    severity = Severity.WARNING if advice else Severity.FINE
    found.append(Finding("reachability", severity, health.reachability, advice or "", PAGE if advice else ""))
    return found


def _of_bootstraps(number: int, silent: int) -> Finding:
    text = f"{number - silent} of {number} bootstrap nodes answer"
    if not silent:
        return Finding("bootstrap", Severity.FINE, text)
    severity = Severity.FAILURE if silent == number else Severity.WARNING
    remedy = "check [network] bootstrap and this machine's way out; their operator may know more"
    return Finding("bootstrap", severity, text, remedy, PAGE)


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
            transport, network_name=network.name, mode="client", bootstrap=network.bootstrap
        ) as directory:
            papers = await directory.find_proxies()
    return [*found, judge_papers(papers, network.name, patient.now())]


def judge_papers(papers: Sequence[bytes], network_name: str, now: float) -> Finding:
    """Judge what the directory has of the network's proxies."""
    records = [record for paper in papers if (record := _record(paper, network_name, now)) is not None]
    if not records:
        text = f"no proxy that can be believed in {network_name!r}"
        remedy = "check [network] name, and this machine's clock; or nobody sells there yet"
        return Finding("directory", Severity.WARNING, text, remedy, PAGE)
    names = sorted({offer.name for record in records for offer in record.models})
    text = f"{len(records)} proxies, which sell {', '.join(names) or 'nothing now'}"
    return Finding("directory", Severity.FINE, text)


def _record(paper: bytes, network_name: str, now: float) -> Record | None:
    try:
        return check_record(decode_signed(paper), network=network_id(network_name), now=now, role=Role.PROXY)
    except RemoteProtocolError:
        # Anybody can put anything there.
        return None
