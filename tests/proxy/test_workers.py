"""Workers' sessions: who is taken in, what is believed, and when somebody is gone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import Identity, network_id
from cocoon_p2p.protocols.ids import HEARTBEAT_SECONDS, Reason, Role
from cocoon_p2p.protocols.messages import (
    Chunk,
    Drain,
    Heartbeat,
    Load,
    Part,
    Price,
    Quoted,
    Refused,
    Registered,
    SessionRefused,
    Settled,
    Signed,
)
from cocoon_p2p.records import make_statement
from cocoon_p2p.scheduling import STALE_SECONDS
from tests.proxy.scene import NETWORK, OFFER, OTHER, POLICY, PROXY, WORKER, HandWorker, Scene, now, scene

STATEMENT = {"sealing_key": bytes(32), "nonce": bytes(16)}


def forged(signed: Signed) -> Signed:
    return Signed(signed.body, bytes(64))


BAD: dict[str, Callable[[HandWorker], object]] = {
    "a record with a false signature": lambda worker: replace(
        worker.papers(), record=forged(worker.papers().record)
    ),
    "a statement with a false signature": lambda worker: replace(
        worker.papers(), statement=forged(worker.papers().statement)
    ),
    "a record that has expired": lambda worker: worker.papers(now=now() - 7_200),
    "a record from the future": lambda worker: worker.papers(now=now() + 600),
    "a proxy's record": lambda worker: worker.papers(role=Role.PROXY),
    "another's papers": lambda worker: HandWorker.papers(_Namesake(OTHER), OFFER),  # type: ignore[arg-type]
    "another statement than the record's": lambda worker: replace(
        worker.papers(),
        statement=make_statement(WORKER, NETWORK, role=Role.WORKER, now=now() + 1, **STATEMENT),  # type: ignore[arg-type]
    ),
    "papers of another network": lambda worker: replace(
        worker.papers(),
        statement=make_statement(
            WORKER,
            network_id("other"),
            role=Role.WORKER,
            now=now(),
            **STATEMENT,  # type: ignore[arg-type]
        ),
    ),
    "a load before the papers": lambda worker: Load(1, 1, 0),
    "something else": lambda worker: Heartbeat(b"x" * 16, 0),
}


class _Namesake:
    def __init__(self, identity: Identity) -> None:
        self.identity = identity


@pytest.mark.parametrize("what", BAD)
async def test_a_worker_with_papers_that_do_not_hold_is_refused(what: str, autojump_clock: MockClock) -> None:
    async with scene(is_registered=False) as stage:
        session = await stage.worker.open_session()

        await session.send(BAD[what](stage.worker))

        answer = await session.receive()
        assert isinstance(answer, SessionRefused)
        assert answer.reason is Reason.MALFORMED
        assert stage.proxy.workers == ()


async def test_a_worker_that_registers_is_offered(autojump_clock: MockClock) -> None:
    async with scene(is_registered=False) as stage:
        registered = await stage.worker.register(sequence=7)

        (standing,) = stage.proxy.workers
        assert registered == Registered(7)
        assert (standing.peer, standing.offers, standing.slots_free) == (WORKER.peer_id, (OFFER,), 2)


async def test_a_worker_is_protected_while_it_stands(autojump_clock: MockClock) -> None:
    async with scene(is_registered=False) as stage:
        protected = stage.network.transports[PROXY.peer_id].protected
        session = await stage.worker.open_session()
        assert not protected

        await stage.worker.register()
        await stage.proxy.wait_workers(1)
        assert protected == {(WORKER.peer_id, "worker")}

        stage.network.cut(WORKER.peer_id, PROXY.peer_id)
        await trio.testing.wait_all_tasks_blocked()
        assert not protected
        session.reset()


async def test_a_worker_says_nothing_for_ten_seconds_and_is_let_go(autojump_clock: MockClock) -> None:
    async with scene(is_registered=False) as stage:
        session = await stage.worker.open_session()

        with pytest.raises(Unavailable):
            await session.receive()
        assert trio.current_time() == 10


async def test_a_worker_that_falls_silent_is_no_longer_offered(autojump_clock: MockClock) -> None:
    async with scene(is_registered=False) as stage:
        await stage.worker.register()

        await trio.sleep(STALE_SECONDS - 0.1)
        assert len(stage.proxy.workers) == 1
        await trio.sleep(0.5)

        assert stage.proxy.workers == ()


async def test_a_load_each_second_keeps_a_session(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        await trio.sleep(60)

        assert len(stage.proxy.workers) == 1


async def test_a_worker_that_is_cut_off_is_no_longer_offered(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        stage.network.cut(WORKER.peer_id, PROXY.peer_id)
        await stage.settled()

        assert stage.proxy.workers == ()


@pytest.mark.parametrize(
    "message", [Load(3, 2, 0), Load(5_000, 5_000, 0), Registered(1), Heartbeat(b"x" * 16, 0)]
)
async def test_nonsense_ends_a_session(message: object, autojump_clock: MockClock) -> None:
    async with scene(is_registered=False) as stage:
        await stage.worker.register()

        await stage.worker.session.send(message)

        assert isinstance(await stage.worker.session.receive(), SessionRefused)
        assert stage.proxy.workers == ()


async def test_a_newer_record_replaces_the_offer(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        cheap = replace(OFFER, price=Price(1, 1, 1, 1))

        await stage.worker.session.send(stage.worker.papers(cheap, sequence=2))

        assert await stage.worker.session.receive() == Registered(2)
        assert stage.proxy.workers[0].offers == (cheap,)
        assert stage.proxy.workers[0].slots_free == 2


async def test_an_older_record_changes_nothing(autojump_clock: MockClock) -> None:
    async with scene(is_registered=False) as stage:
        await stage.worker.register(sequence=5)

        await stage.worker.session.send(stage.worker.papers(replace(OFFER, name="n"), sequence=4))

        assert await stage.worker.session.receive() == Registered(5)
        assert stage.proxy.workers[0].offers == (OFFER,)


async def test_a_worker_that_drains_is_not_offered_and_ends_what_runs(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        end, job = await stage.begin()

        await stage.worker.session.send(Drain("going away"))
        await stage.settled()

        other = await stage.client.open()
        await other.say(stage.client.ask())
        assert (await other.hear(Refused)).reason is Reason.DRAINING
        await job.say(job.chunk(2, final=True))
        await end.hear(Chunk)
        await job.charge(job.receipt())
        await end.hear(Settled)


async def test_a_new_session_of_a_worker_replaces_the_old_one(autojump_clock: MockClock) -> None:
    async with scene(is_registered=False) as stage:
        await stage.worker.register()
        old = stage.worker.session

        await stage.worker.register(replace(OFFER, name="n"))
        stage.nursery.start_soon(stage.worker.keep_session)
        await trio.sleep(STALE_SECONDS + 1)

        (standing,) = stage.proxy.workers
        assert standing.offers == (replace(OFFER, name="n"),)
        with pytest.raises(Unavailable):
            await old.receive()


async def test_a_proxy_has_room_for_so_many_workers(autojump_clock: MockClock) -> None:
    async with scene(replace(POLICY, workers_max=1)) as stage:
        second = await stage.add_worker(OTHER)
        session = await second.open_session()

        answer = await session.receive()

        assert isinstance(answer, SessionRefused)
        assert answer.reason is Reason.NO_CAPACITY


async def test_a_proxy_that_drains_tells_its_workers_and_takes_none_in(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        await stage.proxy.drain()

        assert isinstance(await stage.worker.session.receive(), Drain)
        second = await stage.add_worker(OTHER)
        answer = await (await second.open_session()).receive()
        assert isinstance(answer, SessionRefused)
        assert answer.reason is Reason.DRAINING


async def refuse_next(stage: Scene, reason: Reason, **changes: Any) -> Refused:
    """Let the worker refuse an exchange, and give what the client hears."""
    ask, end = await stage.ask()
    await end.say(Part(ask.exchange, bytes(16), 0, 0, True, b"sealed"))
    job = await stage.worker.take()
    refused = Refused(ask.exchange, reason, "no", (), 0)
    await job.say(replace(refused, **changes))
    return await end.hear(Refused)


async def test_a_stale_refusal_brings_the_newest_record(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        cheap = replace(OFFER, price=Price(1, 1, 1, 1))
        newest = stage.worker.papers(cheap, sequence=9).record

        await refuse_next(stage, Reason.STALE, newest_record=newest)

        assert stage.proxy.workers[0].offers == (cheap,)


async def test_a_stale_refusal_with_a_false_record_changes_nothing(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        cheap = replace(OFFER, price=Price(1, 1, 1, 1))
        newest = forged(stage.worker.papers(cheap, sequence=9).record)

        await refuse_next(stage, Reason.STALE, newest_record=newest)

        assert stage.proxy.workers[0].offers == (OFFER,)


@pytest.mark.parametrize(
    ("reason", "seconds"), [(Reason.DRAINING, 10), (Reason.CHANNEL_UNKNOWN, 10), (Reason.NO_CAPACITY, 1)]
)
async def test_a_worker_that_refuses_for_itself_is_left_alone_for_a_while(
    reason: Reason, seconds: float, autojump_clock: MockClock
) -> None:
    async with scene() as stage:
        await refuse_next(stage, reason)

        end = await stage.client.open()
        await end.say(stage.client.ask())
        assert (await end.hear(Refused)).candidates[0].reason is Reason.WORKER_LOST
        await trio.sleep(seconds + 0.1)
        await end.say(stage.client.ask())
        await end.hear(Quoted)


async def test_a_worker_that_refuses_a_clients_request_is_offered_on(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        await refuse_next(stage, Reason.TOO_LARGE)

        await stage.ask()


async def test_how_long_a_prompt_took_is_remembered(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        ask, end = await stage.ask()
        await end.say(Part(ask.exchange, bytes(16), 0, 0, True, b"sealed"))
        job = await stage.worker.take()
        stage.nursery.start_soon(end.beat, ask.exchange)
        stage.nursery.start_soon(job.beat, ask.exchange, 1)
        await job.say(job.metered())

        await trio.sleep(2)
        await job.say(job.chunk(1, final=True))
        await job.say(job.receipt())
        while not isinstance(await end.hear(object), Settled):
            pass

        (standing,) = stage.proxy.workers
        pace = standing.paces[ask.model]
        assert (pace.prefill.seconds, pace.decode.tokens) == (pytest.approx(2, abs=0.1), 0)
        assert standing.odds.kept == 1


async def test_who_comes_back_is_no_newcomer(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        await refuse_next(stage, Reason.ENGINE_FAILED)
        (before,) = stage.proxy.workers

        stage.worker.session.reset()
        await stage.settled()
        assert stage.proxy.workers == ()
        await stage.worker.register()
        await stage.proxy.wait_workers(1)

        (after,) = stage.proxy.workers
        assert after.odds == before.odds
        assert after.odds.broken == 1


async def test_a_registration_is_read_in_one_go_with_the_load(autojump_clock: MockClock) -> None:
    async with scene(is_registered=False) as stage:
        stage.nursery.start_soon(_register_later, stage)

        await stage.proxy.wait_workers(1)

        assert trio.current_time() == 2 * HEARTBEAT_SECONDS


async def _register_later(stage: Scene) -> None:
    await trio.sleep(2 * HEARTBEAT_SECONDS)
    await stage.worker.register()
