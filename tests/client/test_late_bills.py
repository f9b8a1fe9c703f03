"""An exchange that was lost sight of is paid as far as its proxy had credit for it."""

import pytest
import trio

from cocoon_p2p.client import Client, Policy
from cocoon_p2p.errors import AnswerBroken
from cocoon_p2p.identity import PeerId
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.payments.pricing import worker_amount
from cocoon_p2p.protocols.ids import EXCHANGE, Trust
from cocoon_p2p.protocols.messages import Usage
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.testing.memory import Fate, Fault, Write
from cocoon_p2p.testing.overlay import PRICE, open_overlay
from cocoon_p2p.units import Nano

LONG = tuple(f"word{number} " for number in range(400))
MESSAGES = [{"role": "user", "content": "speak"}]
POLICY = Policy(
    trust=Trust.OPEN,
    max_cost=Nano(10**9),
    window_tokens_max=16,
    completion_tokens_max=400,
    channel_capacity=Nano(10**10),
)


async def leave_early(client: Client) -> None:
    """Take one piece: what was covered of the rest stays credit."""
    async with client.chat("scripted", MESSAGES) as answer:
        await anext(answer)


def answers_late(client: PeerId) -> Fault:
    """Hold up what comes to the client on exchange streams, all but the first words."""
    left = 6

    def fault(write: Write) -> tuple[Fate, float]:
        nonlocal left
        if write.target != client or write.protocol != EXCHANGE:
            return Fate.DELIVER, 0.0
        left -= 1
        return Fate.DELIVER, 0.0 if left > 0 else 60.0

    return fault


@pytest.mark.slow
async def test_a_proxy_that_went_on_with_credit_that_was_left_is_paid(
    autojump_clock: trio.testing.MockClock,
) -> None:
    engine = ScriptedEngine(LONG, delay_seconds=0.005, slots=8)
    async with (
        open_overlay(engines=(engine,), client_policy=POLICY) as overlay,
        trio.open_nursery() as nursery,
    ):
        for _ in range(4):
            nursery.start_soon(leave_early, overlay.client)
        await trio.sleep(30)
        overlay.network.fault = answers_late(overlay.nodes["client"].identity.peer_id)

        (account,) = overlay.client_accounts.payees()
        before = account.charged

        with pytest.raises(AnswerBroken) as broken:
            async with overlay.client.chat("scripted", MESSAGES) as answer:
                await answer.read()
        with trio.fail_after(60):
            while account.unsettled():  # noqa: ASYNC110  (an account tells nobody of it)
                await trio.sleep(1)

        few = len(broken.value.text.split())
        all_tokens = worker_amount(Usage(0, 0, len(LONG), 0), PRICE)
        assert 0 < few < 50
        assert account.charged - before > all_tokens
        assert account.phase is Phase.OPEN
        assert overlay.disagreements() == ()
