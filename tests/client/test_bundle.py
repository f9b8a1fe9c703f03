"""What a client keeps of an answer proves its bill to a stranger, and opens nothing else."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from cocoon_p2p.attestation import demo_policy, evidence_hash, simulate
from cocoon_p2p.attestation.appraising import Verifier
from cocoon_p2p.attestation.doorkeeper import Doorkeeper
from cocoon_p2p.attestation.shelf import CollateralShelf
from cocoon_p2p.attestation.showing import Showcase
from cocoon_p2p.attestation.verdict import Tri
from cocoon_p2p.client import Answer, transcript
from cocoon_p2p.errors import AnswerBroken, ConfigurationError, MalformedMessage, SealBroken, Unavailable
from cocoon_p2p.protocols.exchange.bundle import Bundle, decode_bundle, encode_bundle
from cocoon_p2p.protocols.exchange.findings import Subject, Verification
from cocoon_p2p.protocols.exchange.verification import verify_bundle
from cocoon_p2p.protocols.ids import Outcome, Reason, Role
from cocoon_p2p.records import make_record
from cocoon_p2p.sealing import open_answer_chunk
from cocoon_p2p.testing.engine import ScriptedEngine
from tests.client.nodes import nodes
from tests.client.scene import CLIENT, NETWORK, QUESTION, Dice, Script, Talk, honest, now, scene

WORDS = tuple(f"word{number} " for number in range(50))


def bundle_of(answer: Answer) -> Bundle:
    assert answer.bundle is not None
    return decode_bundle(encode_bundle(answer.bundle))


def names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def checked(answer: Answer) -> Verification:
    """Verify the bundle with nothing but its bytes and the text that was read."""
    return verify_bundle(bundle_of(answer), answer=answer.text)


async def test_the_bundle_of_an_answer_proves_its_bill_and_its_words(autojump_clock: MockClock) -> None:
    async with scene(honest) as stage:
        async with stage.client.chat("scripted", QUESTION) as answer:
            assert answer.bundle is None
            await answer.read()

        found = checked(answer)
        assert found.holds
        assert found.text == "It is this."
        assert (found.worker, found.receipt) == (answer.worker, answer.receipt)
        open_questions = {one.subject for one in found.findings if one.claim is not Tri.AFFIRMED}
        # The worker in this scene shows no evidence.
        assert open_questions == {Subject.EVIDENCE}


async def test_a_real_network_s_answers_and_cancels_are_proven_as_well(autojump_clock: MockClock) -> None:
    async with nodes(ScriptedEngine(WORDS, delay_seconds=0.01)) as network:
        kept: list[Answer] = []
        for limit in (1, 3, 40):
            async with network.client.chat("scripted", QUESTION, completion_tokens_max=limit) as answer:
                await answer.read()
            kept.append(answer)
        async with network.client.chat("scripted", QUESTION, completion_tokens_max=200) as answer:
            await anext(answer)
        kept.append(answer)
        await trio.sleep(10)

        for answer in kept[:-1]:
            assert checked(answer).holds
        # What came after we left was not read, but paid.
        found = verify_bundle(bundle_of(kept[-1]))
        assert found.holds
        assert found.settlement is not None
        assert found.settlement.outcome is Outcome.CANCELLED
        assert found.text is not None
        assert found.text.startswith(kept[-1].text)


async def test_two_answers_of_one_session_do_not_open_each_other(autojump_clock: MockClock) -> None:
    async with scene(honest) as stage:
        bundles: list[Bundle] = []
        for _ in range(2):
            async with stage.client.chat("scripted", QUESTION) as answer:
                await answer.read()
            bundles.append(bundle_of(answer))

        first, second = bundles
        assert len({talk.session for talk in stage.proxy.talks}) == 1
        assert first.answer_key is not None
        for number, chunk in enumerate(second.chunks):
            with pytest.raises(SealBroken):
                open_answer_chunk(first.answer_key, number, chunk.final, chunk.usage, chunk.sealed)
        mixed = replace(second, answer_key=first.answer_key)
        assert verify_bundle(mixed)[Subject.ANSWER].claim is Tri.REFUTED


def ending(outcome: Outcome, reason: Reason) -> Script:
    async def script(talk: Talk) -> None:
        await talk.begin()
        await talk.chunk("It ", 2)
        await talk.settle(outcome, reason)

    return script


async def test_what_broke_off_is_proven_too(autojump_clock: MockClock) -> None:
    async with scene(ending(Outcome.FAILED, Reason.ENGINE_FAILED)) as stage:
        with pytest.raises(AnswerBroken):
            async with stage.client.chat("scripted", QUESTION) as answer:
                await answer.read()

        assert checked(answer).holds


async def test_a_settlement_that_was_had_late_is_proven_as_far_as_the_chunks_came(
    autojump_clock: MockClock,
) -> None:
    async def vanish(talk: Talk) -> None:
        await talk.begin()
        await talk.chunk("It ", 2)
        lost = talk.make_chunk("is this.", 2, final=True)
        await talk.charge(talk.settlement())
        assert lost.final
        await trio.sleep(0.1)
        talk.stream.reset()

    async with scene(vanish) as stage:
        with pytest.raises(AnswerBroken):
            async with stage.client.chat("scripted", QUESTION) as answer:
                await answer.read()
        await trio.sleep(60)

        found = verify_bundle(bundle_of(answer))
        assert found.holds
        assert bundle_of(answer).chunks == ()
        assert found[Subject.AMOUNT].claim is Tri.AFFIRMED
        assert found[Subject.COUNTS].claim is found[Subject.ANSWER].claim is Tri.UNKNOWN


async def test_what_was_fetched_of_the_worker_s_machine_travels_along(tmp_path: Path) -> None:
    evidence: list[bytes] = []

    async def shown(talk: Talk) -> None:
        worker = talk.worker
        evidence.append(simulate(worker.statement, NETWORK))
        record = make_record(
            worker.identity,
            NETWORK,
            role=Role.WORKER,
            statement=worker.statement,
            addresses=(),
            models=(worker.offer,),
            now=now(),
            sequence=2,
            evidence_hash=evidence_hash(evidence[0]),
        )
        showcase.add(evidence[0], owner=worker.peer)
        await talk.begin(worker=replace(worker, record=record))
        await talk.chunk("It.", final=True)
        await talk.settle()

    async with scene(shown) as stage:
        showcase = Showcase(CLIENT, NETWORK)
        verifier = Verifier(demo_policy(NETWORK), CollateralShelf(tmp_path, ()), clock=now)
        desk = stage.client._desk  # pyright: ignore[reportPrivateUsage]
        desk.doorkeeper = Doorkeeper(
            verifier, showcase, stage.transport, NETWORK, CLIENT.peer_id, Dice("doorkeeper")
        )
        async with stage.client.chat("scripted", QUESTION) as answer:
            await answer.read()

        assert bundle_of(answer).evidence == evidence[0]
        assert checked(answer)[Subject.EVIDENCE].claim is Tri.AFFIRMED


async def test_a_disputed_bill_is_not_proven(autojump_clock: MockClock, tmp_path: Path) -> None:
    async def liar(talk: Talk) -> None:
        await talk.begin()
        await talk.chunk("It.", final=True)
        await talk.settle(commission=50)

    async with scene(liar) as stage:
        async with stage.client.chat("scripted", QUESTION) as answer:
            await answer.read()

        assert answer.bundle is None
        with pytest.raises(Unavailable, match="no settlement"):
            await answer.save_bundle(tmp_path / "receipt")
        assert names(tmp_path) == []


async def test_a_saved_bundle_is_its_owner_s_alone(autojump_clock: MockClock, tmp_path: Path) -> None:
    file = tmp_path / "receipt"
    file.write_text("an older one")
    async with scene(honest) as stage:
        async with stage.client.chat("scripted", QUESTION) as answer:
            await answer.read()

        await answer.save_bundle(file)
        with pytest.raises(ConfigurationError, match="cannot use"):
            await answer.save_bundle(tmp_path / "nowhere" / "receipt")

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert decode_bundle(file.read_bytes()) == answer.bundle
    assert names(tmp_path) == ["receipt"]


async def test_of_an_answer_that_is_too_long_no_chunk_is_kept_and_the_bill_is(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcript, "BUNDLE_CHUNKS_SIZE_MAX_BYTES", 2 * 80)
    async with scene(honest) as stage:
        async with stage.client.chat("scripted", QUESTION) as answer:
            await answer.read()

        assert bundle_of(answer).chunks == ()
        assert verify_bundle(bundle_of(answer)).holds


async def test_chunks_that_count_nothing_are_not_kept_without_end(autojump_clock: MockClock) -> None:
    async def flood(talk: Talk) -> None:
        await talk.begin()
        for _ in range(3 + transcript.TEXTLESS_CHUNKS_MAX):
            await talk.chunk("", 0)
        await talk.chunk("It.", final=True)
        await talk.settle()

    async with scene(flood) as stage:
        async with stage.client.chat("scripted", QUESTION, completion_tokens_max=3) as answer:
            assert await answer.read() == "It."

        assert bundle_of(answer).chunks == ()
        assert verify_bundle(bundle_of(answer)).holds


@pytest.mark.slow
async def test_every_flipped_bit_of_a_real_bundle_is_refuted(autojump_clock: MockClock) -> None:
    engine = ScriptedEngine(WORDS, delay_seconds=0.01)
    async with (
        nodes(engine) as network,
        network.client.chat("scripted", QUESTION, completion_tokens_max=3) as answer,
    ):
        await answer.read()
    data = encode_bundle(bundle_of(answer))

    @given(place=st.integers(0, 8 * len(data) - 1))
    @settings(max_examples=300, deadline=None)
    def flip(place: int) -> None:
        altered = bytearray(data)
        altered[place // 8] ^= 1 << place % 8
        try:
            bundle = decode_bundle(bytes(altered))
        except MalformedMessage:
            return
        assert not verify_bundle(bundle).holds

    flip()
