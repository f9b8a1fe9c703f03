"""Write protocols/vectors/*.json: `python -m tests.protocols.generate_vectors`.

The vectors are what another implementation is held to, so a change to one of them is a
change of the protocol's version. `test_vectors` fails when this script would write anything
else than what is committed.
"""

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from enum import IntEnum
from hashlib import sha256
from pathlib import Path
from typing import Any

import cbor2
from nacl import bindings

from cocoon_p2p.identity import Identity, peer_id_text, signed_bytes
from cocoon_p2p.protocols.contents import pad
from cocoon_p2p.protocols.exchange.bundle import Bundle, SealedChunk
from cocoon_p2p.protocols.framing import frame
from cocoon_p2p.protocols.papers import SIGNED_AS, Paper, paper_hash, sign
from cocoon_p2p.protocols.schema import UINT_MAX, encode_message, encode_paper
from cocoon_p2p.sealing import handshake
from cocoon_p2p.sealing.session import derive
from tests.protocols import samples
from tests.protocols.shapes import Bound, bounds, rule_name

FOLDER = Path(__file__).parents[2] / "protocols" / "vectors"

Json = dict[str, Any]


def spell(value: object) -> Any:
    """Spell a value in JSON: field names, and byte strings in CBOR's diagnostic notation, `h'00ff'`."""
    if isinstance(value, bytes):
        return f"h'{value.hex()}'"
    if isinstance(value, IntEnum):
        return int(value)
    if isinstance(value, tuple):
        return [spell(item) for item in value]
    if is_dataclass(value):
        left_out = {bound.name: bound.absent for bound in bounds(type(value)) if bound.optional}
        items = ((field.name, getattr(value, field.name)) for field in fields(value))
        return {name: spell(item) for name, item in items if name not in left_out or item != left_out[name]}
    return value


def malformed(cls: type, good: bytes) -> Iterator[Json]:
    """Spell neighbours of a good spelling that a reader must refuse.

    `refused_by` says whether the CDDL or the rules of the encoding forbid them.
    """
    body = cbor2.loads(good)
    yield _neighbour("a byte follows", "encoding", good + b"\0")
    yield _neighbour("the last byte is missing", "encoding", good[:-1])
    yield _neighbour(
        "the first key is not in its shortest spelling", "encoding", good[:1] + b"\x18" + good[1:]
    )
    if len(body) > 1:
        backwards = dict(sorted(body.items(), reverse=True))
        yield _neighbour("the keys are in descending order", "encoding", cbor2.dumps(backwards))
    yield _neighbour("an unknown key below 64", "cddl", cbor2.dumps({**body, 63: 0}))
    required = next(bound for bound in bounds(cls) if not bound.optional)
    without = {key: item for key, item in body.items() if key != required.key}
    yield _neighbour(f"{required.name} is missing", "cddl", cbor2.dumps(without))
    for bound in bounds(cls):
        outside = _outside(bound)
        if outside is not None and (bound.key in body or not bound.optional):
            yield _neighbour(
                f"{bound.name} is out of bounds", "cddl", cbor2.dumps({**body, bound.key: outside})
            )
            return


def _outside(bound: Bound) -> Any:
    """Give a value just outside a field's bound, if it has a short one other than an id's size."""
    if bound.name == "exchange" or 1024 < bound.most < UINT_MAX:
        return None
    if bound.kind is bytes:
        return bytes(bound.most + 1)
    if bound.kind is str:
        return "a" * (bound.most + 1)
    if bound.kind is int:
        return bound.most + 1
    if isinstance(bound.kind, type) and issubclass(bound.kind, IntEnum):
        return max(bound.kind) + 1
    return None


def _neighbour(why: str, refused_by: str, data: bytes) -> Json:
    return {"why": why, "refused_by": refused_by, "bytes": data.hex()}


