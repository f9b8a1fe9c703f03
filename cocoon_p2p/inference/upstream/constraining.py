"""A constraint in each server's own words. Pure.

    vLLM 0.11 and later    structured_outputs {json | regex | grammar}
    vLLM before 0.12       guided_json, guided_regex, guided_grammar
    SGLang                 json_schema (as a text), regex, ebnf
    llama.cpp              grammar, for all of them
    TabbyAPI               json_schema, regex_pattern

Which of them a server really heeds is found out by `probing`; a version is never believed. What a client
wrote was read within bounds before it comes here (`constraints.gbnf_of`).
"""

from collections.abc import Callable
from typing import Final

import msgspec

from cocoon_p2p.inference.constraints import gbnf_of
from cocoon_p2p.inference.upstream.bodies import Body, object_of
from cocoon_p2p.inference.wishes import Constraint, Grammar

ANY_OBJECT: Final = '{"type": "object"}'

Constraining = Callable[[Constraint], Body | None]
"One way to say a constraint; None where this way has no words for it."


def _schema(constraint: Constraint) -> msgspec.Raw:
    """The JSON Schema of a constraint that is one; any object's, where any will do."""
    is_any = constraint.grammar is Grammar.JSON_OBJECT
    return object_of(ANY_OBJECT if is_any else constraint.text, "a JSON schema")


def vllm_words(constraint: Constraint) -> Body | None:
    return {"structured_outputs": {_VLLM[constraint.grammar]: _vllm_text(constraint)}}


def vllm_old_words(constraint: Constraint) -> Body | None:
    return {f"guided_{_VLLM[constraint.grammar]}": _vllm_text(constraint)}


_VLLM: Final = {
    Grammar.JSON_OBJECT: "json",
    Grammar.JSON_SCHEMA: "json",
    Grammar.REGEX: "regex",
    Grammar.GBNF: "grammar",
}


def _vllm_text(constraint: Constraint) -> object:
    match constraint.grammar:
        case Grammar.REGEX:
            return constraint.text
        case Grammar.GBNF:
            return gbnf_of(constraint)
        case _:
            return _schema(constraint)


def sglang_words(constraint: Constraint) -> Body | None:
    match constraint.grammar:
        case Grammar.REGEX:
            return {"regex": constraint.text}
        case Grammar.GBNF:
            return {"ebnf": gbnf_of(constraint)}
        case _:
            return {"json_schema": bytes(_schema(constraint)).decode()}


def llama_words(constraint: Constraint) -> Body | None:
    # It takes no notice of schemas that it does not understand, and has no words for an expression.
    return {"grammar": gbnf_of(constraint)}


def tabby_words(constraint: Constraint) -> Body | None:
    match constraint.grammar:
        case Grammar.REGEX:
            return {"regex_pattern": constraint.text}
        case Grammar.GBNF:
            return None
        case _:
            return {"json_schema": _schema(constraint)}
