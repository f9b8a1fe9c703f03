"""What is inside the seals: the request that a worker opens, and the pieces of its answer.

Both are maps with integer keys like every other shape of the protocol, padded before they
are sealed, because the length of a sealed piece of streamed text would give its words away.

Spec: protocols/sealing.md (Contents). Vectors: protocols/vectors/contents.json.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from cocoon_p2p.errors import LocalProtocolError, MalformedMessage
from cocoon_p2p.protocols.cbor import Value, decode
from cocoon_p2p.protocols.ids import (
    ANSWER_TEXT_MAX_BYTES,
    BANNED_MAX,
    BANNED_STRING_MAX_BYTES,
    CALL_ID_MAX_BYTES,
    CALLS_MAX,
    CARRIED_MAX,
    CHAT_CALLS_MAX,
    CHAT_MESSAGES_MAX,
    IMAGE_MAX_BYTES,
    IMAGES_MAX,
    INPUTS_MAX,
    LOGIT_BIAS_MAX,
    LOGPROBS_MAX,
    PART_PLAIN_MAX_BYTES,
    PARTS_MAX,
    PENALTY_NONE_MILLI,
    REQUEST_TEXT_MAX_BYTES,
    STOP_MAX,
    STOP_STRING_MAX_BYTES,
    TOOLS_MAX,
    Kind,
)
from cocoon_p2p.protocols.messages import AName, AToken
from cocoon_p2p.protocols.schema import Key, Max, decode_paper, encode_paper, read_shape
from cocoon_p2p.protocols.wishes import (
    Audio,
    AVector,
    Constraint,
    LogitBias,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolUse,
)

_PAD_SIZES = (64, 256, 1024)
"One token, a coalesced handful, a short prompt. Above the last: multiples of it."

_PAD_MARK = 0x80
"ISO/IEC 7816-4: the mark, then zeros."

_ITEMS_MAX = 100_000
"A request of as many turns, calls, tools and texts as there may be has half of that."

AContent = Annotated[str, Max(REQUEST_TEXT_MAX_BYTES)]


class FinishReason(IntEnum):
    """Why an answer ended, in OpenAI's words."""

    STOP = 1
    "The model ended it, or a stop string was met."

    LENGTH = 2
    "The token limit, the context or the money was used up."

    TOOL_CALLS = 3
    "The model wants tools called, and waits for what they say."


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """One message of a chat."""

    role: Annotated[AToken, Key(1)]
    content: Annotated[AContent, Key(2)]
    calls: Annotated[tuple[ToolCall, ...], Key(3), Max(CALLS_MAX)] = ()
    "Tools that the model wanted called with this message."

    call_id: Annotated[str | None, Key(4), Max(CALL_ID_MAX_BYTES)] = None
    "Which of those calls this message is the answer of."

    images: Annotated[tuple[Annotated[bytes, Max(IMAGE_MAX_BYTES)], ...], Key(5), Max(IMAGES_MAX)] = ()
    "PNG or JPEG files, shown before the text."


@dataclass(frozen=True, slots=True)
class RequestContent:
    """What the client asks, in words. Only the worker reads it."""

    kind: Annotated[Kind, Key(1)]
    model: Annotated[AName, Key(2)]
    messages: Annotated[tuple[ChatTurn, ...], Key(3), Max(CHAT_MESSAGES_MAX)]
    "A chat, for the model's own template. Empty where `prompt` is given."

    completion_tokens_max: Annotated[int, Key(4)]
    "0 for what is embedded: no token is made."

    temperature_milli: Annotated[int, Key(5), Max(100_000)]
    "Thousandths: the protocol has no floats."

    top_p_milli: Annotated[int, Key(6), Max(1000)]
    stop: Annotated[tuple[Annotated[str, Max(STOP_STRING_MAX_BYTES)], ...], Key(7), Max(STOP_MAX)]
    ignore_eos: Annotated[bool, Key(8)]
    answer_prefix: Annotated[AContent, Key(9)]
    "What was delivered before a failover: the answer goes on right after it. Mostly empty."

    prompt: Annotated[AContent | None, Key(10)] = None
    "A bare completion prompt, no template; of a recording the names and words that may occur in it."

    seed: Annotated[int | None, Key(11)] = None
    constraint: Annotated[Constraint | None, Key(12)] = None
    tools: Annotated[tuple[Tool, ...], Key(13), Max(TOOLS_MAX)] = ()
    tool_use: Annotated[ToolUse | None, Key(14)] = None
    "Left out: the model may."

    logit_bias: Annotated[tuple[LogitBias, ...], Key(15), Max(LOGIT_BIAS_MAX)] = ()
    banned: Annotated[tuple[Annotated[str, Max(BANNED_STRING_MAX_BYTES)], ...], Key(16), Max(BANNED_MAX)] = ()
    "Strings that the answer never holds."

    logprobs: Annotated[int | None, Key(17), Max(LOGPROBS_MAX)] = None
    "How many of the likeliest tokens are told at each place, beside the chosen one."

    frequency_penalty_milli: Annotated[int | None, Key(18), Max(2 * PENALTY_NONE_MILLI)] = None
    presence_penalty_milli: Annotated[int | None, Key(19), Max(2 * PENALTY_NONE_MILLI)] = None
    "Thousandths, and PENALTY_NONE_MILLI more."

    inputs: Annotated[tuple[AContent, ...], Key(20), Max(INPUTS_MAX)] = ()
    "Texts to embed."

    audio: Annotated[Audio | None, Key(21)] = None


