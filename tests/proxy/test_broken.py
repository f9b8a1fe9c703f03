"""Exchanges of which only the worker's half was written down: what their clients are charged, and when."""

from typing import Any

import pytest
from trio.testing import MockClock

from cocoon_p2p.errors import Refused, Unavailable
from cocoon_p2p.payments.settlement import ReceivingAccount
from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.protocols.messages import Chunk, Settled, Settlement
from cocoon_p2p.protocols.papers import check
from tests.proxy.scene import NETWORK, PROXY, End, Job, Scene, scene

WORKER_AMOUNT, CLIENT_AMOUNT = 30, 31
"Ten tokens of a prompt and two of an answer; a twentieth comes on top."


async def finish(stage: Scene, job: Job) -> None:
    await job.say(job.chunk(2, final=True))
    await job.charge(job.receipt())
    await stage.settled()


async def lose_half(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> tuple[ReceivingAccount, Job, End, Job]:
    """Finish an exchange whose charge to the client cannot be written down, beside one that runs on."""
    _, job = await stage.begin(hold=100)
    end, other = await stage.begin(hold=100)
    (account,) = stage.proxy_accounts.payers()
    charge = ReceivingAccount.charge

    async def fail(one: ReceivingAccount, *args: Any) -> Any:
        if one is account:
            raise Unavailable("the disk is full")
        return await charge(one, *args)

    with monkeypatch.context() as disk:
        disk.setattr(ReceivingAccount, "charge", fail)
        await finish(stage, job)
    assert stage.charged() == (WORKER_AMOUNT, 0)
    return account, job, end, other


async def settled_at(stage: Scene, job: Job) -> tuple[int, int]:
    paper = await stage.client.account.paper(job.exchange, quote=job.assign.quote)
    assert paper is not None
    assert paper.settlement is not None
    settlement = check(Settlement, paper.settlement, signer=PROXY.peer_id, network=NETWORK)
    return settlement.worker_amount, settlement.worker_amount + settlement.commission


async def test_what_was_set_aside_for_an_exchange_still_pays_for_it(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene() as stage:
        account, job, _, _ = await lose_half(stage, monkeypatch)
        assert account.credit == 0

        assert await settled_at(stage, job) == (WORKER_AMOUNT, CLIENT_AMOUNT)


async def test_an_exchange_waits_for_the_credit_that_another_took_ahead(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene() as stage:
        account, job, end, other = await lose_half(stage, monkeypatch)
        # As a crash does.
        account.release(job.exchange)
        await stage.settled()
        assert account.credit < CLIENT_AMOUNT, "the other has taken it"
        with pytest.raises(Refused) as refused:
            await settled_at(stage, job)
        assert refused.value.code == Reason.ALREADY_RUNNING.code

        await finish(stage, other)
        await end.hear(Chunk)
        await stage.client.pay(await end.hear(Settled))

        assert await settled_at(stage, job) == (WORKER_AMOUNT, CLIENT_AMOUNT)
        assert stage.charged() == (2 * WORKER_AMOUNT, 2 * CLIENT_AMOUNT)


async def test_what_is_settled_later_is_noted_with_what_was_charged_for(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene() as stage:
        _, job, _, _ = await lose_half(stage, monkeypatch)
        await settled_at(stage, job)

        noted = stage.journal.recent[-1]
        assert (noted.exchange, noted.prompt_tokens, noted.completion_tokens) == (job.exchange, 10, 2)
        assert (noted.income, noted.expense) == (CLIENT_AMOUNT, WORKER_AMOUNT)
