"""One request on its way through llama.cpp: from what its server says to the pieces of an answer."""

from collections import deque
from collections.abc import Callable
from typing import Final

from cocoon_p2p.inference.engine import EngineError, Finish, Piece
from cocoon_p2p.inference.llama_messages import Alternative, Logprobs, ServerEvent
from cocoon_p2p.inference.text import AnswerText
from cocoon_p2p.inference.tools import PieceCalls
from cocoon_p2p.inference.wishes import Likelihood, TokenLogprob

LOGPROB_MIN: Final = -9999.0
"What an impossible token is said to have, as OpenAI says it."


class LlamaGeneration:
    """Translates the events of one request. Belongs to the thread that computes it.

    Stop strings are looked for here and not by the server, which counts the tokens of one
    among those it generated.

    Args:
        stop: The request's stop strings.
        put: Where pieces go. It returns False once nobody reads them.
        calls: Takes tool calls out of the pieces, where tools are offered.
        logprobs: How many of the likeliest tokens are told.
    """

    def __init__(
        self,
        stop: tuple[str, ...],
        put: Callable[[Piece], bool],
        *,
        calls: PieceCalls | None = None,
        logprobs: int | None = None,
    ) -> None:
        self._text = AnswerText(stop)
        self._put_piece = put
        self._calls = calls
        self._top = logprobs
        self._likely = deque[tuple[int, TokenLogprob]]()
        "Of tokens that are not delivered yet, with the number of each."

        self._prompt_tokens = 0
        self._cached_tokens = 0
        self._is_finished = False

    def on_event(self, event: ServerEvent) -> bool:
        """Take the server's next event.

        Returns:
            True to stop computing: the answer is over, or nobody reads it.

        Raises:
            EngineError: The server says that it failed.
        """
        if event.error is not None:
            raise EngineError(f"llama.cpp failed (type={event.error.type})")
        if event.prompt_progress is not None:
            self._prompt_tokens = event.prompt_progress.processed
            self._cached_tokens = event.prompt_progress.cache
            return not self._put(self._piece("", 0))
        if event.usage is not None:
            self._prompt_tokens = event.usage.prompt_tokens
            self._cached_tokens = event.usage.prompt_tokens_details.cached_tokens
        for choice in event.choices:
            if choice.finish_reason is None:
                tokens = event.timings.predicted_n if event.timings is not None else 0
                if choice.logprobs is not None and self._top is not None:
                    self._keep_logprob(choice.logprobs, tokens, self._top)
                return self._on_text(choice.text, tokens)
            return self._on_end(Finish.LENGTH if choice.finish_reason == "length" else Finish.STOP)
        return False

    def end(self) -> None:
        """Say that the server says no more.

        Raises:
            EngineError: The answer has no end, although somebody would read it.
        """
        if not self._is_finished:
            raise EngineError("llama.cpp broke an answer off")

    def _on_text(self, text: str, tokens: int) -> bool:
        # The server gives whole characters; a lone surrogate is all that could not be encoded.
        self._text, delivery = self._text.feed(text.encode("utf-8", "replace"), tokens)
        if delivery.stopped:
            return self._finish(self._piece(delivery.text, delivery.completion_tokens, Finish.STOP))
        if not delivery.text:
            return False
        return not self._put(self._piece(delivery.text, delivery.completion_tokens))

    def _on_end(self, finish: Finish) -> bool:
        delivery = self._text.end()
        return self._finish(self._piece(delivery.text, delivery.completion_tokens, finish))

    def _keep_logprob(self, logprobs: Logprobs, tokens: int, top: int) -> None:
        for token in logprobs.content:
            if token.bytes:  # What ends an answer has no text.
                likeliest = tuple(map(_likelihood, token.top_logprobs[:top]))
                self._likely.append((tokens, TokenLogprob(_likelihood(token), likeliest)))

    def _put(self, piece: Piece) -> bool:
        return self._put_piece(piece if self._calls is None else self._calls.read(piece))

    def _finish(self, piece: Piece) -> bool:
        self._is_finished = True
        self._put(piece)
        return True

    def _piece(self, text: str, tokens: int, finish: Finish | None = None) -> Piece:
        if not self._likely:
            return Piece(text, tokens, self._prompt_tokens, self._cached_tokens, finish)
        told = list[TokenLogprob]()
        while self._likely and self._likely[0][0] <= tokens:
            told.append(self._likely.popleft()[1])
        return Piece(text, tokens, self._prompt_tokens, self._cached_tokens, finish, logprobs=tuple(told))


def _likelihood(token: Alternative) -> Likelihood:
    return Likelihood(bytes(token.bytes), max(token.logprob, LOGPROB_MIN))
