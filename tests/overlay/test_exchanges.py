"""Client, proxy and worker together on the memory network: whatever is lost, the sums agree."""

from collections.abc import Sequence

import pytest
import trio

from cocoon_p2p.client import Policy
from cocoon_p2p.errors import AnswerBroken, AttestationFailed, CocoonError, Refused
from cocoon_p2p.protocols.ids import CHANNEL, EXCHANGE, Trust
from cocoon_p2p.testing.engine import ScriptedEngine
from cocoon_p2p.testing.memory import Fate, Fault, Write
from cocoon_p2p.testing.overlay import Overlay, open_overlay
from cocoon_p2p.units import Nano

HELLO = ({"role": "user", "content": "Hello, who is there?"},)
WORDS = ("One ", "two ", "three ", "four ", "five.")
SETTLING_SECONDS = 120
"By then every retry, redial and late settlement is over."


def hit(target: int, fate: Fate, late_seconds: float = 0.0) -> Fault:
    """Let this happen to the exchange's or the channel's write of this number, counted from 0."""
    seen = 0

    def fault(write: Write) -> tuple[Fate, float]:
        nonlocal seen
        if write.protocol not in (EXCHANGE, CHANNEL):
            return Fate.DELIVER, 0.0
        seen += 1
        return (fate, late_seconds) if seen == target + 1 else (Fate.DELIVER, 0.0)

    return fault


async def ask(overlay: Overlay, messages: Sequence[dict[str, str]] = HELLO) -> str | CocoonError:
    try:
        async with overlay.client.chat("scripted", messages, timeout_seconds=30) as answer:
            return await answer.read()
    except CocoonError as error:
        return error


async def settle(overlay: Overlay) -> None:
    """Let time pass until what was lost has been fetched."""
    overlay.network.fault = None
    await trio.sleep(SETTLING_SECONDS)


def check_sums(overlay: Overlay) -> None:
    """Hold the ledgers of all nodes against each other."""
    assert overlay.disagreements() == ()
    paid, received, earned = overlay.paid()
    assert paid == received
    # Rounded down once for each exchange, and there are a dozen at most.
    assert earned * 10_500 // 10_000 - 12 <= received <= earned * 10_500 // 10_000


async def test_an_answer_is_paid_to_the_token(autojump_clock: trio.abc.Clock) -> None:
    async with open_overlay(engines=[ScriptedEngine(WORDS)]) as overlay:
        async with overlay.client.chat("scripted", HELLO) as answer:
            text = await answer.read()

        assert text == "One two three four five."
        assert answer.usage.completion == 5
        worker_amount = (answer.usage.prompt * 1_000_000 + 5 * 2_000_000) // 1000
        assert overlay.paid() == (worker_amount * 105 // 100, worker_amount * 105 // 100, worker_amount)
        check_sums(overlay)


async def test_many_exchanges_share_one_channel(autojump_clock: trio.abc.Clock) -> None:
    engines = [ScriptedEngine(WORDS, slots=4), ScriptedEngine(WORDS, slots=4)]
    async with open_overlay(engines=engines, delay_seconds=(0.0, 0.02), seed=5) as overlay:
        answers: list[str | CocoonError] = []

        async def one() -> None:
            answers.append(await ask(overlay))

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(one)

        assert answers == ["One two three four five."] * 6
        assert len(overlay.client_accounts.payees()) == 1
        check_sums(overlay)


async def test_an_answer_that_is_left_frees_the_slot_and_is_paid_as_far_as_it_came(
    autojump_clock: trio.abc.Clock,
) -> None:
    engine = ScriptedEngine(("tick ",) * 1000, delay_seconds=0.1)
    async with open_overlay(engines=[engine]) as overlay:
        async with overlay.client.chat("scripted", HELLO, completion_tokens_max=900) as answer:
            async for piece in answer:
                if piece.completion_tokens >= 5:
                    break

        assert engine.running == 0
        assert 5 <= engine.tokens_made[0] <= 7
        assert answer.settlement is not None
        check_sums(overlay)
        assert overlay.paid()[0] > 0


async def test_nothing_stays_set_aside_for_answers_that_were_left(autojump_clock: trio.abc.Clock) -> None:
    engine = ScriptedEngine(("tick ",) * 5000, slots=6, delay_seconds=0.001)
    async with open_overlay(
        engines=[engine], delay_seconds=(0.0, 0.01), flush_seconds=0.02, seed=3
    ) as overlay:

        async def leave_early() -> None:
            async with overlay.client.chat("scripted", HELLO, completion_tokens_max=4000) as answer:
                async for piece in answer:
                    if piece.completion_tokens >= 300:
                        break

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(leave_early)
        await settle(overlay)

        (account,) = overlay.proxy_accounts.payers()
        assert account.accrued == 0
        assert account.credit == account.vouchered() - account.charged()
        check_sums(overlay)


async def test_a_model_that_nobody_has_is_refused_and_costs_nothing(autojump_clock: trio.abc.Clock) -> None:
    async with open_overlay() as overlay:
        with pytest.raises(Refused) as caught:
            async with overlay.client.chat("other", HELLO):
                pass

        assert caught.value.code == "unknown-model"
        assert "scripted" in caught.value.hint
        assert overlay.paid() == (0, 0, 0)


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        (Policy(trust=Trust.TDX, proxy_trust=Trust.OPEN, max_cost=Nano(10**9)), "trust-below-request"),
        (Policy(trust=Trust.OPEN, max_cost=Nano(10)), "price-above-limit"),
    ],
)
async def test_what_a_client_insists_on_is_kept(
    policy: Policy, code: str, autojump_clock: trio.abc.Clock
) -> None:
    async with open_overlay(client_policy=policy) as overlay:
        error = await ask(overlay)

        assert isinstance(error, Refused)
        assert error.code == code
        assert overlay.paid() == (0, 0, 0)


