"""The committed vectors and the code agree, read from the files alone; the CDDL agrees with both."""

import hashlib
import json
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl import bindings
from pycddl import ValidationError

from cocoon_p2p.errors import (
    ConfigurationError,
    MalformedMessage,
    RecordRejected,
    SealBroken,
)
from cocoon_p2p.identity import Identity, network_id, parse_peer_id, peer_id_text, signed_bytes, verify
from cocoon_p2p.protocols.cbor import decode
from cocoon_p2p.protocols.contents import pad, unpad
from cocoon_p2p.protocols.framing import FrameReader, frame
from cocoon_p2p.protocols.ids import Trust
from cocoon_p2p.protocols.messages import ExchangeId, KeyStatement, Signed, Usage
from cocoon_p2p.protocols.papers import SIGNED_AS, check, paper_hash, sign
from cocoon_p2p.protocols.schema import (
    KEY_IGNORED_FROM,
    decode_message,
    decode_paper,
    encode_message,
    encode_paper,
)
from cocoon_p2p.sealing import RequestBinding, Session, accept, start
from tests.protocols.generate_vectors import FILES, FOLDER, text_of
from tests.protocols.shapes import CONTENTS, MESSAGES, PAPERS, SHAPES, bounds, rule, rule_name, take_apart

BY_RULE = {rule_name(cls): cls for cls in SHAPES}
VECTORS = {name: json.loads((FOLDER / name).read_text()) for name in FILES}
MESSAGE_VECTORS, PAPER_VECTORS, CONTENT_VECTORS = (
    VECTORS[name]["vectors"] for name in ("messages.json", "papers.json", "contents.json")
)
HANDSHAKE = VECTORS["sealing.json"]["handshake"]
BUNDLE_VECTOR = VECTORS["bundle.json"]


def value_of(cls: Any, spelled: Any) -> Any:
    """Build a value from its JSON spelling."""
    if cls is bytes:
        assert spelled[:2] == "h'"
        return bytes.fromhex(spelled[2:-1])
    if cls in (int, str, bool):
        return cls(spelled)
    if isinstance(cls, type) and issubclass(cls, IntEnum):
        return cls(spelled)
    arguments = {}
    for bound in bounds(cls):
        item = spelled.get(bound.name)
        if item is not None and bound.kind is tuple:
            inner = take_apart("", bound.item).kind
            arguments[bound.name] = tuple(value_of(inner, one) for one in item)
        elif item is not None:
            arguments[bound.name] = value_of(bound.kind, item)
    return cls(**arguments)


def by_rule(vector: dict[str, Any]) -> str:
    return str(vector["rule"])


@pytest.mark.parametrize("name", FILES)
def test_a_committed_vector_is_what_the_generator_writes(name: str) -> None:
    assert (FOLDER / name).read_text() == text_of(name), "run python -m tests.protocols.generate_vectors"


def test_there_are_vectors_for_every_message_paper_and_content() -> None:
    handshake = {"client-hello", "worker-accept"}

    assert {vector["rule"] for vector in MESSAGE_VECTORS} == {rule_name(cls) for cls in MESSAGES}
    assert {vector["rule"] for vector in PAPER_VECTORS} == {rule_name(cls) for cls in PAPERS}
    assert {vector["rule"] for vector in CONTENT_VECTORS} == {rule_name(cls) for cls in CONTENTS} - handshake
    assert set(HANDSHAKE["malformed"]) == handshake


@pytest.mark.parametrize("vector", MESSAGE_VECTORS, ids=by_rule)
def test_a_message_and_its_bytes_are_one(vector: dict[str, Any]) -> None:
    cls, data = BY_RULE[vector["rule"]], bytes.fromhex(vector["bytes"])
    message = value_of(cls, vector["value"])

    assert encode_message(message) == data
    assert decode_message(data) == message
    rule(cls).validate_cbor(data)


@pytest.mark.parametrize("vector", [*PAPER_VECTORS, *CONTENT_VECTORS, BUNDLE_VECTOR], ids=by_rule)
def test_a_paper_a_content_or_a_bundle_and_its_bytes_are_one(vector: dict[str, Any]) -> None:
    cls, data = BY_RULE[vector["rule"]], bytes.fromhex(vector["bytes"])
    value = value_of(cls, vector["value"])

    assert encode_paper(value) == data
    assert decode_paper(cls, data) == value
    rule(cls).validate_cbor(data)


