"""A bootstrap node tells its operator when it gains or loses the network."""

import logging

import pytest
import trio

from cocoon_p2p.bootstrap import serve_bootstrap
from cocoon_p2p.bootstrap.service import LOOK_SECONDS


async def test_a_bootstrap_that_loses_every_server_warns(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.abc.Clock
) -> None:
    seen = iter([0, 3, 3, 0])
    caplog.set_level(logging.INFO)

    with trio.move_on_after(3.5 * LOOK_SECONDS):
        await serve_bootstrap(lambda: next(seen))

    assert [(record.levelname, record.number, record.before) for record in caplog.records] == [  # type: ignore[attr-defined]
        ("INFO", 3, 0),
        ("WARNING", 0, 3),
    ]
