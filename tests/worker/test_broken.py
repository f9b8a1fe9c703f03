"""An exchange that the proxy lost sight of: it shows what came, and the worker charges that."""

import logging

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import Refused
from cocoon_p2p.protocols.ids import EXCHANGE_KEPT_SECONDS, Outcome
from cocoon_p2p.protocols.messages import Meter, Receipt, Signed, Usage
from cocoon_p2p.protocols.papers import check, sign
from cocoon_p2p.testing.engine import ScriptedEngine
from tests.worker.scene import NETWORK, PRICE, WORKER, Ask, Scene, scene

LONG = ("word ",) * 40


def meter(ask: Ask, tokens: int) -> Signed:
    """Sign a Meter as the worker did when it had sent so many tokens."""
    usage = Usage(ask.metered.usage.prompt, ask.metered.usage.cached, tokens, 0)
    return sign(WORKER, NETWORK, Meter(ask.exchange, ask.binding.quote_hash, usage))


async def show(here: Scene, ask: Ask, shown: Signed | None) -> Receipt:
    """Ask how it ended, and read the answer."""
    paper = await here.paying.paper(ask.exchange, quote=ask.assign.quote, meter=shown)
    assert paper is not None
    assert paper.receipt is not None
    return check(Receipt, paper.receipt, signer=WORKER.peer_id, network=NETWORK)


async def test_a_charge_is_lowered_to_the_meter_that_the_proxy_shows(autojump_clock: MockClock) -> None:
    async with scene(ScriptedEngine(LONG)) as here:
        ask = await here.run(here.ask())
        assert ask.receipt.outcome is Outcome.COMPLETED

        receipt = await show(here, ask, meter(ask, 30))

        owed = 30 * PRICE.completion // 1000
        assert (receipt.outcome, receipt.usage) == (Outcome.FAILED, Usage(0, 0, 30, 0))
        assert receipt.amount == here.account.charged() == owed
        assert await show(here, ask, meter(ask, 30)) == receipt


async def test_a_proxy_that_had_nothing_owes_nothing(autojump_clock: MockClock) -> None:
    async with scene(ScriptedEngine(LONG)) as here:
        ask = await here.run(here.ask())

        assert (await show(here, ask, None)).amount == here.account.charged() == 0


async def test_asked_without_a_quote_the_charge_stays(autojump_clock: MockClock) -> None:
    async with scene(ScriptedEngine(LONG)) as here:
        ask = await here.run(here.ask())

        paper = await here.paying.paper(ask.exchange)

        assert paper is not None
        assert paper.receipt == ask.receipted.receipt
        assert here.account.charged() == ask.receipt.amount


async def test_a_charge_of_long_ago_stays(autojump_clock: MockClock) -> None:
    async with scene(ScriptedEngine(LONG)) as here:
        ask = await here.run(here.ask())
        await trio.sleep(EXCHANGE_KEPT_SECONDS + 1)

        assert await show(here, ask, meter(ask, 1)) == ask.receipt


async def test_an_exchange_that_still_runs_is_not_settled(autojump_clock: MockClock) -> None:
    async with scene(ScriptedEngine(LONG, delay_seconds=1)) as here:
        ask, _ = await here.begin()

        with pytest.raises(Refused) as caught:
            await show(here, ask, meter(ask, 1))

        assert caught.value.code == "already-running"


async def test_an_exchange_that_the_worker_forgot_is_charged_by_its_own_meter(
    autojump_clock: MockClock,
) -> None:
    async with scene(ScriptedEngine(LONG)) as here:
        await here.run(here.ask())
        charged = here.account.charged()
        forgotten = here.ask()
        usage = Usage(10, 0, 7, 0)
        shown = sign(WORKER, NETWORK, Meter(forgotten.exchange, forgotten.binding.quote_hash, usage))

        receipt = await show(here, forgotten, shown)

        assert receipt.amount == 7 * PRICE.completion // 1000
        assert here.account.charged() == charged + receipt.amount
        assert await show(here, forgotten, shown) == receipt


async def test_a_meter_that_is_far_behind_is_noted(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with scene(ScriptedEngine(LONG)) as here:
        ask = await here.run(here.ask())

        with caplog.at_level(logging.WARNING):
            await show(here, ask, meter(ask, 24))
            assert "old meter" not in caplog.text
            await show(here, ask, meter(ask, 1))

        assert "a proxy shows an old meter" in caplog.text