NEIGHBOURS = [
    pytest.param(BY_RULE[name], neighbour, id=f"{name}: {neighbour['why']}")
    for name, neighbours in [
        *(
            (vector["rule"], vector.get("malformed", ()))
            for vector in MESSAGE_VECTORS + PAPER_VECTORS + CONTENT_VECTORS
        ),
        *HANDSHAKE["malformed"].items(),
        *BUNDLE_VECTOR["malformed"].items(),
    ]
    for neighbour in neighbours
]


@pytest.mark.parametrize(("cls", "neighbour"), NEIGHBOURS)
def test_a_malformed_neighbour_is_refused_by_the_code_and_where_it_can_by_the_cddl(
    cls: type, neighbour: dict[str, str]
) -> None:
    data = bytes.fromhex(neighbour["bytes"])

    with pytest.raises(MalformedMessage):
        decode_message(data) if cls in MESSAGES else decode_paper(cls, data)
    if neighbour["refused_by"] == "cddl":
        decode(data)
        with pytest.raises(ValidationError):
            rule(cls).validate_cbor(data)


def test_every_shape_has_neighbours_of_both_kinds() -> None:
    for cls in SHAPES:
        kinds = {param.values[1]["refused_by"] for param in NEIGHBOURS if param.values[0] is cls}  # type: ignore[index]
        assert kinds == {"cddl", "encoding"}, cls


def test_keys_from_64_on_are_read_past() -> None:
    for vector in VECTORS["messages.json"]["read_but_never_written"]:
        cls, data = BY_RULE[vector["rule"]], bytes.fromhex(vector["bytes"])
        message = value_of(cls, vector["value"])

        assert decode_message(data) == message
        assert encode_message(message) != data


@pytest.mark.parametrize("vector", PAPER_VECTORS, ids=by_rule)
def test_a_papers_signature_is_the_one_in_the_vector(vector: dict[str, Any]) -> None:
    cls, network = BY_RULE[vector["rule"]], network_id(VECTORS["papers.json"]["network_name"])
    signer = Identity.from_seed(bytes.fromhex(vector["signer_seed"]))
    signed = sign(signer, network, value_of(cls, vector["value"]))

    assert SIGNED_AS[cls] == vector["signed_as"]
    assert signed == Signed(bytes.fromhex(vector["bytes"]), bytes.fromhex(vector["signature"]))
    assert paper_hash(signed).hex() == vector["hash"]
    assert peer_id_text(signer.peer_id) == vector["signer"]
    check(cls, signed, signer=signer.peer_id, network=network)
    for refused in vector["refused_signatures"]:
        with pytest.raises(RecordRejected):
            forged = Signed(signed.body, bytes.fromhex(refused["signature"]))
            check(cls, forged, signer=signer.peer_id, network=network)


# ---------------------------------------------------------------- frames


def read_stream(vector: dict[str, Any], step: int) -> tuple[list[str], FrameReader]:
    reader, stream = FrameReader(limit=vector["limit"]), bytes.fromhex(vector["stream"])
    came: list[object] = []
    for start_at in range(0, len(stream), step):
        if reader.fault is None:
            came += reader.feed(stream[start_at : start_at + step])
    return [encode_message(message).hex() for message in came], reader


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_a_stream_holds_the_frames_in_the_vector(step: int) -> None:
    for vector in VECTORS["framing.json"]["vectors"]:
        came, reader = read_stream(vector, step)

        assert came == vector["messages"]
        assert reader.at_boundary
        spelled = b"".join(frame(decode_message(bytes.fromhex(message))) for message in came)
        assert spelled.hex() == vector["stream"]


def test_a_malformed_or_incomplete_stream_gives_what_came_before() -> None:
    for vector in VECTORS["framing.json"]["malformed"]:
        came, reader = read_stream(vector, 10_000)
        assert came == vector["messages"]
        assert reader.fault is not None
    for vector in VECTORS["framing.json"]["incomplete"]:
        came, reader = read_stream(vector, 10_000)
        assert came == vector["messages"]
        assert reader.fault is None
        assert not reader.at_boundary


# ---------------------------------------------------------------- identity, padding


