"""Asks that find no free slot: who is let wait, what each hears, and who gets the next one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import Identity
from cocoon_p2p.payments.settlement import open_accounts
from cocoon_p2p.protocols.exchange.pulse import LOST_SECONDS
from cocoon_p2p.protocols.ids import UNCLAIMED_RESERVATIONS_MAX, Reason
from cocoon_p2p.protocols.messages import (
    Ask,
    Assign,
    Cancel,
    Chunk,
    Drain,
    Heartbeat,
    Load,
    Part,
    Quoted,
    Refused,
    Settled,
)
from cocoon_p2p.proxy import admission, clients
from cocoon_p2p.scheduling import pick
from cocoon_p2p.testing.store import MemoryStore
from cocoon_p2p.units import Nano
from tests.proxy.scene import NETWORK, OFFER, OTHER, POLICY, PRICE, End, HandClient, Job, Scene, now, scene

PATIENT_MS = 50_000


class Running:
    """An exchange that has a slot, and stays alive until it is finished."""

    def __init__(self, end: End, job: Job) -> None:
        self.end = end
        self.job = job
        self._alive = trio.CancelScope()

    async def live(self) -> None:
        with self._alive:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.end.beat, self.job.exchange)
                nursery.start_soon(self.job.beat, self.job.exchange, 1)

    async def finish(self) -> None:
        """Bring it to its end: its slot is free then."""
        self._alive.cancel()
        await self.job.say(self.job.chunk(2, final=True))
        await self.end.hear(Chunk)
        await self.job.charge(self.job.receipt())
        await self.end.hear(Settled)


@asynccontextmanager
async def full(**policy: Any) -> AsyncIterator[tuple[Scene, list[Running]]]:
    """A proxy whose worker has two slots, both taken."""
    async with scene(replace(POLICY, **policy)) as stage:
        taken = [Running(*await stage.begin()), Running(*await stage.begin())]
        for running in taken:
            stage.nursery.start_soon(running.live)
        yield stage, taken


async def wait(stage: Scene, client: HandClient | None = None, **changes: Any) -> tuple[Ask, End]:
    """Ask for a slot that is not free, and stay alive in line."""
    client = client or stage.client
    ask, end = client.ask(**{"wait_ms": PATIENT_MS, "deadline_ms": 100_000, **changes}), await client.open()
    await end.say(ask)
    stage.nursery.start_soon(end.beat, ask.exchange)
    await stage.settled()
    return ask, end


@asynccontextmanager
async def another(stage: Scene) -> AsyncIterator[HandClient]:
    """Another client with a channel to the proxy."""
    transport = stage.network.transport(OTHER, listen=False)
    await stage.dial(transport)
    async with open_accounts(
        transport, OTHER, NETWORK, MemoryStore(), grant_policy=lambda _: Nano(0), clock=now
    ) as accounts:
        client = HandClient(transport, accounts, stage.dice)
        await client.open_channel()
        yield client


async def is_quoted(end: End) -> bool:
    """Say whether a quote has come by now."""
    with trio.move_on_after(0.01):
        await end.hear(Quoted)
        return True
    return False


# ---------------------------------------------------------------- waiting


async def test_a_refusal_says_how_long_a_wait_is_expected_to_take(autojump_clock: MockClock) -> None:
    async with full() as (stage, _):
        end = await stage.client.open()
        await end.say(stage.client.ask())

        answer = await end.hear(Refused)

        assert answer.reason is Reason.NO_CAPACITY
        assert answer.wait_ms == answer.retry_after_ms
        assert stage.proxy.waiting == 0


async def test_an_ask_that_waits_is_quoted_once_a_slot_is_free(autojump_clock: MockClock) -> None:
    async with full() as (stage, taken):
        ask, end = await wait(stage)
        assert stage.proxy.waiting == 1
        await trio.sleep(10.5)
        assert stage.proxy.waiting == 1

        await taken[0].finish()
        await end.hear(Quoted)

        assert (stage.proxy.waiting, stage.proxy.running) == (0, 2)
        stage.client.hold(ask, 1_000)
        await end.say(Part(ask.exchange, bytes(16), 0, 0, True, b"sealed"))
        assign = await End(taken[0].job.stream).hear(Assign)
        # Its deadline has run all the while.
        assert 88_500 <= assign.deadline_ms <= 89_500


async def test_who_waits_hears_at_once_and_each_second_that_it_does(autojump_clock: MockClock) -> None:
    async with full() as (stage, _):
        ask, end = await wait(stage)

        for second in range(5):
            with trio.fail_after(1.01 if second else 0.01):
                assert await end.stream.receive() == Heartbeat(ask.exchange, 0)
            if not second:
                # Whoever comes first is told twice: that it waits, and that time begins to count.
                await end.stream.receive()


async def test_waiting_holds_no_slot_and_no_credit_and_costs_nothing(autojump_clock: MockClock) -> None:
    async with full() as (stage, _):
        (account,) = stage.proxy_accounts.payers()
        before = stage.charged(), account.credit, stage.proxy.workers[0].slots_free, stage.proxy.running

        for _ in range(3):
            await wait(stage)
        await trio.sleep(4)

        assert stage.proxy.waiting == 3
        after = stage.charged(), account.credit, stage.proxy.workers[0].slots_free, stage.proxy.running
        assert after == before


async def test_a_worker_that_drains_gets_no_more_and_who_waits_for_it_is_told(
    autojump_clock: MockClock,
) -> None:
    async with full() as (stage, taken):
        _, end = await wait(stage)

        await stage.worker.session.send(Drain("new image"))
        for running in taken:
            await running.finish()

        assert (await end.hear(Refused)).reason is Reason.WORKER_LOST
        assert (stage.proxy.waiting, stage.proxy.running) == (0, 0)


async def test_a_client_with_little_load_is_not_behind_all_of_a_flood(autojump_clock: MockClock) -> None:
    async with full() as (stage, taken), another(stage) as light:
        flood = [(await wait(stage))[1] for _ in range(6)]
        _, its = await wait(stage, light)

        await taken[0].finish()
        assert await is_quoted(flood[0])
        assert not await is_quoted(its)
        await taken[1].finish()

        assert await is_quoted(its)
        assert not await is_quoted(flood[1])


async def test_a_new_ask_takes_no_slot_that_others_wait_for(autojump_clock: MockClock) -> None:
    async with full() as (stage, _), another(stage) as late:
        _, waiting = await wait(stage)
        end = await late.open()

        await stage.worker.session.send(Load(1, 3, 0))
        await end.say(late.ask())

        assert (await end.hear(Refused)).reason is Reason.NO_CAPACITY
        assert await is_quoted(waiting)


async def test_a_client_with_unused_quotes_is_passed_over_until_it_uses_one(
    autojump_clock: MockClock,
) -> None:
    async with full() as (stage, _), another(stage) as light:
        first = [await wait(stage) for _ in range(UNCLAIMED_RESERVATIONS_MAX + 1)]
        _, its = await wait(stage, light)

        await stage.worker.tell_load(7, 9)
        assert [await is_quoted(end) for _, end in first] == [True] * UNCLAIMED_RESERVATIONS_MAX + [False]
        assert await is_quoted(its)
        ask, end = first[0]
        stage.client.hold(ask, 500)
        await end.say(Part(ask.exchange, bytes(16), 0, 0, True, b"sealed"))

        assert await is_quoted(first[-1][1])


async def test_who_was_passed_over_is_looked_at_for_what_is_new_only(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = list[Ask]()

    def counted(ask: Ask, *args: Any, **kwargs: Any) -> Any:
        looks.append(ask)
        return pick(ask, *args, **kwargs)

    monkeypatch.setattr(clients, "pick", counted)
    async with full() as (stage, _):
        dear = await stage.add_worker(Identity.from_seed(b"9" * 32))
        dear.slots = (0, 1)
        await dear.register(replace(OFFER, price=replace(PRICE, prompt=10**9)))
        ends = [(await wait(stage))[1] for _ in range(3)]
        looks.clear()
        for _ in range(4):
            await dear.tell_load(1, 1)
            await dear.tell_load(0, 1)
        assert len(looks) == 3, "each once, while the dear one has opened four times"

        await dear.tell_load(1, 1)
        await stage.worker.tell_load(3, 3)
        assert await is_quoted(ends[0])
        await trio.sleep(1.5)
        assert len({ask.exchange for ask in looks}) == 3, "and each second all are looked at again"


# ---------------------------------------------------------------- in vain


async def test_who_would_not_start_in_time_is_refused_at_once(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "SURE_SECONDS", 0.0)
    async with full() as (stage, _):
        began = trio.current_time()
        for changes in ({"wait_ms": 500}, {"deadline_ms": 4_000}):
            end = await stage.client.open()
            await end.say(stage.client.ask(**{"wait_ms": PATIENT_MS, **changes}))

            answer = await end.hear(Refused)

            assert (answer.reason, answer.wait_ms) == (Reason.NO_CAPACITY, None)
            assert answer.retry_after_ms is not None
        assert trio.current_time() == began
        assert stage.proxy.waiting == 0


async def test_who_cannot_start_in_time_any_more_is_told_so_then(autojump_clock: MockClock) -> None:
    async with full() as (stage, _):
        began = trio.current_time()
        _, end = await wait(stage, wait_ms=7_000)

        answer = await end.hear(Refused)

        assert answer.reason is Reason.NO_CAPACITY
        assert answer.retry_after_ms is not None
        assert trio.current_time() == pytest.approx(began + 7)
        assert stage.proxy.waiting == 0


async def test_a_deadline_ends_a_wait_while_an_answer_would_still_fit_in(autojump_clock: MockClock) -> None:
    async with full() as (stage, _):
        began = trio.current_time()
        _, end = await wait(stage, deadline_ms=20_000)

        await end.hear(Refused)

        # By the forecast an answer of 100 tokens takes some five seconds.
        assert 13 < trio.current_time() - began < 16


@pytest.mark.parametrize("is_said", [True, False])
async def test_a_client_that_goes_leaves_the_line(is_said: bool, autojump_clock: MockClock) -> None:
    async with full() as (stage, taken):
        gone, end = await wait(stage)
        _, other = await wait(stage)

        if is_said:
            await end.say(Cancel(gone.exchange, Reason.CANCELLED))
            assert (await end.hear(Refused)).reason is Reason.CANCELLED
        else:
            end.stream.reset()
        await stage.settled()
        assert stage.proxy.waiting == 1
        await taken[0].finish()

        assert await is_quoted(other)


async def test_a_stream_is_good_for_the_next_ask_after_a_wait_that_was_cancelled(
    autojump_clock: MockClock,
) -> None:
    async with full() as (stage, taken):
        gone, end = await wait(stage)
        await end.say(Cancel(gone.exchange, Reason.CANCELLED))
        await end.hear(Refused)

        await taken[0].finish()
        await end.say(stage.client.ask())

        await end.hear(Quoted)


async def test_a_client_that_falls_silent_leaves_the_line(autojump_clock: MockClock) -> None:
    async with full() as (stage, _):
        end = await stage.client.open()
        await end.say(stage.client.ask(wait_ms=PATIENT_MS, deadline_ms=100_000))
        await stage.settled()
        assert stage.proxy.waiting == 1

        await trio.sleep(LOST_SECONDS + 1.5)

        assert stage.proxy.waiting == 0


@pytest.mark.parametrize("is_ask", [True, False])
async def test_who_waits_has_nothing_else_to_say_on_its_stream(
    is_ask: bool, autojump_clock: MockClock
) -> None:
    async with full() as (stage, _):
        ask, end = await wait(stage)

        await end.say(stage.client.ask() if is_ask else Part(ask.exchange, bytes(16), 0, 0, True, b"sealed"))

        with pytest.raises(Unavailable):
            await end.hear(Refused)
        assert stage.proxy.waiting == 0


async def test_an_id_that_waits_is_not_taken_twice(autojump_clock: MockClock) -> None:
    async with full() as (stage, _):
        ask, _end = await wait(stage)
        end = await stage.client.open()

        await end.say(ask)

        assert (await end.hear(Refused)).reason is Reason.ALREADY_RUNNING
        assert stage.proxy.waiting == 1


async def test_a_proxy_that_drains_sends_whoever_waits_elsewhere(autojump_clock: MockClock) -> None:
    async with full() as (stage, _):
        _, end = await wait(stage)

        stage.nursery.start_soon(stage.proxy.drain)

        with trio.fail_after(0.01):
            assert (await end.hear(Refused)).reason is Reason.DRAINING
        assert stage.proxy.waiting == 0


# ---------------------------------------------------------------- bounds


async def test_a_client_has_only_so_many_places(autojump_clock: MockClock) -> None:
    async with full(waiting_per_client_max=2) as (stage, _):
        await wait(stage)
        await wait(stage)

        _, end = await wait(stage)

        answer = await end.hear(Refused)
        assert (answer.reason, answer.wait_ms) == (Reason.NO_CAPACITY, None)
        assert stage.proxy.waiting == 2


async def test_of_a_line_that_is_full_a_newcomer_gets_a_place_of_who_has_many(
    autojump_clock: MockClock,
) -> None:
    async with full(waiting_max=3) as (stage, _), another(stage) as light:
        flood = [(await wait(stage))[1] for _ in range(4)]
        assert (await flood[3].hear(Refused)).reason is Reason.NO_CAPACITY

        await wait(stage, light)
        assert (await flood[2].hear(Refused)).reason is Reason.NO_CAPACITY
        _, second = await wait(stage, light)

        # It would have as many as the other then.
        assert (await second.hear(Refused)).reason is Reason.NO_CAPACITY
        assert stage.proxy.waiting == 3
