"""A chat's answer in OpenAI's JSON: whole, or as a stream of chunks."""

from collections.abc import Iterable
from typing import Any

from cocoon_p2p.client import Answer, Piece
from cocoon_p2p.gateway.chunks import Chunks, encode, whole_answer
from cocoon_p2p.gateway.spelling import token_text
from cocoon_p2p.protocols.wishes import Likelihood, TokenLogprob, ToolCall


def whole_chat(answer: Answer, *, model: str, created: int, told: Iterable[TokenLogprob] | None) -> bytes:
    """Spell an answer that is complete.

    Args:
        answer: Read to its end.
        model: As it was asked for.
        created: Seconds since the Unix epoch.
        told: How likely its tokens were; None: nobody asked.
    """
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.tool_calls:
        # OpenAI says null where a model only calls.
        message["content"] = answer.text or None
        message["tool_calls"] = [_call(call) for call in answer.tool_calls]
    logprobs = None if told is None else _logprobs(told)
    return whole_answer(
        answer,
        prefix=ChatChunks.prefix,
        kind="chat.completion",
        model=model,
        created=created,
        choice={"message": message, "logprobs": logprobs},
    )


class ChatChunks(Chunks):
    """The chunks of one chat's answer."""

    prefix = "chatcmpl-"
    kind = "chat.completion.chunk"
    choice = b'{"index":0,"delta":'
    nothing = b"{}"

    def __init__(self, answer: Answer, *, model: str, created: int, has_usage: bool) -> None:
        super().__init__(answer, model=model, created=created, has_usage=has_usage)
        self._text = self.begins + b'{"content":'
        self._text_ends = b"}" + self.ends
        self._calls = 0

    def first(self) -> bytes:
        """Say who speaks."""
        return self.begins + b'{"role":"assistant","content":"","refusal":null}' + self.ends

    def piece(self, piece: Piece) -> bytes:
        """Spell what came: text, how likely its tokens were, calls."""
        spelled = b""
        if piece.logprobs:
            spelled = self._text + encode(piece.text) + b"}" + self.told(_logprobs(piece.logprobs))
        elif piece.text:
            spelled = self._text + encode(piece.text) + self._text_ends
        return spelled + self._called(piece.calls) if piece.calls else spelled

    def _called(self, calls: tuple[ToolCall, ...]) -> bytes:
        spelled = [{"index": number, **_call(call)} for number, call in enumerate(calls, self._calls)]
        self._calls += len(calls)
        return self.begins + b'{"tool_calls":' + encode(spelled) + self._text_ends


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _logprobs(told: Iterable[TokenLogprob]) -> dict[str, Any]:
    tokens = [{**_likelihood(one.chosen), "top_logprobs": [*map(_likelihood, one.top)]} for one in told]
    return {"content": tokens, "refusal": None}


def _likelihood(likely: Likelihood) -> dict[str, Any]:
    return {"token": token_text(likely), "logprob": likely.logprob, "bytes": list(likely.token)}
