"""Simulated evidence: what a node without such hardware shows on a demo network.

It goes through the same gates, bears a warning, and passes only under a policy that lists its
type and allows what is insecure. It proves nothing, and its vector says so.
"""

from collections.abc import Sequence

from cocoon_p2p.attestation.evidence import (
    SIM,
    SIM_WARNING,
    Evidence,
    RuntimeEvent,
    encode_evidence,
    report_data,
)
from cocoon_p2p.identity import NetworkId
from cocoon_p2p.protocols.messages import Signed


def simulate(statement: Signed, network: NetworkId, *, events: Sequence[RuntimeEvent] = ()) -> bytes:
    """Make evidence for a statement out of thin air. `events` may hold the configuration it names."""
    return encode_evidence(
        Evidence(
            type=SIM,
            events=tuple(events),
            gpus=(),
            simulated=report_data(network, statement),
            warning=SIM_WARNING,
        )
    )
