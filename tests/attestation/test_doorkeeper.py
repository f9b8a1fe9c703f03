"""Who is at the other end: honest peers, men in the middle, hangs, floods; in memory and on sockets."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.attestation import Cause, evidence_hash
from cocoon_p2p.attestation.doorkeeper import ANSWER_SECONDS, Doorkeeper
from cocoon_p2p.attestation.showing import QUESTIONS_AT_ONCE, Showcase, Shown
from cocoon_p2p.attestation.turnstile import PER_SENDER, PER_SENDER_SECONDS
from cocoon_p2p.errors import AttestationFailed, CocoonError, RecordRejected, Refused, Unavailable
from cocoon_p2p.identity import Identity
from cocoon_p2p.network.libp2p.host import open_transport
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.network.transport import Stream, Transport
from cocoon_p2p.protocols.ids import EVIDENCE, SESSION, Reason, Role, Trust
from cocoon_p2p.protocols.messages import (
    EvidenceRefused,
    EvidenceShown,
    EvidenceWanted,
    PresenceShown,
    PresenceWanted,
    Register,
    SessionRefused,
    Signed,
)
from cocoon_p2p.records import make_statement
from cocoon_p2p.testing.memory import MemoryNetwork
from cocoon_p2p.testing.papers import paper_identity
from tests.attestation.scene import NETWORK, NOW
from tests.attestation.town import (
    ATTESTED,
    OTHER,
    PROXY,
    WORKER,
    Td,
    doorkeeper_for,
    inline_threads,
    town,
    worker_td,
)
from tests.client.scene import CLIENT, QUESTION

LISTEN = ["/ip4/127.0.0.1/tcp/0"]


async def shown_by(td: Td, identity: Identity, role: Role, *, at: float = NOW) -> Shown:
    statement = make_statement(
        identity,
        NETWORK,
        role=role,
        sealing_key=bytes(32),
        now=at,
        nonce=bytes(16),
        configuration_hash=td.configuration_hash,
    )
    return Shown(statement, await td.attest(statement))


async def honest_showcase(identity: Identity = WORKER) -> Showcase:
    showcase = Showcase(identity, NETWORK)
    showcase.show(await shown_by(worker_td(), identity, Role.WORKER))
    return showcase


def forward(through: Transport, to: Identity) -> Callable[[Stream], Awaitable[None]]:
    """Pass a question on to somebody else, and the answer back: byte by byte, as a man in the middle does."""

    async def accept(stream: Stream) -> None:
        onward = await through.open_stream(to.peer_id, EVIDENCE)

        async def copy(source: Stream, target: Stream) -> None:
            try:
                while data := await source.read(65_536):
                    await target.write(data)
            except Unavailable:
                return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(copy, stream, onward)
            nursery.start_soon(copy, onward, stream)

    return accept


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Doorkeeper, MemoryNetwork]]:
    """Someone who asks, connected to a peer of the test's making."""
    async with MemoryNetwork() as network:
        transport = network.transport(CLIENT, listen=False)
        asked = network.transport(WORKER)
        await transport.dial(asked.addresses)
        yield doorkeeper_for(CLIENT, transport), network


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    inline_threads(monkeypatch)


# ---------------------------------------------------------------- men in the middle


async def test_a_man_in_the_middle_who_forwards_question_and_answer_gets_nothing_over_real_sockets() -> None:
    """The honest worker names who asked it, and its connection's key is not the relay's."""
    async with (
        open_transport(WORKER, listen=LISTEN) as honest,
        open_transport(OTHER, listen=LISTEN) as relay,
        open_transport(CLIENT) as asking,
    ):
        with trio.fail_after(20):
            honest.accept_streams(EVIDENCE, (await honest_showcase()).accept)
            relay.accept_streams(EVIDENCE, forward(relay, WORKER))
            await relay.dial(honest.addresses)
            await asking.dial(relay.addresses)
            await asking.dial(honest.addresses)
            guard = doorkeeper_for(CLIENT, asking, clock=lambda: NOW)

            with pytest.raises(AttestationFailed, match="cannot be told"):
                await guard.admit(OTHER.peer_id, Role.WORKER, Trust.TDX)

            assert (await guard.admit(WORKER.peer_id, Role.WORKER, Trust.TDX)).level is Trust.TDX


