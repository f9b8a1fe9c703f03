"""A one-way payment channel: what its payer and its payee have both agreed to, and what stands behind it.

The payer's side is the machine in `payer`, the payee's the one in `payee`. Both start from the
`Channel` that a signed `ChannelOffer` describes. A channel has one life: its salt is new each time,
so its id names it. What it can pay is its `Backing`: the deposit in its contract, as last seen
there; between peers that use no chain it is what they agreed on.

Spec: payments/settlement.md (Opening, Backing, Closing), protocols/channel.md.
"""

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum

from cocoon_p2p.errors import RecordRejected
from cocoon_p2p.identity import NetworkId, PeerId
from cocoon_p2p.payments import contract
from cocoon_p2p.payments.contract import CLOSE_DELAY_SECONDS_MAX, SALT_SIZE_BYTES, AccountId, Deployment
from cocoon_p2p.protocols.messages import ChannelContract, ChannelId, ChannelOffer
from cocoon_p2p.units import Nano

CLOSE_TERMS_SECONDS = 3600
"How long signed close terms stay good: time for a peer that is away to come back and agree."

TERMS_MAX_SECONDS = 24 * 3600
"The longest that a peer's terms may stay good without a chain: clocks differ, but not by days."

TERMS_PARTS = 4
"""With a chain, terms stay good for no more than this part of the close delay: whoever waits for agreed
terms does not claim, and the payer may have begun to close alone before we saw it."""

CLOSE_DELAY_SECONDS = 24 * 3600
"How long a payee may still claim once the payer closes alone: a day, so that a night's outage costs nothing."

_NOTHING = Nano(0)
_GLOBAL_IDS = 1 << 32
"How many numbers a TON network can have: the wire has no negative ones, and mainnet is -239."

_ID_PREFIX = b"cocoon/channel-id/1\0"
_SALT_PREFIX = b"cocoon/channel-salt/1\0"
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

    id: ChannelId
    payer: PeerId
    payee: PeerId
    channel_key: bytes
    "Ed25519, the payer's: signs this channel's vouchers and close terms, and nothing else."

    agreed: Nano
    "What the two agreed on where no chain stands behind the channel; 0 where one does."

    deployment: Deployment | None = None
    "Its contract; None without a chain."


@dataclass(frozen=True, slots=True)
class Backing:
    """What stands behind a channel's vouchers, as last seen."""

    epoch: int = 0
    "The contract's life: vouchers are signed for it. 0: it was not opened yet, or there is no chain."

    deposit: Nano = _NOTHING
    "All that was put in, less what its storage cost; what was claimed is still counted."

    claimed: Nano = _NOTHING
    "How much of it the payee has collected."

    close_at: int = 0
    "From when the payer may take the rest, in seconds since the Unix epoch; 0: it has not begun to close."

    is_settled: bool = False
    "The contract is gone, and everybody was paid. Without a chain: both have agreed on the close."


NOTHING_SEEN = Backing()
"What stands behind a channel that was just offered."


def capacity(channel: Channel, backing: Backing) -> Nano:
    """Say how high vouchers may go."""
    if channel.deployment is None:
        return channel.agreed
    return contract.capacity(backing.deposit)


def capacity_max(channel: Channel, backing: Backing) -> Nano:
    """Say how high a payee takes vouchers: as far as the contract would pay them now."""
    if channel.deployment is None:
        return channel.agreed
    return contract.claimable(backing.deposit)