async def test_a_proxy_that_proves_nothing_is_asked_nothing_by_who_wants_proof(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with open_overlay(client_policy=Policy(trust=Trust.TDX)) as overlay:
        error = await ask(overlay)

        assert isinstance(error, AttestationFailed)
        assert not overlay.proxy_accounts.payers()


async def test_a_failing_engine_costs_the_tokens_that_came_and_no_prompt(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with open_overlay(engines=[ScriptedEngine(WORDS, fail_at=3)]) as overlay:
        error = await ask(overlay)

        assert isinstance(error, CocoonError)
        assert error.code == "engine-failed"
        assert error.charged == 3 * 2_000 * 105 // 100
        check_sums(overlay)


async def test_before_the_first_token_another_worker_is_tried_for_free(
    autojump_clock: trio.abc.Clock,
) -> None:
    engines = [ScriptedEngine(WORDS, fail_at=0), ScriptedEngine(WORDS)]
    async with open_overlay(engines=engines) as overlay:
        for _ in range(4):
            assert await ask(overlay) == "One two three four five."

        check_sums(overlay)


WRITES = 26
"An exchange on a fresh overlay makes about so many writes on its two channels and two hops."


@pytest.mark.slow
@pytest.mark.parametrize("fate", [Fate.RESET, Fate.LOSE])
@pytest.mark.parametrize("target", range(WRITES))
async def test_any_write_may_be_lost_and_an_answer_that_began_is_whole_and_the_sums_agree_in_the_end(
    target: int, fate: Fate, autojump_clock: trio.abc.Clock
) -> None:
    async with open_overlay(engines=[ScriptedEngine(WORDS), ScriptedEngine(WORDS)]) as overlay:
        overlay.network.fault = hit(target, fate)

        with trio.fail_after(60):
            outcome = await ask(overlay)
        await settle(overlay)

        if isinstance(outcome, str):
            assert outcome == "One two three four five."
        # Before the first piece there was no other proxy to try; later it goes on.
        assert not isinstance(outcome, AnswerBroken)
        check_sums(overlay)
        assert all(engine.running == 0 for engine in overlay.engines if isinstance(engine, ScriptedEngine))
        assert await ask(overlay) == "One two three four five."


@pytest.mark.slow
@pytest.mark.parametrize("late_seconds", [0.5, 2.5, 5.0])
@pytest.mark.parametrize("target", range(0, WRITES, 3))
async def test_any_write_may_be_late_and_the_sums_agree_in_the_end(
    target: int, late_seconds: float, autojump_clock: trio.abc.Clock
) -> None:
    async with open_overlay(engines=[ScriptedEngine(WORDS)]) as overlay:
        overlay.network.fault = hit(target, Fate.DELIVER, late_seconds)

        with trio.fail_after(60):
            await ask(overlay)
        await settle(overlay)

        check_sums(overlay)
        assert await ask(overlay) == "One two three four five."


def kill_at(overlay: Overlay, name: str, target: int) -> tuple[Fault, trio.Event]:
    """Kill a node at the exchange's or the channel's write of this number, and say when it is dead."""
    seen, dead = 0, trio.Event()

    def fault(write: Write) -> tuple[Fate, float]:
        nonlocal seen
        seen += write.protocol in (EXCHANGE, CHANNEL)
        if seen == target + 1 and not dead.is_set():
            dead.set()
            overlay.kill(name)
        return Fate.DELIVER, 0.0

    return fault, dead


@pytest.mark.slow
@pytest.mark.parametrize("name", ["proxy", "worker-1"])
@pytest.mark.parametrize("target", range(12, WRITES))
async def test_a_node_may_be_killed_at_any_write_and_the_sums_agree_in_the_end(
    name: str, target: int, autojump_clock: trio.abc.Clock
) -> None:
    async with open_overlay(engines=[ScriptedEngine(WORDS)]) as overlay:
        overlay.network.fault, dead = kill_at(overlay, name, target)
        outcomes: list[str | CocoonError] = []

        async def one() -> None:
            outcomes.append(await ask(overlay))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            with trio.move_on_after(10):
                await dead.wait()
                await trio.sleep(3)
                await overlay.restart(name)
        await settle(overlay)

        check_sums(overlay)
        assert await ask(overlay) == "One two three four five."
        check_sums(overlay)
