"""Sends a span of each exchange to a collector, while a node runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import PeerId
from cocoon_p2p.journal import Journal

CLOSE_SECONDS = 3.0
"How long a node that stops waits for its last spans to be taken."


@asynccontextmanager
async def open_spans(collector: str, journal: Journal, *, role: str, peer: PeerId) -> AsyncIterator[None]:
    """Send a span of each exchange that is noted while the block runs.

    Args:
        collector: Its base URL, such as `http://127.0.0.1:4318`; empty: nothing is sent.
        journal: Where exchanges are noted.
        role: The node's.
        peer: Who it is.

    A cancel drops what cannot be sent within `CLOSE_SECONDS`.

    Raises:
        ConfigurationError: The extra `otel` is not installed.
    """
    if not collector:
        yield
        return
    try:
        from cocoon_p2p.spans.queue import Spans
    except ImportError as exc:
        raise ConfigurationError(
            "`otlp` in [telemetry] needs OpenTelemetry", hint="pip install 'cocoon-p2p[otel]'"
        ) from exc
    spans = Spans(collector, role=role, peer=peer)
    leave = journal.listen(spans.note)
    try:
        yield
    finally:
        leave()
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await trio.to_thread.run_sync(spans.close, abandon_on_cancel=True)
