"""The vectors of evidence, read from the file with nothing of ours but the codec; the CDDL agrees."""

import hashlib
import json
from pathlib import Path

import cbor2
import pytest
from nacl.signing import VerifyKey
from pycddl import Schema, ValidationError

from cocoon_p2p.attestation import decode_evidence, encode_evidence
from cocoon_p2p.testing.gpus import PaperGpu
from tests.attestation.generate_vectors import FILE, text
from tests.attestation.scene import ON_GPU, Scene

VECTORS = json.loads(FILE.read_text())
CDDL = (Path(__file__).parents[2] / "protocols" / "cocoon.cddl").read_text()
NETWORK = hashlib.sha256(b"cocoon/network/1\0vectors").digest()


def rule(name: str) -> Schema:
    return Schema(f"start = {name}\n{CDDL}")


def test_the_committed_vectors_are_what_the_generator_writes() -> None:
    assert FILE.read_text() == text(), "run python -m tests.attestation.generate_vectors"


def test_report_data_and_nonce_follow_the_page() -> None:
    body = bytes.fromhex(VECTORS["statement"]["body"])

    data = hashlib.sha512(b"cocoon/attest/1\0" + NETWORK + body).digest()

    assert data.hex() == VECTORS["report_data"]
    assert hashlib.sha256(b"cocoon/gpu-nonce/1\0" + data).hexdigest() == VECTORS["gpu_nonce"]


def test_the_log_follows_the_page() -> None:
    register = bytes(48)

    for event in VECTORS["events"]:
        payload = bytes.fromhex(event["payload"])
        digest = hashlib.sha384(b"\1\0\0\x08:" + event["name"].encode() + b":" + payload)
        assert digest.hexdigest() == event["digest"]
        register = hashlib.sha384(register + digest.digest()).digest()

    assert register.hex() == VECTORS["rtmr3"]
    assert hashlib.sha256(payload).hexdigest() == VECTORS["configuration"]["hash"]


def test_the_policys_signature_follows_the_page() -> None:
    body, _, line = VECTORS["policy"].partition("# cocoon-signature ed25519 ")
    key, signature = map(bytes.fromhex, line.split())

    VerifyKey(key).verify(b"cocoon/policy/1\0" + NETWORK + body.encode(), signature)


def test_the_simulation_is_read_and_written_and_is_what_the_cddl_says() -> None:
    data = bytes.fromhex(VECTORS["simulation"]["bytes"])

    assert encode_evidence(decode_evidence(data)) == data
    assert hashlib.sha256(data).hexdigest() == VECTORS["simulation"]["hash"]
    rule("evidence").validate_cbor(data)


def test_evidence_of_hardware_is_what_the_cddl_says() -> None:
    scene = Scene(configuration=ON_GPU, gpus=(PaperGpu(),))

    rule("evidence").validate_cbor(scene.evidence)
    rule("measured-configuration").validate_cbor(scene.events[-1].payload)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("evidence", {1: "x", 2: [], 3: [], 5: bytes(63)}),
        ("evidence", {1: "x", 2: [], 3: [], 7: 1}),
        ("evidence", {1: "x", 2: [{1: "n", 2: bytes(2049)}], 3: []}),
        ("measured-configuration", {1: "x", 2: bytes(31), 3: "", 4: "", 5: True}),
    ],
)
def test_the_cddl_refuses_what_the_code_refuses(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        rule(name).validate_cbor(cbor2.dumps(value))
