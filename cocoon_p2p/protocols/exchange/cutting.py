"""How pieces of an answer are put together and cut apart, so that each chunk holds what it can. Pure.

Text may be cut between any two characters; a call, a token's logprobs or a vector is never cut.
Each of them fits a chunk that holds nothing else (`ids`: ARGUMENTS_MAX_BYTES, LOGPROBS_MAX,
VECTOR_MAX_BYTES), so cutting always gets on.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from cocoon_p2p.frozen import replace
from cocoon_p2p.protocols.contents import AnswerContent
from cocoon_p2p.protocols.wishes import TokenLogprob, ToolCall

ITEM_HEADS_BYTES = 24
"What spelling one thing takes beside its bytes, at most: a map's head, keys, lengths, a number."

_Item = TypeVar("_Item", bound=bytes | TokenLogprob | ToolCall)


def size_of(content: AnswerContent) -> int:
    """Say how much of a chunk's room a piece takes, rather too much than too little."""
    size = len(content.text.encode()) + sum(map(_size, content.logprobs))
    return size + sum(map(_size, content.calls)) + sum(map(_size, content.vectors))


def join(contents: Iterable[AnswerContent]) -> AnswerContent:
    """Put pieces together, in their order."""
    pieces = tuple(contents)
    if len(pieces) == 1:
        return pieces[0]
    return AnswerContent(
        "".join(piece.text for piece in pieces),
        calls=tuple(call for piece in pieces for call in piece.calls),
        logprobs=tuple(one for piece in pieces for one in piece.logprobs),
        vectors=tuple(vector for piece in pieces for vector in piece.vectors),
    )


def split(content: AnswerContent, room: int) -> tuple[AnswerContent, AnswerContent]:
    """Cut off as much of a piece as there is room for: text first, then what goes with it.

    Returns:
        What fits, and the rest.
    """
    spelled = content.text.encode()
    if len(spelled) > room:
        text = spelled[:room].decode(errors="ignore")
        return AnswerContent(text), replace(content, text=content.text[len(text) :])
    left = _Room(room - len(spelled))
    logprobs, later_logprobs = left.fill(content.logprobs)
    calls, later_calls = left.fill(content.calls)
    vectors, later_vectors = left.fill(content.vectors)
    head = AnswerContent(content.text, calls=calls, logprobs=logprobs, vectors=vectors)
    rest = AnswerContent("", calls=later_calls, logprobs=later_logprobs, vectors=later_vectors)
    return head, rest


class _Room:
    """What is left of a chunk. Once something did not fit, nothing does: order is kept."""

    def __init__(self, size: int) -> None:
        self._size = size

    def fill(self, items: Sequence[_Item]) -> tuple[tuple[_Item, ...], tuple[_Item, ...]]:
        count = sum(1 for _ in self._fitting(items))
        return tuple(items[:count]), tuple(items[count:])

    def _fitting(self, items: Iterable[_Item]) -> Iterator[_Item]:
        for item in items:
            self._size -= _size(item)
            if self._size < 0:
                return
            yield item


def _size(item: bytes | TokenLogprob | ToolCall) -> int:
    match item:
        case bytes():
            return ITEM_HEADS_BYTES + len(item)
        case ToolCall():
            texts = item.id, item.name, item.arguments
            return ITEM_HEADS_BYTES + sum(len(text.encode()) for text in texts)
        case TokenLogprob():
            likelihoods = (item.chosen, *item.top)
            return ITEM_HEADS_BYTES + sum(ITEM_HEADS_BYTES + len(one.token) for one in likelihoods)
