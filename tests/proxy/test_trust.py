"""What a proxy offers a worker as, whatever that one registers next."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from cocoon_p2p.attestation import evidence_hash
from cocoon_p2p.attestation.showing import Showcase, Shown
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.protocols.ids import EVIDENCE, SESSION, Reason, Role, Trust
from cocoon_p2p.protocols.messages import ModelOffer, Register, Registered, SessionRefused, Signed
from cocoon_p2p.records import make_record, make_statement
from cocoon_p2p.testing.papers import paper_worker
from tests.attestation.scene import NETWORK, NOW
from tests.attestation.town import (
    MEASURED,
    OTHER,
    PROXY,
    Town,
    inline_threads,
    memory,
    now,
    town,
    worker_td,
)

OFFER = replace(paper_worker(NETWORK, now=NOW).offer, weights_hash=MEASURED.weights_hash)


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    inline_threads(monkeypatch)


@dataclass
class Hand:
    """A worker that registers what the test says, and shows what it has."""

    town: Town
    stream: MessageStream
    showcase: Showcase
    sequence: int = 0

    async def state(self, number: int) -> Shown:
        """Make a statement and evidence for it, and show both."""
        td = worker_td()
        statement = make_statement(
            OTHER,
            NETWORK,
            role=Role.WORKER,
            sealing_key=bytes(32),
            now=now(),
            nonce=bytes([number]) * 16,
            configuration_hash=td.configuration_hash,
        )
        shown = Shown(statement, await td.attest(statement))
        self.showcase.show(shown)
        return shown

    async def register(self, statement: Signed, evidence: bytes | None, *models: ModelOffer) -> object:
        self.sequence += 1
        record = make_record(
            OTHER,
            NETWORK,
            role=Role.WORKER,
            statement=statement,
            addresses=(),
            models=models or (OFFER,),
            now=now(),
            sequence=self.sequence,
            evidence_hash=evidence,
        )
        await self.stream.send(Register(record, statement))
        with trio.fail_after(100):
            return await self.stream.receive()

    def trust(self) -> Trust | None:
        """Say what it is offered as; None if it is not offered."""
        found = [standing.trust for standing in self.town.proxy.workers if standing.peer == OTHER.peer_id]
        return found[0] if found else None


@asynccontextmanager
async def hand(asked: Trust = Trust.OPEN) -> AsyncIterator[Hand]:
    async with town(asked_of_workers=asked) as running:
        network = memory(running.transports[PROXY])._network
        transport = network.transport(OTHER, listen=False)
        await transport.dial(running.transports[PROXY].addresses)
        showcase = Showcase(OTHER, NETWORK)
        transport.accept_streams(EVIDENCE, showcase.accept)
        stream = MessageStream(await transport.open_stream(PROXY.peer_id, SESSION))
        yield Hand(running, stream, showcase)


async def test_a_second_register_without_evidence_is_open_at_once(autojump_clock: MockClock) -> None:
    async with hand() as worker:
        shown = await worker.state(1)
        assert isinstance(await worker.register(shown.statement, name(shown)), Registered)
        assert worker.trust() is Trust.TDX

        assert isinstance(await worker.register(shown.statement, None), Registered)

        assert worker.trust() is Trust.OPEN


async def test_a_second_register_that_names_evidence_nobody_has_ends_the_session(
    autojump_clock: MockClock,
) -> None:
    async with hand() as worker:
        shown = await worker.state(1)
        await worker.register(shown.statement, name(shown))

        assert isinstance(await worker.register(shown.statement, bytes(32)), SessionRefused)

        await trio.testing.wait_all_tasks_blocked()
        assert worker.trust() is None


async def test_a_statement_that_was_not_proven_is_not_taken_for_one_that_was(
    autojump_clock: MockClock,
) -> None:
    """The presence shows what is proven; the record names other keys."""
    async with hand(Trust.TDX) as worker:
        await worker.state(1)
        other = await Hand(worker.town, worker.stream, Showcase(OTHER, NETWORK)).state(2)

        refusal = await worker.register(other.statement, None)

        assert isinstance(refusal, SessionRefused)
        assert refusal.reason is Reason.TRUST_BELOW_REQUEST
        assert "no-evidence" in refusal.detail


async def test_a_model_that_was_not_measured_makes_the_whole_record_open(autojump_clock: MockClock) -> None:
    async with hand() as worker:
        shown = await worker.state(1)
        await worker.register(shown.statement, name(shown))
        assert worker.trust() is Trust.TDX

        await worker.register(
            shown.statement, name(shown), OFFER, replace(OFFER, name="another", weights_hash=bytes(32))
        )

        assert worker.trust() is Trust.OPEN


async def test_prices_may_change_as_often_as_one_likes_under_evidence_that_was_examined(
    autojump_clock: MockClock,
) -> None:
    async with hand() as worker:
        shown = await worker.state(1)
        for _ in range(50):
            assert isinstance(await worker.register(shown.statement, name(shown)), Registered)

        assert worker.trust() is Trust.TDX


async def test_evidence_in_a_loop_is_refused_with_its_reason(autojump_clock: MockClock) -> None:
    async with hand() as worker:
        answers = []
        for number in range(20):
            shown = await worker.state(number)
            answers.append(await worker.register(shown.statement, name(shown)))
            if isinstance(answers[-1], SessionRefused):
                break

        assert isinstance(answers[-1], SessionRefused)
        assert answers[-1].reason is Reason.RATE_LIMITED


def name(shown: Shown) -> bytes:
    assert shown.evidence is not None
    return evidence_hash(shown.evidence)
