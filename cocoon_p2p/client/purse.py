"""One purse, whose budget requests are paid from, as pure arithmetic: no clock, no ledger, no task.

                      left
      reserve           |  before anybody is asked: as much as a request may cost
                        v
                 reservations  ---- give_up: the request has ended, what it did not use is left again
      tie               |  before a try: to the id of its exchange
                        v
                      ties     ---- end, with nothing charged: back to the request, or left again
      end               |  the exchange was charged
                        v
                      spent    ---- at_time: a new window has begun, nothing is spent in it

Rule 1: `reserved <= left_of_limit + credit`, but for what its owner takes back by a lower budget. So
whatever is charged was there.
Rule 2: what is charged counts in the window in which it is charged, whenever it was reserved. What is
reserved counts in every window that it stands in.
Rule 3: windows only go on: a clock that goes back fills nothing again, neither then nor when it is right.

Spec: payments/settlement.md (Purses).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cocoon_p2p.errors import ConfigurationError, LocalProtocolError
from cocoon_p2p.protocols.messages import ChannelId, ExchangeId
from cocoon_p2p.units import NANO_MAX, Nano

_NOTHING = Nano(0)

EVERY_MAX_SECONDS = 10 * 366 * 24 * 3600
"Ten years: beyond it a window is none."


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a purse may spend."""

    limit: Nano
    "In nanoTON."

    every_seconds: int | None = None
    """It is there again in each window of this length, counted from the Unix epoch (86,400: each day, from
    midnight UTC); None: once and for all."""

    def __post_init__(self) -> None:
        if not _is_whole(self.limit, 0, NANO_MAX):
            raise ConfigurationError(
                f"a budget's limit is out of range (got={self.limit} from=0 to={NANO_MAX} nanoTON)"
            )
        if self.every_seconds is not None and not _is_whole(self.every_seconds, 1, EVERY_MAX_SECONDS):
            raise ConfigurationError(
                "a budget's window is out of range"
                f" (got={self.every_seconds} from=1 to={EVERY_MAX_SECONDS} seconds)"
            )