async def test_a_proxy_in_the_middle_is_told_nothing_and_registers_nobody_over_real_sockets() -> None:
    """Real worker, proxy and client, and somebody who registers the worker's papers as his own."""
    async with (
        open_transport(PROXY, listen=LISTEN) as at_proxy,
        open_transport(WORKER) as at_worker,
        open_transport(CLIENT) as at_client,
    ):
        transports: dict[Identity, Transport] = {PROXY: at_proxy, WORKER: at_worker, CLIENT: at_client}
        with trio.fail_after(60):
            async with town(
                worker=worker_td(),
                proxy=Td(),
                client=ATTESTED,
                transports=transports,
                clock=lambda: NOW + 1,
                asked_of_workers=Trust.TDX,
                asked_of_proxies=Trust.TDX,
            ) as on:
                async with on.client.chat("scripted", QUESTION) as answer:
                    assert await answer.read()
                assert answer.trust is Trust.TDX
                await _relay_gets_nothing(on.worker.record, at_proxy)


async def _relay_gets_nothing(record: Signed, at_proxy: Transport) -> None:
    """Register a worker's record under another identity, and pass questions about it on."""
    async with open_transport(OTHER) as relay:
        await relay.dial(at_proxy.addresses)
        relay.accept_streams(EVIDENCE, forward(relay, PROXY))
        stream = MessageStream(await relay.open_stream(PROXY.peer_id, SESSION))
        statement = (await shown_by(worker_td(), WORKER, Role.WORKER)).statement
        await stream.send(Register(record, statement))
        refusal = await stream.receive()
        assert isinstance(refusal, SessionRefused)


async def test_an_answer_to_another_question_is_not_taken(
    no_threads: None, autojump_clock: MockClock
) -> None:
    """A presence that was once overheard cannot be shown again."""
    showcase = await honest_showcase()
    async with pair() as (guard, network):
        heard: list[object] = []

        async def replay(stream: Stream) -> None:
            messages = MessageStream(stream)
            question = await messages.receive()
            if isinstance(question, PresenceWanted):
                heard.append(showcase._answer(PresenceWanted(bytes(32)), stream.peer))
                await messages.send(heard[0])
            await trio.sleep_forever()

        network.transports[WORKER.peer_id].accept_streams(EVIDENCE, replay)

        with pytest.raises(RecordRejected, match="another question"):
            await guard.meet(WORKER.peer_id, Role.WORKER)


@pytest.mark.parametrize(
    ("identity", "role", "age", "cause"),
    [
        (OTHER, Role.WORKER, 0, Cause.OTHER_PEER),
        (WORKER, Role.PROXY, 0, Cause.OTHER_ROLE),
        (WORKER, Role.WORKER, 86_400, Cause.EXPIRED),
    ],
)
async def test_borrowed_papers_prove_nothing_even_with_a_presence_of_ones_own(
    identity: Identity, role: Role, age: int, cause: Cause, no_threads: None, autojump_clock: MockClock
) -> None:
    borrowed = await shown_by(worker_td(), identity, role, at=NOW - age)
    showcase = Showcase(WORKER, NETWORK)
    showcase.show(borrowed)
    async with pair() as (guard, network):
        network.transports[WORKER.peer_id].accept_streams(EVIDENCE, showcase.accept)

        verdict = await guard.meet(WORKER.peer_id, Role.WORKER)

        assert (verdict.cause, verdict.level) == (cause, None)
        with pytest.raises(AttestationFailed):
            await guard.admit(WORKER.peer_id, Role.WORKER, Trust.OPEN)


async def test_evidence_that_is_another_statement_s_proves_nothing(
    no_threads: None, autojump_clock: MockClock
) -> None:
    theirs = await shown_by(worker_td(), OTHER, Role.WORKER)
    ours = await shown_by(worker_td(), WORKER, Role.WORKER)
    showcase = Showcase(WORKER, NETWORK)
    showcase.show(replace(ours, evidence=theirs.evidence))
    async with pair() as (guard, network):
        network.transports[WORKER.peer_id].accept_streams(EVIDENCE, showcase.accept)

        verdict = await guard.meet(WORKER.peer_id, Role.WORKER)

        assert (verdict.cause, verdict.level) == (Cause.KEYS_NOT_BOUND, Trust.OPEN)


# ---------------------------------------------------------------- hangs


async def test_a_peer_that_hangs_costs_ten_seconds_and_a_cancel_leaves_the_next_one_working(
    no_threads: None, autojump_clock: MockClock
) -> None:
    async with pair() as (guard, network):

        async def hang(stream: Stream) -> None:
            await trio.sleep_forever()

        network.transports[WORKER.peer_id].accept_streams(EVIDENCE, hang)
        began = trio.current_time()
        with pytest.raises(AttestationFailed, match="cannot be told"):
            await guard.admit(WORKER.peer_id, Role.WORKER, Trust.TDX)
        assert trio.current_time() - began == pytest.approx(ANSWER_SECONDS)
        with trio.move_on_after(1):
            await guard.meet(WORKER.peer_id, Role.WORKER)

        network.transports[WORKER.peer_id].accept_streams(EVIDENCE, (await honest_showcase()).accept)
        assert (await guard.meet(WORKER.peer_id, Role.WORKER)).level is Trust.TDX


