"""TL, the way lite servers and their clients spell messages: little-endian, padded to four bytes.

A message is a frozen dataclass with its line of the schema:

    @tl("liteServer.currentTime now:int = liteServer.CurrentTime")
    @dataclass(frozen=True, slots=True)
    class CurrentTime:
        now: int

The line gives the fields' order and kinds, and its CRC-32 is the number that a message begins
with. Kinds: `int`, `long`, `#`, `int256`, `bytes`, `string`, `Bool`, `true`, `(vector T)`, the
name of another message (without its number), and `mode.N?T` for what is there only if bit N
of `mode` is set (None otherwise).

Spec: https://docs.ton.org, TL; tl/generate/scheme/lite_api.tl.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TypeVar, cast
from zlib import crc32

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.payments.tl import Reader as Reader
from cocoon_p2p.payments.tl import write_octets as write_octets

T = TypeVar("T")

VECTOR_MAX = 1024
"The most items that are read of one vector."

_BOOL_TRUE, _BOOL_FALSE = 0x997275B5, 0xBC799737


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of field is written and read."""

    write: Callable[[object], bytes]
    read: Callable[[Reader], object]


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    kind: _Kind
    bit: int | None
    "The bit of `mode` that says whether it is there."


@dataclass(frozen=True, slots=True)
class _Schema:
    number: int
    fields: tuple[_Field, ...]
    make: Callable[..., object]


_BY_CLASS: dict[type, _Schema] = {}
_BY_NUMBER: dict[int, _Schema] = {}
_BY_NAME: dict[str, _Schema] = {}

_LINE = re.compile(r"(?P<name>[\w.]+)(?:#(?P<number>[0-9a-f]{1,8}))?(?P<fields>(?: \w+:[^=]+)?) = [\w.]+")
_FIELD = re.compile(r"(\w+):(?:mode\.(\d+)\?)?(\([^)]*\)|\S+)")


def tl(line: str) -> Callable[[type[T]], type[T]]:
    """Give a dataclass its line of the schema; its fields must have the line's names and order."""

    def register(message: type[T]) -> type[T]:
        match = _LINE.fullmatch(line)
        assert match, line
        given = match["number"]
        number = int(given, 16) if given else crc32(re.sub(r"[()]", "", line).encode())
        schema = _Schema(number, tuple(_fields(match["fields"])), message)
        # A dataclass always has `fields`; the type checker cannot know that this is one.
        names = [field.name for field in fields(message)]  # type: ignore[arg-type]
        assert names == [field.name for field in schema.fields], line
        _BY_CLASS[message] = _BY_NUMBER[number] = _BY_NAME[match["name"]] = schema
        return message

    return register


def known_messages() -> dict[str, int]:
    """Give every message that has a line, by its name in the schema: its number."""
    return {name: schema.number for name, schema in _BY_NAME.items()}


def encode(message: object) -> bytes:
    """Write a message, its number first."""
    schema = _BY_CLASS[type(message)]
    return schema.number.to_bytes(4, "little") + _write(schema, message)


def decode(data: bytes) -> object:
    """Read a message.

    Raises:
        MalformedMessage: It is cut short, has bytes left over, or is of a kind not known here.
    """
    message, rest = decode_first(data)
    if rest:
        raise MalformedMessage(f"bytes are left after a TL message (left={len(rest)})")
    return message


def decode_first(data: bytes) -> tuple[object, bytes]:
    """Read the first message, and give what follows it. Raises as `decode`."""
    reader = Reader(data)
    number = reader.number(4, signed=False)
    schema = _BY_NUMBER.get(number)
    if schema is None:
        raise UnknownMessage(number)
    return _read(schema, reader), reader.rest()


class UnknownMessage(MalformedMessage):
    """A message of a kind not known here."""

    def __init__(self, number: int) -> None:
        super().__init__(f"a TL message of an unknown kind (number={number:#010x})")


def _fields(text: str) -> list[_Field]:
    return [_Field(name, _kind(kind), int(bit) if bit else None) for name, bit, kind in _FIELD.findall(text)]


def _kind(text: str) -> _Kind:
    if text.startswith("(vector "):
        return _vector(_kind(text.removeprefix("(vector ").removesuffix(")")))
    simple = _SIMPLE.get(text)
    if simple is not None:
        return simple
    inner = _BY_NAME[text]
    return _Kind(lambda value: _write(inner, value), lambda reader: _read(inner, reader))


def _write(schema: _Schema, message: object) -> bytes:
    parts: list[bytes] = []
    for field in schema.fields:
        value = getattr(message, field.name)
        if field.bit is not None and not _mode(message) >> field.bit & 1:
            assert not value, field.name
            continue
        parts.append(field.kind.write(value))
    return b"".join(parts)


def _mode(message: object) -> int:
    mode = getattr(message, "mode", 0)
    assert isinstance(mode, int)
    return mode


def _read(schema: _Schema, reader: Reader) -> object:
    values: dict[str, object] = {}
    for field in schema.fields:
        mode = values.get("mode", 0)
        assert isinstance(mode, int)
        is_there = field.bit is None or mode >> field.bit & 1
        values[field.name] = field.kind.read(reader) if is_there else None
    return schema.make(**values)


def _number(size: int, *, signed: bool) -> _Kind:
    def write(value: object) -> bytes:
        assert isinstance(value, int)
        return value.to_bytes(size, "little", signed=signed)

    return _Kind(write, lambda reader: reader.number(size, signed=signed))


def _fixed(size: int) -> _Kind:
    def write(value: object) -> bytes:
        assert isinstance(value, bytes)
        assert len(value) == size
        return value

    return _Kind(write, lambda reader: reader.take(size))


def _write_bytes(value: object) -> bytes:
    assert isinstance(value, bytes)
    return write_octets(value)


def _write_string(value: object) -> bytes:
    assert isinstance(value, str)
    return write_octets(value.encode())


def _write_bool(value: object) -> bytes:
    return (_BOOL_TRUE if value else _BOOL_FALSE).to_bytes(4, "little")


def _read_bool(reader: Reader) -> bool:
    number = reader.number(4, signed=False)
    if number not in (_BOOL_TRUE, _BOOL_FALSE):
        raise MalformedMessage("not a TL Bool")
    return number == _BOOL_TRUE


def _vector(item: _Kind) -> _Kind:
    def write(value: object) -> bytes:
        assert isinstance(value, tuple)
        items = cast("tuple[object, ...]", value)
        return len(items).to_bytes(4, "little") + b"".join(map(item.write, items))

    def read(reader: Reader) -> tuple[object, ...]:
        count = reader.number(4, signed=False)
        if count > VECTOR_MAX:
            raise MalformedMessage(f"a TL vector is too long (items={count} limit={VECTOR_MAX})")
        return tuple(item.read(reader) for _ in range(count))

    return _Kind(write, read)


_SIMPLE = {
    "int": _number(4, signed=True),
    "long": _number(8, signed=True),
    "#": _number(4, signed=False),
    "int256": _fixed(32),
    "bytes": _Kind(_write_bytes, Reader.octets),
    "string": _Kind(_write_string, lambda reader: reader.octets().decode("utf-8", "replace")),
    "Bool": _Kind(_write_bool, _read_bool),
    # Nothing is written: that the bit is set says it all.
    "true": _Kind(lambda _: b"", lambda _: True),
}
