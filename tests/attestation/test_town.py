"""Nodes that prove themselves to each other: who gets in, who does not, and what then flows."""

from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from cocoon_p2p.attestation import Cause, Roots, Tri
from cocoon_p2p.attestation.configuration import MeasuredConfiguration
from cocoon_p2p.errors import AttestationFailed, CocoonError, Unavailable
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.network.transport import Stream
from cocoon_p2p.protocols.ids import CHANNEL, EVIDENCE, EXCHANGE, SESSION, Role, Trust
from cocoon_p2p.protocols.messages import EvidenceShown, EvidenceWanted, PresenceWanted, Signed
from cocoon_p2p.proxy.workers import EXAMINE_SECONDS
from tests.attestation.scene import image_of
from tests.attestation.town import (
    ATTESTED,
    GPU,
    MACHINE,
    MEASURED,
    PROXY,
    STRICT,
    WORKER,
    Td,
    Town,
    inline_threads,
    memory,
    town,
    worker_td,
)
from tests.client.scene import QUESTION

OPEN = replace(ATTESTED, trust=Trust.OPEN)
PROXIES_ANY = replace(ATTESTED, proxy_trust=Trust.OPEN)
ON_GPU = replace(MEASURED, engine="exllama", uses_gpu=True)


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    inline_threads(monkeypatch)


async def ask(running: Town, **wishes: object) -> Any:
    async with running.client.chat("scripted", QUESTION, **wishes) as answer:  # type: ignore[arg-type]
        await answer.read()
    return answer


async def offered_as(running: Town) -> Trust:
    with trio.fail_after(120):
        await running.proxy.wait_workers(1)
    return running.proxy.workers[0].trust


def spy(running: Town, *protocols: str) -> list[str]:
    """Note which protocols the proxy is spoken to in."""
    heard: list[str] = []
    acceptors = memory(running.transports[PROXY]).acceptors

    def listen(protocol: str) -> None:
        honest = acceptors[protocol]

        async def accept(stream: Stream) -> None:
            heard.append(protocol)
            await honest(stream)

        acceptors[protocol] = accept

    for protocol in protocols:
        listen(protocol)
    return heard


def show_instead(running: Town, answer: object) -> None:
    """Have the proxy answer questions about evidence with this, or not at all if it is None."""
    honest = running.proxy_proving.showcase

    async def accept(stream: Stream) -> None:
        messages = MessageStream(stream)
        question = await messages.receive()
        if isinstance(question, PresenceWanted):
            await messages.send(honest._answer(question, stream.peer))
        elif answer is None:
            await trio.sleep_forever()
        elif isinstance(answer, bytes):
            await stream.write(answer)
            await trio.sleep_forever()
        else:
            await messages.send(answer)
        await trio.sleep_forever()

    memory(running.transports[PROXY]).acceptors[EVIDENCE] = accept


async def test_a_worker_and_a_proxy_prove_tdx_and_the_answer_says_so(autojump_clock: MockClock) -> None:
    async with town(
        worker=worker_td(), proxy=Td(), asked_of_workers=Trust.TDX, asked_of_proxies=Trust.TDX
    ) as on:
        answer = await ask(on)

    assert answer.trust is Trust.TDX
    assert answer.verdict.vector.hardware is Tri.AFFIRMED
    assert answer.verdict.vector.gpu is Tri.UNKNOWN
    assert answer.verdict.image.startswith("paper worker 1.0")
    assert answer.proxy_verdict.level is Trust.TDX


async def test_an_offer_s_trust_is_unknown_until_somebody_was_quoted(autojump_clock: MockClock) -> None:
    async with town(worker=worker_td(), proxy=Td()) as on:
        await offered_as(on)
        await trio.sleep(10)
        (before,) = await on.client.models()
        await on.client.quote("scripted", QUESTION)
        (after,) = await on.client.models()

    assert (before.trust, after.trust) == (None, Trust.TDX)


