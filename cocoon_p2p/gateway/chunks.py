"""What answers of words have in common, of either endpoint: whole ones, and the chunks of streamed ones.

What is the same in all chunks is spelled once; a token then costs its own text.
"""

from typing import Any

import msgspec

from cocoon_p2p.client import Answer, Piece
from cocoon_p2p.gateway.spelling import DONE, answer_facts, fingerprint, usage_facts

encode = msgspec.json.Encoder().encode


class Chunks:
    """Spells the chunks of one answer.

    Args:
        answer: Whose terms are known.
        model: As it was asked for.
        created: Seconds since the Unix epoch.
        has_usage: Whether a last chunk says what was counted (`stream_options.include_usage`).
    """

    prefix: str
    "Of the answer's id."

    kind: str
    "OpenAI's `object`."

    choice: bytes
    "How a choice begins, up to what it says."

    nothing: bytes
    "What a choice says that says nothing."

    def __init__(self, answer: Answer, *, model: str, created: int, has_usage: bool) -> None:
        head = {
            "id": answer_id(self.prefix, answer),
            "object": self.kind,
            "created": created,
            "model": model,
            "system_fingerprint": fingerprint(answer),
        }
        self._head = b"data: " + encode(head)[:-1]
        self._has_usage = has_usage
        # OpenAI says so in every chunk but the last.
        self._end = (b',"usage":null' if has_usage else b"") + b"}\n\n"
        self.begins = self._head + b',"choices":[' + self.choice
        self.ends = b',"logprobs":null,"finish_reason":null}]' + self._end

    def first(self) -> bytes:
        """Say what stands before any piece."""
        raise NotImplementedError

    def piece(self, piece: Piece) -> bytes:
        """Spell what came; nothing if that is nothing to be told."""
        raise NotImplementedError

    def told(self, logprobs: object) -> bytes:
        """End a chunk that says how likely its tokens were."""
        return b',"logprobs":' + encode(logprobs) + b',"finish_reason":null}]' + self._end

    def last(self, answer: Answer) -> bytes:
        """Say how it ended, what was counted and what it has cost. The answer was read to its end."""
        facts, finish = encode(answer_facts(answer)), encode(answer.finish or "stop")
        end = self.begins + self.nothing + b',"logprobs":null,"finish_reason":' + finish + b"}]"
        if not self._has_usage:
            return end + b',"cocoon":' + facts + self._end + DONE
        usage = encode(usage_facts(answer.usage))
        counted = self._head + b',"choices":[],"usage":' + usage + b',"cocoon":' + facts + b"}\n\n"
        return end + self._end + counted + DONE


def whole_answer(
    answer: Answer, *, prefix: str, kind: str, model: str, created: int, choice: dict[str, Any]
) -> bytes:
    """Spell an answer that is complete.

    Args:
        answer: Read to its end.
        prefix: Of its id.
        kind: OpenAI's `object`.
        model: As it was asked for.
        created: Seconds since the Unix epoch.
        choice: What was said.
    """
    return encode(
        {
            "id": answer_id(prefix, answer),
            "object": kind,
            "created": created,
            "model": model,
            "system_fingerprint": fingerprint(answer),
            "choices": [{"index": 0, **choice, "finish_reason": answer.finish or "stop"}],
            "usage": usage_facts(answer.usage),
            "cocoon": answer_facts(answer),
        }
    )


def answer_id(prefix: str, answer: Answer) -> str:
    """Name an answer by its exchange, which the receipt names too."""
    return prefix + (answer.exchange.hex() if answer.exchange else "")
