"""What the thread asks of a generator: orders in, steps out.

`library` makes one of ExLlamaV2; a test writes one down. Another library, ExLlamaV3's say, would be a second
`Generator` with a loading of its own: nothing above this file knows which one computes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cocoon_p2p.inference.engine import EngineError, Finish
from cocoon_p2p.inference.exllama.form import Form
from cocoon_p2p.inference.wishes import TokenLogprob

Ticket = int
"Names an order while it runs."


@dataclass(frozen=True, slots=True)
class Order:
    """One request, as the generator needs it."""

    prompt: Sequence[int]
    tokens_max: int
    temperature: float
    top_p: float
    seed: int | None
    ignore_eos: bool
    cache_scope: bytes
    "Cached prefixes are shared only within it."

    answered: int = 0
    "How many tokens at the prompt's end are the beginning of the answer."

    logit_bias: tuple[tuple[int, float], ...] = ()
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    banned: tuple[str, ...] = ()
    logprobs: int | None = None
    shows_control_tokens: bool = False
    "Whether their names are text: models write tool calls with them."

    form: Form | None = None
    "This order's own: it goes on with the answer, and what was answered is behind it."


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one order in one step."""

    ticket: Ticket
    prompt_tokens: int | None = None
    "Set in prefill: how many are computed or cached by now."

    text: str = ""
    "Of tokens whose characters are whole."

    tokens: int = 0
    "Cumulative: all whose text has been given, and with `finish` the token that ends an answer, if one did."

    finish: Finish | None = None
    cached_tokens: int = 0
    "Known with `finish`."

    logprobs: tuple[TokenLogprob, ...] = ()
    "Of the tokens whose text this is, if asked for; the token that ends an answer has no text, and none."

    error: EngineError | None = None
    "Set with `finish` if this order, and no other, came to nothing."


class Generator(Protocol):
    """Computes all orders at once. Belongs to one thread, but for `cached_tokens`."""

    def start(self, order: Order) -> Ticket:
        """Take an order up. Raises ValueError if it can never fit."""
        ...

    def cancel(self, ticket: Ticket) -> None:
        """Forget an order, and free what it holds. No step of it follows. One that has ended is passed over:
        the reader may have had enough of a step before its last."""
        ...

    def step(self) -> Sequence[Step]:
        """Compute one step of every order. What it raises concerns all of them."""
        ...

    def cached_tokens(self, prompt: Sequence[int], cache_scope: bytes) -> int:
        """Say how much of a prompt need not be computed now. Any thread."""
        ...

    def close(self) -> None:
        """Give memory back."""
        ...