async def test_a_gpu_that_is_shown_makes_it_tdx_with_a_gpu(autojump_clock: MockClock) -> None:
    async with town(worker=worker_td(ON_GPU, gpus=(GPU,)), proxy=Td()) as on:
        answer = await ask(on, trust=Trust.TDX_GPU)

    assert answer.trust is Trust.TDX_GPU
    assert answer.verdict.vector.gpu is Tri.AFFIRMED


async def test_an_engine_on_a_gpu_that_nothing_vouches_for_is_open(autojump_clock: MockClock) -> None:
    async with town(worker=worker_td(ON_GPU), proxy=Td()) as on:
        assert await offered_as(on) is Trust.OPEN
        answer = await ask(on, trust=Trust.OPEN)

    assert answer.trust is Trust.OPEN
    assert answer.verdict.cause is Cause.GPU_MISSING


async def test_without_the_test_s_own_root_a_structurally_real_quote_proves_nothing(
    autojump_clock: MockClock,
) -> None:
    async with town(worker=worker_td(), proxy=Td(), roots=Roots()) as on:
        with pytest.raises(AttestationFailed, match=r"proxy of 12D3.* at gate quote: "):
            await ask(on)


async def test_a_proxy_that_proves_nothing_is_told_nothing_and_gets_no_channel(
    autojump_clock: MockClock,
) -> None:
    async with town(worker=worker_td(), proxy=None) as on:
        heard = spy(on, EVIDENCE, EXCHANGE, CHANNEL, SESSION)
        with pytest.raises(AttestationFailed, match="at gate type: no-evidence"):
            await ask(on)

    assert set(heard) <= {EVIDENCE, SESSION}
    assert on.accounts.payees() == ()


async def test_a_proxy_is_first_asked_who_it_is_and_then_spoken_to(autojump_clock: MockClock) -> None:
    async with town(worker=worker_td(), proxy=Td()) as on:
        await offered_as(on)
        heard = spy(on, EVIDENCE, EXCHANGE, CHANNEL)
        await ask(on)

    assert heard[:2] == [EVIDENCE, EVIDENCE]
    assert {EXCHANGE, CHANNEL} <= set(heard[2:])


async def test_a_policy_that_asks_nothing_of_proxies_lets_any_proxy_pass(autojump_clock: MockClock) -> None:
    async with town(worker=worker_td(), policy=replace(STRICT, are_proxies_attested=False)) as on:
        answer = await ask(on)

    assert (answer.trust, answer.proxy_verdict) == (Trust.TDX, None)


async def test_a_worker_tells_an_unproven_proxy_nothing(autojump_clock: MockClock) -> None:
    async with town(worker=worker_td(), proxy=None, asked_of_proxies=Trust.TDX) as on:
        heard = spy(on, SESSION)
        await trio.sleep(300)
        assert heard == []
        stream = await on.transports[PROXY].open_stream(WORKER.peer_id, EXCHANGE)
        with pytest.raises(Unavailable):
            await stream.read(1)


@pytest.mark.parametrize(
    "lie",
    [
        EvidenceShown(b"junk"),
        EvidenceWanted(bytes(32)),
        b"\xff\xff\xff\xff",
        b"garbage that is no frame",
        None,
    ],
    ids=["other evidence", "no answer", "a frame too long", "garbage", "nothing"],
)
async def test_a_proxy_that_does_not_show_a_worker_s_evidence_gets_no_prompt(
    lie: object, autojump_clock: MockClock
) -> None:
    async with town(worker=worker_td(), proxy=Td(), client=PROXIES_ANY) as on:
        await offered_as(on)
        show_instead(on, lie)
        with pytest.raises(CocoonError) as caught:
            await ask(on, timeout_seconds=60)

    assert "worker of 12D3" in str(caught.value) or caught.value.code in ("excluded", "deadline")
    assert sum(account.charged for account in on.accounts.payees()) == 0


async def test_who_asks_for_no_proof_waits_a_moment_for_one_and_then_not_again(
    autojump_clock: MockClock,
) -> None:
    async with town(worker=worker_td(), proxy=Td(), client=OPEN) as on:
        await offered_as(on)
        show_instead(on, None)
        began = trio.current_time()
        answer = await ask(on)
        took = trio.current_time() - began
        began = trio.current_time()
        await ask(on)
        took_again = trio.current_time() - began

    assert answer.trust is Trust.OPEN
    # A proxy that hangs would take ten seconds.
    assert took < 3
    assert took_again < took - 0.9


