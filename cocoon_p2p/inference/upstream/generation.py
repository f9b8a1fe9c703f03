"""One answer on its way from an upstream server: from its steps to the pieces of an answer. Pure.

Stop strings are looked for here: servers differ in whether they count their tokens.

How many tokens a step stands for is said by servers that were asked to (`dialects`); a step of any
other counts as one, which it is at least, and the last piece has the count of the whole.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from cocoon_p2p.inference.engine import EngineError, Finish, Piece
from cocoon_p2p.inference.text import AnswerText
from cocoon_p2p.inference.upstream.calls import Calls
from cocoon_p2p.inference.upstream.steps import Step
from cocoon_p2p.inference.wishes import TokenLogprob, ToolCall

STEPS_SPARE: Final = 1024
"Steps without a token that an answer may have: a role, a comment, a usage, an empty delta."

UNFINISHED_MAX: Final = 3
"Tokens that can hold the beginning of one character, which has four bytes at most."

_FINISHES: Final = {
    "length": Finish.LENGTH,
    "tool_calls": Finish.TOOL_CALLS,
    "function_call": Finish.TOOL_CALLS,
}


@dataclass(frozen=True, slots=True)
class Terms:
    """What was asked for, as far as an answer is measured by it."""

    prompt_tokens: int
    "What was counted, and is paid for."

    completion_tokens_max: int
    "A server that counts more is not believed."

    stop: tuple[str, ...] = ()
    tools: frozenset[str] = frozenset()
    "Names of those that were offered."

    logprobs: int | None = None
    "Likeliest tokens that were asked for at each place."


class UpstreamGeneration:
    """Translates the steps of one request."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._text = AnswerText(terms.stop)
        self._calls = Calls(terms.tools)
        self._likelihoods = deque[TokenLogprob]()
        self._likelihoods_given = 0
        self._prefilled = 0
        self._cached = 0
        self._tokens = 0
        self._delivered = 0
        self._thinks = False
        self._is_counted = False
        self._steps = 0
        self._finish: Finish | None = None

    @property
    def has_begun(self) -> bool:
        """Whether the prompt is computed: a token came."""
        return self._tokens > 0

    def beat(self) -> Piece:
        """A piece that says only how far it is, for whoever takes silence for a stall."""
        return self._piece("", self._delivered)

    def take(self, step: Step) -> Piece | None:
        """Take the next step; give a piece if there is something to deliver.

        A piece with `finish` is the last: a stop string was met, and the server need not go on.

        Raises:
            EngineError: It counts more tokens than were asked for, goes on after its end, or has none.
        """
        self._steps += 1
        if self._steps > STEPS_SPARE + self._terms.prompt_tokens + 2 * self._terms.completion_tokens_max:
            raise EngineError("the server's answer has no end")
        text, deltas = step.text, step.calls
        is_token = bool(text or deltas or step.thinks)
        if is_token and self._finish is not None:
            raise EngineError("the server goes on after the end of its answer")
        self._thinks |= step.thinks
        self._count(step, is_token=is_token)
        self._keep(step.likelihoods)
        complete = self._calls.take(deltas)
        self._end_as(step)
        progressed = self._progress(step)
        delivered = self._deliver(text, complete) if text or complete else None
        return delivered or (self._piece("", self._delivered) if progressed else None)

    def end(self) -> Piece:
        """Give the last piece, once the server says no more.

        Raises:
            EngineError: The answer has no end.
        """
        if self._finish is None:
            raise EngineError("the server broke an answer off")
        delivery = self._text.end()
        # A call that the limit cut off is none.
        calls = () if self._finish is Finish.LENGTH else tuple(self._calls.end())
        finish = Finish.TOOL_CALLS if self._calls.count and self._finish is Finish.STOP else self._finish
        tokens = max(delivery.completion_tokens, self._tail(delivery.completion_tokens))
        return self._piece(delivery.text, tokens, finish, calls)

    def _tail(self, delivered: int) -> int:
        """How many tokens count at the end: also those that stand for no text.

        Such is the one that ends an answer, and those of a tool call, of a thought, or of an answer that goes
        on beyond its end. A few others hold the beginning of a character that was never finished: they are
        not charged.
        """
        behind = self._tokens - delivered - (self._finish is Finish.STOP)
        is_unfinished = self._is_counted and not self._calls.count and not self._thinks
        return self._tokens - behind if is_unfinished and 0 < behind <= UNFINISHED_MAX else self._tokens

    def _deliver(self, text: str, calls: list[ToolCall]) -> Piece | None:
        # Servers give whole characters; a lone surrogate is all that could not be encoded.
        self._text, delivery = self._text.feed(text.encode("utf-8", "replace"), self._tokens)
        finish = Finish.STOP if delivery.stopped else None
        if not delivery.text and not calls and finish is None:
            return None
        return self._piece(delivery.text, delivery.completion_tokens, finish, tuple(calls))

    def _end_as(self, step: Step) -> None:
        for choice in step.choices:
            if choice.finish_reason in ("abort", "error"):
                raise EngineError("the server gave an answer up")
            if choice.finish_reason is not None:
                self._finish = _FINISHES.get(choice.finish_reason, Finish.STOP)

    def _count(self, step: Step, *, is_token: bool) -> None:
        tokens = self._tokens + is_token
        said = step.timings.predicted_n if step.timings is not None else None
        said = step.usage.completion_tokens if step.usage is not None else said
        if said is not None:
            tokens = max(self._tokens, said)
            self._is_counted |= is_token
        if step.usage is not None:
            self._cached = min(max(step.usage.cached_tokens, 0), self._terms.prompt_tokens)
        if tokens > self._terms.completion_tokens_max:
            most = self._terms.completion_tokens_max
            raise EngineError(f"the server counts {tokens} tokens where {most} were asked for")
        self._tokens = tokens

    def _progress(self, step: Step) -> bool:
        """Take note of how far the prompt is; say whether that is news."""
        said = step.prompt_progress.processed if step.prompt_progress is not None else 0
        prefilled = min(max(self._prefilled, said), self._terms.prompt_tokens)
        is_news, self._prefilled = prefilled > self._prefilled, prefilled
        return is_news

    def _keep(self, likelihoods: list[TokenLogprob]) -> None:
        if self._terms.logprobs is None:
            return
        top_max = self._terms.logprobs
        self._likelihoods.extend(TokenLogprob(token.chosen, token.top[:top_max]) for token in likelihoods)
        if self._likelihoods_given + len(self._likelihoods) > self._terms.completion_tokens_max:
            raise EngineError("the server says how likely more tokens are than were asked for")

    def _likely(self, tokens: int) -> tuple[TokenLogprob, ...]:
        """Those of the tokens that are delivered by now."""
        due = min(tokens - self._likelihoods_given, len(self._likelihoods))
        given = tuple(self._likelihoods.popleft() for _ in range(due))
        self._likelihoods_given += len(given)
        return given

    def _piece(
        self, text: str, tokens: int, finish: Finish | None = None, calls: tuple[ToolCall, ...] = ()
    ) -> Piece:
        self._delivered = tokens
        prompt = self._terms.prompt_tokens if self.has_begun or finish is not None else self._prefilled
        return Piece(text, tokens, prompt, self._cached, finish, calls, self._likely(tokens))
