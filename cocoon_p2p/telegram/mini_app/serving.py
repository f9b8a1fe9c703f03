"""A Mini App's door over HTTP, on trio, over real parts.

Its TLS is for a reverse proxy in front of it, which must pass `Host` on as it is.
"""

import logging
import time
from functools import partial
from pathlib import Path
from typing import cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve  # pyright: ignore[reportUnknownVariableType]  (of WSGI, which is not used)
from hypercorn.typing import ASGIFramework
from starlette.types import ASGIApp

from cocoon_p2p.config import ClientFile, Loaded
from cocoon_p2p.telegram.mini_app.door import Door
from cocoon_p2p.telegram.mini_app.folders import chain_of, sides_in
from cocoon_p2p.telegram.mini_app.own_channels import open_own_channels
from cocoon_p2p.telegram.mini_app.settings import DoorSettings

HEADERS_MAX_BYTES = 16 * 1024
USERS = "users"

log = logging.getLogger(__name__)


async def serve_mini_app(
    loaded: Loaded[ClientFile],
    settings: DoorSettings,
    bind: str,
    *,
    pages: Path | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve a Mini App until cancelled; its users' folders are in `users` in the file's data directory.

    Args:
        loaded: A client's file: the network, the chain, and how requests are to be answered. Its wallet is
            not used.
        settings: The owner's.
        bind: As `serve_door`.
        pages: The folder of the page's files, all of which anybody may read; None: they are elsewhere.
        task_status: Is given the address once it takes connections.

    Raises:
        ConfigurationError: The file names no chain, or something in it or in the settings cannot be used.
        Unavailable: A local chain does not answer.
        OSError: The address is taken.
    """
    open_side = sides_in(loaded.data_directory / USERS, loaded)
    async with chain_of(loaded) as chain, open_own_channels(open_side) as channels:
        door = Door(settings, channels, chain, clock=time.time, pages=pages)
        await serve_door(door.app, bind, task_status=task_status)


async def serve_door(
    app: ASGIApp, bind: str, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve a door until cancelled.

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
    # Nothing of who asked for what. What went wrong goes where the rest goes.
    config.accesslog = None
    config.errorlog = log
    config.include_server_header = False
    config.h11_max_incomplete_size = HEADERS_MAX_BYTES
    async with trio.open_nursery() as nursery:
        # The two libraries spell ASGI's types differently.
        bound: list[str] = await nursery.start(partial(serve, cast("ASGIFramework", app), config))
        task_status.started(bound[0])