async def test_a_hundred_first_requests_examine_a_worker_once(autojump_clock: MockClock) -> None:
    async with town(worker=worker_td(), proxy=Td()) as on:
        await offered_as(on)
        heard = spy(on, EVIDENCE)
        answers = []

        async def one() -> None:
            answers.append(await ask(on))

        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(one)

    assert {answer.trust for answer in answers} == {Trust.TDX}
    # Who the proxy is, its evidence, the worker's evidence.
    assert len(heard) == 3


async def test_weights_that_the_image_did_not_measure_are_not_proven(autojump_clock: MockClock) -> None:
    other = MeasuredConfiguration("scripted", bytes(32), "", "info", uses_gpu=False)
    async with town(worker=worker_td(other), proxy=Td()) as on:
        assert await offered_as(on) is Trust.OPEN
        answer = await ask(on, trust=Trust.OPEN)
        assert answer.trust is Trust.OPEN
        assert answer.verdict.has_passed

    async with town(worker=worker_td(other), proxy=Td(), asked_of_workers=Trust.TDX) as on:
        await trio.sleep(300)
        assert on.proxy.workers == ()


# ---------------------------------------------------------------- what changes with time


@pytest.mark.slow
async def test_keys_are_proven_anew_at_half_life_and_answers_go_on(autojump_clock: MockClock) -> None:
    td = worker_td()
    async with town(worker=td, proxy=Td()) as on:
        assert (await ask(on)).trust is Trust.TDX
        await trio.sleep(12.5 * 3600)
        assert (await ask(on)).trust is Trust.TDX

    assert len(td.made) == 2


@pytest.mark.slow
async def test_a_machine_that_is_silent_at_rotation_keeps_the_old_keys_and_proves_new_ones_later(
    autojump_clock: MockClock,
) -> None:
    td, is_silent = worker_td(), False

    async def attest(statement: Signed) -> bytes:
        if is_silent:
            await trio.sleep_forever()
        return await td.attest(statement)

    async with town(worker=td, worker_attest=attest, proxy=Td(), client=PROXIES_ANY) as on:
        assert await offered_as(on) is Trust.TDX
        is_silent = True
        await trio.sleep(18 * 3600)
        assert (await ask(on)).trust is Trust.TDX
        await trio.sleep(8 * 3600)
        # The last proven keys have ended: what is offered now is not proven, and says so.
        assert on.proxy.workers[0].trust is Trust.OPEN
        is_silent = False
        await trio.sleep(3600)
        assert (await ask(on)).trust is Trust.TDX


@pytest.mark.slow
async def test_a_proxy_whose_machine_is_silent_lives_on_its_last_statement(autojump_clock: MockClock) -> None:
    td, is_silent = Td(), False

    async def attest(statement: Signed) -> bytes:
        if is_silent:
            raise Unavailable("the machine is silent")
        return await td.attest(statement)

    async with town(worker=worker_td(), proxy=td, proxy_attest=attest) as on:
        assert (await ask(on)).trust is Trust.TDX
        is_silent = True
        await trio.sleep(20 * 3600)
        assert (await ask(on)).trust is Trust.TDX


async def test_a_verdict_that_lapses_while_a_session_stands_is_not_offered(autojump_clock: MockClock) -> None:
    policy = replace(STRICT, expires=STRICT.expires - 90 * 86_400 - 14 * 86_400 + 600)
    async with town(worker=worker_td(), proxy=Td(), policy=policy) as on:
        assert await offered_as(on) is Trust.TDX
        assert (await ask(on)).trust is Trust.TDX
        await trio.sleep(601)
        (standing,) = on.proxy.workers
        assert standing.trust_until < on.proxy.workers[0].expires
        with pytest.raises(AttestationFailed, match="policy-expired"):
            await ask(on)


# ---------------------------------------------------------------- a new policy


