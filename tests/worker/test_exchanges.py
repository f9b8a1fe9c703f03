"""A worker on the memory network, with a proxy and a client that are moved by hand."""

import hashlib
import logging
from dataclasses import replace

import pytest
import trio
import trio.testing

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import peer_id_text
from cocoon_p2p.inference.engine import Feature, GenerateRequest, PromptCount
from cocoon_p2p.ledger import Change, Written
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.protocols.contents import ChatTurn, FinishReason
from cocoon_p2p.protocols.exchange.pulse import LOST_SECONDS
from cocoon_p2p.protocols.ids import (
    CHUNK_TOKENS,
    COVER_SECONDS,
    ENGINE_STALL_SECONDS,
    EXCHANGE,
    HELLOS_PER_SECOND,
    TAKE_SECONDS,
    Kind,
    Outcome,
    Reason,
    Trust,
)
from cocoon_p2p.protocols.messages import (
    Allow,
    Cancel,
    ChannelId,
    Drain,
    Heartbeat,
    Hello,
    Load,
    Meter,
    Paper,
    PromptMetered,
    Receipted,
    Signed,
    Usage,
)
from cocoon_p2p.protocols.papers import check
from cocoon_p2p.protocols.schema import encode_paper
from cocoon_p2p.testing.engine import ScriptedEngine, echo, scripted_model
from cocoon_p2p.testing.memory import Fate, Write
from cocoon_p2p.testing.store import MemoryStore
from tests.worker.scene import CONTENT, NETWORK, PROXY, QUESTION, STRANGER, WORKER, Scene, beat, scene

MockClock = trio.testing.MockClock
LONG = tuple(f"token{number} " for number in range(1000))


async def is_reset(stream: MessageStream) -> bool:
    """Read on until the worker gives the stream up."""
    try:
        while await stream.receive() is not None:
            pass
    except Unavailable:
        return True
    return False


async def works(here: Scene) -> None:
    """See that the worker still serves, and that no slot was lost."""
    ask = await here.run(here.ask())
    assert ask.receipt.outcome is Outcome.COMPLETED
    assert here.worker.slots.free == here.worker.slots.total


# ---------------------------------------------------------------- what is bought


async def test_an_exchange_is_answered_metered_receipted_and_charged(autojump_clock: MockClock) -> None:
    async with scene(ScriptedEngine(("Hello", ", ", "world"))) as here:
        ask = await here.run(here.ask())

        receipt = ask.receipt
        assert ask.text == "Hello, world"
        assert [content.finish for content in ask.contents] == [None, None, None, FinishReason.STOP]
        assert ask.metered.usage == Usage(4, 0, 0, 0)
        assert receipt.usage == ask.chunks[-1].usage == Usage(4, 0, 3, 0)
        assert (receipt.outcome, receipt.amount) == (Outcome.COMPLETED, 4 + 30)
        assert receipt.answer_hash == hashlib.sha256(b"".join(chunk.sealed for chunk in ask.chunks)).digest()
        assert here.account.charged() == 34
        assert here.worker.slots.free == here.worker.slots.total


async def test_a_second_exchange_needs_no_handshake_and_no_new_stream(autojump_clock: MockClock) -> None:
    async with scene(ScriptedEngine(echo)) as here:
        stream = await here.open()
        first = await here.run(here.ask(), stream)
        second = here.ask()
        second.session = first.session

        content = replace(CONTENT, messages=(ChatTurn("user", "again, please"),))
        await here.run(second, stream, content=content)

        assert (first.text, second.text) == (QUESTION, "again, please")


async def test_a_large_request_travels_in_parts(autojump_clock: MockClock) -> None:
    words = " ".join(["word"] * 100_000)
    engine = ScriptedEngine(models=(scripted_model(context_tokens=200_000),))
    async with scene(engine) as here:
        content = replace(CONTENT, messages=(ChatTurn("user", words),))
        ask = here.ask()
        here.hold(ask, 200_000)
        stream = await here.open()
        await here.greet(ask, stream)
        parts = ask.seal(content)
        assert len(parts) == 3
        async with trio.open_nursery() as nursery:
            for part in parts:
                nursery.start_soon(stream.send, part)
                await trio.sleep(0.1)
            await here.listen(ask, stream)

        assert engine.requests[0].messages[0].content == words
        assert ask.receipt.usage.prompt == 100_001


