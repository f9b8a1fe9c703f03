"""A worker's standing with its proxies: told at once, kept, and found again."""

from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
import trio
import trio.testing

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import Identity, peer_id_text
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.network.transport import Stream
from cocoon_p2p.payments.settlement import open_accounts
from cocoon_p2p.protocols.ids import (
    HEARTBEAT_SECONDS,
    RECORD_LIFETIME_MAX_SECONDS,
    SESSION,
    Reason,
)
from cocoon_p2p.protocols.messages import (
    Chances,
    Drain,
    Heartbeat,
    Load,
    NotChosen,
    Register,
    Registered,
    SessionRefused,
)
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.testing.memory import MemoryNetwork
from cocoon_p2p.testing.store import MemoryStore
from cocoon_p2p.units import Nano
from cocoon_p2p.worker.registration import REDIAL_LAST_SECONDS, REGISTER_SECONDS
from cocoon_p2p.worker.service import PROXIES_MAX, serve_worker
from tests.worker.scene import NETWORK, PRICE, PROXY, STRANGER, WORKER, Dice, now, scene

MockClock = trio.testing.MockClock


async def test_it_registers_before_it_tells_its_load(autojump_clock: MockClock) -> None:
    async with scene(ScriptedEngine(slots=3)) as here:
        first, second, *_ = here.told.messages

        assert isinstance(first, Register)
        assert first.record == here.worker.record
        assert second == Load(3, 3, 0)
        assert here.worker.registered == {PROXY.peer_id}


async def test_the_load_is_told_each_second_and_when_it_changes(autojump_clock: MockClock) -> None:
    async with scene(ScriptedEngine(("a",) * 10, delay_seconds=0.05, slots=1)) as here:
        before = len(here.told.messages)
        await trio.sleep(3.5 * HEARTBEAT_SECONDS)
        idle = here.told.messages[before:]

        before = len(here.told.messages)
        await here.run(here.ask())
        await trio.sleep(0.2)
        busy = here.told.messages[before:]

        assert 3 <= len(idle) <= 4
        assert all(message == Load(1, 1, 0) for message in idle)
        assert busy[0] == Load(0, 1, 0)
        assert busy[-1] == Load(1, 1, 0)


async def test_a_new_price_is_registered_within_a_second(autojump_clock: MockClock) -> None:
    async with scene() as here:
        here.worker.set_prices({"scripted": replace(PRICE, prompt=9)})
        await trio.sleep(1.1 * HEARTBEAT_SECONDS)

        assert here.told.newest().record == here.worker.record


async def test_a_record_is_registered_anew_at_half_its_life(autojump_clock: MockClock) -> None:
    async with scene() as here:
        first = here.told.newest().record
        await trio.sleep(RECORD_LIFETIME_MAX_SECONDS / 2 - 5)
        assert here.told.newest().record == first

        await trio.sleep(10)
        assert here.told.newest().record != first
        assert len(here.told.streams) == 1


async def test_a_lost_connection_is_dialled_again(autojump_clock: MockClock) -> None:
    async with scene() as here:
        here.network.cut(WORKER.peer_id, PROXY.peer_id)
        await here.settled()
        assert here.worker.registered == frozenset()

        with trio.fail_after(1.1):
            await here.worker.wait_registered(PROXY.peer_id)
        assert len(here.told.streams) == 2


async def test_the_proxies_of_a_worker_are_protected_while_it_serves(autojump_clock: MockClock) -> None:
    async with scene() as here:
        protected = here.network.transports[WORKER.peer_id].protected
        assert protected == {(PROXY.peer_id, "proxy")}

        await here.stop()
        await trio.testing.wait_all_tasks_blocked()

        assert not protected


async def test_a_proxy_that_speaks_out_of_turn_is_left(autojump_clock: MockClock) -> None:
    async with scene() as here:
        for message in (Heartbeat(bytes(16), 0), Registered(2**62)):  # type: ignore[arg-type]
            await here.told.streams[-1].send(message)
            await here.settled()
            assert here.worker.registered == frozenset()
            await here.worker.wait_registered(PROXY.peer_id)


async def test_a_proxy_that_drains_keeps_its_session(autojump_clock: MockClock) -> None:
    async with scene() as here:
        await here.told.streams[0].send(Drain("going away"))
        await trio.sleep(3)

        assert here.worker.registered == {PROXY.peer_id}


async def test_a_proxy_that_refuses_is_asked_ever_more_rarely(autojump_clock: MockClock) -> None:
    asked: list[float] = []

    async def refuse(stream: Stream) -> None:
        messages = MessageStream(stream)
        await messages.receive()
        asked.append(trio.current_time())
        await messages.send(SessionRefused(Reason.WRONG_NETWORK, "another network"))

    await _meet(refuse, seconds=600)

    pauses = [after - before for before, after in pairwise(asked)]
    assert pauses[0] < 3
    assert REDIAL_LAST_SECONDS / 2 <= pauses[-1] <= REDIAL_LAST_SECONDS
    assert len(asked) < 25


