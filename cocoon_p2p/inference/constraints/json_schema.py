"""JSON Schemas, as rules of GBNF. Pure.

Every answer of the grammar fits the schema; not every value that fits is in the grammar: members come
in the schema's order, and those that it does not name come only where it names none. `format` and what
only describes is passed over, `oneOf` is taken for `anyOf`. What says which values fit and is not known
here is refused by name, and so is a schema that refers to itself.

An engine follows all ways at once in which an answer may go on. How many these are is counted on the
way (`width`), and bounded.

Spec: JSON Schema 2020-12, Core and Validation.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, cast

from cocoon_p2p.inference.constraints.automaton import automaton, rules
from cocoon_p2p.inference.constraints.effort import Effort
from cocoon_p2p.inference.constraints.expressions import (
    Choice,
    ConstraintRefused,
    Expression,
    Sequence,
    literal,
)
from cocoon_p2p.inference.constraints.json_text import in_string, quoted, value_text
from cocoon_p2p.inference.constraints.regex import read_pattern

DEPTH_MAX: Final = 32
WIDTH_MAX: Final = 64
"Ways to go on at once. Engines compare each with every other, at every character."

COUNT_MAX: Final = 1_000
"Of items or characters, where a schema says how many."

INTEGERS_MAX: Final = 1_000
"Whole numbers between two bounds: each is written out."

_LACKING: Final = frozenset(
    {
        *("not", "if", "then", "else", "dependentRequired", "dependentSchemas", "patternProperties"),
        *("propertyNames", "minProperties", "maxProperties", "prefixItems", "additionalItems", "contains"),
        *("minContains", "maxContains", "uniqueItems", "unevaluatedItems", "unevaluatedProperties"),
        *("multipleOf", "$dynamicRef", "$recursiveRef", "dependencies"),
    }
)
_TELLING: Final = frozenset(
    {
        *("$ref", "const", "enum", "anyOf", "oneOf", "allOf", "type", "properties", "required"),
        *("additionalProperties", "items", "minItems", "maxItems", "pattern", "minLength", "maxLength"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    }
)
"What says which values fit."
_TYPES: Final = ("object", "array", "string", "number", "integer", "boolean", "null")
_SIMPLE: Final = {"boolean": '("true" | "false")', "null": '"null"', "number": "number", "integer": "integer"}

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Rule:
    body: str
    "What may stand in a rule for it."

    width: int = 1


def schema_rules(text: str, *, prefix: str = "", effort: Effort | None = None) -> list[str]:
    """Write a schema as rules; the first, `root`, is its values. They need those of `json_text`.

    Args:
        text: The schema.
        prefix: Of the names of all rules, where others stand beside them.
        effort: What is left for it; by default, all that one constraint may take.

    Raises:
        ConstraintRefused: It is no JSON Schema, uses what is not known here, or is out of bounds.
    """
    try:
        schema: object = json.loads(text)
    except (ValueError, RecursionError):
        raise ConstraintRefused("the schema is no JSON") from None
    try:
        return _Writer(schema, prefix, effort or Effort()).rules()
    except RecursionError:
        raise ConstraintRefused("the schema is nested too deeply") from None


class _Writer:
    """Writes one schema."""

    def __init__(self, schema: object, prefix: str, effort: Effort) -> None:
        self._whole = schema
        self._prefix = prefix
        self._lines = list[str]()
        self._effort = effort
        self._referred = dict[str, _Rule]()
        self._open = list[str]()

    def rules(self) -> list[str]:
        root = self._schema(self._whole, 0)
        return [f"{self._prefix}root ::= {root.body}", *self._lines]

    def _schema(self, schema: object, depth: int) -> _Rule:
        if depth > DEPTH_MAX:
            raise ConstraintRefused(f"the schema is nested too deeply (depth={DEPTH_MAX} at most)")
        if schema is True or schema == {}:
            return _Rule("value")
        if not isinstance(schema, dict):
            raise ConstraintRefused("the schema has a part that is no schema, or that nothing fits")
        fields = cast("Schema", schema)
        if lacking := sorted(_LACKING & fields.keys()):
            raise ConstraintRefused(f"the schema uses what is not taken here: {', '.join(lacking)}")
        for key in ("$ref", "enum", "const", "anyOf", "oneOf", "allOf"):
            if key in fields:
                return self._alone(key, fields, depth)
        return self._typed(fields, depth)

    def _alone(self, key: str, fields: Schema, depth: int) -> _Rule:
        """What stands by itself; a type beside values leaves out those of other types."""
        allowed = {"const", "enum", "type"} if key in ("const", "enum") else {key}
        if beside := sorted((_TELLING - allowed) & fields.keys()):
            raise ConstraintRefused(f"the schema has {key} beside {', '.join(beside)}")
        if key == "$ref":
            return self._reference(fields[key], depth)
        if key not in ("const", "enum"):
            return self._combined(key, fields[key], depth)
        return self._one_of(_listed(fields))

    def _reference(self, pointer: object, depth: int) -> _Rule:
        if not isinstance(pointer, str) or not (pointer == "#" or pointer.startswith("#/")):
            raise ConstraintRefused("the schema refers to another document")
        if pointer in self._open or pointer == "#":
            raise ConstraintRefused("the schema refers to itself")
        if pointer not in self._referred:
            self._open.append(pointer)
            self._referred[pointer] = self._named(self._schema(self._at(pointer), depth + 1))
            self._open.pop()
        return self._referred[pointer]

    def _at(self, pointer: str) -> object:
        found = self._whole
        for part in pointer[2:].split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or key not in found:
                raise ConstraintRefused("the schema refers to a part that it does not have")
            found = cast("Schema", found)[key]
        return found

    def _one_of(self, values: Iterable[object]) -> _Rule:
        return self._regular(Choice(tuple(literal(value_text(value)) for value in values)))

    def _combined(self, key: str, options: object, depth: int) -> _Rule:
        if not isinstance(options, list) or not options:
            raise ConstraintRefused(f"the schema has {key} without schemas")
        found = [self._schema(option, depth + 1) for option in cast("list[object]", options)]
        if key == "allOf" and len(found) > 1:
            raise ConstraintRefused("the schema has allOf of more than one schema")
        return self._choice(found)

    def _choice(self, options: list[_Rule]) -> _Rule:
        if len(options) == 1:
            return options[0]
        return self._named(
            _Rule(" | ".join(rule.body for rule in options), sum(rule.width for rule in options))
        )

    def _typed(self, fields: Schema, depth: int) -> _Rule:
        names = _types(fields)
        if names is None:
            return _Rule("value")
        return self._choice([self._of_type(name, fields, depth) for name in names])

    def _of_type(self, name: str, fields: Schema, depth: int) -> _Rule:
        match name:
            case "object":
                return self._object(fields, depth)
            case "array":
                return self._array(fields, depth)
            case "string":
                return self._string(fields)
            case "integer":
                return self._integer(fields)
            case "number" if _bounds(fields):
                raise ConstraintRefused("the schema bounds a number that need not be whole")
            case _:
                return _Rule(_SIMPLE[name])

    def _object(self, fields: Schema, depth: int) -> _Rule:
        properties, required = fields.get("properties", {}), fields.get("required", [])
        if not isinstance(properties, dict) or not isinstance(required, list):
            raise ConstraintRefused("the schema has properties or required that are none")
        known = cast("Schema", properties)
        needed = [name for name in cast("list[object]", required) if isinstance(name, str)]
        others = fields.get("additionalProperties", True)
        members: Schema = {**known, **dict.fromkeys([name for name in needed if name not in known], others)}
        if not members:
            return self._map(others, depth)
        return self._members(members, frozenset(needed), depth)

    def _map(self, values: object, depth: int) -> _Rule:
        if values is False:
            return _Rule('"{" ws "}"')
        if values is True or values == {}:
            return _Rule("object")
        value = self._schema(values, depth + 1)
        member = f'string ws ":" ws {_grouped(value)} ws'
        return self._named(_Rule(f'"{{" ws ({member} ("," ws {member})*)? "}}"', value.width))

    def _members(self, members: Schema, needed: frozenset[str], depth: int) -> _Rule:
        """Members in their order. From the last one on: what may follow, after none and after some."""
        after_none, after_some, width = '""', '""', 1
        way_count, widest = 1, 1
        for name in reversed(members):
            value = self._schema(members[name], depth + 1)
            member = f'{quoted(value_text(name))} ws ":" ws {_grouped(value)} ws'
            first, next_ = f"{member} {after_some}", f'"," ws {member} {after_some}'
            is_needed = name in needed
            way_count = 1 if is_needed else way_count + 1
            width, widest = max(width, value.width), max(widest, way_count)
            after_none = self._named(_Rule(first if is_needed else f"{first} | {after_none}")).body
            after_some = self._named(_Rule(next_ if is_needed else f"{next_} | {after_some}")).body
        return self._named(_Rule(f'"{{" ws {after_none} "}}"', max(width, widest)))

    def _array(self, fields: Schema, depth: int) -> _Rule:
        low, high = self._counted(fields, "minItems", "maxItems")
        item = self._schema(fields.get("items", {}), depth + 1)
        if high == 0:
            return _Rule('"[" ws "]"')
        body = f"{_grouped(item)} ws"
        # What is counted is a rule of its own: the library refuses counts of what it must split itself.
        rest = self._named(_Rule(f'"," ws {body}')).body
        rest += _count(max(low - 1, 0), None if high is None else high - 1)
        inner = f"{body} {rest}" if low else f"({body} {rest})?"
        return self._named(_Rule(f'"[" ws {inner} "]"', item.width))

    def _string(self, fields: Schema) -> _Rule:
        low, high = self._counted(fields, "minLength", "maxLength")
        pattern = fields.get("pattern")
        if pattern is not None:
            if not isinstance(pattern, str) or (low, high) != (0, None):
                raise ConstraintRefused("the schema has a pattern that is none, or beside a length")
            return self._regular(Sequence((literal('"'), in_string(read_pattern(pattern)), literal('"'))))
        if (low, high) == (0, None):
            return _Rule("string")
        return self._named(_Rule(f'"\\"" character{_count(low, high)} "\\""'))

    def _integer(self, fields: Schema) -> _Rule:
        bounds = _bounds(fields)
        if not bounds:
            return _Rule("integer")
        low, high = bounds.get("low", -math.inf), bounds.get("high", math.inf)
        if (low, high) in ((0, math.inf), (1, math.inf)):
            return _Rule("whole" if low == 0 else "positive")
        if not 0 <= high - low < INTEGERS_MAX:
            raise ConstraintRefused(
                f"the schema bounds a whole number otherwise than from 0, from 1, or within {INTEGERS_MAX}"
            )
        first, last = math.ceil(low), math.floor(high)
        return self._one_of(list(range(first, last + 1)))

    def _counted(self, fields: Schema, low_key: str, high_key: str) -> tuple[int, int | None]:
        low, high = fields.get(low_key, 0), fields.get(high_key)
        for count in (low, 0 if high is None else high):
            if type(count) is not int or not 0 <= count <= COUNT_MAX:
                raise ConstraintRefused(
                    f"the schema has {low_key} or {high_key} out of range (max={COUNT_MAX})"
                )
        if high is not None and high < low:
            raise ConstraintRefused(f"the schema has {high_key} below {low_key}")
        self._effort.pay_count(low if high is None else high)
        return low, high

    def _regular(self, expression: Expression) -> _Rule:
        name = self._new_name()
        self._add(*rules(name, automaton(expression, self._effort)))
        return _Rule(name)

    def _named(self, rule: _Rule) -> _Rule:
        """Give a rule a name, so that it may stand anywhere."""
        if rule.width > WIDTH_MAX:
            raise ConstraintRefused(f"the schema leaves too much open at once (ways={WIDTH_MAX} at most)")
        name = self._new_name()
        self._add(f"{name} ::= {rule.body}")
        return _Rule(name, rule.width)

    def _new_name(self) -> str:
        return f"{self._prefix}s{len(self._lines)}"

    def _add(self, *lines: str) -> None:
        self._effort.pay_rules(len(lines))
        self._lines += lines


def _types(fields: Schema) -> list[str] | None:
    """The types that a schema says or speaks of; None where it may be any."""
    types = fields.get("type", _implied(fields))
    if types is None:
        return None
    names = cast("list[object]", types) if isinstance(types, list) else [types]
    if not names or any(name not in _TYPES for name in names):
        raise ConstraintRefused("the schema has a type that there is not")
    return [str(name) for name in names]


def _listed(fields: Schema) -> list[object]:
    """The values that `enum` and `const` list, without those that are not the other's or of another type."""
    values: object = fields.get("enum", [fields.get("const")])
    if not isinstance(values, list) or not values:
        raise ConstraintRefused("the schema has an enum without values")
    found, types = cast("list[object]", values), _types(fields)
    if "const" in fields:
        only = value_text(fields["const"])
        found = [value for value in found if value_text(value) == only]
    return [value for value in found if types is None or _is_of(value, types)]


