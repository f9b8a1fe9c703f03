"""What a node did lately, an entry for each exchange: how it went and what it came to, never what was said.

The status page, the metrics and the spans are all read from here. A role notes an entry when an exchange
has ended, so a token costs nothing.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

log = logging.getLogger(__name__)

RECENT_MAX = 200
"Entries that are kept."

KINDS_MAX = 64
"Models that are told apart in the sums: peers name them, so more than that many are one, `(other)`."

OTHER = "(other)"

FIRST_TOKEN_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"Seconds: how many first tokens came within each is counted, and in `+Inf` all."


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One exchange that has ended, as one node on its way saw it.

    What was refused before a quote was used is none: nobody was told anything, and no slot was taken.

    Attributes:
        exchange: Its id, 16 bytes: the same at the client, the proxy and the worker.
        role: Which of them this node was.
        model: What was asked for. A peer's word: escape it where it is shown.
        outcome: `finished`, `cancelled`, `lost`, or the code of the error that ended it
            (`protocols.exchange.ending`).
        began_at: In seconds since the Unix epoch.
        seconds: From the Ask, or the Assign, until it had ended here.
        first_token_seconds: From the same moment; None: no token came.
        prompt_tokens: Those that were charged, cached ones too.
        completion_tokens: Likewise, those of reasoning too.
        income: What this node was promised for it, in nanoTON; 0 at a client.
        expense: What this node promised for it, in nanoTON; 0 at a worker.
        peer: Whom it worked with, a peer id's bytes: a client's proxy, a proxy's worker, a worker's proxy.
        continues: The exchange whose answer it went on with, if any.
        beside: The one that it was made beside, because that one's first token was late. Only a client knows.
    """

    exchange: bytes
    role: Literal["client", "proxy", "worker"]
    model: str
    outcome: str
    began_at: float
    seconds: float
    first_token_seconds: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    income: int = 0
    expense: int = 0
    peer: bytes = b""
    continues: bytes | None = None
    beside: bytes | None = None


@dataclass(slots=True)
class Sums:
    """All exchanges of one model that ended in one way, since the node began."""

    exchanges: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    income: int = 0
    expense: int = 0
    "Both in nanoTON."

    seconds: float = 0.0
    first_tokens: list[int] = field(default_factory=lambda: [0] * (len(FIRST_TOKEN_BOUNDS) + 1))
    "How many came within each of `FIRST_TOKEN_BOUNDS`, and all."

    first_token_seconds: float = 0.0
    "Of all first tokens together."


class Journal:
    """What has ended since the node began; kept in memory, the ledger has what must last.

    Attributes:
        recent: The last entries, the newest last.
        sums: By model and outcome.
        given_up: Of income that was noted, in nanoTON. A worker charges what it sent; if that was lost on
            the way, its proxy shows later what came, and the charge is lowered.
    """

    def __init__(self) -> None:
        self.recent: deque[Entry] = deque(maxlen=RECENT_MAX)
        self.sums: dict[tuple[str, str], Sums] = {}
        self.given_up = 0
        self._models: set[str] = set()
        self._listeners: list[Callable[[Entry], None]] = []

    def note(self, entry: Entry) -> None:
        """Write an entry down. Never raises and never waits: it stands where money was just settled."""
        self.recent.append(entry)
        self._add(entry)
        for listener in self._listeners:
            try:
                listener(entry)
            except Exception:  # (what looks on must not break what works)
                log.exception("a listener of the journal failed")

    def give_up(self, amount: int) -> None:
        """Note that a charge was lowered by so many nanoTON."""
        self.given_up += amount

    def listen(self, listener: Callable[[Entry], None]) -> Callable[[], None]:
        """Call `listener` with each entry from now on; what is returned ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def latest(self, count: int) -> Sequence[Entry]:
        """Give the last entries, the newest first."""
        return list(self.recent)[: -count - 1 : -1]

    def _add(self, entry: Entry) -> None:
        model = self._counted_as(entry.model)
        sums = self.sums.setdefault((model, entry.outcome), Sums())
        sums.exchanges += 1
        sums.prompt_tokens += entry.prompt_tokens
        sums.completion_tokens += entry.completion_tokens
        sums.income += entry.income
        sums.expense += entry.expense
        sums.seconds += entry.seconds
        if (first := entry.first_token_seconds) is None:
            return
        sums.first_token_seconds += first
        sums.first_tokens[-1] += 1
        for place, bound in enumerate(FIRST_TOKEN_BOUNDS):
            sums.first_tokens[place] += first <= bound

    def _counted_as(self, model: str) -> str:
        if model in self._models:
            return model
        if len(self._models) >= KINDS_MAX:
            return OTHER
        self._models.add(model)
        return model
