"""What a node says of its way into the network: what it has made, what it waits for, what failed."""

import pytest
import trio
from trio.testing import MockClock

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.node.steps import LATE_LAST_SECONDS, LATE_SECONDS, STEPS_MAX, Step, open_steps


class Told:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, dict[str, object]]] = []

    def __call__(self, step: str, **facts: object) -> None:
        self.steps.append((step, facts))

    def of(self, status: str) -> list[dict[str, object]]:
        return [facts for _, facts in self.steps if facts.get("status", "ok") == status]


@pytest.fixture
def told() -> Told:
    return Told()


async def test_a_step_that_was_made_is_told_and_kept_with_its_time(
    told: Told, autojump_clock: MockClock
) -> None:
    async with open_steps(told) as steps:
        await trio.sleep(2)
        steps("identity", peer="12D3")

        assert told.steps == [("identity", {"peer": "12D3"})]
        assert steps.made == (Step("identity", 2.0, "ok", {"peer": "12D3"}, ""),)


async def test_the_newest_that_is_said_of_a_step_is_kept_in_the_place_of_the_first(
    told: Told, autojump_clock: MockClock
) -> None:
    async with open_steps(told) as steps:
        steps.failed("warm-up", "try again")
        steps("listening")
        await trio.sleep(5)
        steps("warm-up", tokens=8)

        assert [(step.name, step.status, step.seconds) for step in steps.made] == [
            ("warm-up", "ok", 5.0),
            ("listening", "ok", 0.0),
        ]


async def test_what_is_late_is_told_ever_more_seldom_with_what_to_do(
    told: Told, autojump_clock: MockClock
) -> None:
    hints = iter(["first", "second", "third"])
    async with open_steps(told) as steps:
        with steps.expect("bootstrap", lambda: next(hints), network="x"):
            await trio.sleep(LATE_SECONDS * 7 + 1)
        steps("bootstrap")

    waits = told.of("waiting")
    assert [facts["waited_seconds"] for facts in waits] == [LATE_SECONDS, 3 * LATE_SECONDS, 7 * LATE_SECONDS]
    assert [facts["hint"] for facts in waits] == ["first", "second", "third"]
    assert {facts["network"] for facts in waits} == {"x"}
    assert told.steps[-1] == ("bootstrap", {})


async def test_nothing_is_late_that_was_made_in_time(told: Told, autojump_clock: MockClock) -> None:
    async with open_steps(told) as steps:
        with steps.expect("engine", "wait"):
            await trio.sleep(LATE_SECONDS - 1)
        await trio.sleep(10 * LATE_SECONDS)

    assert told.steps == []


async def test_a_wait_of_days_is_told_every_hour(told: Told, autojump_clock: MockClock) -> None:
    async with open_steps(told) as steps:
        with steps.expect("first job", "wait"):
            await trio.sleep(LATE_LAST_SECONDS * 20)

    told_at = [facts["waited_seconds"] for facts in told.of("waiting")]
    assert 20 <= len(told_at) <= 40
    assert isinstance(told_at[-1], float)
    assert isinstance(told_at[-2], float)
    assert told_at[-1] - told_at[-2] == LATE_LAST_SECONDS


@pytest.mark.parametrize(("own_hint", "hint"), [("do this", "do this"), ("", "do that")])
async def test_what_fails_is_told_with_the_best_advice_and_raised(
    told: Told, own_hint: str, hint: str, autojump_clock: MockClock
) -> None:
    async with open_steps(told) as steps:
        with pytest.raises(Unavailable), steps.expect("engine", "do that"):
            raise Unavailable("no engine", hint=own_hint)

        assert told.steps == [("engine", {"status": "failed", "hint": hint, "why": "no engine"})]
        assert steps.made[0].hint == hint


async def test_steps_without_end_are_not_kept(told: Told, autojump_clock: MockClock) -> None:
    async with open_steps(told) as steps:
        for number in range(2 * STEPS_MAX):
            steps(f"step {number}")

        assert len(steps.made) == STEPS_MAX
        assert len(told.steps) == 2 * STEPS_MAX


async def test_a_cancel_while_waiting_leaves_nothing_running(told: Told, autojump_clock: MockClock) -> None:
    with trio.move_on_after(1):
        async with open_steps(told) as steps:
            with steps.expect("chain", "wait"):
                await trio.sleep_forever()

    await trio.sleep(100)
    assert told.steps == []
