"""Marked-up text: what is shown, and which spans of it are how.

Offsets and lengths are UTF-16 code units, as everywhere in Telegram: most emoji count two.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from cocoon_p2p.testing.bot_api.answers import bad_request
from cocoon_p2p.testing.bot_api.arguments import entries, fields

TEXT_LIMIT = 4096
"Code units that a message may show (Bot API: 1-4096 characters after entities parsing)."

CAPTION_LIMIT = 1024

BODY_LIMIT = 1 << 15
"Bytes of text, markup included, that telegram-bot-api looks at (`get_formatted_text`)."

ENTITIES_MAX = 100
"Entities that a message keeps; those after them are dropped without a word."

# Separators, directions and marks that the server takes out (td's clean_input_string).
_DROPPED = frozenset("\r\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u0333\u033f\u030a")

# What a bot may send by itself; the server finds the others (mentions, commands, links) in the text.
KINDS = frozenset(
    {"bold", "italic", "underline", "strikethrough", "spoiler", "blockquote", "expandable_blockquote"}
    | {"code", "pre", "text_link", "text_mention", "custom_emoji"}
)


def utf16_length(text: str) -> int:
    """Count a text as Telegram does."""
    return len(text) + sum(character > "\uffff" for character in text)


_RANKS = {
    "blockquote": 0,
    "expandable_blockquote": 0,
    "pre": 10,
    "code": 20,
    "text_link": 49,
    "bold": 90,
    "italic": 91,
    "underline": 92,
    "strikethrough": 93,
    "spoiler": 94,
    "custom_emoji": 99,
}
"Which of two that cover the same is outside (td's get_type_priority)."


@dataclass(frozen=True, slots=True)
class Entity:
    """One span and how it is shown; field names as in MessageEntity."""

    type: str
    offset: int
    length: int
    url: str = ""
    language: str = ""
    custom_emoji_id: str = ""

    def as_json(self) -> dict[str, object]:
        """Write it as the Bot API does, without what it has not."""
        shown: dict[str, object] = {"type": self.type, "offset": self.offset, "length": self.length}
        optional = {"url": self.url, "language": self.language, "custom_emoji_id": self.custom_emoji_id}
        return shown | {name: value for name, value in optional.items() if value}


@dataclass(frozen=True, slots=True)
class Marked:
    """A text as it is shown, with its entities in order."""

    text: str = ""
    entities: tuple[Entity, ...] = ()

    def spans(self, kind: str) -> list[str]:
        """The pieces of the text that are of a kind: `spans("bold")`."""
        units = self.text.encode("utf-16-le")
        return [
            units[2 * entity.offset : 2 * (entity.offset + entity.length)].decode("utf-16-le")
            for entity in self.entities
            if entity.type == kind
        ]


NOTHING = Marked()


def as_kept(marked: Marked) -> Marked:
    """Give a text as the server keeps it: without control characters and the white space at its ends.

    A tab becomes a blank, so what a bot reads back may differ from what it sent.
    """
    shifts, kept = [0], list[str]()
    for character in marked.text:
        piece = _as_kept(character)
        kept.append(piece)
        shifts += [shifts[-1] + utf16_length(character) - utf16_length(piece)] * utf16_length(character)
    text = "".join(kept)
    moved = [_moved(entity, shifts) for entity in marked.entities]
    text = text.rstrip(" \n")
    # White space that is marked up stays.
    free = min((entity.offset for entity in moved), default=len(text))
    lead = len(text[:free]) - len(text[:free].lstrip(" \n"))
    text, end = text[lead:], utf16_length(text[lead:])
    fitting = (
        replace(entity, offset=entity.offset - lead, length=min(entity.length, end - entity.offset + lead))
        for entity in moved
    )
    return Marked(text, tuple(entity for entity in fitting if entity.length > 0)[:ENTITIES_MAX])


def _as_kept(character: str) -> str:
    if character in _DROPPED:
        return ""
    return " " if character < " " and character != "\n" else character


def _moved(entity: Entity, shifts: list[int]) -> Entity:
    start, stop = entity.offset, entity.offset + entity.length
    return replace(entity, offset=start - shifts[start], length=entity.length - shifts[stop] + shifts[start])


def in_order(entities: Iterable[Entity]) -> tuple[Entity, ...]:
    """Sort as the server does: by offset, of those that begin together the longest first, then by kind."""
    return tuple(
        sorted(entities, key=lambda entity: (entity.offset, -entity.length, _RANKS.get(entity.type, 50)))
    )


def given(text: str, described: object) -> Marked:
    """Judge entities that a bot gives itself, in place of a parse mode.

    Raises:
        Rejected: One is no entity, lies outside of the text, or begins or ends within a character.
    """
    size, found = utf16_length(text), list[Entity]()
    for entry in map(fields, entries(described)):
        kind, offset, length = (entry.get(name) for name in ("type", "offset", "length"))
        if not isinstance(kind, str) or not isinstance(offset, int) or not isinstance(length, int):
            raise bad_request("can't parse MessageEntity: expected an Object")
        if offset < 0:
            raise bad_request(f"receive an entity with incorrect offset {offset}")
        if length < 0:
            raise bad_request(f"receive an entity with incorrect length {length}")
        extra = {name: str(entry.get(name) or "") for name in ("url", "language", "custom_emoji_id")}
        if kind in KINDS and length:
            found.append(Entity(kind, offset, length, **extra))
    for entity in found:
        _judge_place(entity, text, size)
    return Marked(text, in_order(found))


def _judge_place(entity: Entity, text: str, size: int) -> None:
    start, stop = entity.offset, entity.offset + entity.length
    if start >= size:
        raise bad_request(f"entity begins after the end of the text at UTF-16 offset {start}")
    where = f"entity beginning at UTF-16 offset {start}"
    if stop > size:
        raise bad_request(f"{where} ends after the end of the text at UTF-16 offset {stop}")
    units = text.encode("utf-16-le")
    for place, verb in ((start, "entity begins"), (stop, f"{where} ends")):
        # The second half of a pair.
        if place < size and 0xDC <= units[2 * place + 1] <= 0xDF:
            after = len(units[: 2 * place + 2].decode("utf-16-le").encode())
            raise bad_request(f"{verb} in a middle of a UTF-16 symbol at byte offset {after}")
