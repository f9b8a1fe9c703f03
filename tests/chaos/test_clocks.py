"""Clocks that are set an hour forward or back in the midst of an answer, and clocks that are wrong."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from cocoon_p2p.client import Client
from tests.chaos.scene import WORKERS, Town, disturbed, end_of, open_town
from tests.nat.lab import Lab

HOUR_SECONDS = 3600
"As long as a record is good for (protocols/ids.py): whoever is off by this takes all for stale, or unborn."


@dataclass(frozen=True, slots=True)
class Clock:
    """A process's clock, which can be set while it runs."""

    file: Path

    @property
    def environment(self) -> tuple[str, ...]:
        """What makes a process go by it."""
        folder = Path(__file__).with_name("wrong_clock")
        return f"PYTHONPATH={folder}", f"COCOON_TEST_CLOCK={self.file}"

    def set(self, off_seconds: int) -> None:
        """Set it, so many seconds ahead of the right time."""
        new = self.file.with_suffix(".new")
        new.write_text(str(off_seconds))
        new.replace(self.file)


@pytest.mark.timeout(600)
async def test_no_answer_breaks_off_because_a_clock_is_set_and_who_has_the_wrong_time_is_told(
    lab: Lab, tmp_path: Path
) -> None:
    clocks = {name: Clock(tmp_path / f"{name}.clock") for name in ("proxy", *WORKERS, "ahead", "behind")}
    for clock in clocks.values():
        clock.set(0)
    clocks["ahead"].set(HOUR_SECONDS)
    clocks["behind"].set(-HOUR_SECONDS)
    environment = {name: clock.environment for name, clock in clocks.items()}
    async with open_town(lab, tmp_path, environment=environment) as town, AsyncExitStack() as asking:
        # A worker looks at its papers' dates once a minute, and knocks at a proxy that refused it as seldom.
        town.patience_seconds = 180.0
        clients = [
            await asking.enter_async_context(town.asking(town.stranger(name), *clocks[name].environment))
            for name in ("ahead", "behind")
        ]
        for client in clients:
            code, text, told = await end_of(client)
            assert (code, text) == (3, "")
            assert "this machine's clock" in told
        async with town.client() as client:
            for off_seconds in (HOUR_SECONDS, -HOUR_SECONDS):
                await an_answer_goes_on_while_the_clock_is_set(town, client, clocks, None, off_seconds)
                await an_answer_goes_on_while_the_clock_is_set(town, client, clocks, "proxy", off_seconds)


async def an_answer_goes_on_while_the_clock_is_set(
    town: Town, client: Client, clocks: dict[str, Clock], node: str | None, off_seconds: int
) -> None:
    """None is the worker that answers. When the clock is right again, all is as it was."""
    set_here: list[Clock] = []
    async with disturbed(town, client) as (answer, _):
        set_here.append(clocks[node or town.node_of(answer).name])
        set_here[0].set(off_seconds)
    town.is_whole(answer)
    set_here[0].set(0)
    await town.answered_again(client)
