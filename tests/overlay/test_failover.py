"""Answers whose workers are killed again and again: whole texts, and not a nanoTON lost or doubled."""

from collections import Counter
from collections.abc import Sequence

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from cocoon_p2p.client import Answer, AnswerPart
from cocoon_p2p.identity import PeerId
from cocoon_p2p.payments.pricing import client_amount, worker_amount
from cocoon_p2p.protocols.ids import METER_TOKENS, Outcome
from cocoon_p2p.protocols.messages import Meter, Usage
from cocoon_p2p.protocols.schema import decode_paper
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.testing.overlay import Overlay, open_overlay
from tests.overlay.test_exchanges import check_sums

WORDS = tuple(f"word{number} " for number in range(24))
QUESTION = ({"role": "user", "content": "What is it?"},)
PROMPT_TOKENS = 4
COMMISSION_BASIS_POINTS = 500

Losses = Sequence[int]
"Of one answer: the counts of tokens at which whoever answers just then is killed."


def reckoned(part: AnswerPart, prompt_tokens: int) -> tuple[int, int]:
    """Say by the rule what a part comes to: for its worker, and for the client."""
    assert part.bill is not None
    settlement = part.bill.settlement
    if settlement.outcome is Outcome.COMPLETED:
        owed = Usage(prompt_tokens, 0, part.usage.completion, 0)
    elif settlement.meter is not None:
        metered = decode_paper(Meter, settlement.meter.body).usage.completion
        assert part.usage.completion - METER_TOKENS <= metered <= part.usage.completion
        owed = Usage(0, 0, metered, 0)
    else:
        # It ended by the worker's own receipt, or before anything was signed for.
        owed = Usage(0, 0, part.bill.usage.completion, 0)
        assert owed.completion <= part.usage.completion
    worker = worker_amount(owed, part.terms.quote.price)
    return worker, client_amount(worker, COMMISSION_BASIS_POINTS)


async def ask(overlay: Overlay, losses: Losses, killed: set[str]) -> Answer:
    """Read an answer, and kill whoever answers at each of these counts of tokens."""
    names = {node.identity.peer_id: name for name, node in overlay.nodes.items()}
    due = sorted(losses)
    async with overlay.client.chat("scripted", QUESTION, timeout_seconds=60) as answer:
        async for piece in answer:
            if due and piece.completion_tokens >= due[0] and answer.worker is not None:
                due.pop(0)
                # One more would leave nobody.
                if len(killed) < len(overlay.workers) - 1 and names[answer.worker] not in killed:
                    killed.add(names[answer.worker])
                    overlay.kill(names[answer.worker])
    return answer


async def settled(overlay: Overlay, answer: Answer, earned_before: int) -> None:
    """Wait until everybody's books have the whole answer."""
    with trio.fail_after(300):
        while True:
            bills = [part.bill for part in answer.parts if part.bill is not None]
            earned = earned_before + sum(bill.settlement.worker_amount for bill in bills)
            is_held = any(account.held for account in overlay.client_accounts.payees())
            is_told = len(bills) == len(answer.parts) and overlay.paid()[2] >= earned
            if is_told and not is_held and not overlay.disagreements():
                return
            await trio.sleep(1)


async def live(answers: Sequence[Losses], seed: int) -> None:
    engines = [ScriptedEngine(WORDS, delay_seconds=0.05) for _ in range(4)]
    async with open_overlay(
        engines=engines, seed=seed, delay_seconds=(0.0, 0.03), flush_seconds=0.01
    ) as overlay:
        paid, earned = 0, Counter[PeerId]()
        for losses in answers:
            killed: set[str] = set()
            before = overlay.paid()[0]
            answer = await ask(overlay, losses, killed)
            for name in killed:
                await overlay.restart(name)
            await settled(overlay, answer, sum(earned.values()))

            assert (answer.text, answer.finish) == ("".join(WORDS), "stop")
            assert answer.usage == Usage(PROMPT_TOKENS, 0, len(WORDS), 0)
            delivered, cost = 0, 0
            for part in answer.parts:
                prompt = PROMPT_TOKENS + delivered + (1 if delivered else 0)
                worker, client = reckoned(part, prompt)
                assert part.cost == client
                earned[part.worker] += worker
                cost += client
                delivered += part.usage.completion
            assert answer.cost == cost == overlay.paid()[0] - before
            paid += cost

        check_sums(overlay)
        assert overlay.paid() == (paid, paid, sum(earned.values()))
        for name, accounts in zip(list(overlay.nodes)[2:], overlay.worker_accounts, strict=True):
            charged = sum(account.charged() for account in accounts.payers())
            assert charged == earned[overlay.nodes[name].identity.peer_id]


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(
    answers=st.lists(st.lists(st.integers(1, len(WORDS)), max_size=3), min_size=1, max_size=3),
    seed=st.integers(0, 999),
)
def test_whoever_is_killed_whenever_each_token_is_delivered_once_and_billed_by_the_rule(
    answers: list[list[int]], seed: int
) -> None:
    trio.run(live, answers, seed, clock=trio.testing.MockClock(autojump_threshold=0))
