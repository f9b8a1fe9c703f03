"""What an answer carries beyond text, held against what was asked for. Pure.

The worker judges its engine by this before anything is sealed, and the client the worker once the
seal is open: no honest worker ever meets the client's judgement.

Spec: protocols/sealing.md (Beyond text).
"""

import math
import struct
from dataclasses import dataclass

from cocoon_p2p.errors import Miscounted
from cocoon_p2p.frozen import replace
from cocoon_p2p.protocols.contents import AnswerContent, RequestContent
from cocoon_p2p.protocols.ids import CALLS_MAX
from cocoon_p2p.protocols.wishes import TokenLogprob, ToolCall, ToolUse

NUMBER_SIZE_BYTES = 4


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks for beyond text."""

    vectors: int = 0
    "One for each input."

    logprobs: int | None = None
    "How many of the likeliest tokens at each place; None: nothing is told."

    logprobs_max: int = 0
    "Tokens that the answer may have."

    may_call: bool = False


NOTHING_BEYOND = Wanted()


@dataclass(frozen=True, slots=True)
class Carried:
    """What came so far."""

    vectors: int = 0
    vector_size_bytes: int = 0
    "Of each; 0 before the first."

    logprobs: int = 0
    call_ids: frozenset[str] = frozenset()


def wanted_by(content: RequestContent) -> Wanted:
    """Say what a request asks for beyond text."""
    return Wanted(
        vectors=len(content.inputs),
        logprobs=content.logprobs,
        logprobs_max=content.completion_tokens_max,
        may_call=bool(content.tools) and content.tool_use is not ToolUse.NONE,
    )


def carry(carried: Carried, content: AnswerContent, wanted: Wanted) -> Carried:
    """Add what the next piece carries.

    Raises:
        Miscounted: It is not what was asked for.
    """
    for call in content.calls:
        carried = _call(carried, call, wanted)
    for one in content.logprobs:
        carried = _logprob(carried, one, wanted)
    for vector in content.vectors:
        carried = _vector(carried, vector, wanted)
    if content.finish is not None and carried.vectors < wanted.vectors:
        raise _wrong(f"fewer vectors than inputs (inputs={wanted.vectors} got={carried.vectors})")
    return carried


def _call(carried: Carried, call: ToolCall, wanted: Wanted) -> Carried:
    if not wanted.may_call:
        raise _wrong("a tool call where none was allowed")
    if len(carried.call_ids) == CALLS_MAX:
        raise _wrong(f"too many tool calls (max={CALLS_MAX})")
    if not call.id or call.id in carried.call_ids:
        raise _wrong("a tool call without an id of its own")
    return replace(carried, call_ids=carried.call_ids | {call.id})


def _logprob(carried: Carried, one: TokenLogprob, wanted: Wanted) -> Carried:
    if wanted.logprobs is None or len(one.top) > wanted.logprobs:
        raise _wrong(f"more logprobs than were asked for (asked={wanted.logprobs} got={len(one.top)})")
    if carried.logprobs == wanted.logprobs_max:
        raise _wrong(f"logprobs of more tokens than were asked for (limit={wanted.logprobs_max})")
    return replace(carried, logprobs=carried.logprobs + 1)


def _vector(carried: Carried, vector: bytes, wanted: Wanted) -> Carried:
    size = len(vector)
    if carried.vectors == wanted.vectors:
        raise _wrong(f"more vectors than inputs (inputs={wanted.vectors})")
    if not size or size % NUMBER_SIZE_BYTES or carried.vector_size_bytes not in (0, size):
        raise _wrong(f"a vector of a wrong length (size={size} before={carried.vector_size_bytes} bytes)")
    if not _is_finite(vector):
        raise _wrong("a vector with a number that is not finite")
    return replace(carried, vectors=carried.vectors + 1, vector_size_bytes=size)


def _is_finite(vector: bytes) -> bool:
    # Sign and all but one bit of the exponent stand in a number's last byte. Few have the highest exponents.
    last = vector[NUMBER_SIZE_BYTES - 1 :: NUMBER_SIZE_BYTES]
    if 0x7F not in last and 0xFF not in last:
        return True
    # Finite numbers of four bytes cannot come to an infinite sum in Python's eight; one that is not does.
    return math.isfinite(sum(struct.unpack(f"<{len(last)}f", vector)))


def _wrong(what: str) -> Miscounted:
    return Miscounted(f"answer: {what}", is_by_worker=True)
