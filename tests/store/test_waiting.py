"""Waiting for a write that others wait for too."""

from pathlib import Path

import trio

from cocoon_p2p.ledger import EndedForgotten
from cocoon_p2p.store import open_store


async def test_all_who_wait_for_one_write_are_told(tmp_path: Path) -> None:
    async with open_store(tmp_path / "ledger.db") as store:
        written = store.submit(EndedForgotten(0))

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(written.wait)

        assert written.finished