def test_identities_networks_and_signatures_are_those_in_the_vector() -> None:
    vectors = VECTORS["identity.json"]

    for vector in vectors["networks"]:
        assert network_id(vector["name"]).hex() == vector["id"]
    for name in vectors["refused_network_names"]:
        with pytest.raises(ConfigurationError):
            network_id(name)
    for vector in vectors["identities"]:
        who = Identity.from_seed(bytes.fromhex(vector["seed"]))
        network, body = network_id(vector["network_name"]), bytes.fromhex(vector["body"])
        assert who.public_key.hex() == vector["public_key"]
        assert who.peer_id.hex() == vector["peer_id"]
        assert parse_peer_id(vector["peer_id_text"]) == who.peer_id
        assert signed_bytes(vector["kind"], network, body).hex() == vector["signed_bytes"]
        verify(who.peer_id, vector["kind"], network, body, bytes.fromhex(vector["signature"]))
        assert who.sign(vector["kind"], network, body).hex() == vector["signature"]


def test_padding_is_the_one_in_the_vector() -> None:
    vectors = VECTORS["contents.json"]

    padded = [vector for vector in vectors["vectors"] if "padded" in vector]
    assert {vector["rule"] for vector in padded} == {"request-content", "answer-content"}
    for vector in padded:
        assert pad(bytes.fromhex(vector["bytes"])).hex() == vector["padded"]
        assert unpad(bytes.fromhex(vector["padded"])).hex() == vector["bytes"]
    for vector in vectors["padding"]:
        assert len(pad(bytes(vector["size"]))) == vector["padded_size"]
    for vector in vectors["refused_paddings"]:
        with pytest.raises(MalformedMessage):
            unpad(bytes.fromhex(vector["padded"]))


# ---------------------------------------------------------------- sealing


def sessions_of_the_vector() -> tuple[Session, Session]:
    """Go through the handshake as the vector says, and give the client's half and the worker's."""
    raw = {name: bytes.fromhex(text) for name, text in HANDSHAKE.items() if isinstance(text, str)}
    network = network_id(VECTORS["sealing.json"]["network_name"])
    handshake = start(
        decode_paper(KeyStatement, raw["statement"]),
        network=network,
        ephemeral_secret=raw["client_ephemeral_secret"],
        nonce=raw["client_nonce"],
        statement_hash=raw["statement_hash"],
    )
    assert handshake.hello == raw["hello"]
    accepted = accept(
        handshake.hello,
        identity=Identity.from_seed(raw["worker_identity_seed"]),
        network=network,
        sealing_secret=raw["worker_sealing_secret"],
        statement_hash=raw["statement_hash"],
        ephemeral_secret=raw["worker_ephemeral_secret"],
        session_id=raw["session"],
        now=HANDSHAKE["now"],
    )
    assert (accepted.accept, accepted.signature) == (raw["accept"], raw["signature"])
    return handshake.finish(raw["accept"], raw["signature"], now=HANDSHAKE["now"]), accepted.session


def binding_of_the_vector() -> RequestBinding:
    spelled = VECTORS["sealing.json"]["binding"]
    return RequestBinding(
        ExchangeId(value_of(bytes, spelled["exchange"])),
        value_of(bytes, spelled["quote_hash"]),
        spelled["max_cost"],
        Trust(spelled["trust"]),
    )


def open_request(worker: Session, piece: dict[str, Any]) -> bytes:
    sealed = bytes.fromhex(piece["sealed"])
    return worker.open_part(0, piece["position"], piece["final"], binding_of_the_vector(), sealed)


def open_answer(client: Session, piece: dict[str, Any]) -> bytes:
    usage = value_of(Usage, VECTORS["sealing.json"]["usages"][piece["position"]])
    return client.open_chunk(0, piece["position"], piece["final"], usage, bytes.fromhex(piece["sealed"]))


def test_a_session_seals_and_opens_what_the_vector_says() -> None:
    vectors = VECTORS["sealing.json"]
    client, worker = sessions_of_the_vector()

    for piece in vectors["request"]["pieces"]:
        plain = bytes.fromhex(piece["plain"])
        sealed = client.seal_part(0, piece["position"], piece["final"], binding_of_the_vector(), plain)
        assert sealed.hex() == piece["sealed"]
        assert open_request(worker, piece) == plain
    for piece, usage in zip(vectors["answer"]["pieces"], vectors["usages"], strict=True):
        plain = bytes.fromhex(piece["plain"])
        sealed = worker.seal_chunk(0, piece["position"], piece["final"], value_of(Usage, usage), plain)
        assert sealed.hex() == piece["sealed"]
        assert open_answer(client, piece) == plain


