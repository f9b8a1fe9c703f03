"""What a request may wish for beyond text, and what an answer carries beyond it, as they are spelled.

Engines know the same things by `inference.wishes`, with numbers as they compute with them; the
protocol has neither floats nor negative numbers, so here they are counted in thousandths and
millionths, upwards.

Spec: protocols/sealing.md (Contents). Vectors: protocols/vectors/contents.json.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from cocoon_p2p.protocols.ids import (
    ARGUMENTS_MAX_BYTES,
    AUDIO_MAX_BYTES,
    CALL_ID_MAX_BYTES,
    CONSTRAINT_MAX_BYTES,
    LANGUAGE_MAX_BYTES,
    LOGIT_BIAS_NONE_MILLI,
    LOGPROB_MICRO_MAX,
    LOGPROB_TOKEN_MAX_BYTES,
    LOGPROBS_MAX,
    TOOL_NAME_MAX_BYTES,
    TOOL_TEXT_MAX_BYTES,
    VECTOR_MAX_BYTES,
)
from cocoon_p2p.protocols.schema import Key, Max

AToolName = Annotated[str, Max(TOOL_NAME_MAX_BYTES)]
AVector = Annotated[bytes, Max(VECTOR_MAX_BYTES)]
"Numbers of four bytes each (IEEE 754 binary32, little-endian), all of them finite."


class Grammar(IntEnum):
    """What language a constraint is written in."""

    JSON_OBJECT = 1
    "Any JSON object; the text is empty."

    JSON_SCHEMA = 2
    REGEX = 3
    GBNF = 4
    "llama.cpp's notation."


class ToolUse(IntEnum):
    """Whether the model may, must not or must call tools."""

    AUTO = 1
    NONE = 2
    REQUIRED = 3


@dataclass(frozen=True, slots=True)
class Constraint:
    """What form the answer must have."""

    grammar: Annotated[Grammar, Key(1)]
    text: Annotated[str, Key(2), Max(CONSTRAINT_MAX_BYTES)]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask the application to call."""

    name: Annotated[AToolName, Key(1)]
    description: Annotated[str, Key(2), Max(TOOL_TEXT_MAX_BYTES)]
    parameters: Annotated[str, Key(3), Max(TOOL_TEXT_MAX_BYTES)]
    "A JSON Schema of its arguments, as JSON."


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to have a function called."""

    id: Annotated[str, Key(1), Max(CALL_ID_MAX_BYTES)]
    "The tool's answer names it."

    name: Annotated[AToolName, Key(2)]
    arguments: Annotated[str, Key(3), Max(ARGUMENTS_MAX_BYTES)]
    "A JSON object, as the model wrote it: it may be none, and need not fit the tool."


@dataclass(frozen=True, slots=True)
class LogitBias:
    """How much likelier a token is made."""

    token: Annotated[int, Key(1)]
    "Its id in the model's vocabulary."

    bias_milli: Annotated[int, Key(2), Max(2 * LOGIT_BIAS_NONE_MILLI)]
    "Thousandths that are added to its logit, and LOGIT_BIAS_NONE_MILLI more."


@dataclass(frozen=True, slots=True)
class Audio:
    """Speech to be written down."""

    data: Annotated[bytes, Key(1), Max(AUDIO_MAX_BYTES)]
    "A whole file."

    language: Annotated[str | None, Key(2), Max(LANGUAGE_MAX_BYTES)] = None
    "ISO 639-1; left out: the model tells."


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a token was at its place."""

    token: Annotated[bytes, Key(1), Max(LOGPROB_TOKEN_MAX_BYTES)]
    "Its text, which may be a part of a character."

    micro: Annotated[int, Key(2), Max(LOGPROB_MICRO_MAX)]
    "Millionths of a nat below certainty."

    @property
    def logprob(self) -> float:
        """Natural logarithm of its probability: 0 is certainty, all else is below."""
        return -self.micro / 1_000_000


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token of the answer, and the likeliest at its place."""

    chosen: Annotated[Likelihood, Key(1)]
    top: Annotated[tuple[Likelihood, ...], Key(2), Max(LOGPROBS_MAX)] = ()
    "The likeliest first."
