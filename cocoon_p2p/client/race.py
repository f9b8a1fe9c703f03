"""Two tries at one answer, of which the first to yield a token is it; mostly there is only one."""

from dataclasses import dataclass, field

import trio

from cocoon_p2p.client.attempt import Attempt
from cocoon_p2p.client.link import Link
from cocoon_p2p.errors import CocoonError
from cocoon_p2p.identity import PeerId
from cocoon_p2p.payments.settlement import PayingAccount
from cocoon_p2p.protocols.exchange.terms import Terms
from cocoon_p2p.protocols.messages import ExchangeId


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt, and what it was made with."""

    link: Link
    account: PayingAccount
    attempt: Attempt
    exchange: ExchangeId
    beside: ExchangeId | None = None
    "The exchange whose first token is late: this is the second try."


@dataclass(slots=True, eq=False)
class Racer:
    """One try at one proxy, from connecting to its end."""

    link: Link
    race: "Race"
    max_cost: int
    "In nanoTON."

    without: PeerId | None = None
    "The worker that is asked already: this is the second try."

    connecting: trio.CancelScope | None = None
    made: Try | None = None
    asked_at: float = 0.0
    "When its proxy was asked, on trio's clock."

    begun_at: float | None = None
    "When a worker was given the request, on trio's clock."

    begun: trio.Event = field(default_factory=trio.Event)
    "That, or it has ended."

    yielded: trio.Event = field(default_factory=trio.Event)
    "It is the answer, or it has ended."

    has_lost: bool = False
    pending: int = 0
    "nanoTON that it may still cost, if nobody waits for it: it has lost, or the application has left."

    has_ended: bool = False
    error: CocoonError | None = None
    "Why it came to nothing; None: the request is over."

    failure: Exception | None = None
    "Why the request has failed for good."

    @property
    def beside(self) -> ExchangeId | None:
        """The exchange that this is the second try beside, if it is one."""
        first = self.race.racers[0]
        return None if first is self or first.made is None else first.made.exchange

    @property
    def terms(self) -> Terms | None:
        """What was agreed on, once it was."""
        return None if self.made is None else self.made.attempt.terms

    @property
    def latency_seconds(self) -> float:
        """How soon the proxy said something first."""
        heard_at = None if self.made is None else self.made.attempt.heard_at
        return 0.0 if heard_at is None else heard_at - self.asked_at

    def begin(self) -> None:
        """Note that a worker has the request, if one has it."""
        if self.terms is not None and self.begun_at is None:
            self.begun_at = trio.current_time()
            self.begun.set()

    def lose(self) -> None:
        """Let it end: another one is the answer."""
        self.has_lost = True
        if self.connecting is not None:
            self.connecting.cancel()
        if self.made is not None:
            self.made.attempt.cancel()


class Race:
    """The tries that a request has under way at once: one, or two."""

    def __init__(self) -> None:
        self.racers: list[Racer] = []
        self.winner: Racer | None = None
        self._changed = trio.Event()

    def enter(self, link: Link, max_cost: int, *, without: PeerId | None = None) -> Racer:
        """Let one more run."""
        self.racers.append(racer := Racer(link, self, max_cost, without))
        return racer

    def won_by(self, winner: Racer) -> list[Racer]:
        """Note who yields the answer, and give those who lose by that, if any run."""
        self.winner = winner
        winner.yielded.set()
        losers = [racer for racer in self.racers if racer is not winner and not racer.has_ended]
        for loser in losers:
            loser.lose()
        return losers

    def ended(self, racer: Racer) -> None:
        """Note that a try has ended, however."""
        racer.has_ended = True
        racer.begun.set()
        racer.yielded.set()
        self._changed.set()
        self._changed = trio.Event()

    async def decided(self) -> Racer:
        """Wait until the winner has ended, or all have without one; give whose end counts."""
        while not (self.winner or self).has_ended:
            await self._changed.wait()
        return self.winner or self.racers[0]

    @property
    def has_ended(self) -> bool:
        """Whether nobody is under way any more."""
        return all(racer.has_ended for racer in self.racers)

    async def over(self) -> None:
        """Wait until nobody is under way any more."""
        while not self.has_ended:
            await self._changed.wait()
