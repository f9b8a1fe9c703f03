"""Which earlier request one means that is sent again.

Two things tell that a request is:

* `Idempotency-Key`: the same key stands for the same answer, running or ended.
* The OpenAI SDK sends no key, but says which try a request is, and how long it waits for an answer. A
  later try means what the same caller asked for before in the same words, and did not wait for.

All of it is bounded in time, number and bytes: what is forgotten is asked for, and paid for, anew.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from cocoon_p2p.gateway.refusals import Refusal, RequestRefused

KEPT_SECONDS = 600.0
KEPT_MAX = 4096
KEPT_MAX_BYTES = 64 * 1024 * 1024
"How long after its end an answer is found by its key, how many are, and what they may take together."

LEFT_SECONDS = 60.0
LEFT_MAX = 256
"The same of those without a key, that were not waited for: the SDK is back in some seconds."

FIRST_PAUSE_SECONDS = 0.5
CONNECT_SECONDS = 1.0
TRIES_AWAITED = 2
"""How soon the SDK tries again: so long at most, twice as long the next time, and a connection has to be
made. It tries twice more unless it is told otherwise, and does not say what it was told."""

KEY_MAX_LETTERS = 255


@dataclass(frozen=True, slots=True)
class Ticket:
    """What tells one request from another, and from itself sent again."""

    caller: str
    "The API key's id; empty where there are none."

    words: bytes
    "A hash of the path and the body."

    key: str | None = None
    "`Idempotency-Key`."

    tries: int | None = None
    "How many tries there were before this one (`x-stainless-retry-count`)."

    patience_seconds: float | None = None
    "How long the client waits for the first byte (`x-stainless-read-timeout`)."

    def comes_back_after(self, waited_seconds: float) -> float:
        """Say how long to wait for the next try of a client that hung up before it was told anything.

        Who hangs up at another time than its own time-out has cancelled, and does not come back.
        """
        if self.tries is None or self.tries >= TRIES_AWAITED or self.patience_seconds is None:
            return 0.0
        # Its clock begins a little before or after ours.
        if waited_seconds < 0.95 * self.patience_seconds - 0.05:
            return 0.0
        return FIRST_PAUSE_SECONDS * (1 << self.tries) + CONNECT_SECONDS


class Answered(Protocol):
    """An answer that may be asked for again."""

    @property
    def size_bytes(self) -> int:
        """What it holds."""
        ...


A = TypeVar("A", bound=Answered)


@dataclass(slots=True)
class _Kept(Generic[A]):
    ticket: Ticket
    answer: A
    until: float | None = None
    "None while it is made."

    size_bytes: int = 0


class Repeats(Generic[A]):
    """What may be asked for again."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[str, str], _Kept[A]] = {}
        self._ended: OrderedDict[tuple[str, str], _Kept[A]] = OrderedDict()
        "Of those by key the ones that have ended, the oldest first."

        self._left: list[_Kept[A]] = []
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        """What all ended answers that are kept by their keys hold."""
        return self._size_bytes

    def __len__(self) -> int:
        return len(self._by_key) + len(self._left)

    def find(self, ticket: Ticket, *, now: float) -> A | None:
        """Find what a request means that may have been sent before.

        An answer without a key is found once: each try that was not waited for has one that follows.

        Raises:
            RequestRefused: Its key stands for another request.
        """
        self._forget(now)
        if ticket.key is not None:
            kept = self._by_key.get((ticket.caller, ticket.key))
            if kept is not None and kept.ticket.words != ticket.words:
                raise RequestRefused(
                    Refusal(
                        422,
                        "this Idempotency-Key stands for another request",
                        "idempotency-key-reused",
                        must_not_retry=True,
                    )
                )
            return None if kept is None else kept.answer
        for place, kept in enumerate(self._left):
            if _follows(ticket, kept.ticket):
                return self._left.pop(place).answer
        return None

    def begin(self, ticket: Ticket, answer: A) -> None:
        """Remember an answer that is being made, if it has a key. It takes the place of an older one."""
        if ticket.key is not None:
            self._drop((ticket.caller, ticket.key))
            self._by_key[ticket.caller, ticket.key] = _Kept(ticket, answer)

    def end(self, ticket: Ticket, answer: A, *, now: float) -> None:
        """Say that an answer has ended: from now on it is kept for a while."""
        place = (ticket.caller, ticket.key or "")
        kept = self._by_key.get(place)
        if kept is not None and kept.answer is answer:
            kept.until, kept.size_bytes = now + KEPT_SECONDS, answer.size_bytes
            self._ended[place] = kept
            self._size_bytes += kept.size_bytes
            self._forget(now)

    def leave(self, ticket: Ticket, answer: A, *, now: float) -> None:
        """Say that nobody has waited for an answer: if it has no key, the next try may mean it."""
        if ticket.key is None and ticket.tries is not None:
            self._left.append(_Kept(ticket, answer, now + LEFT_SECONDS))
            del self._left[:-LEFT_MAX]

    def _forget(self, now: float) -> None:
        self._left = [one for one in self._left if one.until is None or one.until > now]
        while self._ended:
            place, oldest = next(iter(self._ended.items()))
            is_full = len(self._ended) > KEPT_MAX or self._size_bytes > KEPT_MAX_BYTES
            if not is_full and (oldest.until is None or oldest.until > now):
                return
            self._drop(place)

    def _drop(self, place: tuple[str, str]) -> None:
        self._by_key.pop(place, None)
        ended = self._ended.pop(place, None)
        if ended is not None:
            self._size_bytes -= ended.size_bytes


def _follows(ticket: Ticket, left: Ticket) -> bool:
    # There may be tries between them that were refused before it was known what they ask.
    is_later = ticket.tries is not None and left.tries is not None and ticket.tries > left.tries
    return is_later and (ticket.caller, ticket.words) == (left.caller, left.words)