async def test_the_meter_of_the_first_chunk_bears_the_workers_signature(autojump_clock: MockClock) -> None:
    async with scene() as here:
        ask = await here.run(here.ask())

        chunk = ask.chunks[0]
        assert chunk.meter_signature is not None
        body = encode_paper(Meter(ask.exchange, ask.binding.quote_hash, chunk.usage))
        check(Meter, Signed(body, chunk.meter_signature), signer=WORKER.peer_id, network=NETWORK)


async def test_many_exchanges_run_at_once_up_to_the_slots(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine(slots=2)
    async with scene(engine) as here:
        first, second = [await here.begin(until=PromptMetered) for _ in range(2)]
        third, stream = here.ask(), await here.open()

        await stream.send(third.assign)
        await here.listen(third, stream)
        assert third.refused.reason is Reason.NO_CAPACITY
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.listen, *first)
            nursery.start_soon(here.listen, *second)

        assert engine.running_max == 2
        await works(here)


async def test_each_sealing_session_has_its_own_cache_scope(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine(caches=True)
    async with scene(engine) as here:
        first = await here.run(here.ask())
        second = await here.run(here.ask())
        again = here.ask()
        again.session = first.session
        await here.run(again)

        assert first.session is not None
        assert engine.requests[0].cache_scope == first.session.id
        assert (second.receipt.usage.cached, again.receipt.usage.cached) == (0, 3)


async def test_prices_of_the_quote_hold_whatever_changes_meanwhile(autojump_clock: MockClock) -> None:
    async with scene() as here:
        before = here.ask()
        here.worker.set_prices({"scripted": replace(here.price, completion=50_000)})
        await trio.sleep(2)
        after = here.ask()

        await here.run(before)
        await here.run(after)

        assert (before.receipt.amount, after.receipt.amount) == (4 + 40, 4 + 200)


async def test_the_max_cost_ends_the_answer_with_length(autojump_clock: MockClock) -> None:
    async with scene(ScriptedEngine(LONG)) as here:
        ask = await here.run(here.ask(amount_max=4 + 35))

        assert ask.contents[-1].finish is FinishReason.LENGTH
        assert ask.receipt.usage.completion == 3
        assert ask.receipt.outcome is Outcome.COMPLETED


# ---------------------------------------------------------------- breaking off


async def test_a_cancel_frees_the_slot_within_one_step_and_is_receipted(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine(LONG, delay_seconds=0.1)
    async with scene(engine) as here:
        ask, stream = await here.begin()

        await stream.send(Cancel(ask.exchange, Reason.CLIENT_LOST))
        await here.settled()
        assert engine.running == 0
        await here.listen(ask, stream)

        receipt = ask.receipt
        assert ask.receipted.reason is Reason.CLIENT_LOST
        assert (receipt.outcome, receipt.usage) == (Outcome.CANCELLED, ask.chunks[-1].usage)
        assert engine.tokens_made[0] == receipt.usage.completion == 1
        await works(here)


async def test_a_cancel_before_the_prompt_is_covered_costs_nothing(autojump_clock: MockClock) -> None:
    async with scene() as here:
        ask, stream = await here.begin(until=PromptMetered, hold=0)

        await stream.send(Cancel(ask.exchange, Reason.CANCELLED))
        await here.listen(ask, stream)

        assert ask.refused.reason is Reason.CANCELLED
        assert here.account.charged() == here.account.accrued == 0
        await works(here)


async def test_a_proxy_that_vanishes_in_mid_stream_finds_the_receipt_when_it_is_back(
    autojump_clock: MockClock,
) -> None:
    engine = ScriptedEngine(LONG, delay_seconds=0.1)
    async with scene(engine) as here:
        ask, _ = await here.begin()

        here.network.cut(WORKER.peer_id, PROXY.peer_id)
        await here.settled()
        assert engine.running == 0
        assert here.worker.registered == frozenset()
        await here.worker.wait_registered(PROXY.peer_id)
        paper = await here.paying.paper(ask.exchange)

        assert isinstance(paper, Paper)
        assert paper.receipt is not None
        ask.hear(Receipted(ask.exchange, paper.receipt))
        assert (ask.receipt.outcome, ask.receipt.usage) == (Outcome.FAILED, Usage(0, 0, 1, 0))


async def test_a_dead_link_is_found_out_by_its_silence(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine(LONG, delay_seconds=0.1)
    async with scene(engine) as here:
        await here.begin()

        here.network.partition(WORKER.peer_id, PROXY.peer_id)
        await trio.sleep(5)

        assert engine.running == 0
        assert here.worker.slots.free == here.worker.slots.total


async def test_a_worker_that_was_held_up_itself_does_not_take_its_proxy_for_lost(
    autojump_clock: MockClock,
) -> None:
    async with scene(ScriptedEngine(LONG[:20], delay_seconds=0.1)) as here:
        ask, stream = await here.begin()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.listen, ask, stream)
            await trio.sleep(0.35)
            # As when an engine that loads a model holds Python's lock.
            autojump_clock.jump(LOST_SECONDS + 1)

        assert ask.receipt.outcome is Outcome.COMPLETED


async def test_a_deadline_ends_the_answer_as_cancelled(autojump_clock: MockClock) -> None:
    async with scene(ScriptedEngine(LONG, delay_seconds=0.1)) as here:
        ask = await here.run(here.ask(deadline_ms=1000))

        assert (ask.receipt.outcome, ask.receipted.reason) == (Outcome.CANCELLED, Reason.DEADLINE)


async def test_an_engine_that_fails_is_not_paid_for_the_prompt(autojump_clock: MockClock) -> None:
    async with scene(ScriptedEngine(LONG, fail_at=2)) as here:
        ask = await here.run(here.ask())

        assert ask.receipted.reason is Reason.ENGINE_FAILED
        assert (ask.receipt.outcome, ask.receipt.usage) == (Outcome.FAILED, Usage(0, 0, 2, 0))
        assert here.account.charged() == 20
        assert here.worker.slots.free == here.worker.slots.total


async def test_an_engine_that_stalls_has_failed(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine(LONG, stall_at=1)
    async with scene(engine) as here:
        started = trio.current_time()

        ask = await here.run(here.ask())

        assert ask.receipt.outcome is Outcome.FAILED
        assert trio.current_time() - started == pytest.approx(ENGINE_STALL_SECONDS, abs=0.1)
        assert engine.running == 0


async def test_an_engine_that_breaks_in_its_own_way_does_not_break_the_worker(
    autojump_clock: MockClock,
) -> None:
    def explode(_: object) -> tuple[str, ...]:
        raise ZeroDivisionError("some bug in a library")

    async with scene(ScriptedEngine(explode)) as here:
        ask = await here.run(here.ask())

        assert ask.receipt.outcome is Outcome.FAILED
        assert here.worker.slots.free == here.worker.slots.total


async def test_the_worker_beats_while_the_engine_prefills(autojump_clock: MockClock) -> None:
    async with scene(ScriptedEngine(prefill_seconds=3.6, prefill_steps=9)) as here:
        ask = await here.run(here.ask())

        steps = [message.steps for message in ask.heard if isinstance(message, Heartbeat)]
        assert len(steps) == 3
        assert steps == sorted(steps)
        assert steps[0] < steps[-1]


# ---------------------------------------------------------------- credit


async def test_a_prompt_that_nobody_covers_is_refused_and_not_computed(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine()
    async with scene(engine) as here:
        started = trio.current_time()
        ask, stream = await here.begin(until=PromptMetered, hold=3)

        await here.listen(ask, stream)

        assert (ask.refused.reason, ask.refused.need) == (Reason.NO_CREDIT, 4)
        assert trio.current_time() - started == pytest.approx(COVER_SECONDS, abs=0.1)
        assert engine.requests == []
        await works(here)


async def test_credit_that_comes_late_lets_the_answer_go_on(autojump_clock: MockClock) -> None:
    async with scene() as here:
        ask, stream = await here.begin(until=PromptMetered, hold=0)
        await trio.sleep(2)
        assert ask.chunks == []

        here.hold(ask)
        await here.listen(ask, stream)

        assert ask.receipt.outcome is Outcome.COMPLETED


async def test_no_chunk_is_sent_beyond_what_is_covered(autojump_clock: MockClock) -> None:
    async with scene(ScriptedEngine(LONG)) as here:
        ask, stream = await here.begin(hold=4 + 25)

        await here.listen(ask, stream)

        assert ask.receipted.reason is Reason.NO_CREDIT
        assert (ask.receipt.outcome, ask.receipt.amount) == (Outcome.CANCELLED, 4 + 20)
        assert ask.receipt.usage == ask.chunks[-1].usage


async def test_scarce_credit_is_used_to_the_last_token(autojump_clock: MockClock) -> None:
    # An engine much faster than the window: eight tokens wait, and credit for three of them.
    async with scene(ScriptedEngine(LONG, delay_seconds=0.0001)) as here:
        ask, stream = await here.begin(hold=4 + 10 * 12)

        await here.listen(ask, stream)

        assert ask.receipt.amount == 4 + 10 * 12


async def test_nothing_is_earned_beyond_what_is_allowed_however_rich_the_proxy_is(
    autojump_clock: MockClock,
) -> None:
    async with scene(ScriptedEngine(LONG), grant=1_000_000) as here:
        ask, stream = await here.begin(allowed=4 + 25)
        await here.settled()
        await trio.sleep(2)

        await stream.send(Allow(ask.exchange, 4 + 45))
        await here.listen(ask, stream)

        assert ask.receipted.reason is Reason.NO_CREDIT
        assert (ask.receipt.outcome, ask.receipt.amount) == (Outcome.CANCELLED, 4 + 40)


async def test_a_prompt_beyond_what_is_allowed_is_not_computed(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine()
    async with scene(engine, grant=1_000_000) as here:
        ask, stream = await here.begin(until=PromptMetered, allowed=3)

        await here.listen(ask, stream)

        assert (ask.refused.reason, ask.refused.need) == (Reason.NO_CREDIT, 4)
        assert engine.requests == []


async def test_what_was_allowed_is_never_taken_back(autojump_clock: MockClock) -> None:
    async with scene() as here:
        ask, stream = await here.begin(until=PromptMetered, allowed=1_000)

        await stream.send(Allow(ask.exchange, 0))
        await here.listen(ask, stream)

        assert ask.receipt.outcome is Outcome.COMPLETED


async def test_a_grant_is_credit(autojump_clock: MockClock) -> None:
    async with scene(grant=10_000) as here:
        ask, stream = await here.begin(hold=0)

        await here.listen(ask, stream)

        assert ask.receipt.outcome is Outcome.COMPLETED


async def test_a_prompt_above_the_max_cost_is_refused_with_what_it_needs(autojump_clock: MockClock) -> None:
    async with scene() as here:
        ask = await here.run(here.ask(amount_max=13))

        assert (ask.refused.reason, ask.refused.need) == (Reason.PRICE_ABOVE_LIMIT, 14)


# ---------------------------------------------------------------- what is not trusted


async def test_garbage_ends_the_stream_and_nothing_else(autojump_clock: MockClock) -> None:
    async with scene() as here:
        raw = await here.proxy.open_stream(WORKER.peer_id, EXCHANGE)

        await raw.write(b"\0\0\0\5hello")

        assert await is_reset(MessageStream(raw))
        await works(here)


async def test_garbage_in_mid_answer_ends_the_exchange_as_failed(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine(LONG, delay_seconds=0.1)
    async with scene(engine) as here:
        ask, stream = await here.begin()

        await stream.send(ask.metered)

        assert await is_reset(stream)
        await here.settled()
        assert here.account.charged() == 10
        assert engine.running == 0


async def test_a_stranger_gets_no_stream(autojump_clock: MockClock) -> None:
    async with scene() as here:
        stranger = here.network.transport(STRANGER)
        here.network.transports[WORKER.peer_id].move("/memory/1")
        await stranger.dial([f"/memory/1/p2p/{peer_id_text(WORKER.peer_id)}"])

        stream = MessageStream(await stranger.open_stream(WORKER.peer_id, EXCHANGE))

        assert await is_reset(stream)


async def test_a_proxy_cannot_pile_up_streams(autojump_clock: MockClock) -> None:
    async with scene(ScriptedEngine(slots=1)) as here:
        streams = [await here.open() for _ in range(11)]
        await here.settled()

        assert await is_reset(streams[-1])


async def test_a_quote_signed_by_another_ends_the_stream(autojump_clock: MockClock) -> None:
    async with scene() as here:
        ask, stream = here.ask(), await here.open()
        forged = replace(ask.assign, quote=Signed(ask.assign.quote.body, bytes(64)))

        await stream.send(forged)

        assert await is_reset(stream)
        await works(here)


async def test_a_record_of_another_life_is_stale(autojump_clock: MockClock) -> None:
    async with scene() as earlier:
        old = earlier.told.newest().record
    async with scene(prices={"scripted": replace(earlier.price, prompt=7)}) as here:
        ask, stream = here.ask(record=old), await here.open()

        await stream.send(ask.assign)
        await here.listen(ask, stream)

        assert ask.refused.reason is Reason.STALE
        assert ask.refused.newest_record == here.told.newest().record


async def test_a_channel_that_was_never_opened_is_refused(autojump_clock: MockClock) -> None:
    async with scene() as here:
        ask, stream = here.ask(), await here.open()
        other = ChannelId(bytes(32))

        await stream.send(replace(ask.assign, channel=other))
        await here.listen(ask, stream)

        assert ask.refused.reason is Reason.CHANNEL_UNKNOWN


async def test_an_unknown_session_is_refused_at_its_first_part(autojump_clock: MockClock) -> None:
    async with scene() as here:
        ask, stream = here.ask(), await here.open()
        await here.greet(ask, stream)
        (part,) = ask.seal()

        await stream.send(replace(part, session=b"?" * 16))
        await here.listen(ask, stream)

        assert ask.refused.reason is Reason.SESSION_UNKNOWN
        await works(here)


async def test_a_replayed_request_does_not_open(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine()
    async with scene(engine) as here:
        first, stream = here.ask(), await here.open()
        here.hold(first)
        await here.greet(first, stream)
        parts = first.seal()
        await stream.send(*parts)
        await here.listen(first, stream)

        second = here.ask()
        here.hold(second)
        await stream.send(second.assign, *(replace(part, exchange=second.exchange) for part in parts))
        await here.listen(second, stream)

        assert second.refused.reason is Reason.SEAL_BROKEN
        assert len(engine.requests) == 1


@pytest.mark.parametrize(
    "change", [{"max_cost": 2_000_000}, {"trust": Trust.TDX}, {"max_cost": 10, "amount_max": 10}]
)
async def test_a_proxy_that_alters_what_the_client_asked_breaks_the_seal(
    change: dict[str, object], autojump_clock: MockClock
) -> None:
    async with scene() as here:
        ask = await here.run(here.ask(**change))  # type: ignore[arg-type]

        assert ask.refused.reason is Reason.SEAL_BROKEN


async def test_a_request_for_another_model_than_assigned_is_refused(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine(models=(scripted_model(), scripted_model("dear")))
    async with scene(engine, prices={"scripted": Scene.price, "dear": Scene.price}) as here:
        ask = await here.run(here.ask(), content=replace(CONTENT, model="dear"))

        assert ask.refused.reason is Reason.MALFORMED
        assert engine.requests == []


async def test_a_completion_needs_a_prompt_and_a_chat_must_have_none(autojump_clock: MockClock) -> None:
    async with scene() as here:
        bare = await here.run(
            here.ask(kind=Kind.COMPLETION),
            content=replace(CONTENT, kind=Kind.COMPLETION, messages=(), prompt="once upon a time"),
        )
        mixed = await here.run(here.ask(), content=replace(CONTENT, prompt="once upon a time"))

        assert bare.receipt.outcome is Outcome.COMPLETED
        assert mixed.refused.reason is Reason.MALFORMED


async def test_a_prompt_too_long_for_the_model_is_refused_before_anything_is_paid(
    autojump_clock: MockClock,
) -> None:
    async with scene(ScriptedEngine(models=(scripted_model(context_tokens=4),))) as here:
        ask = await here.run(here.ask())

        assert ask.refused.reason is Reason.TOO_LARGE
        assert "context=4 " in ask.refused.detail
        await here.settled()
        assert here.worker.slots.free == here.worker.slots.total


async def test_a_prompt_longer_than_the_client_said_is_refused(autojump_clock: MockClock) -> None:
    async with scene() as here:
        ask = await here.run(here.ask(prompt_tokens_max=3))

        assert ask.refused.reason is Reason.TOO_LARGE


async def test_a_feature_that_the_model_lacks_is_refused_by_name(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine(models=(scripted_model(features=()),))
    async with scene(engine) as here:
        ask = await here.run(here.ask(), content=replace(CONTENT, seed=7))

        assert ask.refused.reason is Reason.UNKNOWN_FEATURE
        assert Feature.SEED.value in ask.refused.detail


async def test_handshakes_are_limited_by_the_second(autojump_clock: MockClock) -> None:
    async with scene() as here:
        reasons = []
        for _ in range(2 * HELLOS_PER_SECOND):
            ask, stream = here.ask(), await here.open()
            await stream.send(ask.assign, Hello(ask.exchange, b"not a hello"))
            await here.listen(ask, stream)
            reasons.append(ask.refused.reason)
            stream.reset()

        assert reasons[0] is Reason.SEAL_BROKEN
        assert reasons[-1] is Reason.RATE_LIMITED
        await trio.sleep(1)
        await works(here)


# ---------------------------------------------------------------- once


async def test_an_exchange_that_runs_is_not_run_again(autojump_clock: MockClock) -> None:
    async with scene(ScriptedEngine(LONG)) as here:
        ask, stream = await here.begin()
        twin = here.ask(exchange=ask.exchange)

        other = await here.open()
        await other.send(twin.assign)
        await here.listen(twin, other)
        await stream.send(Cancel(ask.exchange, Reason.CANCELLED))
        await here.listen(ask, stream)

        assert twin.refused.reason is Reason.ALREADY_RUNNING
        assert ask.receipt.outcome is Outcome.CANCELLED


async def test_an_exchange_that_has_ended_gives_its_receipt_and_charges_nothing(
    autojump_clock: MockClock,
) -> None:
    engine = ScriptedEngine()
    async with scene(engine) as here:
        ask = await here.run(here.ask())
        charged = here.account.charged()
        twin, stream = here.ask(exchange=ask.exchange), await here.open()

        await stream.send(twin.assign)
        await here.listen(twin, stream)

        assert twin.receipted.receipt == ask.receipted.receipt
        assert here.account.charged() == charged
        assert len(engine.requests) == 1


class GatedEngine(ScriptedEngine):
    """Counts when the gate opens, and is not to be cancelled once it has."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = trio.Event()

    async def count(self, request: GenerateRequest) -> PromptCount:
        await self.gate.wait()
        return PromptCount(4)


async def test_what_an_ended_exchange_reports_late_does_not_reach_the_next_one(
    autojump_clock: MockClock,
) -> None:
    def late(write: Write) -> tuple[Fate, float]:
        return Fate.DELIVER, (1.0 if write.source == PROXY.peer_id and write.protocol == EXCHANGE else 0.0)

    # Whether the gate opens before the Cancel is heard, in the same turn, is up to the scheduler.
    for _ in range(12):
        engine = GatedEngine()
        async with scene(engine) as here:
            ask, other, stream = here.ask(), here.ask(), await here.open()
            await here.greet(ask, stream)
            await stream.send(*ask.seal())
            await here.settled()

            here.network.fault = late
            await stream.send(Cancel(ask.exchange, Reason.CANCELLED), other.assign)
            await trio.sleep(1.0)
            engine.gate.set()
            here.network.fault = None
            await here.settled()
            await stream.send(Cancel(other.exchange, Reason.CANCELLED))
            await here.listen(ask, stream)
            await here.listen(other, stream)

            assert other.refused.exchange == other.exchange


async def test_no_receipt_leaves_before_it_is_on_disk(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with scene(store=store) as here:
        ask, stream = await here.begin(until=PromptMetered)
        store._fail_after = 0

        with pytest.RaisesGroup(Unavailable):
            await here.listen(ask, stream)
        await here.settled()

        assert ask.contents[-1].finish is FinishReason.STOP
        assert here.worker.slots.free == here.worker.slots.total


# ---------------------------------------------------------------- the reader


async def test_tokens_travel_together_when_the_engine_is_faster_than_ten_milliseconds(
    autojump_clock: MockClock,
) -> None:
    async with scene(ScriptedEngine(LONG[:64], delay_seconds=0.002)) as here:
        ask = await here.run(here.ask())

        assert ask.text == "".join(LONG[:64])
        assert ask.chunks[0].usage.completion == 1
        sizes = [
            after.usage.completion - before.usage.completion
            for before, after in zip(ask.chunks, ask.chunks[1:], strict=False)
        ]
        assert max(sizes) <= CHUNK_TOKENS
        assert 10 < len(ask.chunks) < 20


async def test_a_reader_who_stops_holds_the_engine_back_and_is_lost_at_last(
    autojump_clock: MockClock,
) -> None:
    engine = ScriptedEngine(("x" * 4000,) * 1000, delay_seconds=0.001)
    async with scene(engine) as here:
        here.hold(ask := here.ask(completion_tokens_max=1000), 100_000)
        stream = await here.open()
        await here.greet(ask, stream)
        await stream.send(*ask.seal(replace(CONTENT, completion_tokens_max=1000)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(beat, stream, ask.exchange)
            await trio.sleep(10)
            made = engine.tokens_made[0]
            await trio.sleep(TAKE_SECONDS - 11)
            assert engine.tokens_made[0] == made < 200
            assert engine.running == 1
            await trio.sleep(2)
            assert engine.running == 0
            nursery.cancel_scope.cancel()

        assert here.account.charged() > 0


# ---------------------------------------------------------------- what is not said


async def test_no_word_of_prompt_or_answer_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def explode(request: object) -> tuple[str, ...]:
        raise ValueError(f"cannot answer {request}")

    async with scene(ScriptedEngine(("xyzzy",))) as here:
        await here.run(here.ask())
    async with scene(ScriptedEngine(explode)) as here:
        await here.run(here.ask())

    everything = "".join(str(vars(record)) for record in caplog.records)
    assert "exchange ended" in everything
    assert QUESTION not in everything
    assert "xyzzy" not in everything


# ---------------------------------------------------------------- its end


async def test_draining_finishes_what_runs_and_refuses_what_is_new(autojump_clock: MockClock) -> None:
    async with scene(ScriptedEngine(LONG[:50], delay_seconds=0.1)) as here:
        ask, stream = await here.begin()
        drained = trio.Event()

        async def drain() -> None:
            await here.worker.drain()
            drained.set()

        here.nursery.start_soon(drain)
        await here.settled()
        late, other = here.ask(), await here.open()
        await other.send(late.assign)
        await here.listen(late, other)
        assert late.refused.reason is Reason.DRAINING
        assert not drained.is_set()
        await here.listen(ask, stream)
        await drained.wait()

        assert ask.receipt.outcome is Outcome.COMPLETED
        assert any(isinstance(message, Drain) for message in here.told.messages)
        loads = [message for message in here.told.messages if isinstance(message, Load)]
        assert loads[-1].slots_free == 0


async def test_a_worker_that_leaves_when_it_is_drained_takes_no_receipt_with_it(
    autojump_clock: MockClock,
) -> None:
    async with scene() as here:
        ask, stream = await here.begin(until=PromptMetered)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.listen, ask, stream)
            await here.worker.drain()
            await here.stop()

        assert ask.receipt.outcome is Outcome.COMPLETED


async def test_a_stream_that_the_proxy_closes_between_exchanges_is_closed_not_reset(
    autojump_clock: MockClock,
) -> None:
    async with scene() as here:
        stream = await here.open()
        await here.run(here.ask(), stream)

        await stream.close()

        assert await stream.receive() is None


class SlowWrite:
    def __init__(self, written: Written) -> None:
        self._written = written

    async def wait(self) -> None:
        await trio.sleep(0.5)
        await self._written.wait()


class SlowStore(MemoryStore):
    """A disk that takes its time."""

    def submit(self, *changes: Change) -> SlowWrite:  # type: ignore[override]
        return SlowWrite(super().submit(*changes))


async def test_a_cancelled_worker_leaves_the_receipts_of_what_ran(autojump_clock: MockClock) -> None:
    store = SlowStore()
    async with scene(ScriptedEngine(LONG), store=store) as here:
        ask, _ = await here.begin()

        await here.stop()

        (row,) = store.disk.exchanges.values()
        assert row.exchange == ask.exchange
        assert row.amount == 10 * ask.chunks[-1].usage.completion
        assert await is_reset(await here.open())