def _is_of(value: object, types: list[str]) -> bool:
    match value:
        case bool():
            return "boolean" in types
        case int():
            return not {"integer", "number"}.isdisjoint(types)
        case float():
            return "number" in types or (value.is_integer() and "integer" in types)
        case str():
            return "string" in types
        case list():
            return "array" in types
        case _:
            return ("null" if value is None else "object") in types


def _implied(fields: Schema) -> str | None:
    """The type that a schema without one speaks of."""
    for name, keys in {
        "object": ("properties", "required", "additionalProperties"),
        "array": ("items", "minItems", "maxItems"),
        "string": ("pattern", "minLength", "maxLength"),
    }.items():
        if any(key in fields for key in keys):
            return name
    return "number" if _bounds(fields) else None


def _bounds(fields: Schema) -> dict[str, float]:
    """The bounds of a number, whole ones: below and above."""
    found = dict[str, float]()
    for key, name, step in (
        ("minimum", "low", 0),
        ("exclusiveMinimum", "low", 1),
        ("maximum", "high", 0),
        ("exclusiveMaximum", "high", -1),
    ):
        if key not in fields:
            continue
        bound = fields[key]
        if isinstance(bound, bool) or not isinstance(bound, int) or abs(bound) > 10**15 or name in found:
            raise ConstraintRefused(f"the schema has a {key} that is not taken here")
        found[name] = bound + step
    return found


def _grouped(rule: _Rule) -> str:
    return f"({rule.body})"


def _count(low: int, high: int | None) -> str:
    return f"{{{low},{'' if high is None else high}}}"