def messages() -> Json:
    vectors = []
    seen: set[type] = set()
    for message in samples.MESSAGES:
        cls, good = type(message), encode_message(message)
        vector: Json = {"rule": rule_name(cls), "value": spell(message), "bytes": good.hex()}
        if cls not in seen:
            vector["malformed"] = list(malformed(cls, good))
        seen.add(cls)
        vectors.append(vector)
    newer = cbor2.dumps(
        {**cbor2.loads(encode_message(samples.MESSAGES[-2])), 64: ["newer"], 2**64 - 1: {0: b""}}
    )
    return {
        "about": "Every message, and neighbours that must be refused. Spec: protocols/cocoon.cddl.",
        "vectors": vectors,
        "read_but_never_written": [
            {
                "why": "keys from 64 on are ignored",
                "value": spell(samples.MESSAGES[-2]),
                "rule": "drain",
                "bytes": newer.hex(),
            }
        ],
    }


def papers() -> Json:
    return {
        "about": "Every paper with its signature, and what must be refused. Spec: protocols/README.md.",
        "network_name": samples.NETWORK_NAME,
        "vectors": [_paper(signer, paper) for signer, paper in samples.PAPERS],
    }


def _paper(signer: Identity, paper: Paper) -> Json:
    what = SIGNED_AS[type(paper)]
    signed = sign(signer, samples.NETWORK, paper)
    other_kind = signer.sign("receipt" if what == "meter" else "meter", samples.NETWORK, signed.body)
    elsewhere = signer.sign(what, samples.network_id("elsewhere"), signed.body)
    return {
        "rule": rule_name(type(paper)),
        "value": spell(paper),
        "bytes": signed.body.hex(),
        "hash": paper_hash(signed).hex(),
        "signed_as": what,
        "signer_seed": signer.seed.hex(),
        "signer": peer_id_text(signer.peer_id),
        "signature": signed.signature.hex(),
        "malformed": list(malformed(type(paper), signed.body)),
        "refused_signatures": [
            {
                "why": "over the bare body",
                "signature": bindings.crypto_sign(signed.body, signer.secret_key)[:64].hex(),
            },
            {"why": "of another kind", "signature": other_kind.hex()},
            {"why": "for another network", "signature": elsewhere.hex()},
            {
                "why": "one bit differs",
                "signature": (signed.signature[:-1] + bytes([signed.signature[-1] ^ 1])).hex(),
            },
        ],
    }


def framing() -> Json:
    first, second = encode_message(samples.REGISTERED), encode_message(samples.LOAD)
    stream = frame(samples.REGISTERED) + frame(samples.LOAD)
    good = frame(samples.REGISTERED)
    return {
        "about": "Streams of frames, cut anywhere, and what is in them. Spec: protocols/README.md (Framing).",
        "vectors": [
            {"limit": 16_384, "stream": "", "messages": []},
            {"limit": 16_384, "stream": stream.hex(), "messages": [first.hex(), second.hex()]},
            {"limit": len(second), "stream": stream.hex(), "messages": [first.hex(), second.hex()]},
        ],
        "malformed": [
            {
                "why": "a frame above the limit",
                "limit": len(second) - 1,
                "stream": stream.hex(),
                "messages": [first.hex()],
            },
            {
                "why": "a length above every limit",
                "limit": 262_144,
                "stream": (good + b"\0\x04\0\x01").hex(),
                "messages": [first.hex()],
            },
            {
                "why": "an empty frame",
                "limit": 16_384,
                "stream": (good + bytes(4)).hex(),
                "messages": [first.hex()],
            },
            {
                "why": "no message",
                "limit": 16_384,
                "stream": (good + b"\0\0\0\x01\xa0").hex(),
                "messages": [first.hex()],
            },
        ],
        "incomplete": [
            {
                "why": "the stream ends inside a length",
                "limit": 16_384,
                "stream": (good + b"\0\0").hex(),
                "messages": [first.hex()],
            },
            {
                "why": "the stream ends inside a message",
                "limit": 16_384,
                "stream": stream[:-1].hex(),
                "messages": [first.hex()],
            },
        ],
    }


