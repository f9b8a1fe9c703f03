"""Tasks whose failure is a fault of ours, but no reason for the node to end."""

import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)


async def contain(what: str, task: Callable[[], Awaitable[None]]) -> None:
    """Run a task; what it raises is logged and ends it alone. Cancellation passes."""
    try:
        await task()
    except* Exception as group:
        log.error("task failed", extra={"task": what}, exc_info=group)
