"""Marked-up text: what is shown, and which spans of it are how.

Offsets and lengths are UTF-16 code units, as everywhere in Telegram: most emoji count two.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cocoon_p2p.testing.bot_api.answers import bad_request
from cocoon_p2p.testing.bot_api.arguments import entries, fields

TEXT_LIMIT = 4096
"Code units that a message may show (Bot API: 1-4096 characters after entities parsing)."

CAPTION_LIMIT = 1024

BODY_LIMIT = 1 << 15
"Bytes of text, markup included, that telegram-bot-api looks at (`get_formatted_text`)."

ENTITIES_MAX = 100
"Entities that a message keeps; those after them are dropped without a word."

# What a bot may send by itself; the server finds the others (mentions, commands, links) in the text.
KINDS = frozenset(
    {"bold", "italic", "underline", "strikethrough", "spoiler", "blockquote", "expandable_blockquote"}
    | {"code", "pre", "text_link", "text_mention", "custom_emoji"}
)


def utf16_length(text: str) -> int:
    """Count a text as Telegram does."""
    return len(text) + sum(character > "\uffff" for character in text)


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


def trimmed(marked: Marked) -> Marked:
    """Take white space from both ends, as the server does, and the entities that stood on it."""
    text = marked.text.rstrip()
    lead = utf16_length(text) - utf16_length(text.lstrip())
    text = text.lstrip()
    end = utf16_length(text)
    kept: list[Entity] = []
    for entity in marked.entities:
        start, stop = max(entity.offset - lead, 0), min(entity.offset + entity.length - lead, end)
        if stop > start:
            kept.append(
                Entity(entity.type, start, stop - start, entity.url, entity.language, entity.custom_emoji_id)
            )
    return Marked(text, tuple(kept[:ENTITIES_MAX]))


def in_order(entities: Iterable[Entity]) -> tuple[Entity, ...]:
    """Sort as the server does: by offset, and of those that begin together the longest first."""
    return tuple(sorted(entities, key=lambda entity: (entity.offset, -entity.length)))


def given(text: str, entities: object) -> Marked:
    """Judge entities that a bot gives itself, in place of a parse mode.

    Raises:
        Rejected: One is no entity, or begins or ends outside of the text.
    """
    size = utf16_length(text)
    found: list[Entity] = []
    for entry in map(fields, entries(entities)):
        kind, offset, length = (entry.get(name) for name in ("type", "offset", "length"))
        if not isinstance(kind, str) or not isinstance(offset, int) or not isinstance(length, int):
            raise bad_request("can't parse MessageEntity: expected an Object")
        if offset < 0 or length < 0:
            raise bad_request(f"receive an entity with incorrect offset {offset}")
        if offset + length > size:
            where = f"beginning at UTF-16 offset {offset} ends after the end of the text"
            raise bad_request(f"entity {where} at UTF-16 offset {size}")
        extra = {name: str(entry.get(name, "")) for name in ("url", "language", "custom_emoji_id")}
        if kind in KINDS and length:
            found.append(Entity(kind, offset, length, **extra))
    return Marked(text, in_order(found))