@dataclass(frozen=True, slots=True)
class AnswerContent:
    """A piece of the answer, of whole characters."""

    text: Annotated[str, Key(1), Max(ANSWER_TEXT_MAX_BYTES)]
    finish: Annotated[FinishReason | None, Key(2)] = None
    "In the last piece only."

    calls: Annotated[tuple[ToolCall, ...], Key(3), Max(CARRIED_MAX)] = ()
    "Whole ones: none is cut."

    logprobs: Annotated[tuple[TokenLogprob, ...], Key(4), Max(CARRIED_MAX)] = ()
    "Of the tokens that are delivered with this piece, as far as they fit; the rest with the next."

    vectors: Annotated[tuple[AVector, ...], Key(5), Max(CARRIED_MAX)] = ()
    "Of the next inputs, in their order."


def encode_request(content: RequestContent) -> bytes:
    """Spell and pad a request, ready to be cut into parts and sealed."""
    return pad(encode_paper(content))


def decode_request(plain: bytes) -> RequestContent:
    """Read what `encode_request` made, its opened parts joined.

    Raises:
        MalformedMessage: It is none, or looks back on more than CHAT_CALLS_MAX tool calls.
    """
    value = decode(unpad(plain), items_max=_ITEMS_MAX)
    # Reading so many would take seconds.
    if _calls_in(value) > CHAT_CALLS_MAX:
        raise MalformedMessage(f"tool calls: too many (max={CHAT_CALLS_MAX})")
    return read_shape(RequestContent, value)


def encode_answer(content: AnswerContent) -> bytes:
    """Spell and pad a piece of an answer, ready to be sealed."""
    return pad(encode_paper(content))


def decode_answer(plain: bytes) -> AnswerContent:
    """Read what `encode_answer` made. Raises `MalformedMessage`."""
    return decode_paper(AnswerContent, unpad(plain))


def cut_parts(plain: bytes) -> tuple[bytes, ...]:
    """Cut a padded request into the parts that are sealed one by one; at least one.

    Raises:
        LocalProtocolError: It would take more than `PARTS_MAX`.
    """
    if len(plain) > PARTS_MAX * PART_PLAIN_MAX_BYTES:
        raise LocalProtocolError(
            f"request: too long (size={len(plain)} max={PARTS_MAX * PART_PLAIN_MAX_BYTES} bytes)"
        )
    starts = range(0, len(plain), PART_PLAIN_MAX_BYTES)
    return tuple(plain[start : start + PART_PLAIN_MAX_BYTES] for start in starts)


def pad(plain: bytes) -> bytes:
    """Lengthen to 64, 256 or 1,024 bytes, or to a multiple of 1,024."""
    marked = plain + bytes((_PAD_MARK,))
    return marked.ljust(_padded_size(len(marked)), b"\0")


def unpad(padded: bytes) -> bytes:
    """Undo `pad`.

    Raises:
        MalformedMessage: `pad` never makes this: no mark, or another length than the least.
    """
    marked = padded.rstrip(b"\0")
    if not marked or marked[-1] != _PAD_MARK or len(padded) != _padded_size(len(marked)):
        raise MalformedMessage(f"not padded as the protocol pads (size={len(padded)} bytes)")
    return marked[:-1]


def _calls_in(value: Value) -> int:
    """Count tool calls in what may be a request."""
    turns = value.get(3) if isinstance(value, dict) else None
    calls = [turn.get(3) for turn in turns if isinstance(turn, dict)] if isinstance(turns, list) else []
    return sum(len(one) for one in calls if isinstance(one, list))


def _padded_size(size: int) -> int:
    for step in _PAD_SIZES:
        if size <= step:
            return step
    largest = _PAD_SIZES[-1]
    return -(-size // largest) * largest
