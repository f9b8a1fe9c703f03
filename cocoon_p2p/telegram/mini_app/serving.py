"""A Mini App's door over HTTP, on trio."""

import logging
from functools import partial
from typing import cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve  # pyright: ignore[reportUnknownVariableType]  (of WSGI, which is not used)
from hypercorn.typing import ASGIFramework
from starlette.types import ASGIApp

HEADERS_MAX_BYTES = 16 * 1024

# What hypercorn says of requests that failed goes where the rest goes; of others it says nothing.
log = logging.getLogger(__name__)


async def serve_door(
    app: ASGIApp, bind: str, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve a door until cancelled. Its TLS is for a reverse proxy in front of it, which keeps `Host`.

    Args:
        app: `Door.app`.
        bind: `HOST:PORT`, or `fd://NUMBER` of a socket that is bound already.
        task_status: Is given the address once it takes connections.

    A cancel ends answers that run: their work is cancelled and settled as when a reader hangs up.

    Raises:
        OSError: The address is taken.
    """
    config = Config()
    config.bind = [bind]
    config.accesslog = None
    config.errorlog = log
    config.include_server_header = False
    config.h11_max_incomplete_size = HEADERS_MAX_BYTES
    async with trio.open_nursery() as nursery:
        # The two libraries spell ASGI's types differently.
        bound: list[str] = await nursery.start(partial(serve, cast("ASGIFramework", app), config))
        task_status.started(bound[0])
