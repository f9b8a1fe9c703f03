"""The continuation of a bare prompt in OpenAI's older JSON: whole, or as a stream of chunks."""

from collections.abc import Iterable
from typing import Any

from cocoon_p2p.client import Answer, Piece
from cocoon_p2p.gateway.chunks import Chunks, encode, whole_answer
from cocoon_p2p.gateway.spelling import token_text
from cocoon_p2p.protocols.wishes import TokenLogprob


def whole_completion(
    answer: Answer, *, model: str, created: int, told: Iterable[TokenLogprob] | None
) -> bytes:
    """Spell an answer that is complete; the arguments are as `chat_spelling.whole_chat` has them."""
    logprobs = None if told is None else _logprobs(told, 0)
    return whole_answer(
        answer,
        prefix=CompletionChunks.prefix,
        kind=CompletionChunks.kind,
        model=model,
        created=created,
        choice={"text": answer.text, "logprobs": logprobs},
    )


class CompletionChunks(Chunks):
    """The chunks of one continuation."""

    prefix = "cmpl-"
    kind = "text_completion"
    choice = b'{"index":0,"text":'
    nothing = b'""'

    def __init__(self, answer: Answer, *, model: str, created: int, has_usage: bool) -> None:
        super().__init__(answer, model=model, created=created, has_usage=has_usage)
        self._offset = 0

    def first(self) -> bytes:
        """Say nothing: the older endpoint names no speaker."""
        return b""

    def piece(self, piece: Piece) -> bytes:
        """Spell what came: text, how likely its tokens were."""
        if piece.logprobs:
            logprobs = _logprobs(piece.logprobs, self._offset)
            self._offset += sum(map(len, logprobs["tokens"]))
            return self.begins + encode(piece.text) + self.told(logprobs)
        return self.begins + encode(piece.text) + self.ends if piece.text else b""


def _logprobs(told: Iterable[TokenLogprob], offset: int) -> dict[str, Any]:
    """Spell how likely tokens were in four lists; `offset` characters stand before them."""
    tokens: list[str] = []
    likely: list[float] = []
    top: list[dict[str, float]] = []
    offsets: list[int] = []
    for one in told:
        tokens.append(token_text(one.chosen))
        likely.append(one.chosen.logprob)
        top.append({token_text(other): other.logprob for other in one.top})
        offsets.append(offset)
        offset += len(tokens[-1])
    return {"tokens": tokens, "token_logprobs": likely, "top_logprobs": top, "text_offset": offsets}
