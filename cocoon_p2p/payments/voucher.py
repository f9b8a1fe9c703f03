"""A voucher: the payer's word on everything it owes on a channel so far.

What is signed is a TON cell of whole bytes and without references, so that the contract can
check the very same signature. Its representation hash is one SHA-256:

    d1 d2 | tag u32 | workchain i8 | account id 32 bytes | epoch u64 | total u64     (big-endian)

`d1` is 0 (an ordinary cell, no references, level 0), `d2` is twice the number of data bytes.
A total is cumulative: of two vouchers the higher one holds, and an older one only pays less.

Spec: payments/settlement.md (The voucher). Vectors: payments/vectors/voucher.json.
"""

import hashlib
import struct

from nacl import bindings
from nacl.exceptions import BadSignatureError

from cocoon_p2p.errors import VoucherRejected
from cocoon_p2p.identity import SIGNATURE_SIZE_BYTES
from cocoon_p2p.protocols.messages import ChannelId, Voucher
from cocoon_p2p.units import Nano

TAG = int.from_bytes(b"VOUC")
"The contract's word for a voucher: no other signature of a channel key begins with it."

WORKCHAIN = 0
"Channels live on TON's basechain."

_BODY = struct.Struct(">Ib32sQQ")
_DESCRIPTORS = bytes((0, 2 * _BODY.size))


def voucher_body(channel: ChannelId, epoch: int, total: Nano) -> bytes:
    """Lay out the 53 bytes of the cell that is signed."""
    return _BODY.pack(TAG, WORKCHAIN, channel, epoch, total)


def voucher_hash(channel: ChannelId, epoch: int, total: Nano) -> bytes:
    """Hash that cell the way TON does. The signature is over these 32 bytes."""
    return hashlib.sha256(_DESCRIPTORS + voucher_body(channel, epoch, total)).digest()


def sign_voucher(channel_secret: bytes, channel: ChannelId, epoch: int, total: Nano) -> bytes:
    """Promise a total.

    Args:
        channel_secret: The channel's own key as libsodium keeps it: 64 bytes, seed and public key.
        channel: The account id that the total is owed on.
        epoch: That account's life.
        total: All that is owed so far, in nanoTON.

    Returns:
        The signature, 64 bytes; the same every time.
    """
    return bindings.crypto_sign(voucher_hash(channel, epoch, total), channel_secret)[:SIGNATURE_SIZE_BYTES]


def check_voucher(
    channel_key: bytes, channel: ChannelId, epoch: int, voucher: Voucher, *, paid: Nano
) -> None:
    """Check that a voucher is for this channel, this life of its contract, and by this channel's key.

    Whether its total is more than before, or more than the channel holds, is not looked at.

    Args:
        channel_key: The Ed25519 public key that the channel offer named.
        channel: What it must be for.
        epoch: The contract's life that it must be for; 0 without a chain.
        voucher: As it came.
        paid: The highest total that was accepted before, for the error's sake.

    Raises:
        VoucherRejected: It is for another channel or epoch, or signed by another key.
    """
    if voucher.channel != channel:
        raise VoucherRejected("for another channel", claimed=voucher.total, paid=paid)
    if voucher.epoch != epoch:
        raise VoucherRejected("for another epoch", claimed=voucher.total, paid=paid)
    signed = voucher.signature + voucher_hash(voucher.channel, voucher.epoch, Nano(voucher.total))
    try:
        bindings.crypto_sign_open(signed, channel_key)
    except BadSignatureError:
        raise VoucherRejected("signed by another key", claimed=voucher.total, paid=paid) from None
