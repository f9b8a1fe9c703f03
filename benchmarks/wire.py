"""What the wire costs: codec, seals, handshake and papers, each beside the bare library calls under it.

    python benchmarks/wire.py [--rounds N] [--json]

A round measures ours and the bare calls in turn, so that a busy machine disturbs both; the
ratio is taken within a round. The bare side does the same cryptography, or spells and reads
the same CBOR, and nothing else: no bounds, no deterministic reading, no order, no dataclasses.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from statistics import median

import cbor2
from nacl import bindings

from cocoon_p2p.identity import Identity, network_id
from cocoon_p2p.protocols.framing import FrameReader, frame
from cocoon_p2p.protocols.ids import Outcome, Role, Trust
from cocoon_p2p.protocols.messages import Chunk, ExchangeId, KeyStatement, Receipt, Usage
from cocoon_p2p.protocols.papers import check, paper_hash, sign
from cocoon_p2p.protocols.schema import decode_message, encode_message
from cocoon_p2p.records import check_statement, make_statement
from cocoon_p2p.sealing import RequestBinding, Session, accept, start

NETWORK = network_id("bench")
NOW = 1_767_225_600
EXCHANGE = ExchangeId(bytes(range(16)))
USAGE = Usage(512, 128, 40, 0)
BINDING = RequestBinding(EXCHANGE, sha256(b"quote").digest(), 1_000_000, Trust.OPEN)
CHUNK = Chunk(EXCHANGE, 40, False, USAGE, bytes(80))
CHUNK_MAP = {0: 9, 1: EXCHANGE, 2: 40, 3: False, 4: {1: 512, 2: 128, 3: 40, 4: 0}, 5: bytes(80)}
KEY, NONCE = sha256(b"key").digest(), bytes(24)

WORKER = Identity.from_seed(sha256(b"worker").digest())
SEALING_SECRET, CLIENT_SECRET, WORKER_SECRET = (
    sha256(word).digest() for word in (b"sealing", b"client", b"ephemeral")
)
SIGNED_STATEMENT = make_statement(
    WORKER,
    NETWORK,
    role=Role.WORKER,
    sealing_key=bindings.crypto_scalarmult_base(SEALING_SECRET),
    now=NOW,
    nonce=bytes(16),
)
STATEMENT: KeyStatement = check_statement(SIGNED_STATEMENT, network=NETWORK, now=NOW)
RECEIPT = Receipt(
    EXCHANGE, bytes(32), "model", bytes(32), "engine", USAGE, 292, bytes(32), NOW, NOW, Outcome.COMPLETED
)


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    ours: Callable[[], object]
    bare: Callable[[], object]
    times: int
    "Calls a round."


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    ours_us: float
    bare_us: float
    ratio: float
    ratio_least: float
    ratio_most: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = [measure(case, arguments.rounds) for case in cases()]
    if arguments.json:
        print(json.dumps([{name: getattr(figure, name) for name in Figure.__slots__} for figure in figures]))
        return
    print(f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    print(f"{'microseconds a call (medians)':36}{'ours':>8}{'bare':>8}{'ratio':>8}   least to most")
    for figure in figures:
        print(
            f"{figure.name:36}{figure.ours_us:8.1f}{figure.bare_us:8.1f}{figure.ratio:8.2f}"
            f"   {figure.ratio_least:.2f} to {figure.ratio_most:.2f}"
        )


def measure(case: Case, rounds: int) -> Figure:
    """Measure both sides in turn."""
    ours: list[float] = []
    bare: list[float] = []
    for _ in range(rounds):
        ours.append(_time(case.ours, case.times))
        bare.append(_time(case.bare, case.times))
    ratios = [mine / theirs for mine, theirs in zip(ours, bare, strict=True)]
    return Figure(case.name, median(ours), median(bare), median(ratios), min(ratios), max(ratios))


def _time(call: Callable[[], object], times: int) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - begun) / times * 1e6


def cases() -> Iterator[Case]:
    chunk = encode_message(CHUNK)
    yield Case("encode a chunk", lambda: encode_message(CHUNK), lambda: cbor2.dumps(CHUNK_MAP), 5_000)
    yield Case("decode a chunk", lambda: decode_message(chunk), lambda: cbor2.loads(chunk), 5_000)
    reader = FrameReader()
    yield Case(
        "frame, read and decode a chunk",
        lambda: reader.feed(frame(CHUNK)),
        lambda: cbor2.loads(cbor2.dumps(CHUNK_MAP)),
        5_000,
    )
    yield Case("seal and open a chunk, 64 bytes", _chunks(), lambda: _bare_seal(bytes(64), bytes(33)), 5_000)
    yield Case(
        "seal and open a request, 1,024 bytes", _requests(), lambda: _bare_seal(bytes(1024), bytes(58)), 2_000
    )
    yield Case("handshake, both sides", _handshake, _bare_handshake, 100)
    yield Case("sign and check a receipt", _receipt, _bare_receipt, 300)


def _bare_seal(plain: bytes, data: bytes) -> bytes:
    sealed = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, data, NONCE, KEY)
    return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, data, NONCE, KEY)


def _handshake() -> tuple[Session, Session]:
    handshake = start(
        STATEMENT,
        network=NETWORK,
        ephemeral_secret=CLIENT_SECRET,
        nonce=bytes(32),
        statement_hash=paper_hash(SIGNED_STATEMENT),
    )
    accepted = accept(
        handshake.hello,
        identity=WORKER,
        network=NETWORK,
        sealing_secret=SEALING_SECRET,
        statement_hash=paper_hash(SIGNED_STATEMENT),
        ephemeral_secret=WORKER_SECRET,
        session_id=bytes(16),
        now=NOW,
    )
    return handshake.finish(accepted.accept, accepted.signature, now=NOW), accepted.session


def _bare_handshake() -> None:
    """Do what the protocol cannot do without: four exchanges, two public keys, one signature."""
    client = bindings.crypto_scalarmult_base(CLIENT_SECRET)
    worker = bindings.crypto_scalarmult_base(WORKER_SECRET)
    bindings.crypto_scalarmult(WORKER_SECRET, client)
    bindings.crypto_scalarmult(SEALING_SECRET, client)
    signed = bindings.crypto_sign(KEY, WORKER.secret_key)
    bindings.crypto_sign_open(signed, WORKER.public_key)
    bindings.crypto_scalarmult(CLIENT_SECRET, worker)
    bindings.crypto_scalarmult(CLIENT_SECRET, STATEMENT.sealing_key)


def _chunks() -> Callable[[], object]:
    client, worker = _handshake()
    number = -1

    def seal_and_open() -> bytes:
        nonlocal number
        number += 1
        return client.open_chunk(
            0, number, False, USAGE, worker.seal_chunk(0, number, False, USAGE, bytes(64))
        )

    return seal_and_open


def _requests() -> Callable[[], object]:
    client, worker = _handshake()

    def seal_and_open() -> bytes:
        request = client.next_request()
        sealed = client.seal_part(request, 0, True, BINDING, bytes(1024))
        return worker.open_part(request, 0, True, BINDING, sealed)

    return seal_and_open


def _receipt() -> Receipt:
    return check(Receipt, sign(WORKER, NETWORK, RECEIPT), signer=WORKER.peer_id, network=NETWORK)


def _bare_receipt() -> None:
    bindings.crypto_sign_open(bindings.crypto_sign(bytes(300), WORKER.secret_key), WORKER.public_key)


if __name__ == "__main__":
    main()
