"""Nodes of a DHT for `dht.py`, in a process of their own: some servers, or newcomers one after the other.

    _dht_nodes.py ours|stock serve FIRST COUNT PROXIES [BOOTSTRAP ...]
    _dht_nodes.py ours|stock newcome FIRST ROUNDS PROXY BOOTSTRAP [BOOTSTRAP ...]

Servers say where they are when all of them listen, and publish when a line comes. The first PROXIES
of them are proxies. Newcomers say what each took, in seconds. PROXY is the number of one whose record
everybody fetches: ours finds all proxies on the way, stock libp2p is asked for no more than that one.
"""

import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from statistics import median
from typing import Any

import trio

from cocoon_p2p.identity import Identity, PeerId, network_id
from cocoon_p2p.protocols.ids import Role
from cocoon_p2p.protocols.papers import encode_signed
from cocoon_p2p.records import dht_key, make_record, make_statement, shard_key_of

NETWORK = "benchmark"
LISTEN = "/ip4/127.0.0.1/tcp/0"
WARM_GETS = 50

Started = tuple[list[str], Callable[[], Awaitable[None]]]
"Where a server is, and what publishes its record."

Start = Callable[[AsyncExitStack, int, Sequence[str]], Awaitable[Started]]


def identity(number: int) -> Identity:
    return Identity.from_seed(number.to_bytes(32, "big"))


def signed_record(number: int, address: str) -> bytes:
    now, network = time.time(), network_id(NETWORK)
    who = identity(number)
    statement = make_statement(who, network, role=Role.PROXY, sealing_key=bytes(32), now=now, nonce=bytes(16))
    record = make_record(
        who, network, role=Role.PROXY, statement=statement, addresses=[address], models=[], now=now,
        sequence=int(now * 1000),
    )  # fmt: skip
    return encode_signed(record)


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


async def serve(start: Start, first: int, count: int, proxies: int, bootstraps: Sequence[str]) -> None:
    async with AsyncExitStack() as stack:
        started = [await start(stack, first, bootstraps)]
        # The first servers of all know nobody; those beside them know the very first.
        for place in range(1, count):
            started.append(await start(stack, first + place, bootstraps or started[0][0]))
        say(addresses=[addresses[0] for addresses, _ in started])
        await trio.to_thread.run_sync(sys.stdin.readline)
        for _, publish in started[:proxies]:
            await publish()
        say(published=proxies)
        await trio.sleep_forever()


# ---------------------------------------------------------------- ours


async def start_ours(stack: AsyncExitStack, number: int, bootstraps: Sequence[str]) -> Started:
    from cocoon_p2p.network.libp2p.host import open_transport
    from cocoon_p2p.network.libp2p.kad import open_directory

    transport = await stack.enter_async_context(open_transport(identity(number), listen=[LISTEN]))
    directory = await stack.enter_async_context(
        open_directory(transport, network_name=NETWORK, mode="server", bootstrap=bootstraps)
    )

    async def publish() -> None:
        await directory.publish(signed_record(number, transport.addresses[0]))

    return list(transport.addresses), publish


async def newcome_ours(first: int, rounds: int, proxy: int, bootstraps: Sequence[str]) -> None:
    from cocoon_p2p.network.libp2p.host import open_transport
    from cocoon_p2p.network.libp2p.kad import open_directory

    for number in range(first, first + rounds):
        began, began_cpu = time.perf_counter(), time.process_time()
        async with (
            open_transport(identity(number)) as transport,
            open_directory(transport, network_name=NETWORK, mode="client", bootstrap=bootstraps) as directory,
        ):
            found = await directory.find_proxies()
            found_seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
            gets: list[float] = []
            for _ in range(WARM_GETS):
                began = time.perf_counter()
                is_there = await directory.find(PeerId(identity(proxy).peer_id)) is not None
                gets.append(time.perf_counter() - began)
            say(
                found=len(found),
                seconds=found_seconds,
                cpu_seconds=cpu_seconds,
                get_seconds=median(gets),
                is_there=is_there,
            )


# ---------------------------------------------------------------- stock


async def start_stock(stack: AsyncExitStack, number: int, bootstraps: Sequence[str]) -> Started:
    host, dht = await open_stock(stack, number, bootstraps, is_server=True)
    address = str(host.get_addrs()[0])
    peer = identity(number).peer_id

    async def publish() -> None:
        await dht.put_value(dht_key(NETWORK, peer), signed_record(number, address))
        await dht.provide(shard_key_of(NETWORK, peer))

    return [address], publish


async def open_stock(
    stack: AsyncExitStack, number: int, bootstraps: Sequence[str], *, is_server: bool
) -> tuple[Any, Any]:
    """Open a stock node: its host and its Kademlia. Any: libp2p may be loaded by a node of its kind only."""
    from libp2p import new_host
    from libp2p.crypto.ed25519 import create_new_key_pair
    from libp2p.exceptions import BaseLibp2pError
    from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
    from libp2p.peer.peerinfo import info_from_p2p_addr
    from libp2p.records.validator import NamespacedValidator, Validator
    from libp2p.tools.anyio_service import background_trio_service
    from multiaddr import Multiaddr

    class Anything(Validator):
        def validate(self, key: str, value: bytes) -> None:
            pass

        def select(self, key: str, values: list[bytes]) -> int:
            return 0

    host = new_host(key_pair=create_new_key_pair(identity(number).seed))
    await stack.enter_async_context(host.run(listen_addrs=[Multiaddr(LISTEN)]))
    dht = KadDHT(
        host,
        DHTMode.SERVER if is_server else DHTMode.CLIENT,
        validator=NamespacedValidator({"cocoon": Anything()}, strict_validation=True),
        validator_changed=True,
    )
    await stack.enter_async_context(background_trio_service(dht))
    for text in bootstraps:
        info = info_from_p2p_addr(Multiaddr(text))
        # One bootstrap of two may be dead.
        with suppress(BaseLibp2pError):
            await host.connect(info)
            await dht.add_peer(info.peer_id)
    return host, dht


async def newcome_stock(first: int, rounds: int, proxy: int, bootstraps: Sequence[str]) -> None:
    peer = identity(proxy).peer_id
    for number in range(first, first + rounds):
        began, began_cpu = time.perf_counter(), time.process_time()
        async with AsyncExitStack() as stack:
            _, dht = await open_stock(stack, number, bootstraps, is_server=False)
            found = await dht.find_providers(shard_key_of(NETWORK, peer))
            is_there = await dht.get_value(dht_key(NETWORK, peer)) is not None
            say(
                found=len(found),
                seconds=time.perf_counter() - began,
                cpu_seconds=time.process_time() - began_cpu,
                get_seconds=None,
                is_there=is_there,
            )


def main() -> None:
    kind, what, first, count, proxies, *bootstraps = sys.argv[1:]
    numbers = int(first), int(count), int(proxies)
    if what == "serve":
        trio.run(serve, start_ours if kind == "ours" else start_stock, *numbers, bootstraps)
    else:
        trio.run(newcome_ours if kind == "ours" else newcome_stock, *numbers, bootstraps)


main()