def test_what_the_vector_calls_broken_does_not_open() -> None:
    vectors = VECTORS["sealing.json"]

    for broken in vectors["request"]["broken"]:
        _, worker = sessions_of_the_vector()
        with pytest.raises(SealBroken):
            open_request(worker, broken)
    for broken in vectors["answer"]["broken"]:
        client, _ = sessions_of_the_vector()
        for piece in vectors["answer"]["pieces"][:-1]:
            open_answer(client, piece)
        with pytest.raises(SealBroken):
            open_answer(client, broken)


def test_the_vectors_keys_nonces_and_associated_data_open_it_with_libsodium_alone() -> None:
    for direction in ("request", "answer"):
        stream = VECTORS["sealing.json"][direction]
        for piece in stream["pieces"]:
            raw = {name: bytes.fromhex(text) for name, text in piece.items() if isinstance(text, str)}
            key = bytes.fromhex(stream["key"])
            assert raw["plain"] == bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
                raw["sealed"], raw["associated_data"], raw["nonce"], key
            )


def test_the_vectors_key_schedule_follows_from_its_inputs_with_libsodium_alone() -> None:
    vectors = VECTORS["sealing.json"]
    raw = {name: bytes.fromhex(text) for name, text in HANDSHAKE.items() if isinstance(text, str)}
    network = network_id(vectors["network_name"])

    def blake2b(key: bytes, purpose: bytes, context: bytes) -> bytes:
        data = b"cocoon/sealing/1/" + purpose + b"\0" + network + context
        return bindings.crypto_generichash_blake2b_salt_personal(
            data, digest_size=32, key=key, person=b"cocoon-sealing-1"
        )

    halves = [hashlib.sha256(raw[name]).digest() for name in ("hello", "accept")]
    assert hashlib.sha256(b"".join(halves)).digest() == raw["transcript"]
    assert blake2b(raw["transcript"], b"root", raw["shared"]) == raw["root"]
    for direction in ("request", "answer"):
        number = vectors[direction]["number"].to_bytes(8, "big")
        assert (
            blake2b(raw["root"], direction.encode(), raw["session"] + number).hex()
            == vectors[direction]["key"]
        )


# ---------------------------------------------------------------- and around the vectors


def with_one_change(data: bytes, place: int, what: str, byte: int) -> bytes:
    place %= len(data)
    match what:
        case "alter":
            return data[:place] + bytes([data[place] ^ (byte or 1)]) + data[place + 1 :]
        case "insert":
            return data[:place] + bytes([byte]) + data[place:]
        case "drop":
            return data[:place] + data[place + 1 :]
        case _:
            return data[:place]


def has_newer_keys(value: Any) -> bool:
    if isinstance(value, dict):
        return any(key >= KEY_IGNORED_FROM or has_newer_keys(item) for key, item in value.items())
    return isinstance(value, list) and any(map(has_newer_keys, value))


@pytest.mark.slow
@given(
    vector=st.sampled_from(MESSAGE_VECTORS),
    place=st.integers(0, 100_000),
    what=st.sampled_from(["alter", "insert", "drop", "cut"]),
    byte=st.integers(0, 255),
)
@settings(max_examples=1000, deadline=None)
def test_a_vector_with_one_change_is_refused_or_is_the_one_spelling_of_another_message(
    vector: dict[str, Any], place: int, what: str, byte: int
) -> None:
    data = with_one_change(bytes.fromhex(vector["bytes"]), place, what, byte)

    try:
        message = decode_message(data)
    except MalformedMessage:
        return
    assert encode_message(message) == data or has_newer_keys(decode(data))


@pytest.mark.slow
@given(vector=st.sampled_from(PAPER_VECTORS), place=st.integers(0, 100_000), byte=st.integers(1, 255))
@settings(max_examples=300, deadline=None)
def test_a_signed_paper_with_one_change_is_refused(vector: dict[str, Any], place: int, byte: int) -> None:
    cls, network = BY_RULE[vector["rule"]], network_id(VECTORS["papers.json"]["network_name"])
    body = with_one_change(bytes.fromhex(vector["bytes"]), place, "alter", byte)

    with pytest.raises(RecordRejected):
        forged = Signed(body, bytes.fromhex(vector["signature"]))
        check(cls, forged, signer=parse_peer_id(vector["signer"]), network=network)
