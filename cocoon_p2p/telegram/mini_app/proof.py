"""What a wallet signs to show whose it is, TON Connect's `ton_proof`: judged.

    "ton-proof-item-v2/" | workchain i32 | account 32 bytes | domain's length u32, little-endian | domain
                         | time u64, little-endian | payload
    signed: SHA-256 of (0xffff | "ton-connect" | SHA-256 of that), Ed25519, by the wallet's key

The payload is ours: a nonce that is good once, for one session (`sessions`), so that a proof that was
seen elsewhere shows nothing here. The wallet puts the domain in that it shows its owner.

Spec: github.com/ton-blockchain/ton-connect, requests-responses.md (Address proof signature).
"""

import base64
import binascii
import hashlib
import hmac
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from nacl import bindings
from nacl.exceptions import BadSignatureError

from cocoon_p2p.errors import ConfigurationError, MalformedMessage, RecordRejected
from cocoon_p2p.payments.address import parse_address
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.telegram.mini_app.wallets import STATE_INIT_MAX_BYTES

PROOF_AGE_MAX_SECONDS = 300.0
"How long ago a wallet may have signed: its owner looks, agrees, and the page shows it at once."

PROOF_AHEAD_MAX_SECONDS = 60.0
"How far a phone's clock may be ahead of ours."

DOMAIN_MAX_BYTES = 253
PAYLOAD_MAX_BYTES = 128
"What wallets take, and more than our nonces have."

_ITEM, _CONNECT = b"ton-proof-item-v2/", b"\xff\xffton-connect"
_WORKCHAIN = 0
_TIME = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class WalletProof:
    """What a wallet says of itself. Nothing in it is believed before `check_proof`."""

    account: AccountId
    state_init: bytes | None
    "What the wallet is deployed with, a bag."

    domain: str
    signed_at: int
    "By the wallet's clock, in seconds since the Unix epoch."

    payload: str
    signature: bytes


def read_proof(said: Mapping[str, Any], *, global_id: int) -> WalletProof:
    """Read what a page passes on of a wallet's answer: TON Connect's `account` and `proof`, as JSON objects.

    Args:
        said: `{"account": {...}, "proof": {...}}`.
        global_id: The TON network on which the wallet must be.

    Raises:
        MalformedMessage: A part is missing, too long, or not what it should be; the text does not repeat it.
        RecordRejected: The wallet is on another network.
    """
    account, proof = _object(said, "account"), _object(said, "proof")
    domain = _object(proof, "domain")
    if _text(account, "chain", 16) != str(global_id):
        raise RecordRejected(f"the wallet is on another network than this (wanted={global_id})")
    name = _text(domain, "value", DOMAIN_MAX_BYTES)
    if domain.get("lengthBytes") != len(name):
        raise MalformedMessage("wallet proof: the domain's length is not what it says")
    is_shown = account.get("walletStateInit") not in (None, "")
    state = _text(account, "walletStateInit", 2 * STATE_INIT_MAX_BYTES) if is_shown else ""
    return WalletProof(
        account=_account(_text(account, "address", 80), global_id),
        state_init=_octets("walletStateInit", state) if state else None,
        domain=name,
        signed_at=_time(proof.get("timestamp")),
        payload=_text(proof, "payload", PAYLOAD_MAX_BYTES),
        signature=_octets("signature", _text(proof, "signature", 128)),
    )


def check_proof(proof: WalletProof, key: bytes, *, domain: str, payload: str, now: float) -> None:
    """Judge a proof.

    Args:
        proof: The wallet's.
        key: The wallet's key, 32 bytes, shown to be the account's (`wallets`).
        domain: Ours.
        payload: The nonce that was given out for it.
        now: Seconds since the Unix epoch.

    Raises:
        RecordRejected: It is for another domain or another payload, too old, or not signed by that key.
    """
    if proof.domain != domain:
        raise RecordRejected("wallet proof: made for another domain")
    if not hmac.compare_digest(proof.payload.encode(), payload.encode()):
        raise RecordRejected("wallet proof: made for another session, or shown before")
    age = now - proof.signed_at
    if not -PROOF_AHEAD_MAX_SECONDS <= age <= PROOF_AGE_MAX_SECONDS:
        raise RecordRejected(
            f"wallet proof: its time has passed, or is to come (age={age:.0f}"
            f" limit={PROOF_AGE_MAX_SECONDS:.0f} seconds)"
        )
    try:
        bindings.crypto_sign_open(proof.signature + signed_hash(proof), key)
    except BadSignatureError:
        raise RecordRejected("wallet proof: not signed by the wallet's key") from None


def signed_hash(proof: WalletProof) -> bytes:
    """Give what the wallet signs: 32 bytes."""
    domain = proof.domain.encode()
    head = struct.pack(">i", _WORKCHAIN) + proof.account
    tail = struct.pack("<I", len(domain)) + domain + struct.pack("<Q", proof.signed_at)
    message = _ITEM + head + tail + proof.payload.encode()
    return hashlib.sha256(_CONNECT + hashlib.sha256(message).digest()).digest()


# ---------------------------------------------------------------- reading JSON


def _object(said: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = cast("object", said.get(key))
    if not isinstance(value, dict):
        raise MalformedMessage(f"wallet proof: no object `{key}`")
    return cast("dict[str, Any]", value)


def _text(said: Mapping[str, Any], key: str, size_max_bytes: int) -> str:
    value = cast("object", said.get(key))
    # All of it is: an address, base64, a domain as its URL has it, our own nonce.
    if not isinstance(value, str) or not value.isascii() or len(value) > size_max_bytes:
        raise MalformedMessage(f"wallet proof: `{key}` is no ASCII text of at most {size_max_bytes} bytes")
    return value


def _account(text: str, global_id: int) -> AccountId:
    try:
        return parse_address(text, global_id=global_id).account
    except ConfigurationError:
        # Its own message repeats what was sent.
        raise MalformedMessage("wallet proof: `address` is no account of the basechain") from None


def _time(value: object) -> int:
    # Wallets write a number, TON Connect's own pages a text.
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        raise MalformedMessage("wallet proof: `timestamp` is no time")
    return int(text)


def _octets(name: str, text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data or (name == "signature" and len(data) != bindings.crypto_sign_BYTES):
        raise MalformedMessage(f"wallet proof: `{name}` is not what it should be in base64")
    return data
