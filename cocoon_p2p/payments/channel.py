"""A one-way payment channel: what its payer and its payee have both agreed to.

The payer's side is the machine in `payer`, the payee's the one in `payee`. Both start from the
`Channel` that a signed `ChannelOffer` describes.

Spec: payments/settlement.md (Opening, Closing).
"""

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum

from cocoon_p2p.errors import RecordRejected
from cocoon_p2p.identity import NetworkId, PeerId
from cocoon_p2p.protocols.messages import ChannelId, ChannelOffer, ChannelReference
from cocoon_p2p.units import Nano

CLOSE_TERMS_SECONDS = 3600
"How long signed close terms stay good: time for a peer that is away to come back and agree."

CLOSE_DELAY_SECONDS = 24 * 3600
"How long a payee may still claim once the payer closes alone: a day, so that a night's outage costs nothing."

_ID_PREFIX = b"cocoon/channel-id/1\0"
_ID_NUMBERS = struct.Struct(">QQ")


class Phase(IntEnum):
    """Where a channel stands. The numbers are what the ledger keeps."""

    OPEN = 1
    DRAINING = 2
    "Nothing new begins; what runs is paid to its end."

    CLOSING = 3
    "We have signed close terms: until the peer answers them no voucher is given."

    CLOSED = 4
    STOPPED = 5
    "The payer's alone: it saw what it cannot reconcile, pays no more and keeps the papers."


@dataclass(frozen=True, slots=True)
class Channel:
    """What never changes in a channel's life."""

    reference: ChannelReference
    payer: PeerId
    payee: PeerId
    channel_key: bytes
    "Ed25519: signs this channel's vouchers and nothing else."

    capacity: Nano
    "No voucher goes above it."


def channel_id(
    network: NetworkId,
    payer: PeerId,
    payee: PeerId,
    channel_key: bytes,
    *,
    capacity: Nano,
    close_delay_seconds: int,
    salt: bytes,
) -> ChannelId:
    """Derive a channel's id from all that it is about.

    It stands in for the contract's address, which is a hash of the same things.
    """
    numbers = _ID_NUMBERS.pack(capacity, close_delay_seconds)
    body = _ID_PREFIX + network + payer + payee + channel_key + numbers + salt
    return ChannelId(hashlib.sha256(body).digest())


def make_offer(
    network: NetworkId, payer: PeerId, payee: PeerId, channel_key: bytes, *, capacity: Nano, salt: bytes
) -> ChannelOffer:
    """Propose a channel. `salt` is 16 random bytes, so that two offers never share an id."""
    channel = channel_id(
        network,
        payer,
        payee,
        channel_key,
        capacity=capacity,
        close_delay_seconds=CLOSE_DELAY_SECONDS,
        salt=salt,
    )
    return ChannelOffer(
        network=network,
        payer=payer,
        payee=payee,
        channel=channel,
        # Without a chain a channel has one life: its key and salt are new each time.
        epoch=1,
        channel_key=channel_key,
        capacity=capacity,
        close_delay_seconds=CLOSE_DELAY_SECONDS,
        salt=salt,
    )


def channel_of(offer: ChannelOffer) -> Channel:
    """Read the channel out of an offer.

    Whose signature the offer bears, and whether the two peers are who they should be, is the
    caller's to check.

    Raises:
        RecordRejected: The id is not the one that follows from the offer's own terms.
    """
    expected = channel_id(
        NetworkId(offer.network),
        PeerId(offer.payer),
        PeerId(offer.payee),
        offer.channel_key,
        capacity=Nano(offer.capacity),
        close_delay_seconds=offer.close_delay_seconds,
        salt=offer.salt,
    )
    if offer.channel != expected:
        raise RecordRejected(f"channel-offer: the id does not follow (channel={offer.channel.hex()[:16]})")
    return Channel(
        reference=ChannelReference(offer.channel, offer.epoch),
        payer=PeerId(offer.payer),
        payee=PeerId(offer.payee),
        channel_key=offer.channel_key,
        capacity=Nano(offer.capacity),
    )
