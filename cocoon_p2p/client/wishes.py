"""How an application wants to be answered, in its own terms, and the same in the protocol's."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, cast

from cocoon_p2p.client.ranges import check_range, check_text
from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import PeerId
from cocoon_p2p.protocols.ids import (
    BANNED_MAX,
    BANNED_STRING_MAX_BYTES,
    CONSTRAINT_MAX_BYTES,
    DEADLINE_MAX_SECONDS,
    LOGIT_BIAS_MAX,
    LOGIT_BIAS_NONE_MILLI,
    LOGPROBS_MAX,
    PEERS_MAX,
    PENALTY_NONE_MILLI,
    STOP_MAX,
    STOP_STRING_MAX_BYTES,
    TOOL_NAME_MAX_BYTES,
    TOOL_TEXT_MAX_BYTES,
    TOOLS_MAX,
    Preference,
    Trust,
)
from cocoon_p2p.protocols.schema import UINT_MAX
from cocoon_p2p.protocols.wishes import Constraint, Grammar, LogitBias, Tool, ToolUse

_NO_PARAMETERS = '{"type":"object","properties":{}}'


class Wishes(TypedDict, total=False):
    """What an application may say about how it wants to be answered. What it leaves out is the policy's."""

    max_cost: int | None
    "In nanoTON, commission included, for the whole answer."

    trust: Trust | str | None
    "What must be proven about the worker's machine: `open`, `sim`, `tdx` or `tdx+gpu`."

    completion_tokens_max: int | None
    temperature: float
    "0 unless given: the likeliest token each time."

    top_p: float
    seed: int | None
    stop: Sequence[str]
    ignore_eos: bool
    timeout_seconds: float | None
    "For the whole answer."

    prefer: Literal["cheap", "balanced", "fast"] | Sequence[PeerId]
    """What counts more where price and time cannot both be had; or workers, the first that may serve it
    whatever it costs. With `fast`, a chat or completion whose first token is late is asked of a second worker
    too, if the max cost holds both in full; the first to answer does, and the other is cancelled, and is
    paid at most its prompt and what it had sent by then (`PriceQuote.hedge_max`)."""

    exclude: Sequence[PeerId]
    "Workers."

    weights: bytes | str | None
    """Only a worker with these very weights will do: their hash (inference/engines.md), 32 bytes or 64
    hexadecimal digits. `cocoon model hash` says it of a file."""

    schema: Mapping[str, Any] | str | None
    "The answer is JSON that this JSON Schema allows; a mapping, or its JSON text."

    json_object: bool
    "The answer is some JSON object. Of this, `schema`, `regex` and `grammar` one at most."

    regex: str | None
    "The whole answer matches this regular expression."

    grammar: str | None
    "The answer is in this language, written in llama.cpp's notation (GBNF)."

    tools: Sequence[Mapping[str, Any]]
    """Functions that the model may ask for, as OpenAI spells them: `{"type": "function", "function": {"name":
    ..., "description": ..., "parameters": {a JSON Schema}}}`. What it asks for is in `Answer.tool_calls`."""

    tool_choice: str
    "`auto` (it may), `none`, `required` (some tool), or the name of the tool that it must ask for."

    logit_bias: Mapping[int, float]
    "What is added to the logits of tokens, by their ids in the model's vocabulary: -100 to 100."

    banned: Sequence[str]
    "Strings that the answer never holds."

    logprobs: int | None
    "Tell how likely each token was, and this many of the likeliest in its place (0: of none)."

    frequency_penalty: float
    presence_penalty: float
    "As OpenAI defines them: -2 to 2."

    purse: str | None
    """Whose budget it is paid from (`Client.purses`), such as `key/3f2a`: the answer costs no more than is
    left in it, and an empty one refuses (`over-budget`). None: there is no such limit."""


EMBEDDING_WISHES = frozenset(
    {"max_cost", "trust", "timeout_seconds", "prefer", "exclude", "weights", "purse"}
)
"What can be wished for where no token is made."


def check_wishes(wishes: Wishes) -> None:
    """Find what no engine could grant.

    Raises:
        ConfigurationError: A value is out of range; the text names it.
    """
    if unknown := sorted(wishes.keys() - Wishes.__annotations__.keys()):
        # One that is misspelt, and so not kept, may have been the one that mattered.
        raise ConfigurationError(f"unknown wishes: {', '.join(unknown)}")
    check_range("max_cost", wishes.get("max_cost"), 1, UINT_MAX)
    check_range("completion_tokens_max", wishes.get("completion_tokens_max"), 1, UINT_MAX)
    check_range("temperature", wishes.get("temperature"), 0, 100)
    check_range("top_p", wishes.get("top_p"), 0, 1)
    check_range("seed", wishes.get("seed"), 0, UINT_MAX)
    check_range("timeout_seconds", wishes.get("timeout_seconds"), 0.001, DEADLINE_MAX_SECONDS)
    check_range("logprobs", wishes.get("logprobs"), 0, LOGPROBS_MAX)
    check_range("frequency_penalty", wishes.get("frequency_penalty"), -2, 2)
    check_range("presence_penalty", wishes.get("presence_penalty"), -2, 2)
    check_range("number of stop strings", len(wishes.get("stop", ())), 0, STOP_MAX)
    check_range("number of banned strings", len(wishes.get("banned", ())), 0, BANNED_MAX)
    check_range("number of tools", len(wishes.get("tools", ())), 0, TOOLS_MAX)
    check_range("number of biased tokens", len(wishes.get("logit_bias", ())), 0, LOGIT_BIAS_MAX)
    check_range("number of preferred workers", len(read_preferred(wishes)), 0, PEERS_MAX)
    read_preference(wishes)
    check_range("number of excluded workers", len(wishes.get("exclude", ())), 0, PEERS_MAX)
    for name in ("stop", "banned"):
        if isinstance(wishes.get(name), str):
            # Its letters would be taken for the strings, one by one.
            raise ConfigurationError(f"{name} is a list of strings, and not one")
    for stop in wishes.get("stop", ()):
        check_text("stop string", stop, STOP_STRING_MAX_BYTES)
    for banned in wishes.get("banned", ()):
        check_text("banned string", banned, BANNED_STRING_MAX_BYTES)