def contents() -> Json:
    vectors: list[Json] = []
    for content in (samples.REQUEST, *samples.ANSWERS, *samples.BEYOND_TEXT, *samples.WISHES):
        body = encode_paper(content)
        vectors.append({"rule": rule_name(type(content)), "value": spell(content), "bytes": body.hex()})
        if content not in samples.WISHES:
            vectors[-1]["padded"] = pad(body).hex()
        vectors[-1]["malformed"] = list(malformed(type(content), body))
    return {
        "about": "What is inside the seals, before and after padding. Spec: protocols/sealing.md (Contents).",
        "vectors": vectors,
        "padding": [
            {"size": size, "padded_size": len(pad(bytes(size)))}
            for size in (0, 63, 64, 255, 256, 1023, 1024, 2047)
        ],
        "refused_paddings": [
            {"why": "no mark", "padded": bytes(64).hex()},
            {"why": "text after the zeros", "padded": (b"a\x80" + bytes(61) + b"b").hex()},
            {"why": "shorter than the least length", "padded": (b"a\x80" + bytes(30)).hex()},
            {"why": "longer than needed", "padded": (b"a\x80" + bytes(254)).hex()},
        ],
    }


def sealing() -> Json:
    client_secret, worker_secret = samples.draw("client ephemeral"), samples.draw("worker ephemeral")
    hello, answer = samples.HANDSHAKE.hello, samples.ACCEPTED.accept
    transcript = sha256(sha256(hello).digest() + sha256(answer).digest()).digest()
    shared = bindings.crypto_scalarmult(client_secret, bindings.crypto_scalarmult_base(worker_secret)) + (
        bindings.crypto_scalarmult(client_secret, bindings.crypto_scalarmult_base(samples.SEALING_SECRET))
    )
    root = derive(transcript, "root", samples.NETWORK, shared)
    statement = samples.WORKER_STATEMENT
    return {
        "about": "A handshake, a request and its answer. Spec: protocols/sealing.md.",
        "network_name": samples.NETWORK_NAME,
        "handshake": {
            "now": samples.NOW,
            "worker_identity_seed": samples.WORKER.seed.hex(),
            "worker_sealing_secret": samples.SEALING_SECRET.hex(),
            "statement": statement.body.hex(),
            "statement_hash": paper_hash(statement).hex(),
            "client_nonce": samples.draw("client nonce").hex(),
            "client_ephemeral_secret": client_secret.hex(),
            "worker_ephemeral_secret": worker_secret.hex(),
            "session": samples.ACCEPTED.session.id.hex(),
            "hello": hello.hex(),
            "accept": answer.hex(),
            "transcript": transcript.hex(),
            "signature": samples.ACCEPTED.signature.hex(),
            "shared": shared.hex(),
            "root": root.hex(),
            "malformed": {
                "client-hello": list(malformed(handshake.ClientHello, hello)),
                "worker-accept": list(malformed(handshake.WorkerAccept, answer)),
            },
        },
        "binding": spell(samples.BINDING),
        "request": _stream(
            root, "request", samples.PARTS, [_binding_data(part.final) for part in samples.PARTS]
        ),
        "answer": _stream(
            root,
            "answer",
            samples.CHUNKS,
            [
                _usage_data(chunk.final, usage)
                for chunk, usage in zip(samples.CHUNKS, samples.USAGES, strict=True)
            ],
        ),
        "usages": [spell(usage) for usage in samples.USAGES],
        "small_order_keys": [bytes(32).hex(), (b"\x01" + bytes(31)).hex()],
    }


def _binding_data(final: bool) -> bytes:
    binding = samples.BINDING
    return (
        bytes([final])
        + binding.exchange
        + binding.quote_hash
        + binding.max_cost.to_bytes(8, "big")
        + bytes([binding.trust])
    )


def _usage_data(final: bool, usage: samples.m.Usage) -> bytes:
    counts = (usage.prompt, usage.cached, usage.completion, usage.reasoning)
    return bytes([final]) + b"".join(count.to_bytes(8, "big") for count in counts)


def _stream(root: bytes, purpose: str, pieces: tuple[samples.Sealed, ...], data: list[bytes]) -> Json:
    key = derive(root, purpose, samples.NETWORK, samples.ACCEPTED.session.id + bytes(8))
    spelled = [_piece(piece, associated) for piece, associated in zip(pieces, data, strict=True)]
    last, flipped = spelled[-1], pieces[-1].sealed[:-1] + bytes([pieces[-1].sealed[-1] ^ 1])
    other_flag = f"{1 - int(last['final']):02x}" + last["associated_data"][2:]
    return {
        "number": 0,
        "key": key.hex(),
        "pieces": spelled,
        "broken": [
            {"why": "one bit of the tag differs", **last, "sealed": flipped.hex()},
            {
                "why": "the final flag was altered",
                **last,
                "final": not last["final"],
                "associated_data": other_flag,
            },
            {"why": "shorter than a tag", **last, "sealed": flipped[:15].hex()},
            {"why": "nothing", **last, "sealed": ""},
        ],
    }


