import tracemalloc

import cbor2
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.protocols.cbor import Value, decode, encode

values = st.recursive(
    st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=300) | st.text(max_size=100),
    lambda inner: (
        st.lists(inner, max_size=30)
        | st.dictionaries(st.integers(0, 2**64 - 1), inner, max_size=30).map(
            lambda drawn: dict(sorted(drawn.items()))
        )
    ),
    max_leaves=30,
)


def depth(value: Value) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@pytest.mark.slow
@given(value=values)
@settings(deadline=None)
def test_a_value_reads_back_from_its_one_spelling(value: Value) -> None:
    assume(depth(value) <= 8)

    assert decode(encode(value)) == value


@given(data=st.binary(max_size=64))
@settings(max_examples=500, deadline=None)
def test_bytes_that_are_read_are_the_one_spelling_of_what_was_read(data: bytes) -> None:
    try:
        value = decode(data)
    except MalformedMessage:
        return
    assert encode(value) == data


def malformed(data: str, why: str) -> object:
    return pytest.param(bytes.fromhex(data), id=why)


@pytest.mark.parametrize(
    "data",
    [
        malformed("", "nothing"),
        malformed("0000", "trailing bytes"),
        malformed("1817", "23 in two bytes"),
        malformed("1900ff", "255 in three bytes"),
        malformed("1a0000ffff", "65,535 in five bytes"),
        malformed("1b00000000ffffffff", "4,294,967,295 in nine bytes"),
        malformed("3817", "-24 in two bytes"),
        malformed("5801ff", "the length of a byte string in two bytes"),
        malformed("780161", "the length of a text in two bytes"),
        malformed("9801 00", "the length of an array in two bytes"),
        malformed("b8010000", "the length of a map in two bytes"),
        malformed("a1180000", "a key in two bytes"),
        malformed("1c", "a reserved length"),
        malformed("18", "a head cut off"),
        malformed("42ff", "a byte string cut off"),
        malformed("8200", "an array cut off"),
        malformed("a100", "a map cut off"),
        malformed("5f41ff41ffff", "a byte string of indefinite length"),
        malformed("7f6161ff", "a text of indefinite length"),
        malformed("9f00ff", "an array of indefinite length"),
        malformed("bf0000ff", "a map of indefinite length"),
        malformed("ff", "a break"),
        malformed("a2000000 00", "a key twice"),
        malformed("a201000000", "keys in the wrong order"),
        malformed("a1613100", "a text key"),
        malformed("a12000", "a negative key"),
        malformed("a1f500", "a boolean key"),
        malformed("a1f93c0000", "a float key"),
        malformed("f6", "null"),
        malformed("f7", "undefined"),
        malformed("e0", "a simple value"),
        malformed("f8ff", "a simple value in two bytes"),
        malformed("f814", "false in two bytes"),
        malformed("f93c00", "a float"),
        malformed("fb3ff0000000000000", "a long float"),
        malformed("f97e00", "not a number"),
        malformed("c24105", "a big number"),
        malformed("c100", "a date"),
        malformed("d9d9f700", "the tag that says CBOR"),
        malformed("d81c80", "a shared value"),
        malformed("d82362282b", "a regular expression"),
        malformed("d8246100", "a MIME message"),
        malformed("c48221196ab3", "a decimal fraction"),
        malformed("62c328", "text that is not UTF-8"),
        malformed("63eda080", "half a surrogate pair"),
        malformed("9a7fffffff", "an array of two billion"),
        malformed("9bffffffffffffffff", "an array longer than memory"),
        malformed("5bffffffffffffffff", "a byte string longer than memory"),
        malformed("ba7fffffff", "a map of two billion"),
        malformed("81" * 300 + "00", "arrays nested 300 deep"),
        malformed("a100" * 20 + "00", "maps nested 20 deep"),
    ],
)
def test_what_is_not_the_deterministic_spelling_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode(data)


@pytest.mark.slow
def test_every_tag_is_refused_before_it_means_anything() -> None:
    for tag in range(2**16):
        with pytest.raises(MalformedMessage) as caught:
            decode(cbor2.dumps(cbor2.CBORTag(tag, 0)))

        cause: BaseException = caught.value
        while cause.__cause__ is not None:
            cause = cause.__cause__
        assert str(cause) == "tags are not part of the protocol", tag


def test_a_long_text_of_a_peer_does_not_flood_the_error() -> None:
    key = "x" * 1000
    data = b"\xa2" + 2 * (cbor2.dumps(key) + b"\x00")

    with pytest.raises(MalformedMessage) as caught:
        decode(data)
    assert len(str(caught.value)) < 200


def test_more_items_than_any_message_has_are_refused_however_they_are_nested() -> None:
    with pytest.raises(MalformedMessage, match="more items"):
        decode(cbor2.dumps({64: [0] * 1_000_000}))
    with pytest.raises(MalformedMessage, match="more items"):
        decode(cbor2.dumps({64: [[0] * 1000] * 1000}))
    assert decode(cbor2.dumps([[0] * 1000] * 900))


@pytest.mark.parametrize(
    "data",
    [
        b"\x9a\x00\x10\x00\x00" + b"\x80" * 0x100000,
        b"\x82\x43\x80\x80\x80\x99\xff\xff" + b"\x80" * 0xFFFF,
        b"\x82\x1b" + bytes(8) + b"\xb9\xff\xff" + b"\x00\x80" * 0xFFFF,
        b"\x90" + (b"\x99\x10\x00" + b"\x80" * 0x1000) * 16,
    ],
    ids=["an array", "behind bytes", "a map", "many arrays"],
)
def test_what_has_too_many_items_is_refused_before_any_of_them_takes_memory(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(MalformedMessage, match="more items"):
            decode(data, items_max=50_000)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("head", [b"\xc1", b"\x9f", b"\xd9\xd9\xf7", b"\x00"])
def test_what_is_none_of_the_protocol_s_is_refused_before_what_is_in_it_is_read(head: bytes) -> None:
    data = head + b"\x99\xff\xff" + b"\x80" * 0xFFFF
    tracemalloc.start()
    try:
        with pytest.raises(MalformedMessage):
            decode(data, items_max=1000)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_bytes_are_not_taken_for_items() -> None:
    value: Value = {1: [b"\x9a\xff\xff\xff\xff" * 100, "\x99" * 500, 2**63 - 1, True], 64: [[0] * 20] * 4}

    assert decode(encode(value), items_max=100) == value