def read_preferred(wishes: Wishes) -> tuple[PeerId, ...]:
    """Read which workers come first."""
    prefer = wishes.get("prefer", ())
    return () if isinstance(prefer, str) else tuple(prefer)


def read_preference(wishes: Wishes) -> Preference | None:
    """Read whether price or time counts more; None where they count alike.

    Raises:
        ConfigurationError: It is some other word.
    """
    prefer = wishes.get("prefer", ())
    if not isinstance(prefer, str) or prefer == "balanced":
        return None
    if prefer not in ("cheap", "fast"):
        raise ConfigurationError(
            f"not a preference: {str(prefer)[:32]!r}", hint="use cheap, balanced, fast or a list of workers"
        )
    return Preference[prefer.upper()]


def read_constraint(wishes: Wishes) -> Constraint | None:
    """Read what form the answer must have, if one is wished for.

    Raises:
        ConfigurationError: There are two, or one is too long or no JSON.
    """
    schema = wishes.get("schema")
    given = {
        Grammar.JSON_SCHEMA: schema if schema is None or isinstance(schema, str) else _json(schema),
        Grammar.JSON_OBJECT: "" if wishes.get("json_object") else None,
        Grammar.REGEX: wishes.get("regex"),
        Grammar.GBNF: wishes.get("grammar"),
    }
    constraints = [Constraint(grammar, text) for grammar, text in given.items() if text is not None]
    if len(constraints) > 1:
        raise ConfigurationError("an answer has one form: give schema, json_object, regex or grammar")
    for constraint in constraints:
        check_text(constraint.grammar.name.lower().replace("_", " "), constraint.text, CONSTRAINT_MAX_BYTES)
    return constraints[0] if constraints else None


def read_tools(wishes: Wishes) -> tuple[tuple[Tool, ...], ToolUse | None]:
    """Read the tools that the model may ask for, and whether it must. One that it must ask for stands alone.

    Raises:
        ConfigurationError: A tool is not spelled as OpenAI's are, or the choice is of none that there is.
    """
    tools = tuple(_read_tool(tool) for tool in wishes.get("tools", ()))
    choice = wishes.get("tool_choice")
    if choice is None:
        return tools, None
    if not tools:
        raise ConfigurationError("tool_choice without tools")
    if choice in ("auto", "none", "required"):
        return tools, ToolUse[choice.upper()]
    chosen = tuple(tool for tool in tools if tool.name == choice)
    if not chosen:
        raise ConfigurationError(
            f"tool_choice names no tool: {str(choice)[:64]!r}",
            hint="use auto, none, required or a tool's name",
        )
    return chosen, ToolUse.REQUIRED


def read_logit_bias(wishes: Wishes) -> tuple[LogitBias, ...]:
    """Read which tokens are made likelier or less likely.

    Raises:
        ConfigurationError: An id or a bias is out of range.
    """
    biases: list[LogitBias] = []
    for token, bias in wishes.get("logit_bias", {}).items():
        check_range("token of logit_bias", token, 0, UINT_MAX)
        check_range("logit_bias", bias, -100, 100)
        biases.append(LogitBias(token, LOGIT_BIAS_NONE_MILLI + round(bias * 1000)))
    return tuple(biases)


def spell_penalty(penalty: float) -> int | None:
    """Spell a penalty in thousandths; None for none."""
    milli = round(penalty * 1000)
    return PENALTY_NONE_MILLI + milli if milli else None


def _read_tool(tool: Any) -> Tool:
    match tool:
        case Tool():
            read = tool
        case {"function": {"name": str(name), **function}} if tool.get("type", "function") == "function":
            description, parameters = function.get("description"), function.get("parameters")
            text = parameters if isinstance(parameters, str) else _json(parameters)
            read = Tool(name, str(description or ""), _NO_PARAMETERS if parameters is None else text)
        case _:
            raise ConfigurationError(
                "a tool is of type `function`, and its `function` has a `name`",
                hint='{"type": "function", "function": {"name": ..., "parameters": {...}}}',
            )
    check_text("tool name", read.name, TOOL_NAME_MAX_BYTES)
    check_text("tool description", read.description, TOOL_TEXT_MAX_BYTES)
    check_text("tool parameters", read.parameters, TOOL_TEXT_MAX_BYTES)
    return read


def _json(value: object) -> str:
    if isinstance(value, Mapping):
        value = dict(cast("Mapping[str, Any]", value))
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as exc:
        raise ConfigurationError(f"a schema is not JSON: {type(exc).__name__}") from None
