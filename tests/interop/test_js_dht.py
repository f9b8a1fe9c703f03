"""js-libp2p's Kademlia on our protocol id: records and announcements in both directions."""

import time
from collections.abc import Callable

import pytest
import trio

from cocoon_p2p.identity import Identity, network_id, parse_peer_id, peer_id_text
from cocoon_p2p.network.libp2p import kad_node
from cocoon_p2p.network.libp2p.kad_keys import KadKeys
from cocoon_p2p.network.libp2p.kad_wire import get_providers, get_value
from cocoon_p2p.protocols.ids import Role
from cocoon_p2p.protocols.papers import encode_signed
from cocoon_p2p.records import dht_key, make_record, make_statement
from tests.interop.scene import NETWORK, US, js_peer, our_server

KEYS = KadKeys(NETWORK)
OTHER = Identity.from_seed(b"\x22" * 32)


def record(identity: Identity, *, sequence: int = 1, age_seconds: float = 0.0) -> bytes:
    now, network = time.time() - age_seconds, network_id(NETWORK)
    statement = make_statement(
        identity, network, role=Role.PROXY, sealing_key=bytes(32), now=now, nonce=bytes(16)
    )
    made = make_record(
        identity,
        network,
        role=Role.PROXY,
        statement=statement,
        addresses=[f"/ip4/127.0.0.1/tcp/4001/p2p/{peer_id_text(identity.peer_id)}"],
        models=[],
        now=now,
        sequence=sequence,
    )
    return encode_signed(made)


async def test_it_verifies_our_record_and_refuses_one_that_was_changed() -> None:
    key, value = dht_key(NETWORK, US.peer_id), record(US, sequence=7)
    forged = bytes((*value[:-1], value[-1] ^ 1))
    rejected = "record rejected: "
    async with js_peer() as js:
        accepted = await js.tell("check", key=key, value=value.hex())
        assert accepted["peer"] == peer_id_text(US.peer_id)
        assert accepted["sequence"] == 7

        assert await js.tell("check", key=key, value=forged.hex()) == {
            "refused": "record rejected: signature"
        }
        assert await js.tell("check", key=dht_key(NETWORK, OTHER.peer_id), value=value.hex()) == {
            "refused": rejected + "peer"
        }
        assert await js.tell("check", key=key, value=record(US, age_seconds=7200).hex()) == {
            "refused": rejected + "dates"
        }


async def test_it_finds_in_our_server_what_we_published() -> None:
    value = record(US)
    async with our_server() as (node, directory), js_peer() as js:
        await js.tell("dial", address=node.addresses[0])
        await wait_until(lambda: directory.servers_known == 1)
        await directory.publish(value)

        assert (await js.tell("get", key=dht_key(NETWORK, US.peer_id)))["value"] == value.hex()
        found = await js.tell("find", peer=peer_id_text(US.peer_id))
        assert found == {"providers": [peer_id_text(US.peer_id)], "errors": []}


async def test_what_we_publish_is_kept_by_it_and_found_there_by_a_third(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # It takes an announcement without an answer, for which nobody waits.
    monkeypatch.setattr(kad_node, "ASK_SECONDS", 1e6)
    value = record(US)
    async with js_peer() as js, our_server((js.addresses[0],)) as (_, directory):
        await wait_until(lambda: directory.servers_known == 1)
        with trio.fail_after(60):
            await directory.publish(value)
        # js-libp2p keeps a provider under its peer id, which it must have been told an address of.
        kept = await js.tell("get", key=dht_key(NETWORK, US.peer_id))

        found = await js.tell("find", peer=peer_id_text(US.peer_id))

    assert kept["value"] == value.hex()
    assert found["providers"] == [peer_id_text(US.peer_id)]


async def test_we_find_what_it_put_and_provided() -> None:
    value = record(OTHER)
    async with our_server() as (node, directory), js_peer() as js:
        await js.tell("dial", address=node.addresses[0])
        await wait_until(lambda: directory.servers_known == 1)
        put = await js.tell("put", key=dht_key(NETWORK, OTHER.peer_id), value=value.hex())
        provided = await js.tell("provide")
        theirs = parse_peer_id(js.peer)
        shard = KEYS.shard_of(theirs)
        own = directory._node.server
        assert own is not None
        asked = await directory._node.ask(theirs, get_value(KEYS.record_of(OTHER.peer_id)))
        named = await directory._node.ask(theirs, get_providers(shard))

        assert put["errors"] == provided["errors"] == []
        assert own.value(KEYS.record_of(OTHER.peer_id)) == value
        assert [entry.peer for entry in own.announced(shard, now=time.time())] == [theirs]
        assert asked.value == value
        assert named.providers == (theirs,)


async def test_a_record_that_it_may_not_put_is_refused() -> None:
    key = dht_key(NETWORK, OTHER.peer_id)
    async with our_server() as (node, directory), js_peer() as js:
        await js.tell("dial", address=node.addresses[0])
        await wait_until(lambda: directory.servers_known == 1)
        put = await js.tell("put", key=key, value=record(US).hex())

        assert put["kept"] == 0
        assert put["errors"]
        own = directory._node.server
        assert own is not None
        assert own.value(KEYS.record_of(OTHER.peer_id)) is None


async def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for another process, which has its own time."""
    with trio.fail_after(30):
        while not holds():  # noqa: ASYNC110  what it waits for sets no event
            await trio.sleep(0.02)