async def test_a_proxy_that_does_not_answer_is_left_after_a_while(autojump_clock: MockClock) -> None:
    asked: list[float] = []

    async def say_nothing(stream: Stream) -> None:
        asked.append(trio.current_time())
        await trio.sleep_forever()

    await _meet(say_nothing, seconds=REGISTER_SECONDS + 5)

    assert len(asked) == 2


async def _meet(acceptor: object, *, seconds: float) -> None:
    """Let a worker run beside a proxy that behaves like this."""
    async with MemoryNetwork() as network, trio.open_nursery() as nursery:
        near, proxy = network.transport(WORKER, listen=False), network.transport(PROXY)
        proxy.accept_streams(SESSION, acceptor)  # type: ignore[arg-type]
        async with open_accounts(
            near, WORKER, NETWORK, MemoryStore(), grant_policy=lambda _: Nano(0), draw=Dice(), clock=now
        ) as accounts:
            serve = partial(
                serve_worker,
                transport=near,
                identity=WORKER,
                network=NETWORK,
                engine=ScriptedEngine(),
                accounts=accounts,
                proxies=[proxy.addresses],
                prices={"scripted": PRICE},
                now=now,
                draw=Dice(),
            )
            nursery.start_soon(serve)
            await trio.sleep(seconds)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("addresses", [["/ip4/127.0.0.1/tcp/1"], [], "two"])
async def test_a_proxys_addresses_must_name_one_peer(
    addresses: list[str] | str, autojump_clock: MockClock
) -> None:
    async with MemoryNetwork() as network:
        near = network.transport(WORKER, listen=False)
        if addresses == "two":
            others = (network.transport(PROXY), network.transport(STRANGER))
            addresses = [address for other in others for address in other.addresses]
        async with open_accounts(
            near, WORKER, NETWORK, MemoryStore(), grant_policy=lambda _: Nano(0), draw=Dice(), clock=now
        ) as accounts:
            with pytest.raises(ConfigurationError):
                await serve_worker(
                    transport=near,
                    identity=WORKER,
                    network=NETWORK,
                    engine=ScriptedEngine(),
                    accounts=accounts,
                    proxies=[addresses],
                    prices={"scripted": PRICE},
                    now=now,
                    draw=Dice(),
                )


async def test_dead_names_hold_no_place_for_ever(autojump_clock: MockClock) -> None:
    async with scene() as here:
        dead = [Identity.from_seed(bytes([200, number] * 16)).peer_id for number in range(PROXIES_MAX)]

        assert all(here.worker.join(peer, [f"/memory/1/p2p/{peer_id_text(peer)}"]) for peer in dead)

        # The live one stays; of the dead the one that was tried for longest made room for the last.
        assert here.worker.proxies == {PROXY.peer_id, *dead[1:]}
        assert await here.worker.wait_registered(PROXY.peer_id)
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(here.worker.wait_registered, dead[1])
                await trio.testing.wait_all_tasks_blocked()
                here.worker.join(dead[0], [f"/memory/1/p2p/{peer_id_text(dead[0])}"])


async def test_who_waits_for_a_proxy_that_was_left_meanwhile_is_told_so(autojump_clock: MockClock) -> None:
    async with scene() as here:
        dead = [Identity.from_seed(bytes([201, number] * 16)).peer_id for number in range(PROXIES_MAX)]
        for peer in dead:
            here.worker.join(peer, [f"/memory/1/p2p/{peer_id_text(peer)}"])

        with trio.fail_after(5):
            assert not await here.worker.wait_registered(dead[0])


async def test_a_proxy_that_is_known_already_only_gets_its_newest_addresses(
    autojump_clock: MockClock,
) -> None:
    async with scene() as here:
        assert not here.worker.join(PROXY.peer_id, ["/memory/2/p2p/x"])
        assert here.worker.registered == {PROXY.peer_id}


async def test_a_proxy_that_turns_out_to_be_elsewhere_is_dialled_there_at_once(
    autojump_clock: MockClock,
) -> None:
    name = peer_id_text(STRANGER.peer_id)
    came = trio.Event()

    async def hear(stream: Stream) -> None:
        came.set()
        await trio.sleep_forever()

    async with scene() as here:
        here.worker.join(STRANGER.peer_id, [f"/memory/1/p2p/{name}"])
        # By now it is dialled once a minute.
        await trio.sleep(10 * REDIAL_LAST_SECONDS)
        here.network.transport(STRANGER).accept_streams(SESSION, hear)
        began = trio.current_time()

        here.worker.join(STRANGER.peer_id, [f"/memory/2/p2p/{name}"])
        await came.wait()

        assert trio.current_time() - began < 1


async def test_what_a_proxy_says_of_its_chances_is_kept_for_its_owner(autojump_clock: MockClock) -> None:
    async with scene() as here:
        # The number is a reason that this worker's version does not know.
        chances = Chances(60, 9, 2, (NotChosen(200, 7),), 1_500)
        await here.told.streams[-1].send(Registered(0, chances))
        await here.settled()

        (standing,) = here.worker.standings
        assert standing.chances == chances
        assert here.worker.registered == {PROXY.peer_id}


async def test_a_proxy_that_says_nothing_of_its_chances_is_none_the_worse(autojump_clock: MockClock) -> None:
    async with scene() as here:
        (standing,) = here.worker.standings

        assert standing.is_registered
        assert standing.chances is None
