"""One answer on its way from an upstream server: from its events to the pieces of an answer. Pure.

Stop strings are looked for here: servers differ in whether they count their tokens.

How many tokens a step stands for is said by servers that were asked to (`dialects`); a step of any
other counts as one, which it is at least, and the last piece has the count of the whole.
"""

from cocoon_p2p.inference.engine import EngineError, Finish, Piece
from cocoon_p2p.inference.text import AnswerText
from cocoon_p2p.inference.upstream.wire import Event


class UpstreamGeneration:
    """Translates the events of one request.

    Args:
        stop: The request's stop strings.
        prompt_tokens: What was counted, and sent as tokens.
        completion_tokens_max: What was asked for. A server that counts more is not believed.
    """

    def __init__(self, stop: tuple[str, ...], *, prompt_tokens: int, completion_tokens_max: int) -> None:
        self._text = AnswerText(stop)
        self._prompt_tokens = prompt_tokens
        self._tokens_max = completion_tokens_max
        self._cached_tokens = 0
        self._tokens = 0
        self._finish: Finish | None = None

    def take(self, event: Event) -> Piece | None:
        """Take the next event; give a piece if there is something to deliver.

        A piece with `finish` is the last: a stop string was met, and the server need not go on.

        Raises:
            EngineError: It counts more tokens than were asked for, or goes on after its end.
        """
        text = "".join(choice.text for choice in event.choices)
        if text and self._finish is not None:
            raise EngineError("the server goes on after the end of its answer")
        self._count(event, is_step=bool(text))
        for choice in event.choices:
            if choice.finish_reason is not None:
                self._finish = Finish.LENGTH if choice.finish_reason == "length" else Finish.STOP
        if not text:
            return None
        # Servers give whole characters; a lone surrogate is all that could not be encoded.
        self._text, delivery = self._text.feed(text.encode("utf-8", "replace"), self._tokens)
        if delivery.stopped:
            return self._piece(delivery.text, delivery.completion_tokens, Finish.STOP)
        return self._piece(delivery.text, delivery.completion_tokens) if delivery.text else None

    def end(self) -> Piece:
        """Give the last piece, once the server says no more.

        Raises:
            EngineError: The answer has no end.
        """
        if self._finish is None:
            raise EngineError("the server broke an answer off")
        delivery = self._text.end()
        # The token that ends an answer has no text, and counts with the last piece.
        return self._piece(delivery.text, max(delivery.completion_tokens, self._tokens), self._finish)

    def _count(self, event: Event, *, is_step: bool) -> None:
        tokens = self._tokens + is_step
        if event.usage is not None:
            tokens = max(self._tokens, event.usage.completion_tokens)
            self._cached_tokens = min(max(event.usage.cached_tokens, 0), self._prompt_tokens)
        elif event.timings is not None:
            tokens = max(self._tokens, event.timings.predicted_n)
        if tokens > self._tokens_max:
            raise EngineError(f"the server counts {tokens} tokens where {self._tokens_max} were asked for")
        self._tokens = tokens

    def _piece(self, text: str, tokens: int, finish: Finish | None = None) -> Piece:
        return Piece(text, tokens, self._prompt_tokens, self._cached_tokens, finish)
