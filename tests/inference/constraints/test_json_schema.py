"""JSON Schemas as grammars: what is taken, what is refused, and by which name."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.inference.constraints import ConstraintRefused, calls_gbnf, gbnf_of
from cocoon_p2p.inference.tools.forms import GRANITE, HERMES, LLAMA, MISTRAL, MISTRAL_NAMED, CallForm
from cocoon_p2p.inference.wishes import Constraint, Grammar, Tool

DOUBLING = {f"a{n}": {"anyOf": [{"items": {"$ref": f"#/$defs/a{n + 1}"}}] * 2} for n in range(8)}


def written(schema: object) -> str:
    return gbnf_of(Constraint(Grammar.JSON_SCHEMA, json.dumps(schema)))


REFUSED: list[tuple[object, str]] = [
    (3, "no schema"),
    ({"type": "thing"}, "a type that there is not"),
    ({"type": []}, "a type that there is not"),
    ({"not": {}}, "not taken here: not"),
    ({"if": {}, "then": {}}, "if, then"),
    ({"type": "array", "uniqueItems": True}, "uniqueItems"),
    ({"type": "number", "minimum": 0.5}, "minimum"),
    ({"type": "number", "maximum": 5}, "need not be whole"),
    ({"type": "integer", "minimum": -5}, "bounds a whole number"),
    ({"type": "integer", "minimum": 5, "maximum": 4}, "bounds a whole number"),
    ({"type": "integer", "minimum": 0, "maximum": 10**9}, "bounds a whole number"),
    ({"type": "array", "minItems": 10**9}, "out of range"),
    ({"type": "array", "minItems": True}, "out of range"),
    ({"type": "array", "minItems": 2, "maxItems": 1}, "below minItems"),
    ({"type": "string", "maxLength": 10**9}, "out of range"),
    ({"type": "string", "pattern": "(a?b?){500}"}, "too much work"),
    ({"type": "string", "pattern": "a", "maxLength": 3}, "beside a length"),
    ({"type": "array", "minItems": None}, "out of range"),
    ({"properties": {"\ud800": {}}, "required": ["\ud800"]}, "half of a character"),
    ({"const": "\ud800"}, "half of a character"),
    ({"enum": []}, "without values"),
    ({"enum": ["x" * 30_000]}, "too large"),
    ({"anyOf": []}, "without schemas"),
    ({"allOf": [{}, {}]}, "more than one"),
    ({"anyOf": [{}], "type": "object"}, "anyOf beside type"),
    ({"anyOf": [{"type": "string"}], "maxLength": 3}, "anyOf beside maxLength"),
    ({"$ref": "#/$defs/a", "minimum": 0, "$defs": {"a": {"type": "integer"}}}, "ref beside minimum"),
    ({"enum": ["abc", "d"], "maxLength": 2}, "enum beside maxLength"),
    ({"enum": [None, 3, True, {}], "type": "string"}, "nothing can match"),
    ({"required": ["a"], "additionalProperties": False}, "nothing fits"),
    ({"const": 1, "enum": [2, True]}, "nothing can match"),
    ({"const": float("nan")}, "JSON has not"),
    ({"enum": [1, float("inf")]}, "JSON has not"),
    ({"dependencies": {"a": ["b"]}}, "not taken here: dependencies"),
    ({"$ref": "https://elsewhere"}, "another document"),
    ({"$ref": "#/$defs/none"}, "does not have"),
    ({"$ref": "#"}, "refers to itself"),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}, "refers to itself"),
    ({"$ref": "#/$defs/a0", "$defs": {**DOUBLING, "a8": {}}}, "too much open"),
    ({"properties": {str(n): {} for n in range(80)}}, "too much open"),
    ({"anyOf": [{"type": "string"}] * 65}, "too much open"),
    ({"properties": {str(n): {"maxLength": 900} for n in range(20)}}, "counts too much"),
    ({"required": [str(n) for n in range(4_000)]}, "too large"),
]


@pytest.mark.parametrize(("schema", "words"), REFUSED)
def test_what_is_not_taken_is_refused_by_name(schema: object, words: str) -> None:
    with pytest.raises(ConstraintRefused, match=words):
        written(schema)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"minItems": ' + "9" * 5_000 + "}"])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ConstraintRefused, match="no JSON"):
        gbnf_of(Constraint(Grammar.JSON_SCHEMA, text))


def test_a_schema_nested_too_deeply_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(100):
        schema = {"type": "array", "items": schema}

    with pytest.raises(ConstraintRefused, match="too deeply"):
        written(schema)


def test_of_listed_values_those_of_another_type_are_left_out() -> None:
    values: list[object] = [None, True, 3, 3.5, "x", [], {}]

    for name, its in (("null", values[:1]), ("boolean", values[1:2]), ("number", values[2:4])):
        assert written({"type": name, "enum": values}) == written({"enum": its})
    assert written({"type": "integer", "enum": values}) == written({"const": 3})
    assert written({"const": "x", "enum": values, "type": "string"}) == written({"const": "x"})
    assert written({"type": ["object", "array", "string"], "enum": values}) == written({"enum": values[4:]})


def test_a_required_member_that_is_not_described_is_as_others_must_be() -> None:
    others = {"additionalProperties": {"type": "integer"}}

    assert '"\\"a\\"" ws ":" ws (integer)' in written({"required": ["a"], **others})


KEYWORDS = (
    *("type", "properties", "required", "items", "anyOf", "allOf", "oneOf", "enum", "const", "$ref", "$defs"),
    *("pattern", "minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum"),
    *("additionalProperties", "description"),
)


def schemas() -> st.SearchStrategy[object]:
    """Things that look like schemas, and are often none."""
    plain = st.sampled_from([None, True, 0, 3, 1.5, "a", "object", "string", "integer", "#/$defs/a", "^a+$"])
    return st.recursive(
        plain,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.sampled_from([*KEYWORDS, "a"]), inner, max_size=4)
        ),
        max_leaves=12,
    )


@given(schemas())
def test_whatever_is_asked_for_is_written_or_refused_by_name(schema: object) -> None:
    with suppress(ConstraintRefused):
        assert written(schema).startswith("root ::= ")


def test_many_patterns_take_no_more_than_one_may() -> None:
    patterns = {"anyOf": [{"type": "string", "pattern": "^(a?b?){60}$"}] * 60}

    with pytest.raises(ConstraintRefused, match="too much work"):
        written(patterns)


def test_many_tools_take_no_more_than_one_constraint_may() -> None:
    schema = json.dumps({"type": "object", "properties": {"a": {"type": "array", "maxItems": 900}}})
    tools = tuple(Tool(f"f{number}", "", schema) for number in range(128))

    lines = calls_gbnf(HERMES, tools).splitlines()

    assert sum("{0,899}" in line for line in lines) == 8


@pytest.mark.parametrize("form", [HERMES, MISTRAL, MISTRAL_NAMED, GRANITE, LLAMA])
def test_a_tool_whose_schema_cannot_be_kept_to_may_get_any_object(form: CallForm) -> None:
    strict = Tool("f", "", json.dumps({"type": "object", "properties": {"a": {"type": "null"}}}))
    loose = Tool("g", "", json.dumps({"not": {}}))

    lines = calls_gbnf(form, (strict, loose)).splitlines()

    (call,) = [line for line in lines if line.startswith("call ::= ")]
    strict_option, loose_option = call.removeprefix("call ::= ").split(" | ")
    assert " t0-root" in strict_option
    assert " object" in loose_option
