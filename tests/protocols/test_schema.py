from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Annotated, Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycddl import ValidationError

from cocoon_p2p.errors import LocalProtocolError, MalformedMessage
from cocoon_p2p.protocols.ids import Reason
from cocoon_p2p.protocols.messages import Cancel, Chunk, ExchangeId, Heartbeat, Load, Signed, Usage
from cocoon_p2p.protocols.schema import (
    UINT_MAX,
    Key,
    Max,
    decode_message,
    decode_paper,
    encode_message,
    encode_paper,
)
from tests.protocols.shapes import INSIDE, MESSAGES, SHAPES, Bound, bounds, rule, take_apart, values

EXCHANGE = ExchangeId(bytes(range(16)))
a_few = settings(max_examples=15, deadline=None)


def spell(value: object) -> bytes:
    return encode_message(value) if type(value) in MESSAGES else encode_paper(value)


def read(cls: type, data: bytes) -> object:
    return decode_message(data) if cls in MESSAGES else decode_paper(cls, data)


@pytest.mark.parametrize("cls", SHAPES, ids=lambda cls: cls.__name__)
@given(data=st.data())
@a_few
def test_whatever_is_spelled_reads_back_as_it_was(cls: type, data: st.DataObject) -> None:
    value = data.draw(values(cls))

    assert read(cls, spell(value)) == value


@pytest.mark.slow
@pytest.mark.parametrize("cls", SHAPES, ids=lambda cls: cls.__name__)
@given(data=st.data())
@a_few
def test_whatever_is_spelled_is_what_the_cddl_says(cls: type, data: st.DataObject) -> None:
    value = data.draw(values(cls, papers_inside=True))

    rule(cls).validate_cbor(spell(value))


@given(data=st.binary(max_size=300))
def test_random_bytes_are_a_message_or_malformed_and_nothing_else(data: bytes) -> None:
    try:
        message = decode_message(data)
    except MalformedMessage:
        return
    assert type(message) in MESSAGES


any_cbor = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.floats() | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers(0, 70), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
@given(cls=st.sampled_from(SHAPES), key=st.integers(0, 70), item=any_cbor)
@settings(max_examples=200, deadline=None)
def test_a_shape_with_anything_in_a_field_is_read_or_malformed(cls: type, key: int, item: Any) -> None:
    body = cbor2.loads(spell(smallest(cls)))

    try:
        value = read(cls, cbor2.dumps(dict(sorted({**body, key: item}.items()))))
    except MalformedMessage:
        return
    assert type(value) is cls


@dataclass(frozen=True, slots=True)
class Edges:
    """The values around one field's bounds."""

    inside: list[Any]
    outside: list[Any]
    of_another_type: list[Any]
    "Not asked of the CDDL: pycddl 0.6 takes text for bytes of that size."


