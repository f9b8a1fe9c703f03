"""Handing in an external message: to several servers, because one may take it and forget it.

Spec: block.tlb, `ext_in_msg_info`.
"""

import logging
import re
from collections.abc import Sequence

import trio

from cocoon_p2p.errors import MalformedMessage, Unavailable
from cocoon_p2p.payments.boc import read_one
from cocoon_p2p.payments.cells import Slice
from cocoon_p2p.payments.chain import MessageRefused
from cocoon_p2p.payments.lite import queries
from cocoon_p2p.payments.lite.queries import ServerError
from cocoon_p2p.payments.lite.server import LiteServer

log = logging.getLogger(__name__)

SERVERS_MAX = 4
HURRY_SECONDS = 1.0
"How long the others are waited for once one has taken it. They have been asked by then."

MESSAGE_MAX_BYTES = (1 << 16) - 1
"What networks take."

_EXTERNAL_IN = 0b10
_REFUSED = re.compile(r"cannot apply external message|external message was not accepted", re.IGNORECASE)
_EXIT_CODE = re.compile(r"exit ?code[= :]+(-?\d{1,9})(?!\d)", re.IGNORECASE)


def check_message(message: bytes) -> None:
    """Insist that it is an external message, before anybody is asked.

    Raises:
        MessageRefused: It is not.
    """
    try:
        if len(message) > MESSAGE_MAX_BYTES:
            raise MalformedMessage(f"too large (bytes={len(message)} limit={MESSAGE_MAX_BYTES})")
        if Slice(read_one(message)).uint(2) != _EXTERNAL_IN:
            raise MalformedMessage("not an external message")
    except MalformedMessage as exc:
        raise MessageRefused(str(exc)) from exc


def as_refusal(error: ServerError) -> MessageRefused | None:
    """Read why a server did not take a message. None: it says nothing of the contract's refusing it."""
    if not _REFUSED.search(error.message):
        return None
    found = _EXIT_CODE.search(error.message)
    return MessageRefused("the contract rejects it", exit_code=int(found[1]) if found else None)


async def hand_in(servers: Sequence[LiteServer], message: bytes, operators_min: int) -> None:
    """Hand a message to servers, all at once.

    Args:
        servers: Those to ask.
        message: A bag, checked.
        operators_min: How many operators' word it takes that the contract refuses it.

    A cancel may leave it handed in.

    Raises:
        MessageRefused: Nobody took it, and so many say that the contract refuses it.
        Unavailable: Nobody took it.
    """
    taken: list[LiteServer] = []
    refused: dict[str, MessageRefused] = {}

    async def hand(server: LiteServer) -> None:
        try:
            if await server.ask(queries.send_message(message), queries.read_sent):
                taken.append(server)
                nursery.cancel_scope.deadline = trio.current_time() + HURRY_SECONDS
        except ServerError as exc:
            refusal = as_refusal(exc)
            log.info("lite server refuses a message", extra={"server": str(server.address), "why": str(exc)})
            if refusal is not None:
                refused[server.operator] = refusal
        except (Unavailable, MalformedMessage):
            return

    async with trio.open_nursery() as nursery:
        for server in servers:
            nursery.start_soon(hand, server)
    if taken:
        return
    if len(refused) >= operators_min:
        # Who says an exit code says more.
        raise max(refused.values(), key=lambda refusal: refusal.exit_code is not None)
    raise Unavailable("no lite server takes the message", hint="it may be sent again")
