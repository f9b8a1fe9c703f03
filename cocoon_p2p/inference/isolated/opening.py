"""Opening an engine in a process of its own."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from cocoon_p2p.inference.isolated.engine import IsolatedEngine
from cocoon_p2p.inference.isolated.forwarding import PACKAGE
from cocoon_p2p.inference.isolated.frames import Open
from cocoon_p2p.inference.isolated.starting import Plan
from cocoon_p2p.inference.manifest import Progress
from cocoon_p2p.inference.openings import encode_opening
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.protocols.ids import ENGINE_STALL_SECONDS

CHILD: Final = "cocoon_p2p.inference.isolated.child"


@asynccontextmanager
async def open_isolated(
    opening: msgspec.Struct,
    *,
    memory: Path | None = None,
    progress: Progress | None = None,
    module: str = CHILD,
    patience_seconds: float = ENGINE_STALL_SECONDS,
) -> AsyncIterator[IsolatedEngine]:
    """Open an engine in a child process, and keep one running.

    Everything that can be wrong with the model is found before the first `yield`; this process goes on
    meanwhile. Cancelled, it leaves no process behind.

    Args:
        opening: What to open (`inference.openings`).
        memory: The file of a `HashMemory`, for the child.
        progress: Told how far the hashing is, at every start.
        module: What the child runs; another one for tests.
        patience_seconds: A child is killed, and another started, if it says nothing for so long, or its
            engine makes no step.

    Raises:
        ConfigurationError: As the engine's own opening says it, or its process died over it.
    """
    first = Open(
        msgspec.Raw(encode_opening(opening)),
        None if memory is None else str(memory),
        logging.getLogger(PACKAGE).getEffectiveLevel(),
    )
    engine = IsolatedEngine(Plan(module, first, progress, patience_seconds))
    async with open_service_nursery() as nursery:
        await nursery.start(engine.keep)
        try:
            yield engine
        finally:
            await engine.aclose()
