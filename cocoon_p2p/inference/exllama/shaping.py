"""What one order makes of a model's numbers before a token is drawn, and what it keeps of what was drawn.

    logits --> likelihoods kept --> penalties --> bias --> form --> what was unsaid here --> the library draws

The library has a way for each of these. None is used: its penalties count the prompt, its likelihoods come
after the temperature, its filters cannot go back, and its banned strings give back what they took.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from cocoon_p2p.inference.exllama.generator import Order
from cocoon_p2p.inference.wishes import Likelihood, TokenLogprob

NEVER: Final = -1e9
"Of a token that is forbidden. Not minus infinity: where a form allows no other, it comes all the same."

FORBIDDING_BIAS: Final = -100.0
"As OpenAI defines it."


class Shaping:
    """Of one order. One thread at a time.

    Args:
        order: What was asked for.
        text_of: Says what a token spells.
        torch: The library, which is found only where ExLlamaV2 is.
    """

    def __init__(self, order: Order, text_of: Callable[[int], bytes], torch: Any) -> None:
        self.drawn = list[int]()
        "All tokens of the answer, the end token too, but what was answered before."

        self._order, self._text_of, self._torch = order, text_of, torch
        self._unsaid = dict[int, set[int]]()
        self._likelihoods = list[TokenLogprob]()
        self._raw: Any = None
        answered = order.prompt[len(order.prompt) - order.answered :]
        self._counts = Counter(answered)
        self._biased = [token for token, _ in order.logit_bias]
        biases = [NEVER if bias <= FORBIDDING_BIAS else bias for _, bias in order.logit_bias]
        self._biases = torch.tensor(biases, dtype=torch.float)

    @property
    def has_failed(self) -> bool:
        """Whether the answer's form can no longer be told."""
        return self._order.form is not None and self._order.form.has_failed

    def shape(self, logits: Any) -> None:
        """Change the numbers of the next token, in place: a tensor of one dimension on the processor."""
        order = self._order
        if order.logprobs is not None:
            self._raw = self._torch.log_softmax(logits.float(), -1)
        if self._counts and (order.frequency_penalty or order.presence_penalty):
            counts = self._torch.tensor(list(self._counts.values()), dtype=self._torch.float)
            logits[list(self._counts)] -= counts * order.frequency_penalty + order.presence_penalty
        if self._biased:
            logits[self._biased] += self._biases
        if unsaid := self._unsaid.get(len(self.drawn)):
            logits[list(unsaid)] = NEVER
        if order.form is not None:
            self._keep_to(order.form.allowed(), logits)

    def draw(self, token: int) -> None:
        """Take note of what was drawn."""
        if self._order.logprobs is not None:
            self._likelihoods.append(self._logprob(token, self._order.logprobs))
        self.drawn.append(token)
        self._counts[token] += 1
        if self._order.form is not None:
            self._order.form.take(token)

    def unsay(self, tokens: int) -> None:
        """Go back to where so many tokens were drawn, and never draw again there what came next."""
        unsaid = self.drawn[tokens:]
        self._unsaid.setdefault(tokens, set()).add(unsaid[0])
        del self.drawn[tokens:], self._likelihoods[tokens:]
        self._counts -= Counter(unsaid)
        if self._order.form is not None:
            self._order.form.take_back(unsaid)

    def logprobs(self, start: int, end: int) -> tuple[TokenLogprob, ...]:
        """Say how likely the tokens from one place to another were; nothing if that was not asked for."""
        return tuple(self._likelihoods[start:end])

    def _keep_to(self, allowed: bytes, logits: Any) -> None:
        torch = self._torch
        packed = torch.frombuffer(bytearray(allowed), dtype=torch.uint8)
        bits = (packed[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1
        mask = bits.flatten()[: len(logits)] == 0
        logits[: len(mask)].masked_fill_(mask, float("-inf"))
        logits[len(mask) :] = float("-inf")

    def _logprob(self, token: int, count: int) -> TokenLogprob:
        top = self._raw.topk(count) if count else ()
        likeliest = zip(*(each.tolist() for each in top), strict=True)
        return TokenLogprob(
            Likelihood(self._text_of(token), float(self._raw[token])),
            tuple(Likelihood(self._text_of(int(id_)), value) for value, id_ in likeliest),
        )
