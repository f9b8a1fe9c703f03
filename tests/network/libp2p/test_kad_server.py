"""What a DHT server keeps, hands on and refuses; and the messages it does so in."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from libp2p.kad_dht.pb.kademlia_pb2 import Message, Record

from cocoon_p2p.errors import MalformedMessage, RecordRejected, RemoteProtocolError
from cocoon_p2p.identity import PeerId, peer_id_of
from cocoon_p2p.network.libp2p import kad_server
from cocoon_p2p.network.libp2p.addresses import Address
from cocoon_p2p.network.libp2p.kad_keys import KadKeys
from cocoon_p2p.network.libp2p.kad_server import KadServer
from cocoon_p2p.network.libp2p.kad_wire import (
    ADDRESSES_MAX,
    MESSAGE_MAX_BYTES,
    PROVIDERS_MAX,
    add_provider,
    decode,
    encode,
    find_node,
    get_providers,
    get_value,
    judge,
    put_value,
    read_message,
)
from cocoon_p2p.network.libp2p.lookup import NAMED_MAX, position
from cocoon_p2p.network.libp2p.routing_table import DIALLED_MAX, Entry, RoutingTable

KEYS = KadKeys("demo")
OWN = peer_id_of(bytes(32))
HERE = (Address("ip4", "127.0.0.1", 4001),)


def peer(number: int) -> PeerId:
    return peer_id_of(number.to_bytes(32, "big"))


ASKER = peer(1)


EXPIRES = 2000.0


def validate(_: PeerId, value: bytes) -> float:
    if not value.startswith(b"good"):
        raise RecordRejected("not good")
    return EXPIRES


def select(values: tuple[bytes, ...] | list[bytes]) -> int:
    return values.index(max(values))


@pytest.fixture
def table() -> RoutingTable:
    return RoutingTable(OWN)


@pytest.fixture
def server(table: RoutingTable) -> KadServer:
    return KadServer(OWN, KEYS, table, validate, select)


# ------------------------------------------------------------------ values


def test_a_value_that_was_put_is_got(server: KadServer) -> None:
    key = KEYS.record_of(peer(5))
    server.answer(put_value(key, b"good 1"), ASKER, where="here", now=0)

    answer = judge(server.answer(get_value(key), ASKER, where="here", now=0), get_value(key))

    assert answer.value == b"good 1"


@pytest.mark.parametrize(
    "question",
    [
        put_value(KEYS.record_of(peer(5)), b"bad"),
        put_value(KEYS.record_of(peer(5)), b""),
        put_value(KadKeys("mainnet").record_of(peer(5)), b"good"),
        put_value(b"/cocoon/demo/nobody", b"good"),
        put_value(b"/cocoon/demo/\xff\xff", b"good"),
        put_value(b"/pk/" + peer(5), b"good"),
        put_value(b"k" * 129, b"good"),
        put_value(b"", b"good"),
        Message(type=Message.MessageType.PUT_VALUE, key=KEYS.record_of(peer(5))),
        get_value(b""),
        get_value(b"k" * 129),
        add_provider(KEYS.shard_of(peer(5)), Entry(peer(5), HERE)),
        add_provider(KEYS.shard_of(ASKER), Entry(peer(5), HERE)),
        add_provider(b"\x12\x20" + bytes(32), Entry(ASKER, HERE)),
        Message(type=Message.MessageType.ADD_PROVIDER, key=KEYS.shard_of(ASKER)),
    ],
)
def test_what_may_not_stand_in_the_directory_is_refused(server: KadServer, question: Message) -> None:
    with pytest.raises(RemoteProtocolError):
        server.answer(question, ASKER, where="here", now=0)


def test_a_better_value_replaces_a_worse_one_and_not_the_other_way_round(server: KadServer) -> None:
    key = KEYS.record_of(peer(5))
    server.keep(key, b"good 2")
    with pytest.raises(RecordRejected, match="better"):
        server.keep(key, b"good 1")
    server.keep(key, b"good 2")
    server.keep(key, b"good 3")

    assert server.value(key) == b"good 3"


def test_a_value_that_is_no_longer_valid_is_not_handed_on(table: RoutingTable) -> None:
    expired: set[bytes] = set()

    def judge_now(_: PeerId, value: bytes) -> float:
        if value in expired:
            raise RecordRejected("expired")
        return EXPIRES

    server = KadServer(OWN, KEYS, table, judge_now, select)
    key = KEYS.record_of(peer(5))
    server.keep(key, b"9")
    expired.add(b"9")

    assert server.value(key) is None
    server.keep(key, b"1")
    assert server.value(key) == b"1"


def test_a_full_server_lets_the_farthest_value_go(server: KadServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kad_server, "VALUES_MAX", 8)
    keys = [KEYS.record_of(peer(number)) for number in range(30)]
    for key in keys:
        server.keep(key, b"good")

    kept = {key for key in keys if server.value(key)}
    ours = kad_server.position(OWN)
    assert kept == set(sorted(keys, key=lambda key: kad_server.position(key) ^ ours)[:8])


def test_a_full_server_lets_what_expired_go_before_what_is_far(
    table: RoutingTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kad_server, "VALUES_MAX", 8)
    lifetimes = {b"1 short": 10.0, b"2 long": 1000.0}
    server = KadServer(OWN, KEYS, table, lambda _, value: lifetimes[value], select)
    ours = position(OWN)
    nearest_first = sorted(
        (KEYS.record_of(peer(number)) for number in range(30)), key=lambda key: position(key) ^ ours
    )
    near, far = nearest_first[:8], nearest_first[-8:]
    # Made to fit, by somebody who will not come again.
    for key in near:
        server.keep(key, b"1 short", now=0.0)
    server.keep(near[0], b"2 long", now=5.0)

    for key in far:
        server.keep(key, b"2 long", now=10.0)

    assert server.records == 8
    assert [key for key in (*near, *far) if server.value(key) == b"2 long"] == [near[0], *far[:7]]


# ------------------------------------------------------------------ announcements


def test_a_put_to_a_full_server_looks_at_one_key_and_not_at_all(
    server: KadServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kad_server, "VALUES_MAX", 50)
    for number in range(60):
        server.keep(KEYS.record_of(peer(number)), b"good")
    looks: list[bytes] = []
    monkeypatch.setattr(kad_server, "position", lambda key: looks.append(key) or position(key))

    server.keep(KEYS.record_of(peer(60)), b"good")

    assert len(looks) <= 2


def test_a_value_that_was_forgotten_makes_room_for_another(
    table: RoutingTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kad_server, "VALUES_MAX", 2)
    expired: set[PeerId] = set()

    def judge_now(whose: PeerId, _: bytes) -> float:
        if whose in expired:
            raise RecordRejected("expired")
        return EXPIRES

    server = KadServer(OWN, KEYS, table, judge_now, select)
    keys = [KEYS.record_of(peer(number)) for number in range(3)]
    server.keep(keys[0], b"1")
    server.keep(keys[1], b"1")
    expired.add(peer(0))
    assert server.value(keys[0]) is None

    server.keep(keys[2], b"1")

    assert [server.value(key) for key in keys] == [None, b"1", b"1"]


def test_who_announced_itself_is_named_for_an_hour(server: KadServer) -> None:
    shard = KEYS.shard_of(ASKER)
    server.answer(add_provider(shard, Entry(ASKER, HERE)), ASKER, where="here", now=1000)

    def named(now: float) -> tuple[PeerId, ...]:
        return judge(
            server.answer(get_providers(shard), peer(2), where="here", now=now), get_providers(shard)
        ).providers

    assert named(1000 + 3599) == (ASKER,)
    assert named(1000 + 3600) == ()


def test_who_announced_itself_with_its_record_is_named_until_that_expires(server: KadServer) -> None:
    shard, key = KEYS.shard_of(ASKER), KEYS.record_of(ASKER)
    announcement = add_provider(shard, Entry(ASKER, HERE), Record(key=key, value=b"good"))
    server.answer(announcement, ASKER, where="here", now=1000)

    assert server.value(key) == b"good"
    assert [entry.peer for entry in server.announced(shard, now=EXPIRES - 1)] == [ASKER]
    assert server.announcements(now=EXPIRES - 1) == 1
    assert server.announcements(now=EXPIRES) == 0
    assert server.announced(shard, now=EXPIRES) == []


def test_a_signed_date_does_not_make_an_announcement_last_longer_than_an_hour(server: KadServer) -> None:
    shard, key = KEYS.shard_of(ASKER), KEYS.record_of(ASKER)
    announcement = add_provider(shard, Entry(ASKER, HERE), Record(key=key, value=b"good"))
    server.answer(announcement, ASKER, where="here", now=EXPIRES - 3700)

    assert server.announced(shard, now=EXPIRES - 100) == []


@pytest.mark.parametrize("value", [b"bad", b""])
def test_who_announces_itself_with_a_bad_record_is_not_named(server: KadServer, value: bytes) -> None:
    shard, key = KEYS.shard_of(ASKER), KEYS.record_of(ASKER)
    announcement = add_provider(shard, Entry(ASKER, HERE), Record(key=key, value=value))

    with pytest.raises(RecordRejected):
        server.answer(announcement, ASKER, where="here", now=1000)
    assert server.announced(shard, now=1000) == []


def test_neither_who_was_first_nor_who_is_loudest_keeps_others_out(server: KadServer) -> None:
    shard = KEYS.shard_of(ASKER)
    crowd = [peer(n) for n in range(2, 9000) if KEYS.shard_of(peer(n)) == shard][: 4 * PROVIDERS_MAX]
    before, quiet, after = crowd[:PROVIDERS_MAX], ASKER, crowd[PROVIDERS_MAX:]
    for each in before:
        server.answer(add_provider(shard, Entry(each, HERE)), each, where="rented", now=0)
    server.answer(add_provider(shard, Entry(quiet, HERE)), quiet, where="home", now=0)
    for each in after:
        server.answer(add_provider(shard, Entry(each, HERE)), each, where="rented", now=0)

    named = [entry.peer for entry in server.announced(shard, now=0)]
    assert len(named) == PROVIDERS_MAX
    assert quiet in named
    assert named[-1] == after[-1]


# ------------------------------------------------------------------ naming others


@pytest.mark.parametrize("question", [find_node(peer(9)), get_value(b"key"), get_providers(b"key")])
def test_every_answer_names_the_servers_nearest_to_the_key_but_never_the_asker(
    server: KadServer, table: RoutingTable, question: Message
) -> None:
    for number in range(1, 60):
        table.heard(peer(number), HERE)

    answer = judge(server.answer(question, ASKER, where="here", now=0), question)

    nearest = [entry for entry in table.nearest(question.key, NAMED_MAX) if entry.peer != ASKER]
    assert list(answer.closer) == nearest


def test_no_more_addresses_of_a_server_are_handed_on_than_anybody_needs(
    server: KadServer, table: RoutingTable
) -> None:
    table.heard(peer(5), [Address("ip4", "127.0.0.1", port) for port in range(1, 100)])

    answer = judge(server.answer(find_node(peer(5)), ASKER, where="here", now=0), find_node(peer(5)))

    assert len(answer.closer[0].addresses) == DIALLED_MAX <= ADDRESSES_MAX


# ------------------------------------------------------------------ strange bytes


@given(st.binary(max_size=200))
def test_strange_bytes_are_a_message_or_malformed_and_nothing_else(raw: bytes) -> None:
    try:
        message = decode(raw)
    except MalformedMessage:
        return

    server = KadServer(OWN, KEYS, RoutingTable(OWN), validate, select)
    for question in (message, find_node(b"key")):
        try:
            server.answer(question, ASKER, where="here", now=0)
            judge(message, question)
        except RemoteProtocolError:
            continue


@given(
    st.sampled_from(list(Message.MessageType.values())),
    st.binary(max_size=140),
    st.binary(max_size=20),
    st.lists(
        st.builds(lambda i, a: Message.Peer(id=i, addrs=a), st.binary(max_size=40), st.lists(st.binary()))
    ),
)
def test_no_question_of_any_shape_breaks_a_server(
    kind: int, key: bytes, value: bytes, named: list[Message.Peer]
) -> None:
    server = KadServer(OWN, KEYS, RoutingTable(OWN), validate, select)
    question = Message(key=key, providerPeers=named, closerPeers=named)
    question.type = kind  # type: ignore[assignment]  # enums of protobuf are plain numbers
    question.record.key = key
    question.record.value = value

    try:
        answer = server.answer(question, ASKER, where="here", now=0)
    except RemoteProtocolError:
        return
    judge(decode(answer.SerializeToString()), question)


class Bytes:
    """A stream that says what it was given, a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def read(self, size_max_bytes: int) -> bytes:
        await trio.lowlevel.checkpoint()
        size = min(size_max_bytes, 3)
        piece, self.data = self.data[:size], self.data[size:]
        return piece


async def test_messages_are_read_one_after_the_other_up_to_the_end() -> None:
    stream = Bytes(encode(put_value(b"k", bytes(20_000))) + encode(find_node(b"n")))

    first, second, third = [await read_message(stream) for _ in range(3)]  # type: ignore[arg-type]

    assert first is not None
    assert len(first.record.value) == 20_000
    assert second == find_node(b"n")
    assert third is None


@pytest.mark.parametrize(
    "data",
    [
        b"\x05abc",
        b"\xff",
        b"\xff\xff\xff\xff",
        encode(put_value(b"k", bytes(MESSAGE_MAX_BYTES))),
        b"\x02\xff\xff",
    ],
)
async def test_what_breaks_off_or_is_too_long_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        await read_message(Bytes(data))  # type: ignore[arg-type]
