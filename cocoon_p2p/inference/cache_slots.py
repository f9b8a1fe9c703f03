"""Which slot computes a request, and what it may reuse of what the slot computed before.

A slot keeps the attention state of its last prompt. Whoever gets the same slot next with a
prompt that begins alike is answered sooner, and so learns how the other's prompt began.
Therefore a slot's state is reused within one scope only (the sealing session), and a
request without a scope reuses nothing and leaves nothing to reuse.

Pure: the engine holds the table and puts it into effect.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Slot:
    """One place of the engine, computing one request at a time."""

    number: int
    scope: bytes = b""
    "Whose prompt its state is of; empty if nobody may reuse it."

    prompt: tuple[int, ...] = ()
    "The tokens of that prompt."

    is_busy: bool = False
    last_claim: int = 0
    "Claims are numbered; the slot with the oldest is taken first."


@dataclass(frozen=True, slots=True)
class Claim:
    """A request's slot."""

    slot: int
    may_reuse: bool
    "Whether what the slot holds is of the same scope. Otherwise it must be computed over."


@dataclass(frozen=True, slots=True)
class CacheSlots:
    """All slots of an engine. Changing one gives a new table."""

    slots: tuple[Slot, ...]
    claims: int = 0

    def cached_tokens(self, scope: bytes, prompt: Sequence[int]) -> int:
        """How many tokens of a prompt need not be computed if it were started now.

        The last one always is: its computation yields the first token of the answer. What a
        slot computed of an answer may be reused as well, but is not known here.
        """
        best = self._best(scope, prompt)
        return min(_common(best.prompt, prompt), len(prompt) - 1) if best else 0

    def claim(self, scope: bytes, prompt: Sequence[int]) -> tuple["CacheSlots", Claim]:
        """Give a free slot to a request: the one that saves most, else the one unused for longest.

        There must be a free one.
        """
        best = self._best(scope, prompt)
        chosen = best or min(
            (slot for slot in self.slots if not slot.is_busy), key=lambda slot: slot.last_claim
        )
        claimed = Slot(chosen.number, scope, tuple(prompt) if scope else (), True, self.claims + 1)
        table = CacheSlots(self._with(claimed), self.claims + 1)
        return table, Claim(chosen.number, may_reuse=best is not None)

    def release(self, number: int) -> "CacheSlots":
        """Take a slot back; its state stays for its scope."""
        (slot,) = (slot for slot in self.slots if slot.number == number)
        return CacheSlots(self._with(replace(slot, is_busy=False)), self.claims)

    def _best(self, scope: bytes, prompt: Sequence[int]) -> Slot | None:
        """The free slot of this scope that shares the longest beginning with a prompt, if any does."""
        own = [slot for slot in self.slots if scope and slot.scope == scope and not slot.is_busy]
        best = max(own, key=lambda slot: _common(slot.prompt, prompt), default=None)
        return best if best and _common(best.prompt, prompt) else None

    def _with(self, changed: Slot) -> tuple[Slot, ...]:
        return tuple(changed if slot.number == changed.number else slot for slot in self.slots)


def cache_slots(count: int) -> CacheSlots:
    """A table of `count` free slots."""
    return CacheSlots(tuple(Slot(number) for number in range(count)))


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many items two sequences share from their beginning."""
    low, high = 0, min(len(first), len(second))
    # Slices are compared in C, so a bisection beats a loop over thousands of tokens.
    while low < high:
        middle = (low + high + 1) // 2
        if tuple(first[low:middle]) == tuple(second[low:middle]):
            low = middle
        else:
            high = middle - 1
    return low