def terms_seconds(channel: Channel) -> int:
    """Say for how long we sign close terms."""
    if channel.deployment is None:
        return CLOSE_TERMS_SECONDS
    return min(CLOSE_TERMS_SECONDS, channel.deployment.close_delay_seconds // TERMS_PARTS)


def terms_seconds_max(channel: Channel) -> int:
    """Say for how long a peer's close terms may hold. Both go by the chain's clock where there is one."""
    return TERMS_MAX_SECONDS if channel.deployment is None else 2 * terms_seconds(channel)


def contract_salt(network: NetworkId, payer: PeerId, payee: PeerId, channel_key: bytes) -> bytes:
    """Derive the salt of a channel's contract, 16 bytes: so its address names the two peers as well.

    Else a stranger could read a contract's terms off the chain, and offer it as its own channel. It is a
    new one each time, as the channel's key is.
    """
    return hashlib.sha256(_SALT_PREFIX + network + payer + payee + channel_key).digest()[:SALT_SIZE_BYTES]


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
    """Derive the id of a channel without a chain from all that it is about.

    It stands in for the contract's address, which is a hash of the same things.
    """
    numbers = _ID_NUMBERS.pack(capacity, close_delay_seconds)
    body = _ID_PREFIX + network + payer + payee + channel_key + numbers + salt
    return ChannelId(hashlib.sha256(body).digest())


def make_offer(
    network: NetworkId, payer: PeerId, payee: PeerId, channel_key: bytes, *, capacity: Nano, salt: bytes
) -> ChannelOffer:
    """Propose a channel without a chain. `salt` is 16 random bytes, so that two offers never share an id."""
    channel = channel_id(
        network,
        payer,
        payee,
        channel_key,
        capacity=capacity,
        close_delay_seconds=CLOSE_DELAY_SECONDS,
        salt=salt,
    )
    return ChannelOffer(network, payer, payee, channel, channel_key, CLOSE_DELAY_SECONDS, salt, capacity)


def make_backed_offer(
    network: NetworkId, payer: PeerId, payee: PeerId, deployment: Deployment
) -> ChannelOffer:
    """Propose a channel whose contract is deployed so, with a `contract_salt`: it pays what is put in."""
    return ChannelOffer(
        network=network,
        payer=payer,
        payee=payee,
        channel=contract.channel_id(deployment),
        channel_key=deployment.payer_key,
        close_delay_seconds=deployment.close_delay_seconds,
        salt=deployment.salt,
        contract=ChannelContract(
            to_wire(deployment.global_id), deployment.payer, deployment.payee, deployment.payee_key
        ),
    )


def channel_of(offer: ChannelOffer) -> Channel:
    """Read the channel out of an offer.

    Whose signature the offer bears, whether the two peers are who they should be, and whether wallets
    and keys are those that were agreed on, is the caller's to check.

    Raises:
        RecordRejected: The id is not the one that follows from the offer's own terms, a contract's salt
            does not name the two peers, or it has neither a capacity nor a contract, or both.
    """
    if (offer.contract is None) == (offer.capacity is None):
        raise RecordRejected("channel-offer: either a capacity or a contract stands behind a channel")
    deployment = None if offer.contract is None else _deployment(offer, offer.contract)
    agreed = Nano(offer.capacity or 0)
    if offer.channel != (_unbacked_id(offer) if deployment is None else contract.channel_id(deployment)):
        raise RecordRejected(f"channel-offer: the id does not follow (channel={offer.channel.hex()[:16]})")
    return Channel(
        id=offer.channel,
        payer=PeerId(offer.payer),
        payee=PeerId(offer.payee),
        channel_key=offer.channel_key,
        agreed=agreed,
        deployment=deployment,
    )


def to_wire(global_id: int) -> int:
    """Spell a TON network's number as 32 bits in two's complement."""
    return global_id % _GLOBAL_IDS


def from_wire(number: int) -> int:
    """Read a TON network's number from 32 bits in two's complement."""
    return number - _GLOBAL_IDS if number >= _GLOBAL_IDS // 2 else number


def _unbacked_id(offer: ChannelOffer) -> ChannelId:
    return channel_id(
        NetworkId(offer.network),
        PeerId(offer.payer),
        PeerId(offer.payee),
        offer.channel_key,
        capacity=Nano(offer.capacity or 0),
        close_delay_seconds=offer.close_delay_seconds,
        salt=offer.salt,
    )


def _deployment(offer: ChannelOffer, terms: ChannelContract) -> Deployment:
    if offer.close_delay_seconds > CLOSE_DELAY_SECONDS_MAX:
        raise RecordRejected(
            f"channel-offer: the close delay is longer than a contract's (got={offer.close_delay_seconds})"
        )
    named = contract_salt(
        NetworkId(offer.network), PeerId(offer.payer), PeerId(offer.payee), offer.channel_key
    )
    if offer.salt != named:
        raise RecordRejected("channel-offer: the contract was made for others")
    return Deployment(
        global_id=from_wire(terms.global_id),
        payer=AccountId(terms.payer_wallet),
        payee=AccountId(terms.payee_wallet),
        payer_key=offer.channel_key,
        payee_key=terms.payee_key,
        close_delay_seconds=offer.close_delay_seconds,
        salt=offer.salt,
    )
