"""What a request may wish for beyond text, and what an answer then carries beyond it.

Plain data that every engine, the worker and the client's library share. Each wish has a
`Feature` by which an engine says that it can, and by which it is refused before payment.
"""

from dataclasses import dataclass
from enum import StrEnum


class Grammar(StrEnum):
    """What language a constraint is written in."""

    JSON_OBJECT = "json-object"
    "Any JSON object; the constraint's text is empty."

    JSON_SCHEMA = "json-schema"
    "A JSON Schema, as JSON. Engines bound what they take of it, and refuse the rest by name."

    REGEX = "regex"
    "A regular expression that the whole answer matches: characters, classes, groups, alternation, counts."

    GBNF = "gbnf"
    "A grammar in llama.cpp's notation."


@dataclass(frozen=True, slots=True)
class Constraint:
    """What form an answer must have: tokens that leave it are never sampled."""

    grammar: Grammar
    text: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask the application to call."""

    name: str
    "Letters, digits, `_` and `-`: 64 at most."

    description: str
    parameters: str
    "A JSON Schema of its arguments, as JSON."


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to have a function called. Given whole, once it is complete."""

    id: str
    "Made by the engine; the tool's answer names it (`ChatMessage.call_id`)."

    name: str
    arguments: str
    "A JSON object, as the model wrote it: the application checks it like anything from outside."


class ToolUse(StrEnum):
    """Whether a model may, must or must not call tools."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"
    "Some tool; one by name is asked for by offering only that one."


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a token was at its place."""

    token: bytes
    "Its text, which may be a part of a character."

    logprob: float
    "Natural logarithm of its probability, before temperature and constraint; 0 is certainty."


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One sampled token's likelihood, and those of the likeliest at its place."""

    chosen: Likelihood
    top: tuple[Likelihood, ...] = ()
    "As many as were asked for, the likeliest first."
