"""Peers that miscounted are remembered, shown to be so by papers, and chosen less."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from cocoon_p2p.client.standing import (
    FAULTS_MAX,
    HALF_LIFE_SECONDS,
    PEERS_MAX,
    PROVEN,
    SUSPECTED,
    Standings,
)
from cocoon_p2p.errors import CocoonError, Refused
from cocoon_p2p.identity import PeerId
from cocoon_p2p.ledger import Note
from cocoon_p2p.protocols import messages
from cocoon_p2p.protocols.contents import RequestContent
from cocoon_p2p.protocols.ids import Outcome
from cocoon_p2p.protocols.messages import Meter, Receipt, Settlement
from cocoon_p2p.protocols.papers import decode_signed
from cocoon_p2p.protocols.schema import decode_paper
from cocoon_p2p.testing.papers import paper_identity
from cocoon_p2p.testing.store import MemoryStore
from cocoon_p2p.units import Nano
from tests.client.scene import POLICY, PROMPT, QUESTION, Script, Talk, honest, now, scene

PEERS = [paper_identity(number).peer_id for number in range(1, 6)]
DAY = HALF_LIFE_SECONDS


class Clock:
    """Seconds since the Unix epoch, as told."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


# ---------------------------------------------------------------- remembered


async def test_a_fault_counts_half_after_a_day_and_a_worker_is_left_out_for_as_long() -> None:
    clock = Clock()
    standings = Standings(MemoryStore(), clock)

    standings.lower(PEERS[0], PROVEN)
    standings.lower(PEERS[1], SUSPECTED)

    assert standings.faults(PEERS[0]) == PROVEN
    assert standings.shunned() == (PEERS[0],)
    assert standings.shunned(but=[PEERS[0]]) == ()
    clock.now += DAY
    assert standings.faults(PEERS[0]) == PROVEN / 2
    assert standings.shunned() == (PEERS[0],)
    clock.now += 1
    assert standings.shunned() == ()


async def test_faults_outlive_the_process_and_what_cannot_be_read_is_forgotten() -> None:
    clock, store = Clock(), MemoryStore()
    standings = Standings(store, clock)
    standings.lower(PEERS[0], PROVEN)
    standings.lower(PEERS[0], PROVEN)
    standings.lower(PEERS[1], SUSPECTED)
    await store.submit(Note("standing/broken", b"\xff")).wait()

    again = Standings(store, clock)
    await again.load()

    assert [again.faults(peer) for peer in PEERS[:3]] == [2.0, 0.25, 0.0]


async def test_no_more_peers_are_remembered_than_there_is_room_for() -> None:
    clock, store = Clock(), MemoryStore()
    standings = Standings(store, clock)
    peers = [paper_identity(number).peer_id for number in range(PEERS_MAX + 1)]

    for peer in peers:
        clock.now += 1
        standings.lower(peer, PROVEN)
    await store.submit().wait()

    assert standings.faults(peers[0]) == 0
    assert standings.faults(peers[1]) > 0
    assert len(await store.notes("standing/")) == PEERS_MAX


async def test_faults_stay_in_bounds_whatever_the_clock_does() -> None:
    @given(st.lists(st.tuples(st.sampled_from(PEERS), st.floats(0.01, 5), st.floats(-1e6, 1e6)), max_size=20))
    @settings(max_examples=50, deadline=None)
    def fall(falls: list[tuple[PeerId, float, float]]) -> None:
        clock = Clock()
        standings = Standings(MemoryStore(), clock)
        for peer, by, passes in falls:
            clock.now = max(0.0, clock.now + passes)
            before = standings.faults(peer)
            standings.lower(peer, by)
            assert min(before + by, FAULTS_MAX) - 1e-9 <= standings.faults(peer) <= FAULTS_MAX

    fall()


# ---------------------------------------------------------------- found out

Lie = Callable[[Talk], Awaitable[None]]


