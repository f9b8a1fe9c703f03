"""The fake on a socket: HTTP, as the Bot API speaks it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import MultipartReader, web

from cocoon_p2p.testing.bot_api.answers import Rejected, bad_request
from cocoon_p2p.testing.bot_api.arguments import Arguments, fields
from cocoon_p2p.testing.bot_api.board import Clock
from cocoon_p2p.testing.bot_api.fake import FakeBotApi, Reply, refusal
from cocoon_p2p.testing.bot_api.faults import ConnectionLost
from cocoon_p2p.testing.bot_api.files import UPLOAD_MAX_BYTES
from cocoon_p2p.testing.bot_api.flood import FloodLimits
from cocoon_p2p.testing.bot_api.forms import read_form

BODY_MAX_BYTES = UPLOAD_MAX_BYTES + 1024 * 1024


def loop_clock() -> Clock:
    """Tell the time by the loop's own clock, from now: what waits on this loop and what counts time agree."""
    loop = asyncio.get_running_loop()
    offset = time.time() - loop.time()
    return lambda: offset + loop.time()


@asynccontextmanager
async def open_bot_api(
    *, clock: Clock | None = None, limits: FloodLimits | None = None
) -> AsyncIterator[FakeBotApi]:
    """Serve a fake on a free port of this machine's, until the block ends.

    Args:
        clock: Tells the time, in seconds since the Unix epoch; the loop's own where none is given.
        limits: How much each bot may send; about Telegram's own where none are given.
    """
    api = FakeBotApi("", clock or loop_clock(), limits or FloodLimits())
    application = web.Application(client_max_size=BODY_MAX_BYTES)
    door = _Door(api)
    application.router.add_route("*", "/bot{token}/{method}", door.call)
    application.router.add_get("/file/bot{token}/{path:.+}", door.fetch)
    # Who hangs up ends its own call, as at the server: a poller that is gone holds no poll.
    runner = web.AppRunner(application, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        api.url = f"http://{host}:{port}"
        yield api
    finally:
        await api.close()
        await runner.cleanup()


class _Door:
    def __init__(self, api: FakeBotApi) -> None:
        self._api = api

    async def call(self, request: web.Request) -> web.StreamResponse:
        named = request.match_info
        try:
            reply = await self._api.call(named["token"], named["method"], await _read(request))
        except Rejected as no:
            reply = refusal(no)
        except ConnectionLost:
            if request.transport is not None:
                request.transport.abort()
            raise asyncio.CancelledError from None
        return _written(reply)

    async def fetch(self, request: web.Request) -> web.StreamResponse:
        try:
            bot = self._api.world.bot(request.match_info["token"])
        except Rejected as no:
            return _written(refusal(no))
        content = self._api.world.files.fetch(bot.id, request.match_info["path"])
        if content is None:
            return _written(refusal(Rejected(404, "Not Found")))
        return web.Response(body=content, content_type="application/octet-stream")


async def _read(request: web.Request) -> Arguments:
    values: dict[str, object] = dict(request.query)
    if request.content_type == "application/json":
        values |= _fields(await request.read())
    elif request.content_type == "multipart/form-data":
        return await read_form(await _parts(request), values)
    else:
        values |= dict(await request.post())
    return Arguments(values)


async def _parts(request: web.Request) -> MultipartReader:
    try:
        return await request.multipart()
    except ValueError:
        raise bad_request("boundary not found") from None


def _fields(body: bytes) -> dict[str, object]:
    """Read a JSON body. One that is none has no values, as at the real server, which only notes that down."""
    try:
        return fields(json.loads(body))
    except ValueError:
        return {}


def _written(reply: Reply) -> web.Response:
    headers = {} if reply.retry_after is None else {"Retry-After": str(reply.retry_after)}
    if isinstance(reply.body, str):
        return web.Response(status=reply.status, text=reply.body, content_type="text/html", headers=headers)
    return web.json_response(reply.body, status=reply.status, headers=headers)