async def test_a_new_policy_ends_the_standing_of_a_worker_that_no_longer_passes(
    autojump_clock: MockClock,
) -> None:
    async with town(worker=worker_td(), proxy=Td(), asked_of_workers=Trust.TDX) as on:
        assert await offered_as(on) is Trust.TDX

        on.proxy_proving.doorkeeper.adopt(replace(STRICT, epoch=4, images=()))
        await trio.testing.wait_all_tasks_blocked()

        assert on.proxy.workers == ()


async def test_under_a_new_policy_a_worker_that_need_prove_nothing_is_offered_as_open(
    autojump_clock: MockClock,
) -> None:
    async with town(worker=worker_td(), proxy=Td()) as on:
        assert await offered_as(on) is Trust.TDX

        on.proxy_proving.doorkeeper.adopt(replace(STRICT, epoch=4, images=()))

        assert on.proxy.workers[0].trust is Trust.OPEN


async def test_under_a_new_policy_a_client_refuses_what_it_took_before(autojump_clock: MockClock) -> None:
    only_proxies = (image_of(MACHINE.body, role=Role.PROXY),)
    async with town(worker=worker_td(), proxy=Td()) as on:
        assert (await ask(on)).trust is Trust.TDX

        (change,) = on.guard.adopt(replace(STRICT, epoch=4, images=only_proxies))

        assert change.shown.peer == WORKER.peer_id
        with pytest.raises(AttestationFailed, match=r"worker of .* gate image: image-not-listed"):
            await ask(on)


async def test_what_runs_when_a_policy_changes_runs_to_its_end(autojump_clock: MockClock) -> None:
    async with town(worker=worker_td(), proxy=Td()) as on:
        async with on.client.chat("scripted", QUESTION) as answer:
            on.guard.adopt(replace(STRICT, epoch=4, images=()))
            assert await answer.read()

        assert answer.dispute is None


async def test_a_worker_leaves_a_proxy_that_a_new_policy_does_not_take(autojump_clock: MockClock) -> None:
    async with town(worker=worker_td(), proxy=Td(), asked_of_proxies=Trust.TDX) as on:
        await offered_as(on)

        on.worker_proving.doorkeeper.adopt(replace(STRICT, epoch=4, images=()))
        await trio.sleep(EXAMINE_SECONDS)

        assert on.worker.registered == frozenset()
        assert on.proxy.workers == ()


async def test_those_who_wait_for_a_proxy_that_hangs_are_held_up_once_and_not_one_after_another(
    autojump_clock: MockClock,
) -> None:
    async with town(worker=worker_td(), proxy=Td()) as on:
        await offered_as(on)

        async def hang(stream: Stream) -> None:
            await trio.sleep_forever()

        memory(on.transports[PROXY]).acceptors[EVIDENCE] = hang
        began, failed = trio.current_time(), []

        async def one() -> None:
            with pytest.raises(AttestationFailed):
                await ask(on)
            failed.append(trio.current_time() - began)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(one)

    assert len(failed) == 10
    assert max(failed) < 15


async def test_what_takes_longer_than_a_slot_is_held_is_known_by_the_next_request(
    autojump_clock: MockClock,
) -> None:
    async with town(worker=worker_td(), proxy=Td(), client=PROXIES_ANY) as on:
        await offered_as(on)
        honest = on.proxy_proving.showcase

        async def slow(stream: Stream) -> None:
            await trio.sleep(8)
            await honest.accept(stream)

        memory(on.transports[PROXY]).acceptors[EVIDENCE] = slow
        with pytest.raises(CocoonError):
            await ask(on)
        await trio.sleep(10)

        assert (await ask(on)).trust is Trust.TDX


async def test_two_seconds_for_evidence_are_waited_for(autojump_clock: MockClock) -> None:
    async with town(worker=worker_td(), proxy=Td(), client=PROXIES_ANY) as on:
        await offered_as(on)
        honest = on.proxy_proving.showcase

        async def slow(stream: Stream) -> None:
            await trio.sleep(2)
            await honest.accept(stream)

        memory(on.transports[PROXY]).acceptors[EVIDENCE] = slow

        assert (await ask(on)).trust is Trust.TDX