def _piece(piece: samples.Sealed, associated: bytes) -> Json:
    return {
        "position": piece.position,
        "final": piece.final,
        "nonce": piece.position.to_bytes(24, "big").hex(),
        "associated_data": associated.hex(),
        "plain": piece.plain.hex(),
        "sealed": piece.sealed.hex(),
    }


def identity() -> Json:
    body = b"the body"
    return {
        "about": "Keys, peer ids, network ids, and what a signature covers. Spec: protocols/README.md.",
        "networks": [
            {"name": name, "id": samples.network_id(name).hex()} for name in ("mainnet", "testnet", "demo-1")
        ],
        "refused_network_names": ["", "Mainnet", "main net", "-x", "a" * 33],
        "identities": [
            {
                "seed": who.seed.hex(),
                "public_key": who.public_key.hex(),
                "peer_id": who.peer_id.hex(),
                "peer_id_text": peer_id_text(who.peer_id),
                "kind": "record",
                "network_name": samples.NETWORK_NAME,
                "body": body.hex(),
                "signed_bytes": signed_bytes("record", samples.NETWORK, body).hex(),
                "signature": who.sign("record", samples.NETWORK, body).hex(),
            }
            for who in (samples.CLIENT, samples.PROXY, samples.WORKER)
        ],
    }


def bundle() -> Json:
    good = samples.BUNDLE
    data = encode_paper(good)
    first, last = good.chunks
    liar = replace(samples.SETTLEMENT, commission=8)
    other = replace(samples.RECEIPT, usage=samples.m.Usage(31, 8, 9, 0), amount=312)
    dearer = sign(samples.WORKER, samples.NETWORK, other)
    padded = replace(samples.SETTLEMENT, worker_amount=312, receipt=dearer)
    refuted = [
        ("quote", "another proxy", replace(good, proxy=samples.WORKER.peer_id)),
        ("settlement", "another bill", replace(good, settlement=good.quote)),
        ("counts", "a count that nobody signed", replace(good, settlement=_settle(padded))),
        ("commission", "one nanoTON more", replace(good, settlement=_settle(liar))),
        ("question", "another question", replace(good, ask=encode_message(samples.MESSAGES[1]))),
        ("answer", "a chunk is missing", replace(good, chunks=(last,))),
        ("answer", "another key", replace(good, answer_key=samples.draw("another answer's key"))),
        ("answer", "a count was altered", replace(good, chunks=(replace(first, usage=last.usage), last))),
        ("evidence", "other evidence", replace(good, evidence=b"other evidence")),
    ]
    return {
        "about": "A receipt that stands alone, and what is refuted in others. Spec: protocols/bundle.md.",
        "rule": "bundle",
        "value": spell(good),
        "bytes": data.hex(),
        "answer": "".join(answer.text for answer in samples.ANSWERS),
        "malformed": {
            "bundle": list(malformed(Bundle, data)),
            "sealed-chunk": list(malformed(SealedChunk, encode_paper(last))),
        },
        "refuted": [
            {"question": question, "why": why, "bytes": encode_paper(one).hex()}
            for question, why, one in refuted
        ],
    }


def _settle(settlement: samples.m.Settlement) -> samples.m.Signed:
    return sign(samples.PROXY, samples.NETWORK, settlement)


FILES = {
    "bundle.json": bundle,
    "contents.json": contents,
    "framing.json": framing,
    "identity.json": identity,
    "messages.json": messages,
    "papers.json": papers,
    "sealing.json": sealing,
}


def text_of(name: str) -> str:
    """Give what a vector file must say."""
    return json.dumps(FILES[name](), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for file_name in FILES:
        (FOLDER / file_name).write_text(text_of(file_name))
