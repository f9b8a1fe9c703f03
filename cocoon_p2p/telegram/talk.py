"""What is remembered of one chat: what was said last, and what its people chose. Pure.

Bounded in bytes as well as in number: a token stands for one byte at least, so the bytes of a history bound
what it costs to say it again (`client.bounds`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

TURN_OVERHEAD_BYTES = 24
"What a chat template may add around one message (`client.bounds.TURN_OVERHEAD_TOKENS`)."


@dataclass(frozen=True, slots=True)
class Place:
    """Where a talk is held: a bot, a chat, and a topic in it (0 for none)."""

    bot_id: int
    chat_id: int
    thread_id: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said."""

    role: str
    "`user` or `assistant`."

    content: str

    @property
    def size_bytes(self) -> int:
        return len(self.content.encode(errors="replace")) + TURN_OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class Choices:
    """What the people of a chat chose; None: what the bot has for everybody."""

    model: str | None = None
    language: str | None = None
    "That is translated into."


@dataclass(frozen=True, slots=True)
class Talk:
    """All that is remembered of one place."""

    turns: tuple[Turn, ...] = ()
    choices: Choices = field(default_factory=Choices)


@dataclass(frozen=True, slots=True)
class Memory:
    """How much is remembered of a talk."""

    turns_max: int = 40
    size_max_bytes: int = 12_000


def recent(turns: Sequence[Turn], memory: Memory) -> tuple[Turn, ...]:
    """Keep the newest turns that fit, beginning with something that a person said.

    The newest one always fits: it is what is to be answered.
    """
    kept: list[Turn] = []
    size_bytes = 0
    for turn in reversed(turns[-max(1, memory.turns_max) :]):
        size_bytes += turn.size_bytes
        if kept and size_bytes > memory.size_max_bytes:
            break
        kept.append(turn)
    kept.reverse()
    first = next((index for index, turn in enumerate(kept) if turn.role == "user"), len(kept))
    return tuple(kept[first:])


def said(talk: Talk, question: str, answer: str, memory: Memory) -> Talk:
    """Remember a question and what was answered; one that was not answered is not remembered."""
    if not answer.strip():
        return talk
    turns = (*talk.turns, Turn("user", question), Turn("assistant", answer))
    return replace(talk, turns=recent(turns, memory))
