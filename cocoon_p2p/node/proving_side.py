"""How a node proves itself and what it takes for proof, as its file says."""

import os
import time
from pathlib import Path

import trio

from cocoon_p2p.attestation import Pins, Policy, default_policy, demo_policy, simulate
from cocoon_p2p.attestation.appraising import Verifier
from cocoon_p2p.attestation.configuration import (
    MeasuredConfiguration,
    configuration_event,
    configuration_hash,
)
from cocoon_p2p.attestation.doorkeeper import Doorkeeper
from cocoon_p2p.attestation.evidence import RuntimeEvent
from cocoon_p2p.attestation.keeping import PolicyKeeper
from cocoon_p2p.attestation.makers import Machine, attest
from cocoon_p2p.attestation.makers.configfs import ConfigfsMachine
from cocoon_p2p.attestation.makers.dstack import DstackMachine
from cocoon_p2p.attestation.mirror import PccsMirror
from cocoon_p2p.attestation.proving import Attest, Proving
from cocoon_p2p.attestation.shelf import CollateralShelf
from cocoon_p2p.attestation.showing import Showcase
from cocoon_p2p.client import parse_trust
from cocoon_p2p.config import AttestationSection, ClientFile, Loaded, ProxyFile, TrustSection, WorkerFile
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import Identity, NetworkId
from cocoon_p2p.network.transport import Transport
from cocoon_p2p.protocols.messages import Signed
from cocoon_p2p.records import NOTHING_MEASURED

ATTESTATION = "attestation"
"The folder, in the node's data folder, of the newest policy and of Intel's lists."

CLIENT_EVIDENCE_MAX_BYTES = 8 * 1024 * 1024
"What a client keeps of its workers' evidence: nobody asks it for that, but a receipt's bundle holds it."

AFile = Loaded[ClientFile] | Loaded[ProxyFile] | Loaded[WorkerFile]


async def open_doorkeeper(
    loaded: AFile, identity: Identity, network: NetworkId, transport: Transport
) -> tuple[Showcase, Doorkeeper]:
    """Take the policy in hand, and make who asks and who answers.

    Raises:
        ConfigurationError: The policy or its folder cannot be used.
        PolicyRejected: The policy is not signed as the file demands, is an older one, or has expired.
    """
    folder = loaded.data_directory / ATTESTATION
    policy = await _policy(loaded.settings.trust, loaded, folder, network)
    is_client = isinstance(loaded.settings, ClientFile)
    showcase = (
        Showcase(identity, network, others_max_bytes=CLIENT_EVIDENCE_MAX_BYTES)
        if is_client
        else Showcase(identity, network)
    )
    mirrors = [PccsMirror(url) for url in loaded.settings.trust.mirrors]
    verifier = Verifier(policy, CollateralShelf(folder, mirrors))
    return showcase, Doorkeeper(verifier, showcase, transport, network, identity.peer_id, os.urandom)


async def prove(
    section: AttestationSection,
    network: NetworkId,
    showcase: Showcase,
    doorkeeper: Doorkeeper,
    measured: MeasuredConfiguration | None = None,
) -> Proving:
    """Have the machine measure the node's configuration, and make its evidence ready to be made.

    Raises:
        ConfigurationError: This boot has measured another configuration.
        Unavailable: The machine does not let us at its registers.
    """
    event = None if measured is None or section.evidence == "none" else configuration_event(measured)
    return Proving(
        showcase,
        doorkeeper,
        attest=await _maker(section, network, event),
        configuration_hash=NOTHING_MEASURED if event is None else configuration_hash(event),
        asked_of_proxies=parse_trust(section.proxy_trust),
        asked_of_workers=parse_trust(section.worker_trust),
    )


async def _maker(
    section: AttestationSection, network: NetworkId, event: RuntimeEvent | None
) -> Attest | None:
    if section.evidence == "none":
        return None
    if section.evidence == "sim":
        events = () if event is None else (event,)

        async def pretend(statement: Signed) -> bytes:
            return simulate(statement, network, events=events)

        return pretend
    machine: Machine = ConfigfsMachine() if section.evidence == "configfs" else DstackMachine()
    if event is not None:
        await machine.measure(event)

    async def quote(statement: Signed) -> bytes:
        return await attest(machine, statement, network)

    return quote


async def _policy(section: TrustSection, loaded: AFile, folder: Path, network: NetworkId) -> Policy:
    if section.demo and section.policy:
        raise ConfigurationError(
            "[trust] has a policy and takes simulations as well", hint="leave `demo` or `policy` out"
        )
    if section.demo:
        return demo_policy(network)
    if not section.keys:
        if section.policy:
            raise ConfigurationError(
                "[trust] names a policy and nobody who must have signed it", hint="pin their keys in `keys`"
            )
        return default_policy(network)
    pins = Pins(frozenset(map(bytes.fromhex, section.keys)), section.needed)
    await trio.Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    keeper = PolicyKeeper(folder, pins=pins, network=network)
    if section.policy:
        path = loaded.resolve(section.policy)
        try:
            data = await trio.Path(path).read_bytes()
        except OSError as exc:
            raise ConfigurationError(f"cannot read {path}: {exc.strerror}") from exc
        return await keeper.adopt(data, now=time.time())
    return await keeper.load(now=time.time()) or default_policy(network)
