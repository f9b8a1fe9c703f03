"""What the thread asks of a generator: orders in, steps out.

`library` makes one of ExLlamaV2; a test writes one down.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cocoon_p2p.inference.engine import Finish

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


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one order in one step."""

    ticket: Ticket
    prompt_tokens: int | None = None
    "Set in prefill: how many are computed or cached by now."

    text: str = ""
    "Of tokens whose characters are whole."

    tokens: int = 0
    "Cumulative: all whose text has been given."

    finish: Finish | None = None
    cached_tokens: int = 0
    "Known with `finish`."


class Generator(Protocol):
    """Computes all orders at once. Belongs to one thread, but for `cached_tokens`."""

    def start(self, order: Order) -> Ticket:
        """Take an order up. Raises ValueError if it can never fit."""
        ...

    def cancel(self, ticket: Ticket) -> None:
        """Forget an order, and free what it holds. No step of it follows."""
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
