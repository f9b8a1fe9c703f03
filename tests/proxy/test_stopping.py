"""How a proxy ends: by a cancel, by a ledger that cannot be written, by a fault of its own."""

import logging
from contextlib import suppress
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.protocols.ids import EXCHANGE, SESSION, Outcome
from cocoon_p2p.protocols.messages import Chunk, Part, PromptMetered, Refused, Settled, Settlement
from cocoon_p2p.protocols.papers import check
from cocoon_p2p.testing.memory import Fate
from cocoon_p2p.units import Nano
from tests.proxy.scene import NETWORK, PROXY, WORKER, scene


async def test_a_proxy_that_is_cancelled_charges_what_was_delivered(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        end, job = await stage.begin()
        await job.say(job.chunk(3, signed=True))
        await end.hear(Chunk)

        stage.serving.cancel()
        await stage.settled()

        assert stage.charged() == stage.owed(30)
        paper = await stage.client.account.paper(job.exchange)
        assert paper is not None
        assert paper.settlement is not None
        settlement = check(Settlement, paper.settlement, signer=PROXY.peer_id, network=NETWORK)
        assert settlement.outcome is Outcome.FAILED
        with pytest.raises(Unavailable):
            await job.stream.receive()


async def test_a_proxy_that_is_cancelled_gives_back_what_nobody_used(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        await stage.ask()
        second, end = await stage.ask()
        await end.say(Part(second.exchange, bytes(16), 0, 0, True, b"sealed"))
        await stage.worker.take()

        stage.serving.cancel()
        await stage.settled()

        (account,) = stage.proxy_accounts.payers()
        assert account.accrued == 0
        assert stage.charged() == (0, 0)


@pytest.mark.parametrize("protocol", [EXCHANGE, SESSION])
async def test_a_proxy_that_has_ended_takes_no_stream(protocol: str, autojump_clock: MockClock) -> None:
    async with scene() as stage:
        stage.serving.cancel()
        await stage.settled()

        stream = await stage.client.transport.open_stream(PROXY.peer_id, protocol)

        with pytest.raises(Unavailable):
            await stream.read(1)


async def test_a_lost_worker_that_is_back_is_paid_what_the_client_paid_for(autojump_clock: MockClock) -> None:
    async with scene() as stage:
        end, job = await stage.begin()
        stage.network.cut(WORKER.peer_id, PROXY.peer_id)
        await end.hear(Settled)
        assert stage.charged()[0] == 10

        # Two more tokens were lost on the way; the worker ended as failed when it lost us.
        lost = job.chunk(3, signed=True)
        receipted = job.receipt(Outcome.FAILED)
        await job.account.charge(job.exchange, Nano(30), receipted.receipt)
        await stage.dial(stage.worker.transport)
        await trio.sleep(60)

        assert lost.usage.completion == 3
        assert stage.charged() == stage.owed(10)
        assert job.account.charged() == 10


async def test_a_worker_lost_before_its_first_chunk_is_not_paid_for_what_never_came(
    autojump_clock: MockClock,
) -> None:
    async with scene() as stage:
        ask, end = await stage.ask()
        await end.say(Part(ask.exchange, bytes(16), 0, 0, True, b"sealed"))
        job = await stage.worker.take()
        await job.say(job.metered())
        await end.hear(PromptMetered)
        stage.network.cut(WORKER.peer_id, PROXY.peer_id)
        await end.hear(Refused)

        job.chunk(2)
        await job.account.charge(job.exchange, Nano(20), job.receipt(Outcome.FAILED).receipt)
        await stage.dial(stage.worker.transport)
        await trio.sleep(60)

        assert stage.charged() == (0, 0)
        assert job.account.charged() == 0


async def test_a_ledger_that_cannot_be_written_ends_the_exchange_and_not_the_proxy(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with scene() as stage:
        end, job = await stage.begin()
        await job.say(job.chunk(2, final=True))
        await end.hear(Chunk)

        stage.proxy_store.error = Unavailable("the ledger cannot be written: the disk is full")
        with caplog.at_level(logging.ERROR):
            await job.charge(job.receipt())
            with pytest.raises(Unavailable):
                await end.hear(Settled)

        assert "task failed" in caplog.text
        assert stage.proxy.running == 0
        asking = await stage.client.open()
        await asking.say(stage.client.ask(channel=None))
        await asking.hear(object)


async def test_nothing_of_what_passes_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    secret = b"a secret that nobody reads"
    with caplog.at_level(logging.DEBUG):
        async with scene() as stage:
            ask, end = await stage.ask()
            await end.say(Part(ask.exchange, bytes(16), 0, 0, True, secret))
            job = await stage.worker.take()
            await job.say(job.metered(), replace(job.chunk(1), sealed=secret))
            await end.hear(PromptMetered)
            await end.hear(Chunk)
            await job.say(job.chunk(0))
            await end.hear(Settled)

    text = "".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert "exchange settled" in text
    assert secret.decode() not in text
    assert secret.hex() not in text


@pytest.mark.parametrize("fate", [Fate.RESET, Fate.LOSE])
@pytest.mark.parametrize("doomed", range(26))
async def test_whichever_write_is_lost_the_exchange_ends_and_nobody_pays_too_much(
    doomed: int, fate: Fate, autojump_clock: MockClock
) -> None:
    async with scene() as stage:
        first = stage.network.writes
        stage.network.fault = lambda write: (fate if write.number == first + doomed else Fate.DELIVER, 0.0)

        with suppress(Unavailable, AssertionError), trio.move_on_after(10):
            end, job = await stage.begin()
            await job.account.cover(job.exchange, Nano(30))
            await job.say(job.chunk(2, final=True))
            await job.charge(job.receipt())
            await end.hear(Chunk)
            await end.hear(Settled)
        await trio.sleep(60)

        assert stage.proxy.running == 0
        worker, client = stage.charged()
        assert (worker, client) in ((0, 0), stage.owed(10), stage.owed(30))