def edges(bound: Bound) -> Edges:
    if bound.kind is bool:
        return Edges([True], [], [0, 1, b"\x01"])
    if bound.kind is int:
        return Edges([0, bound.most], [-1, bound.most + 1], [True, "1", b"\x01"])
    if bound.kind is bytes:
        short = [bytes(bound.least - 1)] if bound.least else []
        return Edges([bytes(bound.most)], [*short, bytes(bound.most + 1)], ["a" * bound.most, 1])
    if bound.kind is str:
        two_bytes_each = "é" * (bound.most // 2)
        return Edges(["", two_bytes_each], ["a" * (bound.most + 1), two_bytes_each + "é"], [b"a"])
    if bound.kind is tuple:
        item = raw_item(take_apart("", bound.item))
        empty = [] if bound.absent == () else [[]]
        return Edges([*empty, [item] * bound.most], [[item] * (bound.most + 1)], [{}, b""])
    if issubclass(bound.kind, IntEnum):
        return Edges([int(member) for member in bound.kind], [0, max(bound.kind) + 1], [True])
    return Edges([], [], [1, b"", [], {}])


def raw_item(bound: Bound) -> Any:
    """Give the CBOR value of the smallest item of an array."""
    if bound.kind in (bytes, str):
        return bytes(bound.least) if bound.kind is bytes else ""
    return cbor2.loads(encode_paper(smallest(bound.kind)))


# Its edge has 65,536 items, which pycddl takes a minute for: tried in test_bundle, without the CDDL.
TOO_LONG = ("Bundle", "chunks")

edge_cases = [
    pytest.param(cls, bound, id=f"{cls.__name__}.{bound.name}")
    for cls in SHAPES
    for bound in bounds(cls)
    if (cls.__name__, bound.name) != TOO_LONG
]


def smallest(cls: type) -> Any:
    """Build an instance with nothing in it that may be left out."""
    given_fields: dict[str, Any] = {}
    for bound in bounds(cls):
        if (inner := INSIDE.get((cls.__name__, bound.name))) is not None:
            body = encode_paper(smallest(inner))
            given_fields[bound.name] = body if bound.kind is bytes else Signed(body, bytes(64))
        elif bound.kind is tuple:
            given_fields[bound.name] = ()
        elif bound.kind in (bytes, bool, int, str):
            given_fields[bound.name] = bytes(bound.least) if bound.kind is bytes else bound.kind()
        elif issubclass(bound.kind, IntEnum):
            given_fields[bound.name] = next(iter(bound.kind))
        else:
            given_fields[bound.name] = smallest(bound.kind)
        if bound.optional:
            given_fields[bound.name] = bound.absent
    return cls(**given_fields)


@pytest.mark.parametrize(("cls", "bound"), edge_cases)
def test_a_field_is_read_at_its_edges_and_refused_beyond_them_as_the_cddl_says(
    cls: type, bound: Bound
) -> None:
    body = cbor2.loads(spell(smallest(cls)))

    def with_item(item: Any) -> bytes:
        return cbor2.dumps(dict(sorted({**body, bound.key: item}.items())))

    around = edges(bound)
    for data in map(with_item, around.inside):
        assert spell(read(cls, data)) == data
        if (cls.__name__, bound.name) not in INSIDE:
            rule(cls).validate_cbor(data)
    for data in map(with_item, around.outside + around.of_another_type):
        with pytest.raises(MalformedMessage, match=f"^{cls.__name__}.{bound.name}: "):
            read(cls, data)
    for data in map(with_item, around.outside):
        with pytest.raises(ValidationError):
            rule(cls).validate_cbor(data)


@pytest.mark.parametrize(("cls", "bound"), edge_cases)
def test_a_field_of_ours_outside_its_bound_is_our_own_fault(cls: type, bound: Bound) -> None:
    around = edges(bound)

    for item in around.outside + around.of_another_type:
        broken = replace(smallest(cls), **{bound.name: tuple(item) if type(item) is list else item})
        with pytest.raises(LocalProtocolError, match=f"^{cls.__name__}.{bound.name}: "):
            spell(broken)


@pytest.mark.parametrize(("cls", "bound"), edge_cases)
def test_a_field_may_be_missing_only_if_it_is_optional(cls: type, bound: Bound) -> None:
    body = cbor2.loads(spell(smallest(cls)))
    body.pop(bound.key, None)
    data = cbor2.dumps(body)

    if bound.optional:
        assert getattr(read(cls, data), bound.name) == bound.absent
        rule(cls).validate_cbor(data)
        return
    with pytest.raises(MalformedMessage, match=f"^{cls.__name__}.{bound.name}: missing"):
        read(cls, data)
    with pytest.raises(ValidationError):
        rule(cls).validate_cbor(data)
    with pytest.raises(LocalProtocolError, match="missing"):
        spell(replace(smallest(cls), **{bound.name: None}))


left_out_cases = [case for case in edge_cases if case.values[1].absent == ()]


@pytest.mark.parametrize(("cls", "bound"), left_out_cases)
def test_an_array_that_is_left_out_when_empty_has_no_other_spelling(cls: type, bound: Bound) -> None:
    body = cbor2.loads(spell(smallest(cls)))
    data = cbor2.dumps(dict(sorted({**body, bound.key: []}.items())))

    assert bound.key not in body
    with pytest.raises(MalformedMessage, match=f"^{cls.__name__}.{bound.name}: an empty array is left out"):
        read(cls, data)
    with pytest.raises(ValidationError):
        rule(cls).validate_cbor(data)


@pytest.mark.parametrize("cls", SHAPES, ids=lambda cls: cls.__name__)
def test_an_unknown_key_below_64_is_refused_and_one_from_64_on_ignored(cls: type) -> None:
    body = cbor2.loads(spell(smallest(cls)))

    with pytest.raises(MalformedMessage, match="has no key 63"):
        read(cls, cbor2.dumps({**body, 63: 0}))
    with pytest.raises(ValidationError):
        rule(cls).validate_cbor(cbor2.dumps({**body, 63: 0}))
    assert read(cls, cbor2.dumps({**body, 1_000: [{1: b"newer"}]})) == smallest(cls)


def test_an_unknown_message_is_refused() -> None:
    for tag in (31, -1, 2**63, b"\x01", True):
        with pytest.raises(MalformedMessage, match=r"unknown message|ascending"):
            decode_message(cbor2.dumps({0: tag}))
    with pytest.raises(MalformedMessage, match="unknown message"):
        decode_message(cbor2.dumps({1: EXCHANGE}))
    with pytest.raises(MalformedMessage, match="a message is a map"):
        decode_message(cbor2.dumps([10, EXCHANGE, 1]))


def test_what_is_no_message_is_not_spelled_as_one() -> None:
    with pytest.raises(LocalProtocolError, match="not a message: Usage"):
        encode_message(Usage(0, 0, 0, 0))


def test_half_a_surrogate_pair_of_ours_is_our_own_fault() -> None:
    @dataclass(frozen=True, slots=True)
    class Words:
        words: Annotated[str, Key(1), Max(8)]

    with pytest.raises(LocalProtocolError, match="surrogate"):
        encode_paper(Words("\ud800"))


def test_the_error_names_the_field_inside_the_field() -> None:
    body = cbor2.loads(encode_message(Chunk(EXCHANGE, 0, False, Usage(0, 0, 0, 0), b"")))
    body[4][3] = -1

    with pytest.raises(MalformedMessage, match=r"^Chunk\.usage: Usage\.completion: expected an integer"):
        decode_message(cbor2.dumps(body))


def test_a_list_is_not_taken_for_a_tuple_nor_a_number_for_a_reason() -> None:
    with pytest.raises(LocalProtocolError, match="expected a Reason"):
        encode_message(Cancel(EXCHANGE, 9))  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError, match="integer"):
        encode_message(Heartbeat(EXCHANGE, Reason.DEADLINE))


def test_the_largest_numbers_survive() -> None:
    load = Load(UINT_MAX, UINT_MAX, UINT_MAX)

    assert decode_message(encode_message(load)) == load