def _is_whole(number: object, least: int, most: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and least <= number <= most


@dataclass(frozen=True, slots=True)
class PurseView:
    """A purse as its owner sees it. Amounts are in nanoTON."""

    name: str
    budget: Budget | None
    "None: what it spends is counted, and not limited."

    spent: Nano
    "In this window; without windows: since it was given its budget."

    reserved: Nano
    "For requests that run, and for exchanges that are not settled yet."

    left: Nano | None
    "What another request could reserve; None: it has no budget."

    renews_in_seconds: float | None
    "None: its budget is there once and for all, or it has none."

    credit: Nano
    "What is left of top-ups: spent when the budget is."

    total: Nano
    "All that was ever charged to it."


@dataclass(frozen=True, slots=True)
class Tie:
    """What a purse keeps for one exchange until that is charged or known to cost nothing."""

    amount: Nano
    "The most that it can be charged."

    request: int | None
    "Whose try it is; None: that request has ended, or was another life's."

    channel: ChannelId | None = None
    "Where something is held for it, so that it may cost something whatever becomes of us; None: not yet."


@dataclass(frozen=True, slots=True)
class Purse:
    """All that is known of one purse."""

    name: str
    budget: Budget | None = None
    window: int = 0
    "The number of the newest window that was seen, counted from the epoch."

    spent: Nano = _NOTHING
    "In that window."

    drawn: Nano = _NOTHING
    "What of it was taken from `credit`, and not from the budget."

    credit: Nano = _NOTHING
    total: Nano = _NOTHING
    reservations: Mapping[int, Nano] = field(default_factory=dict[int, Nano])
    "What running requests may still tie, by their numbers."

    ties: Mapping[ExchangeId, Tie] = field(default_factory=dict[ExchangeId, Tie])
    reserved: Nano = _NOTHING
    "The sum of both."

    @property
    def left(self) -> Nano | None:
        """What can be reserved; None: whatever is asked for."""
        if self.budget is None:
            return None
        return Nano(max(0, self.left_of_limit + self.credit - self.reserved))

    @property
    def left_of_limit(self) -> int:
        """What of the budget itself was not spent in this window."""
        return max(0, self.budget.limit - (self.spent - self.drawn)) if self.budget is not None else 0

    @property
    def is_blank(self) -> bool:
        """Whether nothing would be lost if it were forgotten."""
        return not (self.budget or self.total or self.credit or self.reservations or self.ties)

    def view(self, now: float) -> PurseView:
        """Show it to its owner, at a time in seconds since the Unix epoch."""
        purse = at_time(self, now)
        every = None if purse.budget is None else purse.budget.every_seconds
        return PurseView(
            name=purse.name,
            budget=purse.budget,
            spent=purse.spent,
            reserved=purse.reserved,
            left=purse.left,
            # After a clock that went back it can be more than a window.
            renews_in_seconds=None if every is None else (purse.window + 1) * every - max(0.0, now),
            credit=purse.credit,
            total=purse.total,
        )


def at_time(purse: Purse, now: float) -> Purse:
    """Begin a new window if its time has come. `now` is in seconds since the Unix epoch."""
    window = _window(purse.budget, now)
    return replace(purse, window=window, spent=_NOTHING, drawn=_NOTHING) if window > purse.window else purse


def _window(budget: Budget | None, now: float) -> int:
    return 0 if budget is None or budget.every_seconds is None else int(max(0.0, now) // budget.every_seconds)


# ---------------------------------------------------------------- what its owner does


def allow(purse: Purse, budget: Budget | None, now: float) -> Purse:
    """Give it a budget in place of the one that it has. The same one again changes nothing.

    What was spent stays spent where only the limit is another. Where the windows are others, or there
    was no budget, spending begins anew. Credit stays.
    """
    purse = at_time(purse, now)
    if budget == purse.budget:
        return purse
    before = purse.budget
    if before is not None and budget is not None and before.every_seconds == budget.every_seconds:
        return replace(purse, budget=budget)
    return replace(purse, budget=budget, window=_window(budget, now), spent=_NOTHING, drawn=_NOTHING)


def top_up(purse: Purse, amount: Nano) -> Purse:
    """Add to what can be spent beyond the budget, until it is.

    Raises:
        ConfigurationError: The amount is out of range, or nothing limits the purse.
    """
    if not _is_whole(amount, 1, NANO_MAX - purse.credit):
        raise ConfigurationError(
            f"not an amount to top up by (got={amount} from=1 to={NANO_MAX - purse.credit} nanoTON)"
        )
    if purse.budget is None:
        raise ConfigurationError(
            f"the purse has no budget: nothing limits it (purse={purse.name})",
            hint="give it a budget first; one of 0 is spent by top-ups alone",
        )
    return replace(purse, credit=Nano(purse.credit + amount))


# ---------------------------------------------------------------- what requests do


def reserve(purse: Purse, request: int, wanted: Nano, now: float) -> tuple[Purse, Nano]:
    """Set aside what a request may cost: what it wants, or what is left where that is less.

    Returns:
        The purse after it, and how much it was. Where that is nothing, nothing was set aside.
    """
    assert request not in purse.reservations, "a request reserves once"
    purse = at_time(purse, now)
    amount = wanted if purse.left is None else min(wanted, purse.left)
    return (_reserved(purse, request, amount), amount) if amount else (purse, amount)


def tie(purse: Purse, request: int, exchange: ExchangeId, amount: Nano) -> Purse:
    """Tie a part of a reservation to an exchange, before anything is held for it.

    Raises:
        LocalProtocolError: The reservation is smaller, or the exchange is tied already.
    """
    free = purse.reservations.get(request, 0)
    if amount > free or exchange in purse.ties:
        raise LocalProtocolError(f"an exchange is not to be tied so (amount={amount} free={free} nanoTON)")
    ties = {**purse.ties, exchange: Tie(amount, request)}
    reservations = {**purse.reservations, request: Nano(free - amount)}
    return replace(purse, ties=ties, reservations=reservations)


def begin(purse: Purse, exchange: ExchangeId, channel: ChannelId) -> Purse:
    """Note that something is held for an exchange: it may cost something, whatever becomes of us."""
    return replace(purse, ties={**purse.ties, exchange: replace(purse.ties[exchange], channel=channel)})


def restore(purse: Purse, exchange: ExchangeId, channel: ChannelId, amount: Nano) -> Purse:
    """Tie an exchange that began in another life."""
    ties = {**purse.ties, exchange: Tie(amount, None, channel)}
    return replace(purse, ties=ties, reserved=Nano(purse.reserved + amount))


def lower(purse: Purse, exchange: ExchangeId, amount: Nano) -> Purse:
    """Keep no more than this for an exchange; the request has the rest back. Never raises the tie."""
    known = purse.ties.get(exchange)
    if known is None or amount >= known.amount:
        return purse
    lowered = replace(purse, ties={**purse.ties, exchange: replace(known, amount=amount)})
    return _give_back(lowered, known.request, Nano(known.amount - amount))


def untie(purse: Purse, exchange: ExchangeId) -> Purse:
    """Forget an exchange for which nothing was ever held; one that has begun stays tied until it ends."""
    known = purse.ties.get(exchange)
    if known is None or known.channel is not None:
        return purse
    ties = {other: tied for other, tied in purse.ties.items() if other != exchange}
    return _give_back(replace(purse, ties=ties), known.request, known.amount)


def end(purse: Purse, exchange: ExchangeId, charged: Nano, now: float) -> Purse:
    """Untie an exchange that has ended, and count what it was charged, if anything.

    A charge above the tie is counted all the same: the books are the truth.
    """
    purse, known = at_time(purse, now), purse.ties[exchange]
    ties = {other: tied for other, tied in purse.ties.items() if other != exchange}
    by_credit = min(max(0, charged - purse.left_of_limit), purse.credit)
    if purse.budget is None:
        by_credit = 0
    spent = replace(
        purse,
        ties=ties,
        reserved=Nano(purse.reserved - min(charged, known.amount)),
        spent=Nano(purse.spent + charged),
        drawn=Nano(purse.drawn + by_credit),
        credit=Nano(purse.credit - by_credit),
        total=Nano(purse.total + charged),
    )
    return _give_back(spent, known.request, Nano(max(0, known.amount - charged)))


def give_up(purse: Purse, request: int) -> Purse:
    """End a request: what it has not tied is left again. Exchanges that have begun stay tied."""
    reservations = {other: free for other, free in purse.reservations.items() if other != request}
    ties = {
        exchange: replace(tied, request=None) if tied.request == request else tied
        for exchange, tied in purse.ties.items()
        if tied.channel is not None or tied.request != request
    }
    reserved = sum(reservations.values()) + sum(tied.amount for tied in ties.values())
    return replace(purse, reservations=reservations, ties=ties, reserved=Nano(reserved))


def _give_back(purse: Purse, request: int | None, amount: Nano) -> Purse:
    """Let a part of a tie go: to the request that runs, or, without one, to what is left."""
    if request is None:
        return replace(purse, reserved=Nano(purse.reserved - amount))
    free = Nano(purse.reservations[request] + amount)
    return replace(purse, reservations={**purse.reservations, request: free})


def _reserved(purse: Purse, request: int, amount: Nano) -> Purse:
    return replace(
        purse,
        reservations={**purse.reservations, request: amount},
        reserved=Nano(purse.reserved + amount),
    )
