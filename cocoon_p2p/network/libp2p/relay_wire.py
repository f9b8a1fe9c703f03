"""What is said to a relay and by one: libp2p's circuit relay v2, written plainly and read with judgement.

    hop    Reserve ------------------->  a relay    Status{OK, reservation, limit}
    hop    Connect{peer} ------------->  a relay    Status{OK, limit}, then the peer's bytes
    stop   a relay  Connect{peer, limit} ----->     Status{OK}, then the peer's bytes

py-libp2p's protobuf classes are used, which follow the specification; what they read comes out as our
own dataclasses, so that nobody else meets a field that may be missing.

Spec: libp2p specs/relay/circuit-v2.md; RFC 0002 (signed envelopes) for vouchers.
"""

from dataclasses import dataclass
from enum import IntEnum

from google.protobuf.message import DecodeError
from libp2p.peer.envelope import make_unsigned
from libp2p.peer.pb import crypto_pb2 as crypto_pb
from libp2p.peer.pb import envelope_pb2 as envelope_pb
from libp2p.relay.circuit_v2.pb import circuit_pb2 as pb
from nacl import bindings
from nacl.exceptions import BadSignatureError

from cocoon_p2p.errors import MalformedMessage, RecordRejected
from cocoon_p2p.identity import SIGNATURE_SIZE_BYTES, Identity, PeerId, peer_id_text, public_key_of
from cocoon_p2p.network.libp2p.address_bytes import encode_address
from cocoon_p2p.network.libp2p.addresses import Address
from cocoon_p2p.network.libp2p.delimited import delimit

HOP = "/libp2p/circuit/relay/0.2.0/hop"
STOP = "/libp2p/circuit/relay/0.2.0/stop"

MESSAGE_MAX_BYTES = 4096
"go-libp2p's bound. A reservation with its voucher and a few addresses takes some 400."

_VOUCHER_DOMAIN = "libp2p-relay-rsvp"
_VOUCHER_TYPE = b"\x03\x02"


class Status(IntEnum):
    """How a relay, or a peer at its far side, answers."""

    OK = 100
    RESERVATION_REFUSED = 200
    RESOURCE_LIMIT_EXCEEDED = 201
    PERMISSION_DENIED = 202
    CONNECTION_FAILED = 203
    NO_RESERVATION = 204
    MALFORMED_MESSAGE = 400
    UNEXPECTED_MESSAGE = 401


@dataclass(frozen=True, slots=True)
class Limit:
    """What a relay carries on one circuit before it ends it. 0: it sets no such limit."""

    seconds: int = 0
    size_bytes: int = 0
    "In each direction."


@dataclass(frozen=True, slots=True)
class Reserve:
    """Whoever sends it wants to be reached through us."""


@dataclass(frozen=True, slots=True)
class Connect:
    """To a relay: who is wanted. From a relay: who wants us, as it says."""

    peer: PeerId
    limit: Limit = Limit()
    "Said by a relay only."


@dataclass(frozen=True, slots=True)
class Grant:
    """A relay took our reservation."""

    expires: int
    "Seconds since the Unix epoch, by the relay's clock."

    voucher: bytes
    limit: Limit


@dataclass(frozen=True, slots=True)
class Answer:
    """What a relay, or the peer at its far side, answered."""

    status: int
    "A `Status`, or a number that we do not know."

    limit: Limit = Limit()
    grant: Grant | None = None


# ------------------------------------------------------------------ writing


def reserve() -> bytes:
    """Ask a relay to pass on who wants us."""
    return delimit(pb.HopMessage(type=pb.HopMessage.RESERVE).SerializeToString())


def connect(peer: PeerId) -> bytes:
    """Ask a relay for a peer."""
    message = pb.HopMessage(type=pb.HopMessage.CONNECT, peer=pb.PeerId(id=peer))
    return delimit(message.SerializeToString())


def granted(expires: int, addresses: tuple[bytes, ...], voucher: bytes, limit: Limit) -> bytes:
    """Take a reservation."""
    message = pb.HopMessage(
        type=pb.HopMessage.STATUS,
        status=pb.Status.ValueType(Status.OK),
        reservation=pb.Reservation(expire=expires, addrs=addresses, voucher=voucher),
        limit=_limit(limit),
    )
    return delimit(message.SerializeToString())


def hop_status(status: Status, limit: Limit | None = None) -> bytes:
    """Answer who asked for a reservation in vain, or for a peer."""
    message = pb.HopMessage(
        type=pb.HopMessage.STATUS,
        status=pb.Status.ValueType(status),
        limit=_limit(limit) if limit else None,
    )
    return delimit(message.SerializeToString())


