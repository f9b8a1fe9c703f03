"""Write protocols/vectors/evidence.json: `python -m tests.attestation.generate_vectors`.

What another implementation of evidence is held to; `test_vectors` fails when this would write anything else.
"""

import json
from pathlib import Path
from typing import Any

from cocoon_p2p.attestation import (
    MeasuredConfiguration,
    configuration_event,
    configuration_hash,
    evidence_hash,
    report_data,
    sign_policy,
    simulate,
)
from cocoon_p2p.attestation.events import event_digest, replay
from cocoon_p2p.attestation.evidence import RuntimeEvent, gpu_nonce
from cocoon_p2p.identity import network_id
from cocoon_p2p.protocols.ids import Role
from cocoon_p2p.records import make_statement
from cocoon_p2p.testing.papers import paper_identity

FILE = Path(__file__).parents[2] / "protocols" / "vectors" / "evidence.json"
NETWORK = network_id("vectors")
SIGNER = paper_identity(1)
CONFIGURATION = MeasuredConfiguration(
    "upstream", b"\x5a" * 32, "http://127.0.0.1:8000/v1", "info", uses_gpu=True
)
EVENTS = (RuntimeEvent("compose-hash", b"\x12" * 32), configuration_event(CONFIGURATION))
POLICY = b'network = "vectors"\nepoch = 1\nexpires = 2030-01-01T00:00:00Z\n'


def vectors() -> dict[str, Any]:
    """Compute everything that the page gives a rule for."""
    statement = make_statement(
        SIGNER,
        NETWORK,
        role=Role.WORKER,
        sealing_key=b"\x77" * 32,
        now=1_767_225_600,
        nonce=bytes(16),
        configuration_hash=configuration_hash(EVENTS[-1]),
    )
    data = report_data(NETWORK, statement)
    simulated = simulate(statement, NETWORK, events=EVENTS)
    return {
        "about": "Evidence: what is hashed, and the bytes of one simulation. Spec: protocols/evidence.md.",
        "network_name": "vectors",
        "statement": {"body": statement.body.hex(), "signature": statement.signature.hex()},
        "report_data": data.hex(),
        "gpu_nonce": gpu_nonce(data).hex(),
        "configuration": {"payload": EVENTS[-1].payload.hex(), "hash": configuration_hash(EVENTS[-1]).hex()},
        "events": [
            {"name": event.name, "payload": event.payload.hex(), "digest": event_digest(event).hex()}
            for event in EVENTS
        ],
        "rtmr3": replay(EVENTS).hex(),
        "simulation": {"bytes": simulated.hex(), "hash": evidence_hash(simulated).hex()},
        "policy": sign_policy(POLICY, SIGNER).decode(),
    }


def text() -> str:
    """Spell the file."""
    return json.dumps(vectors(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
