"""A bootstrap node serves the DHT, which its directory does by itself; what is left is to watch.

A bootstrap that knows no other server can help nobody, so it says in its log when that
changes.
"""

import logging
from collections.abc import Callable

import trio

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0


async def serve_bootstrap(servers_known: Callable[[], int]) -> None:
    """Report how many servers of the DHT are known whenever that changes; runs until it is cancelled.

    Args:
        servers_known: Counts them.
    """
    last = 0
    while True:
        number = servers_known()
        if number != last:
            log.log(
                logging.INFO if number else logging.WARNING,
                "servers known",
                extra={"number": number, "before": last},
            )
        last = number
        await trio.sleep(LOOK_SECONDS)