# ---------------------------------------------------------------- floods, and what is kept


async def test_who_asks_too_often_is_told_so_and_others_are_not(
    no_threads: None, autojump_clock: MockClock
) -> None:
    showcase = await honest_showcase()
    nonce = PresenceWanted(bytes(32))

    answers = [showcase._answer(nonce, OTHER.peer_id) for _ in range(QUESTIONS_AT_ONCE + 1)]

    assert all(isinstance(answer, PresenceShown) for answer in answers[:-1])
    last = answers[-1]
    assert isinstance(last, EvidenceRefused)
    assert last.reason is Reason.RATE_LIMITED
    assert isinstance(showcase._answer(nonce, CLIENT.peer_id), PresenceShown)


async def test_a_peer_that_has_itself_examined_in_a_loop_is_not_even_asked(
    no_threads: None, autojump_clock: MockClock
) -> None:
    asked = 0
    showcase = await honest_showcase()
    async with pair() as (guard, network):

        async def count(stream: Stream) -> None:
            nonlocal asked
            asked += 1
            await showcase.accept(stream)

        network.transports[WORKER.peer_id].accept_streams(EVIDENCE, count)
        errors: list[CocoonError] = []
        for _ in range(100):
            try:
                await guard.meet(WORKER.peer_id, Role.WORKER)
            except Refused as error:
                errors.append(error)

    assert asked < 12
    assert {error.code for error in errors} == {"rate-limited"}


async def test_a_peer_that_was_asked_too_often_is_examined_as_soon_as_one_more_look_is_due(
    no_threads: None, autojump_clock: MockClock
) -> None:
    async with pair() as (guard, network):

        async def hang_up(stream: Stream) -> None:
            stream.reset()

        network.transports[WORKER.peer_id].accept_streams(EVIDENCE, hang_up)
        for _ in range(2 * PER_SENDER):
            with pytest.raises(AttestationFailed, match="cannot be told"):
                await guard.admit(WORKER.peer_id, Role.WORKER, Trust.TDX)

        network.transports[WORKER.peer_id].accept_streams(EVIDENCE, (await honest_showcase()).accept)
        await trio.sleep(PER_SENDER_SECONDS)
        assert (await guard.meet(WORKER.peer_id, Role.WORKER)).level is Trust.TDX


def test_what_others_show_is_kept_within_its_bound_and_nobody_has_more_than_two_places() -> None:
    showcase = Showcase(PROXY, NETWORK, others_max_bytes=1_000)
    for number in range(5):
        showcase.add(bytes([number]) * 100, owner=WORKER.peer_id)
    kept = [showcase.find(evidence_hash(bytes([number]) * 100)) is not None for number in range(5)]
    assert kept == [False, False, False, True, True]

    for number in range(20):
        showcase.add(bytes([100 + number]) * 300, owner=paper_identity(number).peer_id)
    found = [showcase.find(evidence_hash(bytes([100 + number]) * 300)) for number in range(20)]
    assert sum(one is not None for one in found) == 3

    for number in range(20):
        showcase.forget(paper_identity(number).peer_id)
    assert (showcase._others_bytes, showcase._names) == (0, {})


async def test_the_last_two_of_our_own_can_be_had_since_quotes_that_name_the_older_are_under_way(
    autojump_clock: MockClock,
) -> None:
    showcase = Showcase(WORKER, NETWORK)
    shown = [await shown_by(worker_td(), WORKER, Role.WORKER, at=NOW - age) for age in (3, 2, 1)]
    for one in shown:
        showcase.show(one)

    answers = [
        showcase._answer(EvidenceWanted(evidence_hash(one.evidence or b"")), CLIENT.peer_id) for one in shown
    ]

    assert [type(answer) for answer in answers] == [EvidenceRefused, EvidenceShown, EvidenceShown]


async def test_other_evidence_than_was_asked_for_is_neither_looked_at_nor_kept(
    no_threads: None, autojump_clock: MockClock
) -> None:
    showcase = await honest_showcase()
    async with pair() as (guard, network):

        async def swap(stream: Stream) -> None:
            messages = MessageStream(stream)
            question = await messages.receive()
            is_presence = isinstance(question, PresenceWanted)
            answer = showcase._answer(question, stream.peer) if is_presence else EvidenceShown(b"other")
            await messages.send(answer)
            await trio.sleep_forever()

        network.transports[WORKER.peer_id].accept_streams(EVIDENCE, swap)

        with pytest.raises(RecordRejected, match="not what was asked for"):
            await guard.meet(WORKER.peer_id, Role.WORKER)
        assert guard._showcase.find(evidence_hash(b"other")) is None
