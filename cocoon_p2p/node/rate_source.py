"""Reads a rate from the source that a worker's owner named: one HTTP request, bounded in every way.

The source is the owner's choice, and still somebody else's machine: it is read in so many bytes and so many
seconds, sent on nowhere, unpacked by nobody, and what it says is judged (`payments.peg`).
"""

import json
from decimal import Decimal, InvalidOperation
from typing import Any

import httpx
import trio

from cocoon_p2p.errors import MalformedMessage, Unavailable
from cocoon_p2p.payments.peg import follow, read_rate

SECONDS_MAX = 20.0
"For all of it: an answer that trickles in is none."

SIZE_MAX_BYTES = 1 << 20
"Exchanges list thousands of pairs in one page."

_HEADERS = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "cocoon-p2p"}


async def fetch_rate(source: str, pointer: str) -> Decimal:
    """Ask a source for its rate, once.

    Raises:
        Unavailable: It does not answer in time, or not with 200.
        MalformedMessage: What it answers is too long, no JSON, or has no rate at the pointer.
    """
    try:
        with trio.fail_after(SECONDS_MAX):
            body = await _fetch(source)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, trio.TooSlowError) as exc:
        # A host that no name server could be asked for is an error of Unicode's, in two libraries.
        raise Unavailable(f"the price source does not answer: {type(exc).__name__}") from exc
    try:
        document: Any = json.loads(body, parse_float=Decimal, parse_constant=_no_number)
    except (ValueError, RecursionError, InvalidOperation) as exc:
        # A number whose exponent no decimal has room for is no ValueError.
        raise MalformedMessage("the price source's answer is no JSON") from exc
    return read_rate(follow(pointer, document))


async def _fetch(source: str) -> bytes:
    async with (
        httpx.AsyncClient(follow_redirects=False, timeout=SECONDS_MAX, headers=_HEADERS) as client,
        client.stream("GET", source) as answer,
    ):
        if answer.status_code != 200:
            raise Unavailable(f"the price source refuses (status={answer.status_code})")
        if answer.headers.get("content-encoding", "identity") != "identity":
            # What is small on the wire may be huge unpacked.
            raise MalformedMessage("the price source's answer is packed, and was not asked to be")
        body = bytearray()
        async for part in answer.aiter_raw():
            body += part
            if len(body) > SIZE_MAX_BYTES:
                raise MalformedMessage(f"the price source's answer is too long (max={SIZE_MAX_BYTES} bytes)")
        return bytes(body)


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON's")
