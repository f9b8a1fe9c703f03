"""A node that is told to stop before it does anything stops then."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from cocoon_p2p.config import Loaded, WorkerFile, load
from cocoon_p2p.node import roles
from cocoon_p2p.node.leaving import leave, stoppable

CONFIG = """\
[worker]
model = "demo"
[network]
name = "test"
bootstrap = []
[page]
listen = ""
"""


async def test_a_worker_that_is_stopped_while_its_model_loads_does_not_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "worker.toml").write_text(CONFIG)
    loaded = load(WorkerFile, tmp_path / "worker.toml", {})
    loading, stop, said = trio.Event(), trio.Event(), list[str]()

    @asynccontextmanager
    async def never(_loaded: Loaded[WorkerFile], _steps: object) -> AsyncIterator[None]:
        loading.set()
        await trio.Event().wait()
        yield

    def announce(step: str, **_facts: object) -> None:
        said.append(step)

    monkeypatch.setattr(roles, "open_engine", never)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(roles.run_worker, loaded, announce, stop)
            await loading.wait()
            stop.set()

    assert "ready" not in said


async def test_once_it_serves_a_stop_is_its_own_to_hear() -> None:
    stop = trio.Event()

    async with stoppable(stop) as waiting:
        waiting.cancel()
        await wait_all_tasks_blocked()
        stop.set()
        await wait_all_tasks_blocked()
        was_reached = True

    assert was_reached


async def test_what_runs_may_go_on_for_as_long_as_the_file_says(autojump_clock: MockClock) -> None:
    class Endless:
        async def drain(self) -> None:
            await trio.sleep_forever()

    await leave(Endless(), None, 300)  # type: ignore[arg-type]

    assert trio.current_time() == pytest.approx(300)