def incoming(source: PeerId, limit: Limit) -> bytes:
    """Tell a peer that somebody wants it."""
    message = pb.StopMessage(type=pb.StopMessage.CONNECT, peer=pb.PeerId(id=source), limit=_limit(limit))
    return delimit(message.SerializeToString())


def stop_status(status: Status) -> bytes:
    """Answer a relay that says somebody wants us."""
    message = pb.StopMessage(type=pb.StopMessage.STATUS, status=pb.Status.ValueType(status))
    return delimit(message.SerializeToString())


def _limit(limit: Limit) -> pb.Limit:
    return pb.Limit(duration=limit.seconds, data=limit.size_bytes)


def address_of_relay(address: Address, relay: PeerId) -> bytes:
    """Spell an address with who is there, as a reservation names a relay's own."""
    return encode_address(address) + b"\xa5\x03" + bytes([len(relay)]) + relay


# ------------------------------------------------------------------ reading


def judge_hop(body: bytes) -> Reserve | Connect | Answer:
    """Read a message of the hop protocol. Raises `MalformedMessage`."""
    message = pb.HopMessage()
    try:
        message.ParseFromString(body)
    except DecodeError as exc:
        raise MalformedMessage(f"not a hop message ({len(body)} bytes)") from exc
    if not message.HasField("type"):
        raise MalformedMessage("a hop message of no type")
    if message.type == pb.HopMessage.RESERVE:
        return Reserve()
    if message.type == pb.HopMessage.CONNECT:
        return Connect(_peer(message.peer))
    return Answer(message.status, _read_limit(message.limit), _grant(message))


def judge_stop(body: bytes) -> Connect | Answer:
    """Read a message of the stop protocol. Raises `MalformedMessage`."""
    message = pb.StopMessage()
    try:
        message.ParseFromString(body)
    except DecodeError as exc:
        raise MalformedMessage(f"not a stop message ({len(body)} bytes)") from exc
    if not message.HasField("type"):
        raise MalformedMessage("a stop message of no type")
    if message.type == pb.StopMessage.CONNECT:
        return Connect(_peer(message.peer), _read_limit(message.limit))
    return Answer(message.status)


def _peer(named: pb.PeerId) -> PeerId:
    peer = PeerId(named.id)
    try:
        public_key_of(peer)
    except RecordRejected as exc:
        raise MalformedMessage("a relay's message names no peer of this network") from exc
    return peer


def _read_limit(limit: pb.Limit) -> Limit:
    return Limit(limit.duration, limit.data)


def _grant(message: pb.HopMessage) -> Grant | None:
    if not message.HasField("reservation"):
        return None
    reservation = message.reservation
    return Grant(reservation.expire, reservation.voucher, _read_limit(message.limit))


# ------------------------------------------------------------------ vouchers


def sign_voucher(relay: Identity, peer: PeerId, expires: int) -> bytes:
    """Certify, as a relay, that a peer has a reservation until `expires`."""
    payload = pb.Voucher(relay=relay.peer_id, peer=peer, expiration=expires).SerializeToString()
    unsigned = make_unsigned(_VOUCHER_DOMAIN, _VOUCHER_TYPE, payload)
    signature = bindings.crypto_sign(unsigned, relay.secret_key)[:SIGNATURE_SIZE_BYTES]
    key = crypto_pb.PublicKey(Type=crypto_pb.KeyType.Ed25519, Data=relay.public_key)
    envelope = envelope_pb.Envelope(
        public_key=key, payload_type=_VOUCHER_TYPE, payload=payload, signature=signature
    )
    return envelope.SerializeToString()


def check_voucher(voucher: bytes, *, relay: PeerId, peer: PeerId, expires: int) -> None:
    """Check that `voucher` is this relay's, for this peer, until then.

    Raises:
        RecordRejected: It is not.
    """
    envelope, said = envelope_pb.Envelope(), pb.Voucher()
    try:
        envelope.ParseFromString(voucher)
        said.ParseFromString(envelope.payload)
        unsigned = make_unsigned(_VOUCHER_DOMAIN, envelope.payload_type, envelope.payload)
        bindings.crypto_sign_open(envelope.signature + unsigned, public_key_of(relay))
    except (DecodeError, BadSignatureError) as exc:
        raise RecordRejected(f"not a voucher of this relay (relay={peer_id_text(relay)})") from exc
    stated = (len(envelope.signature), said.relay, said.peer, said.expiration)
    if stated != (SIGNATURE_SIZE_BYTES, relay, peer, expires):
        raise RecordRejected(f"the relay's voucher does not fit its grant (relay={peer_id_text(relay)})")