def answering(lie: Lie) -> Script:
    async def script(talk: Talk) -> None:
        await talk.begin()
        await talk.chunk("It ", 2)
        await lie(talk)
        await talk.hear()

    return script


async def count_down(talk: Talk) -> None:
    await talk.say(talk.make_chunk("is ", -1))


async def forge_a_meter(talk: Talk) -> None:
    await talk.say(talk.make_chunk("is ", meter_signature=bytes(64)))


async def ask_quietly(stage: Any, **wishes: Any) -> CocoonError | None:
    try:
        async with stage.client.chat("scripted", QUESTION, **wishes) as answer:
            await answer.read()
    except CocoonError as error:
        return error
    return None


async def test_a_worker_whose_counts_fall_is_shown_by_its_own_signatures_and_left_out(
    autojump_clock: MockClock,
) -> None:
    async with scene(answering(count_down)) as stage:
        worker = stage.proxy.worker.peer
        error = await ask_quietly(stage)
        again = await ask_quietly(stage)
        wanted = await ask_quietly(stage, prefer=[worker])

        assert error is not None
        assert error.code == "miscounted"
        (evidence, *_) = stage.store.disk.evidence
        quote, *meters = map(decode_signed, evidence.papers)
        assert quote == stage.proxy.talks[0].deal.quote
        counts = [decode_paper(Meter, meter.body).usage.completion for meter in meters]
        assert counts == [2, 1]
        # The next Ask names it; whoever asks for it all the same gets it.
        assert [worker in talk.ask.exclude for talk in stage.proxy.talks] == [False, True, False]
        assert isinstance(again, CocoonError)
        assert isinstance(wanted, CocoonError)
        assert set(await stage.store.notes("standing/")) == {
            f"standing/{peer.hex()}" for peer in (worker, stage.proxy.peer)
        }


async def test_a_worker_is_not_blamed_for_what_its_proxy_can_have_altered(autojump_clock: MockClock) -> None:
    async def longer(talk: Talk) -> None:
        await talk.quote()
        await talk.open()
        await talk.say(messages.PromptMetered(talk.ask.exchange, replace(PROMPT, prompt=10_000)))
        await talk.hear()

    for script in (longer, answering(forge_a_meter)):
        async with scene(script) as stage:
            await ask_quietly(stage)
            await ask_quietly(stage)

            assert stage.proxy.worker.peer not in stage.proxy.talks[-1].ask.exclude
            assert set(await stage.store.notes("standing/")) == {f"standing/{stage.proxy.peer.hex()}"}


async def test_a_bill_above_the_counts_of_the_same_chunks_is_the_worker_s_lie_and_evidence_of_it(
    autojump_clock: MockClock,
) -> None:
    async def overcharge(talk: Talk) -> None:
        await talk.begin()
        await talk.chunk("It.", 2, final=True)
        talk.usage = replace(talk.usage, completion=40)
        await talk.settle()

    async with scene(overcharge, honest, commissions=(100, 500)) as stage:
        await ask_quietly(stage)
        await ask_quietly(stage)

        liar = stage.proxies[0]
        assert liar.worker.peer in stage.proxies[1].talks[0].ask.exclude
        (evidence,) = stage.store.disk.evidence
        _, settlement, meter = map(decode_signed, evidence.papers)
        receipt = decode_paper(Settlement, settlement.body).receipt
        assert receipt is not None
        assert decode_paper(Receipt, receipt.body).usage.completion == 40
        assert decode_paper(Meter, meter.body).usage.completion == 2


async def test_a_proxy_that_held_chunks_back_does_not_get_its_worker_blamed(
    autojump_clock: MockClock,
) -> None:
    async def withhold(talk: Talk) -> None:
        await talk.begin()
        await talk.chunk("It ", 2)
        talk.make_chunk("is.", 2, final=True)
        await talk.settle()

    async with scene(withhold) as stage:
        await ask_quietly(stage)

        assert set(await stage.store.notes("standing/")) == {f"standing/{stage.proxy.peer.hex()}"}


