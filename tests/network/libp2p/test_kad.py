"""The directory over real sockets on loopback."""

import time
from functools import partial

import pytest
import trio
from libp2p.custom_types import TProtocol
from libp2p.kad_dht import common, kad_dht, peer_routing, provider_store, value_store
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.peer.id import ID
from libp2p.records.validator import NamespacedValidator, Validator
from libp2p.tools.anyio_service import background_trio_service

from cocoon_p2p.errors import ConfigurationError, LocalProtocolError, Unavailable
from cocoon_p2p.identity import network_id
from cocoon_p2p.network.libp2p import kad_node
from cocoon_p2p.network.libp2p.host import open_transport
from cocoon_p2p.network.libp2p.kad_wire import encode, find_node, get_value, judge, read_message
from cocoon_p2p.network.transport import Stream
from cocoon_p2p.protocols.ids import Kind, Role
from cocoon_p2p.protocols.messages import ModelOffer, Price
from cocoon_p2p.protocols.papers import encode_signed
from cocoon_p2p.records import make_record, make_statement, select_newest
from tests.network.libp2p.kad_nodes import KEYS, LOOPBACK, identity, network, record, select, validate


@pytest.fixture
def never_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for an answer that does not come waits for ever: longer than `network` lasts."""
    monkeypatch.setattr(kad_node, "ASK_SECONDS", 1e6)


# ------------------------------------------------------------------ finding


@pytest.mark.slow
async def test_a_newcomer_that_knows_one_bootstrap_soon_finds_every_proxy(never_given_up: None) -> None:
    async with network() as nodes:
        bootstrap, _ = await nodes.start(1)
        for number in range(10, 14):
            _, directory = await nodes.start(number, bootstrap.addresses)
            await directory.publish(record(number))
        _, newcomer = await nodes.client(20, bootstrap.addresses)

        found = await newcomer.find_proxies()

        assert set(found) == {record(number) for number in range(10, 14)}


async def test_the_newest_record_of_a_proxy_is_found_and_no_older_one() -> None:
    async with network() as nodes:
        bootstrap, _ = await nodes.start(1)
        _, proxy = await nodes.start(10, bootstrap.addresses)
        _, client = await nodes.client(20, bootstrap.addresses)
        await proxy.publish(record(10, 1))
        assert await client.find_proxies() == (record(10, 1),)

        await proxy.publish(record(10, 2))

        assert await client.find_proxies() == (record(10, 2),)


@pytest.mark.slow
async def test_proxies_find_each_other_and_bootstraps_find_them() -> None:
    async with network() as nodes:
        bootstrap, its_directory = await nodes.start(1)
        _, first = await nodes.start(10, bootstrap.addresses)
        _, second = await nodes.start(11, bootstrap.addresses)
        await first.publish(record(10))
        await second.publish(record(11))

        for directory in (first, second, its_directory):
            assert set(await directory.find_proxies()) == {record(10), record(11)}


async def test_a_proxy_that_left_does_not_delay_those_who_stay(never_given_up: None) -> None:
    async with network() as nodes:
        bootstrap, _ = await nodes.start(1)
        leaving = await nodes.mortal(10, bootstrap.addresses)
        await leaving.directory.publish(record(10))
        await leaving.end()
        _, proxy = await nodes.start(11, bootstrap.addresses)
        await proxy.publish(record(11))
        _, client = await nodes.client(20, bootstrap.addresses)

        found = await client.find_proxies()

        # The record of the one that left lives until it expires: whoever dials it will learn.
        assert set(found) == {record(10), record(11)}


async def test_where_nobody_is_nothing_is_found_and_nothing_raised() -> None:
    async with network() as nodes:
        nobody = f"/ip4/127.0.0.1/tcp/1/p2p/{ID(identity(1).peer_id)}"
        _, client = await nodes.client(20, [nobody])

        assert await client.find_proxies() == ()


async def test_one_dead_bootstrap_of_two_does_not_matter() -> None:
    async with network() as nodes:
        dead = f"/ip4/127.0.0.1/tcp/1/p2p/{ID(identity(2).peer_id)}"
        bootstrap, _ = await nodes.start(1)
        _, proxy = await nodes.start(10, [dead, *bootstrap.addresses])
        await proxy.publish(record(10))
        _, client = await nodes.client(20, [dead, *bootstrap.addresses])

        assert await client.find_proxies() == (record(10),)


async def test_networks_of_different_names_do_not_see_each_other() -> None:
    async with network() as nodes:
        bootstrap, _ = await nodes.start(1)
        _, proxy = await nodes.start(10, bootstrap.addresses)
        await proxy.publish(record(10))

        _, stranger = await nodes.client(20, bootstrap.addresses, network_name="other")

        assert await stranger.find_proxies() == ()
        assert stranger.servers_known == 0


@pytest.mark.slow
async def test_a_node_that_reached_nobody_comes_in_once_a_bootstrap_is_there() -> None:
    async with network() as nodes:
        async with open_transport(identity(1), listen=[LOOPBACK]) as place:
            address = place.addresses[0]
        _, client = await nodes.client(20, [address])
        assert await client.find_proxies() == ()
        bootstrap, _ = await nodes.start(1, listen=address.rpartition("/p2p/")[0])
        _, proxy = await nodes.start(10, bootstrap.addresses)
        await proxy.publish(record(10))

        # It tries again after a second, and the address rests as long.
        with trio.fail_after(10):
            while not (found := await client.find_proxies()):
                await trio.lowlevel.checkpoint()

        assert found == (record(10),)
        assert await client.find_proxies() == (record(10),)


async def test_signed_records_are_judged_by_their_own_rules_unless_told_otherwise() -> None:
    now = time.time()  # The directory's own judgement reads the clock, so this record must be of today.
    network_of_demo = network_id("demo")

    def signed(sequence: int) -> bytes:
        statement = make_statement(
            identity(10), network_of_demo, role=Role.PROXY, sealing_key=bytes(32), now=now, nonce=bytes(16)
        )
        offer = ModelOffer("m", bytes(32), bytes(32), Kind.CHAT, 4096, (), Price(4, 1, 20, 20), False)
        made = make_record(
            identity(10),
            network_of_demo,
            role=Role.PROXY,
            statement=statement,
            addresses=["/ip4/127.0.0.1/tcp/4001"],
            models=[offer],
            now=now,
            sequence=sequence,
        )
        return encode_signed(made)

    async with network() as nodes:
        start = partial(nodes.start, validate=None, select=select_newest)
        bootstrap, _ = await start(1)
        _, proxy = await start(10, bootstrap.addresses)
        _, client = await start(20, bootstrap.addresses, listen="")
        await proxy.publish(signed(1))
        await proxy.publish(signed(2))

        with pytest.raises(LocalProtocolError, match="not fit"):
            await proxy.publish(signed(1))
        with pytest.raises(LocalProtocolError, match="not fit"):
            await proxy.publish(signed(3)[:-1] + bytes([signed(3)[-1] ^ 1]))
        assert await client.find_proxies() == (signed(2),)


# ------------------------------------------------------------------ publishing


async def test_a_proxy_that_reaches_no_other_server_is_told_so() -> None:
    async with network() as nodes:
        _, lonely = await nodes.start(10)

        with pytest.raises(Unavailable, match="no server of the directory took our record") as caught:
            await lonely.publish(record(10))
        assert caught.value.retry_after is not None


async def test_a_client_cannot_publish() -> None:
    async with network() as nodes:
        bootstrap, _ = await nodes.start(1)
        _, client = await nodes.client(20, bootstrap.addresses)

        with pytest.raises(LocalProtocolError):
            await client.publish(record(20))


async def test_a_record_that_is_not_our_own_is_not_published() -> None:
    async with network() as nodes:
        bootstrap, _ = await nodes.start(1)
        _, proxy = await nodes.start(10, bootstrap.addresses)

        with pytest.raises(LocalProtocolError, match="not fit to be published"):
            await proxy.publish(record(11))


async def test_a_malformed_bootstrap_address_is_the_operators_to_mend() -> None:
    async with network() as nodes:
        with pytest.raises(ConfigurationError):
            await nodes.client(20, ["bootstrap.example.org:4001"])


# ------------------------------------------------------------------ strangers


@pytest.mark.slow
async def test_clients_are_in_nobodys_table() -> None:
    async with network() as nodes:
        bootstrap, its_directory = await nodes.start(1)
        _, proxy = await nodes.start(10, bootstrap.addresses)
        await proxy.publish(record(10))
        transport, client = await nodes.client(20, bootstrap.addresses)
        await client.find_proxies()
        await trio.testing.wait_all_tasks_blocked(0.05)

        assert its_directory.servers_known == 1
        assert proxy.servers_known == 1
        assert client.servers_known >= 1
        question = find_node(identity(20).peer_id)
        stream = await transport.open_stream(bootstrap.peer_id, KEYS.protocol)
        await stream.write(encode(question))
        named = judge(await read_message(stream), question).closer
        assert [entry.peer for entry in named] == [identity(10).peer_id]


async def test_idle_streams_of_one_peer_starve_nobody(never_given_up: None) -> None:
    async with network() as nodes:
        bootstrap, _ = await nodes.start(1)
        _, proxy = await nodes.start(10, bootstrap.addresses)
        await proxy.publish(record(10))
        idler = await nodes.client(30, bootstrap.addresses)
        await idler[0].dial(bootstrap.addresses)
        held = [await idler[0].open_stream(bootstrap.peer_id, KEYS.protocol) for _ in range(100)]
        _, newcomer = await nodes.client(20, bootstrap.addresses)

        assert await newcomer.find_proxies() == (record(10),)
        # They did reach the server: the oldest of them had to make room.
        with pytest.raises(Unavailable):
            await held[0].read(1)


async def test_what_a_lying_server_says_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async with network() as nodes:
        bootstrap, _ = await nodes.start(1)
        _, proxy = await nodes.start(10, bootstrap.addresses)
        await proxy.publish(record(10))
        liar_transport, _ = await nodes.start(12, bootstrap.addresses)
        lies = [b"", b"\xff" * 50, encode(get_value(b"x")), b"\x80\x80\x80\x80", b"\x00"]

        async def lie(stream: object) -> None:
            lies.append(lies.pop(0))
            await stream.write(lies[0])  # type: ignore[attr-defined]  # it is a Stream
            await stream.close_write()  # type: ignore[attr-defined]

        liar_transport.accept_streams(KEYS.protocol, lie)
        _, client = await nodes.client(20, [*bootstrap.addresses, *liar_transport.addresses])

        assert await client.find_proxies() == (record(10),)


@pytest.mark.slow
async def test_a_search_that_has_found_something_ends_when_nothing_more_comes(never_given_up: None) -> None:
    async with network() as nodes:
        bootstrap, _ = await nodes.start(1)
        _, proxy = await nodes.start(10, bootstrap.addresses)
        await proxy.publish(record(10))
        silent_transport, _ = await nodes.start(12, bootstrap.addresses)

        async def say_nothing(_: object) -> None:
            await trio.sleep_forever()

        silent_transport.accept_streams(KEYS.protocol, say_nothing)
        _, client = await nodes.client(20, [*bootstrap.addresses, *silent_transport.addresses])

        assert await client.find_proxies() == (record(10),)


async def test_a_server_that_takes_an_announcement_without_an_answer_has_taken_it(
    never_given_up: None,
) -> None:
    """As the specification has it, and js-libp2p and go-libp2p do."""
    taken: list[bytes] = []

    async def serve(stream: Stream) -> None:
        while (question := await read_message(stream)) is not None:
            if question.type == Message.MessageType.ADD_PROVIDER:
                taken.append(question.key)
            else:
                await stream.write(encode(question))
        await stream.close_write()

    async with network() as nodes:
        other = await nodes.enter(open_transport(identity(1), listen=[LOOPBACK]))
        other.accept_streams(KEYS.protocol, serve)
        _, directory = await nodes.start(2, other.addresses)

        await directory.publish(record(2))

    assert taken == [KEYS.shard_of(identity(2).peer_id)]


# ------------------------------------------------------------------ the same wire as upstream


class AnyRecord(Validator):
    def validate(self, key: str, value: bytes) -> None:
        validate(KEYS.peer_of(key.encode()), value)

    def select(self, key: str, values: list[bytes]) -> int:
        return select(values)


@pytest.fixture
def _upstream_speaks_our_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    # Upstream ignores the protocol prefix that it is given: the id is a constant of five modules.
    for module in (common, kad_dht, peer_routing, provider_store, value_store):
        monkeypatch.setattr(module, "PROTOCOL_ID", TProtocol(KEYS.protocol))


@pytest.mark.usefixtures("_upstream_speaks_our_protocol")
async def test_upstreams_client_reads_and_writes_our_server() -> None:
    async with network() as nodes:
        bootstrap, _ = await nodes.start(1)
        _, proxy = await nodes.start(10, bootstrap.addresses)
        await proxy.publish(record(10))
        transport = await nodes.enter(open_transport(identity(30), listen=[LOOPBACK]))
        await transport.dial(bootstrap.addresses)
        theirs = KadDHT(
            transport.host,
            DHTMode.CLIENT,
            validator=NamespacedValidator({"cocoon": AnyRecord()}, strict_validation=True),
            validator_changed=True,
        )
        await theirs.routing_table.add_peer(ID(bootstrap.peer_id), skip_server_mode_check=True)
        await nodes.enter(background_trio_service(theirs))
        value = await theirs.get_value(KEYS.record_of(identity(10).peer_id).decode())
        providers = await theirs.find_providers(KEYS.shard_of(identity(10).peer_id).hex())
        await theirs.put_value(KEYS.record_of(identity(30).peer_id).decode(), record(30))
        await theirs.provide(KEYS.shard_of(identity(30).peer_id).hex())
        _, client = await nodes.client(20, bootstrap.addresses)

        assert value == record(10)
        assert {info.peer_id for info in providers} == {ID(identity(10).peer_id)}
        assert set(await client.find_proxies()) == {record(10), record(30)}


@pytest.mark.usefixtures("_upstream_speaks_our_protocol")
async def test_our_proxy_and_client_use_upstreams_server() -> None:
    async with network() as nodes:
        transport = await nodes.enter(open_transport(identity(1), listen=[LOOPBACK]))
        theirs = KadDHT(
            transport.host,
            DHTMode.SERVER,
            validator=NamespacedValidator({"cocoon": AnyRecord()}, strict_validation=True),
            validator_changed=True,
        )
        await nodes.enter(background_trio_service(theirs))
        _, proxy = await nodes.start(10, transport.addresses)
        await proxy.publish(record(10))
        _, client = await nodes.client(20, transport.addresses)

        assert await client.find_proxies() == (record(10),)
        assert theirs.value_store.get(KEYS.record_of(identity(10).peer_id)) is not None


def test_shards_are_sixteen_multihashes_and_record_keys_name_their_peer() -> None:
    assert KEYS.shards[0][:2] == bytes.fromhex("1220")
    assert len(set(KEYS.shards)) == 16
    assert KEYS.peer_of(KEYS.record_of(identity(1).peer_id)) == identity(1).peer_id
