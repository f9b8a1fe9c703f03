"""Loops to run tests of asyncio on."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial

import pytest
import uvloop

from tests.aio.scene import Threads, portal_threads

Factory = Callable[[], asyncio.AbstractEventLoop]
Run = Callable[[Coroutine[None, None, None]], None]


def _run(
    program: Coroutine[None, None, None], factory: Callable[[], asyncio.AbstractEventLoop] | None
) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await program

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(bounded())


@pytest.fixture
def run() -> Run:
    """Run a coroutine to its end, within a minute, on a loop of asyncio's own."""
    return partial(_run, factory=None)


@pytest.fixture(params=[None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run_on_both(request: pytest.FixtureRequest) -> Run:
    """Run it on either kind of loop."""
    return partial(_run, factory=request.param)


@pytest.fixture
def trio_threads() -> Threads:
    """List the threads of portals that were opened since the test began: a fixture elsewhere may hold one."""
    before = portal_threads()
    return lambda: [thread for thread in portal_threads() if thread not in before]