async def test_of_two_proxies_the_one_that_lied_is_asked_second_whatever_it_costs(
    autojump_clock: MockClock,
) -> None:
    async with scene(honest, honest, commissions=(100, 500)) as stage:
        standings = Standings(stage.store, now)
        standings.lower(stage.proxies[0].peer, PROVEN)
        await stage.client._desk.standings.load()  # pyright: ignore[reportPrivateUsage]

        await ask_quietly(stage)

        assert [len(proxy.talks) for proxy in stage.proxies] == [0, 1]


# ---------------------------------------------------------------- the prompt's own count


def billed(prompt: int) -> Script:
    async def script(talk: Talk) -> None:
        await talk.quote()
        await talk.open()
        await talk.meter(replace(PROMPT, prompt=prompt))
        await talk.chunk("It.", 1, final=True)
        await talk.settle()

    return script


async def test_a_prompt_is_bounded_by_its_bytes_and_not_by_what_the_proxy_was_told(
    autojump_clock: MockClock,
) -> None:
    # 11 bytes, a role of 4, the markup of one message and of the whole: 167 tokens; 256 are told.
    async with scene(billed(168)) as stage:
        error = await ask_quietly(stage)

        assert error is not None
        assert "limit=167 got=168" in str(error)
        assert stage.proxy.talks[0].ask.prompt_tokens_max == 256
    async with scene(billed(167)) as stage:
        assert await ask_quietly(stage) is None


@pytest.mark.parametrize(("prompt", "says"), [(9, "fewer tokens"), (11, "more tokens")])
async def test_who_has_the_tokenizer_counts_the_prompt_exactly(
    prompt: int, says: str, autojump_clock: MockClock
) -> None:
    asked: list[bytes] = []

    def count(tokenizer_hash: bytes, content: RequestContent) -> int | None:
        asked.append(tokenizer_hash)
        assert content.messages[0].content == "What is it?"
        return 10

    policy = replace(POLICY, count_prompt=count)
    async with scene(billed(prompt), policy=policy) as stage:
        error = await ask_quietly(stage)

        assert says in str(error)
        assert set(asked) == {stage.proxy.worker.offer.tokenizer_hash}
    async with scene(billed(10), policy=policy) as stage:
        assert await ask_quietly(stage) is None


async def test_a_late_bill_for_more_prompt_than_there_can_be_is_disputed_and_kept(
    autojump_clock: MockClock,
) -> None:
    async def script(talk: Talk) -> None:
        await talk.quote()
        await talk.open()
        talk.usage = replace(PROMPT, prompt=168)
        await talk.say(messages.PromptMetered(talk.ask.exchange, talk.usage))
        settlement = talk.settlement(Outcome.CANCELLED)
        await talk.account.charge(talk.ask.exchange, Nano(0), settlement)
        await talk.hear()

    async with scene(script) as stage:
        await ask_quietly(stage)
        await trio.sleep(60)

        assert stage.paying().charged == 0
        reasons = [evidence.reason for evidence in stage.store.disk.evidence]
        assert "settlement: more prompt tokens than it can have (limit=167 got=168)" in reasons
        worker = stage.proxy.worker.peer
        assert f"standing/{worker.hex()}" in await stage.store.notes("standing/")


# ---------------------------------------------------------------- weights


async def test_a_proxy_that_quotes_other_weights_than_were_pinned_is_refused(
    autojump_clock: MockClock,
) -> None:
    async with scene(honest) as stage:
        error = await ask_quietly(stage, weights="00" * 32)

        assert error is not None
        assert "other weights than were asked for" in str(error)
        assert not isinstance(error, Refused)
        assert stage.proxy.talks[0].heard == []
        pinned = stage.proxy.worker.offer.weights_hash.hex()
        await trio.sleep(10)
        assert await ask_quietly(stage, weights=pinned) is None
