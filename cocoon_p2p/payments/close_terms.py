"""Close terms as the contract checks them: both channel keys sign one cell, as the payer's signs vouchers.

    d1 d2 | tag u32 | workchain i8 | account id 32 bytes | epoch u64 | total u64 | valid_until u32

`d1` and `d2` as in `voucher`. With both signatures anybody may close the channel at the total, until the
terms expire. So who has signed treats the channel as closed until then.

Spec: payments/contract/channel.tlb, payments/settlement.md (Closing together).
Vectors: payments/vectors/contract.json.
"""

import hashlib
import struct

from nacl import bindings
from nacl.exceptions import BadSignatureError

from cocoon_p2p.errors import RecordRejected
from cocoon_p2p.identity import SIGNATURE_SIZE_BYTES
from cocoon_p2p.payments.voucher import WORKCHAIN
from cocoon_p2p.protocols.messages import CloseTerms

TAG = int.from_bytes(b"CLOS")
"The contract's word for close terms: no voucher begins with it."

VALID_UNTIL_MAX = (1 << 32) - 1
"The latest time that the contract's field holds."

_BODY = struct.Struct(">Ib32sQQI")
_DESCRIPTORS = bytes((0, 2 * _BODY.size))


def payee_key(identity_seed: bytes) -> tuple[bytes, bytes]:
    """Derive the key that a node signs close terms with where it is paid: a public and a secret key.

    One does for all its channels, since what is signed names the channel; a node whose ledger is lost
    still has it.

    Args:
        identity_seed: The node's private seed, 32 bytes.
    """
    seed = hashlib.blake2b(key=identity_seed, person=b"cocoon/close/1", digest_size=32).digest()
    return bindings.crypto_sign_seed_keypair(seed)


def close_terms_hash(terms: CloseTerms) -> bytes:
    """Hash the cell that is signed, the way TON does. `valid_until` must not be above `VALID_UNTIL_MAX`."""
    body = _BODY.pack(TAG, WORKCHAIN, terms.channel, terms.epoch, terms.total, terms.valid_until)
    return hashlib.sha256(_DESCRIPTORS + body).digest()


def sign_close_terms(channel_secret: bytes, terms: CloseTerms) -> bytes:
    """Agree to close at a total, for the contract.

    Args:
        channel_secret: The payer's or the payee's own key for this channel, as libsodium keeps it: 64 bytes.
        terms: The total, and until when it holds.

    Returns:
        The signature, 64 bytes; the same every time.
    """
    return bindings.crypto_sign(close_terms_hash(terms), channel_secret)[:SIGNATURE_SIZE_BYTES]


def check_close_terms(channel_key: bytes, terms: CloseTerms, signature: bytes) -> None:
    """Check one side's signature. Whether total and time are right is not looked at.

    Raises:
        RecordRejected: The contract would not take it.
    """
    if terms.valid_until > VALID_UNTIL_MAX:
        raise RecordRejected(f"close-terms: later than the contract can tell (time={terms.valid_until})")
    if len(signature) != SIGNATURE_SIZE_BYTES:
        raise RecordRejected(f"close-terms: a signature has 64 bytes (got={len(signature)})")
    try:
        bindings.crypto_sign_open(signature + close_terms_hash(terms), channel_key)
    except BadSignatureError:
        raise RecordRejected("close-terms: signed by another key, or for other terms") from None
