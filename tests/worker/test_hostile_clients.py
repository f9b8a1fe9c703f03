"""What a client seals, and what a proxy forges: it costs them their own exchange, and nobody else's."""

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.inference.engine import (
    EngineError,
    FeatureMissing,
    GenerateRequest,
    PromptCount,
    PromptTooLong,
    RequestMalformed,
)
from cocoon_p2p.protocols.ids import REPLAY_WINDOW, Outcome, Reason
from cocoon_p2p.protocols.messages import Part, PromptMetered
from cocoon_p2p.testing.engine import ScriptedEngine
from tests.worker.scene import scene


async def test_a_request_that_no_engine_takes_is_not_the_engines_failure(autojump_clock: MockClock) -> None:
    class Picky(ScriptedEngine):
        async def count(self, request: GenerateRequest) -> PromptCount:
            raise RequestMalformed("the model's chat template refuses these messages: my secret")

    async with scene(Picky()) as here:
        ask = await here.run(here.ask())

        assert ask.refused.reason is Reason.MALFORMED
        assert "secret" not in ask.refused.detail


@pytest.mark.parametrize("error", [PromptTooLong, FeatureMissing, RequestMalformed, EngineError, KeyError])
async def test_no_word_of_an_engine_about_a_prompt_reaches_the_proxy(
    error: type[Exception], autojump_clock: MockClock
) -> None:
    class Quoting(ScriptedEngine):
        async def count(self, request: GenerateRequest) -> PromptCount:
            raise error(f"not this: {request.messages} my secret")

    async with scene(Quoting()) as here:
        ask = await here.run(here.ask())

        assert ask.refused.reason.code == (getattr(error, "code", "engine-failed"))
        assert "secret" not in ask.refused.detail


async def test_an_early_request_is_answered_though_a_far_later_number_was_answered_first(
    autojump_clock: MockClock,
) -> None:
    async with scene(ScriptedEngine(prefill_seconds=2.0)) as here:
        early, stream = await here.begin(until=PromptMetered)
        assert early.session is not None
        for _ in range(2 * REPLAY_WINDOW):
            early.session.next_request()
        late = here.ask()
        late.session = early.session
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.listen, early, stream)

            await here.run(late)

        assert late.receipt.outcome is Outcome.COMPLETED
        assert early.receipt.outcome is Outcome.COMPLETED


async def test_a_part_that_names_a_running_request_breaks_nothing_but_its_own_exchange(
    autojump_clock: MockClock,
) -> None:
    async with scene(ScriptedEngine(prefill_seconds=2.0)) as here:
        ask, stream = await here.begin(until=PromptMetered)
        assert ask.session is not None
        forged = here.ask()
        other = await here.open()
        part = Part(forged.exchange, ask.session.id, ask.request, 0, True, bytes(80))
        await other.send(forged.assign, part)
        await here.listen(forged, other)
        assert forged.refused.reason is Reason.SEAL_BROKEN

        await here.listen(ask, stream)

        assert ask.receipt.outcome is Outcome.COMPLETED
