"""What is held against a worker: what the proxy saw, and nothing that a client can bring about."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.protocols.ids import Outcome, Reason
from cocoon_p2p.protocols.messages import Cancel, Part, Refused, Settled
from cocoon_p2p.proxy.remembering import Remembering
from cocoon_p2p.proxy.session import WorkerSession
from cocoon_p2p.scheduling import OURSELVES, Fault, Witness
from tests.proxy.scene import WORKER, Scene, now, scene
from tests.proxy.test_remembering import newcomer


def faults(stage: Scene) -> Sequence[Fault]:
    (standing,) = stage.proxy.workers
    return [fault for fault, count in standing.odds.faults if count]


def rests(stage: Scene) -> bool:
    (standing,) = stage.proxy.workers
    return standing.rests_until > trio.current_time()


async def test_a_client_that_cancels_says_nothing_of_the_worker(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        end, job = await stage.begin()
        await end.say(Cancel(job.exchange, Reason.CANCELLED))
        await job.hear(Cancel)
        await job.charge(job.receipt(Outcome.CANCELLED))
        await end.hear(Settled)

        (standing,) = stage.proxy.workers
        assert not faults(stage)
        assert not rests(stage)
        assert standing.odds.kept == 0


async def test_a_client_that_disappears_says_nothing_of_the_worker(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        end, job = await stage.begin()
        end.stream.reset()
        await job.hear(Cancel)
        await job.charge(job.receipt(Outcome.CANCELLED))
        await stage.settled()

        assert not faults(stage)
        assert not rests(stage)


async def test_a_worker_that_goes_because_its_client_does_not_read_is_not_blamed(
    autojump_clock: MockClock,
) -> None:
    async with scene() as stage:
        ask = stage.client.ask(max_cost=10_000_000, completion_tokens_max=4_000)
        _, job = await stage.begin(ask, hold=9_000_000)

        with trio.move_on_after(3):
            for tokens in range(2, 60):
                await job.say(job.chunk(tokens, size=60_000))
        assert stage.proxy.running == 1
        job.stream.reset()
        await stage.settled()

        assert not faults(stage)
        assert not rests(stage)


async def test_a_worker_that_goes_while_its_client_reads_is_blamed(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        end, job = await stage.begin()

        job.stream.reset()
        await end.hear(Settled)

        assert faults(stage) == [Fault.LOST]
        assert rests(stage)


@pytest.mark.parametrize(
    "reason",
    [Reason.MALFORMED, Reason.SEAL_BROKEN, Reason.TOO_LARGE, Reason.SESSION_UNKNOWN, Reason.RATE_LIMITED],
)
async def test_nonsense_that_a_client_sealed_is_not_held_against_the_worker(
    autojump_clock: MockClock, reason: Reason
) -> None:
    async with scene() as stage:
        await refused(stage, reason)

        assert not faults(stage)
        assert not rests(stage)


@pytest.mark.parametrize("reason", [Reason.DRAINING, Reason.CHANNEL_UNKNOWN, Reason.STALE])
async def test_an_honest_no_lets_it_rest_and_is_no_fault(autojump_clock: MockClock, reason: Reason) -> None:
    async with scene() as stage:
        await refused(stage, reason)

        assert not faults(stage)
        assert rests(stage)


async def refused(stage: Scene, reason: Reason) -> None:
    ask, end = await stage.ask()
    await end.say(Part(ask.exchange, bytes(16), 0, 0, True, b"sealed"))
    job = await stage.worker.take()
    await job.hear(Part)
    await job.say(Refused(job.exchange, reason, "no", (), 0))
    await end.hear(Refused)


async def test_a_proxy_that_stops_blames_nobody(autojump_clock: MockClock) -> None:
    async with scene(remembers=True) as stage:
        await stage.begin()

        stage.serving.cancel()
        await stage.settled()

        after = Remembering(stage.proxy_store, now)
        await after.load()
        (kept,) = (await stage.proxy_store.notes("reputation/")).values()
        assert kept
        assert after.recall(newcomer(WORKER.peer_id), ()).odds.broken == 0


async def test_an_answer_without_a_token_keeps_no_word(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        ask, end = await stage.ask()
        await end.say(Part(ask.exchange, bytes(16), 0, 0, True, b"sealed"))
        job = await stage.worker.take()
        await job.hear(Part)
        await job.say(job.metered(), job.chunk(0, final=True), job.receipt())
        while not isinstance(await end.hear(object), Settled):
            pass

        (standing,) = stage.proxy.workers
        assert standing.odds.kept == 0


async def test_an_engine_that_failed_is_held_against_it(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        end, job = await stage.begin()

        await job.charge(job.receipt(Outcome.FAILED))
        assert isinstance(await end.hear(Settled), Settled)

        assert faults(stage) == [Fault.FAILED]


@pytest.mark.parametrize(
    ("fault", "is_forgiven"),
    [(Fault.CANARY, True), (Fault.MISCOUNTED, True), (Fault.RULES_BROKEN, False), (Fault.LOST, False)],
)
async def test_a_good_answer_to_us_lets_back_in_who_rests_for_a_bad_one_only(
    autojump_clock: MockClock, fault: Fault, is_forgiven: bool
) -> None:
    paper = cast("Any", SimpleNamespace(record=None, statement=None, sequence=0))
    session = WorkerSession(cast("Any", None), paper, newcomer(), paper, lambda _: None)
    now = trio.current_time()
    session.failed(Fault.CANARY, now, rest_seconds=90, by=OURSELVES)
    session.failed(fault, now, rest_seconds=600, by=Witness(b"a client"))

    session.rested(now)

    assert (session.standing.rests_until <= now) is is_forgiven
