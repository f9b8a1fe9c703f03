"""Hosts that misbehave, and a client of little patience."""

from collections.abc import AsyncIterator

import pytest

from cocoon_p2p.inference.models.fetching import Fetcher, Patience, open_fetcher
from tests.inference.models.host import Host, open_host

QUICK = Patience(connect_seconds=30, stall_seconds=30, attempts=3, pause_first_seconds=0)
"No pauses: what is tried again is tried at once."


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a proxy nor a token of whoever runs the tests."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_TOKEN", "HF_ENDPOINT", "COCOON_MODELS"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with open_host() as host:
        yield host


@pytest.fixture
async def fetcher(host: Host) -> AsyncIterator[Fetcher]:
    async with open_fetcher(hub=host.url, patience=QUICK) as fetcher:
        yield fetcher
