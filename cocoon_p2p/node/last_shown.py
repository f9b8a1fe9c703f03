"""Writes down what a node shows of itself, each minute and at its end."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.node.showing import Showing
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.overview.last_shown import write_last

log = logging.getLogger(__name__)

PAUSE_SECONDS = 60.0


@asynccontextmanager
async def kept_shown(showing: Showing, folder: Path) -> AsyncIterator[None]:
    """Write down now and then what a node shows, for as long as the block runs, and once more at its end."""
    try:
        async with open_service_nursery() as nursery:
            nursery.start_soon(_keep, showing, folder)
            yield
    finally:
        with suppress(ConfigurationError):
            write_last(folder, showing.snapshot())


async def _keep(showing: Showing, folder: Path) -> None:
    while True:
        await trio.sleep(PAUSE_SECONDS)
        try:
            await trio.to_thread.run_sync(write_last, folder, showing.snapshot())
        except ConfigurationError as exc:
            # A node lives on without it; that its disk is full it hears from its ledger.
            log.debug("what is shown was not written down", extra={"error": str(exc)})
