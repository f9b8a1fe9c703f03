"""Patience: what a person presses has as long to be answered as a test takes."""

import pytest

from cocoon_p2p.testing.bot_api import bots


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    # A press goes stale after 15 s. Of a clock this quick, a machine that is busy misses them.
    monkeypatch.setattr(bots, "QUERY_SECONDS", 1e6)
