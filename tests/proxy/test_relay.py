"""An exchange through a proxy from end to end: what passes, and what is paid."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.errors import Refused as RefusedError
from cocoon_p2p.protocols.ids import COVER_SECONDS, HEARTBEAT_SECONDS, TAKE_SECONDS, Outcome, Reason
from cocoon_p2p.protocols.messages import (
    Accept,
    Allow,
    Cancel,
    Chunk,
    Heartbeat,
    Hello,
    Load,
    Part,
    PromptMetered,
    Receipted,
    Refused,
    Settled,
)
from cocoon_p2p.testing.memory import Fate
from cocoon_p2p.units import Nano
from tests.proxy.scene import CLIENT, OTHER, POLICY, PROXY, WORKER, Job, scene, usage


async def test_an_exchange_is_carried_and_both_sides_are_charged(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        ask, end = await stage.ask()
        hello, part = Hello(ask.exchange, b"hello"), Part(ask.exchange, bytes(16), 0, 0, True, b"sealed")

        await end.say(hello)
        job = await stage.worker.take()
        assert await job.hear(Hello) == hello
        accept = Accept(ask.exchange, b"accept", bytes(64))
        await job.say(accept)
        assert await end.hear(Accept) == accept
        await end.say(part)
        assert await job.hear(Part) == part
        await job.say(job.metered())
        assert (await end.hear(PromptMetered)).usage == job.usage
        await job.account.cover(ask.exchange, Nano(30))
        chunks = [job.chunk(1, signed=True), job.chunk(2, final=True)]
        await job.say(*chunks)
        assert [await end.hear(Chunk), await end.hear(Chunk)] == chunks
        await job.charge(job.receipt())
        settlement = await stage.client.pay(await end.hear(Settled))

        assert settlement.outcome is Outcome.COMPLETED
        assert (settlement.worker_amount, settlement.commission) == (30, 1)
        assert (settlement.worker_charged, settlement.client_charged) == (30, 31)
        assert stage.charged() == stage.owed(30)
        assert stage.proxy.running == 0


async def test_the_streams_carry_one_exchange_after_another(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        end, job = await stage.begin()
        await job.say(job.chunk(2, final=True))
        await job.charge(job.receipt())
        await end.hear(Chunk)
        await stage.client.pay(await end.hear(Settled))

        again = stage.client.ask()
        await end.say(again)
        await end.hear(type(end.heard[0]))
        stage.client.hold(again, 1_000)
        await end.say(Part(again.exchange, bytes(16), 1, 0, True, b"sealed"))
        second = await stage.worker.take(job.stream)
        await second.hear(Part)

        assert second.exchange == again.exchange
        assert second.assign.channel == job.assign.channel


async def test_two_exchanges_run_at_once_and_add_up(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        (first, one), (second, two) = await stage.begin(), await stage.begin()

        for end, job, tokens in ((second, two, 5), (first, one, 3)):
            await job.say(job.chunk(tokens, final=True))
            await job.charge(job.receipt())
            await end.hear(Chunk)
            await stage.client.pay(await end.hear(Settled))

        assert stage.charged() == (60 + 40, 63 + 42)


# ---------------------------------------------------------------- cancel and loss


async def test_a_cancelled_exchange_is_charged_for_what_was_done(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        end, job = await stage.begin()

        await end.say(Cancel(job.exchange, Reason.CANCELLED))
        await job.hear(Cancel)
        under_way = job.chunk(4)
        await job.say(under_way)
        await job.charge(job.receipt(Outcome.CANCELLED))

        assert await end.hear(Chunk) == under_way
        settled = await end.hear(Settled)
        assert settled.reason is Reason.CANCELLED
        await stage.client.pay(settled)
        assert stage.charged() == stage.owed(50)


async def test_a_client_that_vanishes_is_charged_and_can_ask_for_the_paper(
    autojump_clock: MockClock,
) -> None:
    async with scene() as stage:
        _end, job = await stage.begin()

        stage.network.cut(CLIENT.peer_id, PROXY.peer_id)
        cancel = await job.hear(Cancel)
        await job.charge(job.receipt(Outcome.CANCELLED))
        await stage.dial()
        paper = await stage.client.account.paper(job.exchange)

        assert cancel.reason is Reason.CLIENT_LOST
        assert stage.charged() == stage.owed(20)
        assert paper is not None
        assert paper.settlement is not None
        settlement = await stage.client.pay(Settled(job.exchange, paper.settlement))
        assert settlement.outcome is Outcome.CANCELLED


async def test_a_client_that_asks_how_a_running_exchange_ended_has_lost_it(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        end, job = await stage.begin(hold=100)
        before = trio.current_time()
        # It has another address by now, and the proxy does not know yet.
        with pytest.raises(RefusedError) as raised:
            await stage.client.account.paper(job.exchange)
        assert raised.value.code == Reason.ALREADY_RUNNING.code
        # What it vouchers for the next is not for this one.
        stage.client.hold(stage.client.ask(), 10_000)
        await job.hear(Cancel)
        assert trio.current_time() - before < HEARTBEAT_SECONDS
        await job.say(job.chunk(4))
        await job.charge(job.receipt(Outcome.CANCELLED))
        await stage.settled()

        paper = await stage.client.account.paper(job.exchange)
        assert paper is not None
        assert paper.settlement is not None
        settlement = await stage.client.pay(Settled(job.exchange, paper.settlement))
        assert settlement.outcome is Outcome.CANCELLED
        assert settlement.worker_amount + settlement.commission <= 100
        with pytest.raises(Unavailable):
            await end.hear(Settled)


async def test_a_client_whose_link_dies_silently_is_found_out(
    autojump_clock: MockClock,
) -> None:
    async with scene() as stage:
        _end, job = await stage.begin()
        stage.nursery.start_soon(job.beat, job.exchange)

        stage.network.partition(CLIENT.peer_id, PROXY.peer_id)
        before = trio.current_time()

        assert (await job.hear(Cancel)).reason is Reason.CLIENT_LOST
        assert trio.current_time() - before <= 4


async def test_a_worker_that_vanishes_in_mid_stream_is_paid_by_its_meter(
    autojump_clock: MockClock,
) -> None:
    async with scene() as stage:
        end, job = await stage.begin()
        await job.say(job.chunk(3, signed=True), job.chunk(7))
        await end.hear(Chunk)
        await end.hear(Chunk)

        stage.network.cut(WORKER.peer_id, PROXY.peer_id)

        settled = await end.hear(Settled)
        assert settled.reason is Reason.WORKER_LOST
        settlement = await stage.client.pay(settled)
        assert settlement.outcome is Outcome.FAILED
        assert settlement.meter is not None
        assert settlement.receipt is None
        assert stage.charged() == stage.owed(30)


async def test_a_worker_that_vanishes_before_its_first_token_costs_nothing(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        ask, end = await stage.ask()
        await end.say(Part(ask.exchange, bytes(16), 0, 0, True, b"sealed"))
        job = await stage.worker.take()
        await job.say(job.metered())
        await end.hear(PromptMetered)

        stage.network.cut(WORKER.peer_id, PROXY.peer_id)

        assert (await end.hear(Refused)).reason is Reason.WORKER_LOST
        assert stage.charged() == (0, 0)
        assert stage.proxy.running == 0
        await end.say(stage.client.ask())
        assert (await end.hear(Refused)).reason is Reason.UNKNOWN_MODEL


async def test_a_worker_whose_link_dies_silently_is_found_out(
    autojump_clock: MockClock,
) -> None:
    async with scene() as stage:
        end, job = await stage.begin()
        stage.nursery.start_soon(end.beat, job.exchange)

        stage.network.partition(WORKER.peer_id, PROXY.peer_id)
        before = trio.current_time()

        assert (await end.hear(Settled)).reason is Reason.WORKER_LOST
        assert trio.current_time() - before <= 4


async def test_heartbeats_keep_an_exchange_alive_for_as_long_as_it_takes(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        end, job = await stage.begin(stage.client.ask(deadline_ms=600_000))
        stage.nursery.start_soon(end.beat, job.exchange)
        stage.nursery.start_soon(job.beat, job.exchange, 1)

        await trio.sleep(120)

        await job.say(job.chunk(2, final=True))
        await end.hear(Chunk)
        await job.charge(job.receipt())
        await end.hear(Settled)


async def test_a_deadline_cancels_at_the_worker(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        end, job = await stage.begin(stage.client.ask(deadline_ms=5_000))
        stage.nursery.start_soon(end.beat, job.exchange)
        stage.nursery.start_soon(job.beat, job.exchange, 1)

        assert job.assign.deadline_ms == 5_000
        assert (await job.hear(Cancel)).reason is Reason.DEADLINE
        assert trio.current_time() == 5
        await job.charge(job.receipt(Outcome.CANCELLED))
        assert (await end.hear(Settled)).reason is Reason.DEADLINE


async def test_the_time_that_a_quote_lay_unused_is_taken_off_the_deadline(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        ask, end = await stage.ask()
        await trio.sleep(2)

        await end.say(Part(ask.exchange, bytes(16), 0, 0, True, b"sealed"))

        assert (await stage.worker.take()).assign.deadline_ms == 58_000


# ---------------------------------------------------------------- credit


async def test_a_worker_hears_nothing_before_the_prompts_bound_is_covered(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        ask, end = await stage.ask(hold=20)
        await end.say(Part(ask.exchange, bytes(16), 0, 0, True, b"sealed"))
        await stage.settled()
        assert stage.proxy_accounts.payees() == ()

        stage.client.hold(ask, 21)

        assert (await stage.worker.take()).exchange == ask.exchange


async def test_a_client_without_credit_is_refused_and_told_what_it_needs(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        ask, end = await stage.ask(hold=0)
        stage.nursery.start_soon(end.beat, ask.exchange)

        await end.say(Part(ask.exchange, bytes(16), 0, 0, True, b"sealed"))

        refused = await end.hear(Refused)
        assert (refused.reason, refused.need) == (Reason.NO_CREDIT, 21)
        assert trio.current_time() == COVER_SECONDS
        assert stage.proxy_accounts.payees() == ()


async def test_a_client_with_a_grant_needs_no_voucher(autojump_clock: MockClock) -> None:
    async with scene(client_grant=1_000, worker_grant=1_000) as stage:
        end, job = await stage.begin(hold=0)

        await job.say(job.chunk(2, final=True))
        await job.charge(job.receipt())

        await end.hear(Chunk)
        assert (await end.hear(Settled)).reason is None
        assert stage.charged() == stage.owed(30)


async def test_the_worker_is_covered_for_no_more_than_the_client_covers(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        _end, job = await stage.begin(hold=105)
        await stage.settled()
        assert job.account.vouchered() == 100

        stage.client.account.hold(job.exchange, Nano(210))
        await trio.sleep(0.1)

        assert job.account.vouchered() == 200


async def test_a_worker_is_allowed_what_the_client_covers_whatever_it_grants(
    autojump_clock: MockClock,
) -> None:
    async with scene(worker_grant=1_000_000) as stage:
        _end, job = await stage.begin(hold=105)
        assert job.assign.allowed == 100

        stage.client.account.hold(job.exchange, Nano(210))

        assert (await job.hear(Allow)).amount == 200


async def test_a_worker_that_runs_ahead_is_paid_by_its_meter(autojump_clock: MockClock) -> None:
    async with scene(worker_grant=1_000_000) as stage:
        end, job = await stage.begin(hold=105)

        await job.say(job.chunk(40))

        settled = await end.hear(Settled)
        assert settled.reason is Reason.WORKER_LOST
        assert stage.charged() == stage.owed(10)


async def test_a_worker_that_waits_in_vain_for_the_client_may_end_it(autojump_clock: MockClock) -> None:
    async with scene(worker_grant=1_000_000) as stage:
        end, job = await stage.begin(hold=105)
        await job.say(job.chunk(9))
        await end.hear(Chunk)

        await job.charge(replace(job.receipt(Outcome.CANCELLED), reason=Reason.NO_CREDIT))

        assert (await end.hear(Settled)).reason is Reason.NO_CREDIT
        assert stage.charged() == stage.owed(100)


async def test_a_channel_to_the_worker_that_is_used_up_is_our_fault(
    autojump_clock: MockClock,
) -> None:
    policy = replace(POLICY, channel_capacity=Nano(185), window_tokens=16)
    async with scene(policy) as stage:
        end, job = await stage.begin()

        await job.say(job.chunk(9))

        await job.hear(Allow)
        assert (await job.hear(Cancel)).reason is Reason.PROXY_LOST
        await job.charge(job.receipt(Outcome.FAILED))
        await end.hear(Chunk)
        assert (await end.hear(Settled)).reason is Reason.PROXY_LOST
        assert stage.charged() == stage.owed(90)


async def test_credit_that_an_exchange_waits_for_is_not_kept_ahead_by_another(
    autojump_clock: MockClock,
) -> None:
    # The first could keep 660 covered ahead, and the client holds less for it than that.
    async with scene() as stage:
        end, job = await stage.begin(hold=200)
        stage.nursery.start_soon(end.beat, job.exchange)
        stage.nursery.start_soon(job.beat, job.exchange, 1)

        second, other = await stage.ask(hold=0)
        await other.say(Part(second.exchange, bytes(16), 0, 0, True, b"sealed"))
        await trio.sleep(1)
        stage.client.hold(second, 21)

        with trio.fail_after(1):
            assert (await stage.worker.take()).exchange == second.exchange


@pytest.mark.parametrize("wrong", [{"commission_basis_points": 10_001}, {"window_tokens": 15}])
def test_a_policy_that_cannot_work_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError):
        replace(POLICY, **wrong)


# ---------------------------------------------------------------- lies and garbage


LIES: dict[str, Callable[[Job], Receipted]] = {
    "more than it is due": lambda job: job.receipt(amount=41),
    "less than it is due": lambda job: job.receipt(amount=39),
    "tokens that never came": lambda job: job.receipt(usage=usage(4), amount=50),
    "another's signature": lambda job: job.receipt(by=OTHER),
    "another answer": lambda job: job.receipt(answer_hash=bytes(32)),
    "another model": lambda job: job.receipt(model="n"),
    "a cancel that nobody wanted": lambda job: job.receipt(Outcome.CANCELLED),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_worker_that_lies_in_its_receipt_is_settled_with_by_its_meter(
    lie: str, autojump_clock: MockClock
) -> None:
    async with scene() as stage:
        end, job = await stage.begin()
        await job.say(job.chunk(2, signed=True), job.chunk(3, final=True))

        await job.say(LIES[lie](job))

        await end.hear(Chunk)
        await end.hear(Chunk)
        settled = await end.hear(Settled)
        assert settled.reason is Reason.WORKER_LOST
        assert settled.detail is not None
        assert "receipt:" in settled.detail
        assert stage.charged() == stage.owed(20)
        with pytest.raises(Unavailable):
            await job.stream.receive()


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda job: Load(1, 1, 0),
        lambda job: Hello(job.exchange, b"hello"),
        lambda job: Heartbeat(type(job.exchange)(b"x" * 16), 0),
        lambda job: replace(job.chunk(2), number=7),
        lambda job: replace(job.chunk(2), usage=usage(2, prompt=11)),
        lambda job: replace(job.chunk(2), meter_signature=bytes(64)),
    ],
)
async def test_a_worker_that_talks_nonsense_is_left_alone_from_then_on(
    nonsense: Callable[[Job], Any],
) -> None:
    async with scene() as stage:
        end, job = await stage.begin()

        await job.say(nonsense(job))

        assert (await end.hear(Settled)).reason is Reason.WORKER_LOST
        await end.say(stage.client.ask())
        refused = await end.hear(Refused)
        assert [candidate.reason for candidate in refused.candidates] == [Reason.WORKER_LOST]


async def test_bytes_that_are_no_message_end_the_exchange_for_their_sender(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        end, job = await stage.begin()

        await job.stream._stream.write(b"\xff" * 64)

        assert (await end.hear(Settled)).reason is Reason.WORKER_LOST


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda job: Load(1, 1, 0),
        lambda job: Accept(job.exchange, b"", bytes(64)),
        lambda job: Part(job.exchange, bytes(16), 0, 1, True, b""),
        lambda job: Cancel(type(job.exchange)(b"x" * 16), Reason.CANCELLED),
    ],
)
async def test_a_client_that_talks_nonsense_is_charged_and_reset(
    nonsense: Callable[[Job], Any], autojump_clock: MockClock
) -> None:
    async with scene() as stage:
        end, job = await stage.begin()

        await end.say(nonsense(job))

        assert (await job.hear(Cancel)).reason is Reason.CLIENT_LOST
        await job.charge(job.receipt(Outcome.CANCELLED))
        with pytest.raises(Unavailable):
            await end.stream.receive()
        await stage.settled()
        assert stage.charged() == stage.owed(20)


async def test_a_workers_refusal_is_passed_on_and_nothing_is_charged(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        ask, end = await stage.ask()
        await end.say(Part(ask.exchange, bytes(16), 0, 0, True, b"sealed"))
        job = await stage.worker.take()

        await job.say(Refused(ask.exchange, Reason.SEAL_BROKEN, "seal broken", (), 0))

        assert (await end.hear(Refused)).reason is Reason.SEAL_BROKEN
        await stage.settled()
        assert stage.charged() == (0, 0)
        await end.say(stage.client.ask())
        await end.hear(type(end.heard[0]))


async def test_parts_that_cross_a_refusal_are_dropped(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        ask, end = await stage.ask()
        await end.say(Part(ask.exchange, bytes(16), 0, 0, False, b"sealed"))
        job = await stage.worker.take()
        await job.say(Refused(ask.exchange, Reason.SEAL_BROKEN, "seal broken", (), 0))
        await end.hear(Refused)

        await end.say(Part(ask.exchange, bytes(16), 0, 1, True, b"sealed"), Heartbeat(ask.exchange, 0))
        await end.say(stage.client.ask())

        await end.hear(type(end.heard[0]))


async def test_a_worker_that_speaks_between_two_exchanges_loses_its_stream(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        end, job = await stage.begin()
        await job.say(job.chunk(2, final=True))
        await job.charge(job.receipt())
        await end.hear(Chunk)
        await end.hear(Settled)

        await job.say(job.metered())

        with pytest.raises(Unavailable):
            await job.stream.receive()


# ---------------------------------------------------------------- slow readers


async def test_a_client_that_reads_slowly_holds_the_worker_back(
    autojump_clock: MockClock,
) -> None:
    async with scene(worker_grant=100_000) as stage:
        ask = stage.client.ask(completion_tokens_max=1_000, max_cost=20_000)
        end, job = await stage.begin(ask, hold=20_000)
        sent: list[Chunk] = []

        async def pour() -> None:
            for number in range(2, 200):
                sent.append(job.chunk(number, size=60_000))
                await job.say(sent[-1])

        stage.nursery.start_soon(pour)
        stage.nursery.start_soon(end.beat, job.exchange)
        await trio.sleep(5)
        held_back_at = len(sent)
        await trio.sleep(5)

        assert held_back_at == len(sent) < 40
        assert [await end.hear(Chunk) for _ in range(150)] == sent[:150]


async def test_a_client_that_leaves_everything_unread_is_lost(autojump_clock: MockClock) -> None:
    async with scene(worker_grant=100_000) as stage:
        ask = stage.client.ask(completion_tokens_max=1_000, max_cost=20_000)
        end, job = await stage.begin(ask, hold=20_000)

        async def pour() -> None:
            for number in range(2, 200):
                await job.say(job.chunk(number, size=60_000))

        stage.nursery.start_soon(pour)
        stage.nursery.start_soon(end.beat, job.exchange)

        assert (await job.hear(Cancel)).reason is Reason.CLIENT_LOST
        assert TAKE_SECONDS <= trio.current_time() <= TAKE_SECONDS + 2


async def test_bytes_that_a_link_loses_end_the_exchange_and_not_the_proxy(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        end, job = await stage.begin()
        stage.network.fault = lambda write: (
            (Fate.RESET, 0.0) if write.source == WORKER.peer_id else (Fate.DELIVER, 0.0)
        )

        await job.say(job.chunk(2))

        assert (await end.hear(Settled)).reason is Reason.WORKER_LOST
