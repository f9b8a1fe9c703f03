"""What the owner can have done on the page: POST /act/NAME, with the token in a header of its own.

    unlock   nothing: says whether the token is right
    drain    takes nothing new from now on
    close    `{"channel": "hex"}`: closes a channel at what was charged on it, when the other end agrees
    price    `{"model": "name", "completion": nanoTON}`: asks this much for 1,000 completion tokens

A browser adds no such header by itself, and another site's scripts may not: with the check of where a request
comes from (`web.Guard`) nobody can make an owner's browser do it. Answers are JSON: `{"said"}`, or `{"error",
"hint"}`.
"""

import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from typing import Annotated

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response

from cocoon_p2p.errors import CocoonError, ConfigurationError, Refused
from cocoon_p2p.page.gate import Gate
from cocoon_p2p.units import NANO_MAX

log = logging.getLogger(__name__)

TOKEN_HEADER = "x-cocoon-token"  # noqa: S105 (its name)

CLOSE_SECONDS = 90.0
"Longer than the other end is given to agree. Who waits no longer has it gone on with."

_STATUSES = {"wrong-token": 401, "too-many-tries": 429, "busy": 409}


@dataclass(frozen=True, slots=True)
class Deeds:
    """What can be done; None: not by this node."""

    drain: Callable[[], None] | None = None
    "Begins it, and returns at once."

    close: Callable[[str], Awaitable[str]] | None = None
    """Closes a channel, by the hexadecimal digits of its id, and says how far it came. Raises `CocoonError`.
    A cancel leaves it to be gone on with."""

    price: Callable[[str, int], str] | None = None
    """Asks so many nanoTON for 1,000 completion tokens of a model, and says what comes of it. Raises
    `CocoonError`."""

    @property
    def names(self) -> frozenset[str]:
        """Say which of them this node can do."""
        return frozenset(each.name for each in fields(self) if getattr(self, each.name) is not None)


class _Closing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    channel: str


class _Pricing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model: str
    completion: Annotated[int, msgspec.Meta(ge=1, le=NANO_MAX)]


class DeedsDone:
    """Does them, for whoever has the token.

    Args:
        deeds: What can be done.
        gate: Who may; None: nobody, everything is read-only.
    """

    def __init__(self, deeds: Deeds, gate: Gate | None) -> None:
        self._deeds = deeds
        self._gate = gate
        self._busy: set[str] = set()

    async def act(self, request: Request) -> Response:
        """Answer a POST."""
        name = request.path_params["name"]
        try:
            self._judge(request)
            said = await self._do(name, await request.body())
        except CocoonError as error:
            return _refusal(error)
        log.info("done on the page", extra={"deed": name})
        return _json({"said": said})

    def _judge(self, request: Request) -> None:
        if self._gate is None:
            raise Refused(
                "nothing can be done on this page: others can reach it", code="read-only",
                hint="let it listen on a loopback address",
            )  # fmt: skip
        self._gate.judge(request.headers.get(TOKEN_HEADER, ""))

    async def _do(self, name: str, body: bytes) -> str:
        match name:
            case "unlock":
                return "unlocked"
            case "drain" if self._deeds.drain is not None:
                self._deeds.drain()
                return "draining: nothing new is taken"
            case "close" if self._deeds.close is not None:
                return await self._close(body)
            case "price" if self._deeds.price is not None:
                return self._deeds.price(*_read_price(body))
            case _:
                raise ConfigurationError("this node cannot do that")

    async def _close(self, body: bytes) -> str:
        assert self._deeds.close is not None
        try:
            channel = msgspec.json.decode(body, type=_Closing).channel
            is_channel = len(bytes.fromhex(channel)) == 32 and len(channel) == 64
        except (msgspec.MsgspecError, ValueError):
            is_channel, channel = False, ""
        if not is_channel:
            raise ConfigurationError("that is no channel")
        if channel in self._busy:
            raise Refused("this channel is being closed already", code="busy")
        self._busy.add(channel)
        try:
            with trio.move_on_after(CLOSE_SECONDS):
                return await self._deeds.close(channel)
            return "the close has begun, and goes on by itself"
        finally:
            self._busy.discard(channel)


def _read_price(body: bytes) -> tuple[str, int]:
    try:
        read = msgspec.json.decode(body, type=_Pricing)
    except (msgspec.MsgspecError, ValueError):
        raise ConfigurationError(
            "that is no price: nanoTON for 1,000 tokens, a whole number above 0"
        ) from None
    return read.model, read.completion


def _refusal(error: CocoonError) -> Response:
    response = _json({"error": str(error), "hint": error.hint}, _STATUSES.get(error.code, 400))
    if error.retry_after is not None:
        response.headers["retry-after"] = str(math.ceil(error.retry_after))
    return response


def _json(said: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(said), status, media_type="application/json")
