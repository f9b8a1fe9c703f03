"""A client over real parts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cocoon_p2p.client import Budget, Client
from cocoon_p2p.client.purses import Purses, open_purses
from cocoon_p2p.config import ClientFile, load
from cocoon_p2p.node import ledger_of, open_client
from cocoon_p2p.payments.settlement import Accounts
from cocoon_p2p.store import open_store
from cocoon_p2p.units import Nano


@pytest.mark.slow
async def test_purses_are_read_before_any_account_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "client.toml"
    file.write_text('[network]\nname = "local"\nlisten = ["/ip4/127.0.0.1/tcp/0"]\n')
    loaded = load(ClientFile, file, {})
    loaded.data_directory.mkdir(parents=True, exist_ok=True)
    budget = Budget(Nano(5))
    async with open_store(ledger_of(loaded)) as store:
        await (await open_purses(store)).allow("key/1", budget)
    found: list[Budget | None] = []

    opening = Client.open

    @asynccontextmanager
    async def look_and_open(*parts: object, **options: object) -> AsyncIterator[Client]:
        (accounts,) = (part for part in parts if isinstance(part, Accounts))
        assert isinstance(accounts.beside, Purses)
        found.append(accounts.beside.get("key/1").budget)
        async with opening(*parts, **options) as client:  # type: ignore[arg-type]
            yield client

    monkeypatch.setattr(Client, "open", look_and_open)
    async with open_client(loaded) as client:
        assert (await client.purses.look("key/1")).budget == budget
    assert found == [budget]
