"""What a door's page sends and is told, between JSON and what the door works with.

Errors go out as their code, their text and their hint. None of ours repeats what a page sent.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, cast

import trio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from cocoon_p2p.errors import (
    CocoonError,
    ConfigurationError,
    MalformedMessage,
    RecordRejected,
    Refused,
)
from cocoon_p2p.payments.address import spell_address
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.protocols.json_text import read_json_object
from cocoon_p2p.telegram.mini_app.own_channel import Standing

BODY_MAX_BYTES = 256 * 1024
"Of a request: a chat of some hours, or init data, or a wallet's state."

BODY_SECONDS = 30.0
"How long one may take to come: a phone on a bad line sends a chat in less."

Body = Mapping[str, Any]
Verb = Callable[[Request, Body], Awaitable[dict[str, Any]]]
"What a path does with a request's body; what it gives is the answer's."

_STATUS: tuple[tuple[type[CocoonError], int], ...] = (
    (MalformedMessage, 400),
    (ConfigurationError, 400),
    (RecordRejected, 403),
    (Refused, 409),
)
_STATUS_OF_CODE = {"session": 401, "no-credit": 402, "rate-limited": 429}
_NOT_NOW = 503

_HINTS = {"no-credit": "top up, and wait until the proxy has seen it"}
"Where the library's own is for who runs a node."

_NO_STORE = {"cache-control": "no-store"}


async def read_body(request: Request) -> Body:
    """Read a request's body, a JSON object.

    Raises:
        MalformedMessage: It is too long, late, or none.
    """
    with trio.move_on_after(BODY_SECONDS):
        data = await _octets(request)
        try:
            return read_json_object("body", data.decode())
        except UnicodeDecodeError:
            raise MalformedMessage("the body is not UTF-8") from None
    raise MalformedMessage(f"the body did not come in time (max={BODY_SECONDS:.0f} seconds)")


async def _octets(request: Request) -> bytes:
    data = bytearray()
    async with aclosing(request.stream()) as stream:
        async for part in stream:
            data += part
            if len(data) > BODY_MAX_BYTES:
                raise MalformedMessage(f"the body is too long (max={BODY_MAX_BYTES} bytes)")
    return bytes(data)


def read_text(body: Body, key: str) -> str:
    """Give a text of a body's.

    Raises:
        MalformedMessage: There is none.
    """
    value = cast("object", body.get(key))
    if not isinstance(value, str):
        raise MalformedMessage(f"body: no text `{key}`")
    return value


def read_chat(body: Body) -> list[dict[str, Any]]:
    """Give the chat that a page wants gone on with: texts alone, of user and assistant.

    Raises:
        MalformedMessage: It is none.
    """
    value = cast("object", body.get("messages"))
    turns = cast("list[object]", value) if isinstance(value, list) else []
    if not turns:
        raise MalformedMessage("body: no list `messages`")
    return [_read_turn(turn) for turn in turns]


def _read_turn(turn: object) -> dict[str, Any]:
    said = cast("dict[str, object]", turn) if isinstance(turn, dict) else {}
    role, content = said.get("role"), said.get("content")
    if role not in ("user", "assistant") or not isinstance(content, str):
        raise MalformedMessage("body: a message has a `role`, user or assistant, and a text `content`")
    return {"role": role, "content": content}


def answering(verb: Verb) -> Callable[[Request], Awaitable[Response]]:
    """Make a verb a route's end."""

    async def answer(request: Request) -> Response:
        try:
            return JSONResponse(await verb(request, await read_body(request)), headers=_NO_STORE)
        except CocoonError as error:
            return spell_error(error)
        except ClientDisconnect:
            # Nobody reads this.
            return Response(status_code=400)

    return answer


def spell_error(error: CocoonError) -> JSONResponse:
    """Spell an error as an answer."""
    status = _STATUS_OF_CODE.get(error.code) or next(
        (status for kind, status in _STATUS if isinstance(error, kind)), _NOT_NOW
    )
    headers = dict(_NO_STORE)
    if error.retry_after is not None:
        headers["retry-after"] = str(int(error.retry_after) + 1)
    return JSONResponse({"error": told(error)}, status, headers)


def told(error: CocoonError) -> dict[str, Any]:
    """Give what a page is told of an error."""
    return {"code": error.code, "message": str(error), "hint": _HINTS.get(error.code, error.hint)}


def spell_standing(standing: Standing, global_id: int) -> dict[str, Any]:
    """Spell how a user's channel stands; amounts are nanoTON."""
    address = None
    if standing.channel is not None:
        address = spell_address(AccountId(standing.channel), global_id=global_id, bounceable=True)
    return {
        "channel": address,
        "deposit": standing.deposit,
        "spent": standing.spent,
        "held": standing.held,
        "left": standing.left,
        "is_taken": standing.is_taken,
        "is_closing": standing.is_closing,
        "close_at": standing.close_at,
    }
