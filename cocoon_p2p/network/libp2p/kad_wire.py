"""The messages of the DHT: libp2p's Kademlia, written plainly and read with judgement.

Spec: libp2p specs/kad-dht, "RPC messages". A message is a protobuf with its length before it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from libp2p.kad_dht.pb.kademlia_pb2 import Message, Record

from cocoon_p2p.errors import MalformedMessage, RecordRejected
from cocoon_p2p.identity import PeerId, public_key_of
from cocoon_p2p.network.libp2p.address_bytes import decode_address, encode_address
from cocoon_p2p.network.libp2p.addresses import Address
from cocoon_p2p.network.libp2p.lookup import NAMED_MAX
from cocoon_p2p.network.libp2p.routing_table import Entry
from cocoon_p2p.network.transport import Stream

MESSAGE_MAX_BYTES = 64 * 1024
"An honest answer names twenty peers with a signed record each: some 10 KB. Upstream allows 4 MiB."

PROVIDERS_MAX = 64
"Who announced themselves under one key, as far as we listen; a server keeps no more."

ADDRESSES_MAX = 8
"Addresses of one peer that we hand on or take."


@dataclass(frozen=True, slots=True)
class Answer:
    """What a peer answered. Nothing in it is proved."""

    closer: tuple[Entry, ...]
    "Servers that it knows nearer to the key."

    providers: tuple[PeerId, ...]
    "Who announced itself under the key."

    value: bytes | None
    "What it keeps under the key."


def find_node(key: bytes) -> Message:
    """Ask for the servers nearest to a peer id."""
    return Message(type=Message.MessageType.FIND_NODE, key=key)


def get_value(key: bytes) -> Message:
    """Ask for the value under a key, and for the servers nearest to it."""
    return Message(type=Message.MessageType.GET_VALUE, key=key)


def put_value(key: bytes, value: bytes) -> Message:
    """Ask to keep a value. The value proves itself, so libp2p's own signature is left out."""
    return Message(type=Message.MessageType.PUT_VALUE, key=key, record=Record(key=key, value=value))


def get_providers(key: bytes) -> Message:
    """Ask who announced itself under a key, and for the servers nearest to it."""
    return Message(type=Message.MessageType.GET_PROVIDERS, key=key)


def add_provider(key: bytes, own: Entry, record: Record | None = None) -> Message:
    """Announce ourselves under a key.

    Args:
        key: Of our shard.
        own: Where we are.
        record: Our record under its own key: the announcement expires with it, and who names us can give
            it at once. Others pass it over.
    """
    return Message(type=Message.MessageType.ADD_PROVIDER, key=key, providerPeers=[named(own)], record=record)


def named(entry: Entry) -> Message.Peer:
    """Name a server in an answer."""
    addresses = [encode_address(address) for address in entry.addresses[:ADDRESSES_MAX]]
    return Message.Peer(id=entry.peer, addrs=addresses, connection=Message.ConnectionType.CAN_CONNECT)


def encode(message: Message) -> bytes:
    """Spell a message with its length before it."""
    body = message.SerializeToString()
    length, size = bytearray(), len(body)
    while size >= 0x80:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes((*length, size)) + body


async def read_message(stream: Stream) -> Message | None:
    """Read one message and not a byte more; None if the peer closed its side before it.

    Raises:
        MalformedMessage: It is too long, breaks off, or is no message.
        Unavailable: The stream was lost.
    """
    size = 0
    for shift in (0, 7, 14):
        byte = await stream.read(1)
        if not byte and not shift:
            return None
        if not byte:
            raise MalformedMessage("kad message breaks off in its length")
        size |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            break
    else:
        size = MESSAGE_MAX_BYTES + 1
    if size > MESSAGE_MAX_BYTES:
        raise MalformedMessage(f"kad message too long (max={MESSAGE_MAX_BYTES} bytes)")
    return decode(await _read_exactly(stream, size))


def decode(body: bytes) -> Message:
    """Read the bytes of a message. Raises `MalformedMessage`."""
    message = Message()
    try:
        message.ParseFromString(body)
    except DecodeError as exc:
        raise MalformedMessage(f"not a kad message ({len(body)} bytes)") from exc
    return message


def judge(answer: Message | None, question: Message) -> Answer:
    """Take what is of use from an answer. What it names that cannot be ours is passed over.

    Raises:
        MalformedMessage: There is none, or it answers something else.
    """
    if answer is None and question.type == Message.MessageType.ADD_PROVIDER:
        # The specification has no answer to it.
        return Answer((), (), None)
    if answer is None or answer.type != question.type:
        raise MalformedMessage(f"no answer to the kad question (question={question.type})")
    has_value = answer.HasField("record") and answer.record.key == question.key
    closer = (take_named(said) for said in answer.closerPeers[:NAMED_MAX])
    providers = (take_named(said) for said in answer.providerPeers[:PROVIDERS_MAX])
    return Answer(
        tuple(entry for entry in closer if entry is not None),
        tuple(entry.peer for entry in providers if entry is not None),
        answer.record.value if has_value and answer.record.value else None,
    )


def take_named(said: Message.Peer) -> Entry | None:
    """Read a peer that a message names; None if it cannot be one of ours."""
    peer = PeerId(said.id)
    try:
        public_key_of(peer)
    except RecordRejected:
        return None
    return Entry(peer, tuple(_decodable(said.addrs[:ADDRESSES_MAX])))


def _decodable(raws: Iterable[bytes]) -> Iterable[Address]:
    for raw in raws:
        try:
            yield decode_address(raw)
        except MalformedMessage:
            continue


async def _read_exactly(stream: Stream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = await stream.read(size - len(data))
        if not piece:
            raise MalformedMessage(f"kad message breaks off (got={len(data)} expected={size} bytes)")
        data += piece
    return data
