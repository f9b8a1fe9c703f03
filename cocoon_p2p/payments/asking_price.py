"""What a worker asks where its price is `auto`: a small step at a time, each for a reason that can be said.

    busy                                          --> a step up
    idle, and clients found it too dear           --> a step down
    idle, and others got the work for their price --> a step down, never below what others ask
    else                                          --> as before

Only slots that are taken raise a price, and only empty ones lower it: both are the worker's own to see.
What proxies tell of its chances, and what others ask there, says no more than why slots are empty. Where
several proxies tell, the middle one counts, so one that lies is not heard.

Nobody goes below the others because they are cheaper, so workers that all do this meet at the lowest of
their prices and stay there, and do not race to their floors. Steps halve whenever they turn round, and a
price that proved too dear is kept away from for hours; so a price settles below what clients bear.

Pure: the time is an argument. Prices are whole nanoTON for 1,000 completion tokens.

Spec: docs/earning.md (Prices).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median_high, median_low

from cocoon_p2p.frozen import replace
from cocoon_p2p.protocols.messages import Price
from cocoon_p2p.units import NANO_MAX

BUSY, IDLE = 0.85, 0.50
"Shares of its slots' time. Between them a price stays: a step moves demand by less than this."

STEP_FIRST, STEP_MOST, STEP_LEAST = 500, 500, 100
"Basis points of the price that one step takes."

ASKED_LEAST = 4
"Fewer Asks that a proxy looked back at say nothing."

REASON_SHARE = 0.25
"What part of the Asks must have gone elsewhere for a reason before it is one to move by."

NEAR = 200
"Basis points by which others may be cheaper and still ask as much: else two who are busy in turn leapfrog."

REFUSED_SECONDS = 6 * 3600.0
"How long a price that proved too dear is kept away from."

PROMPT_SHARE, CACHED_SHARE = 5, 4
"A prompt's token costs a fifth of a completion's, and a cached one a quarter of that."

_BASIS_POINTS = 10_000


class Cause(Enum):
    """Why a price is what it is, in words for its owner."""

    BEGUN = "where it began: nothing has called for another yet"
    SAID = "as you said on the page: it goes on from there"
    BUSY = "raised: your slots were taken nearly all the time"
    TOO_DEAR = "lowered: slots were empty, and clients' limits were below it"
    UNDERCUT = "lowered towards what others ask: slots were empty, and others got the work for their price"
    HELD = "kept: your slots are neither nearly full nor mostly empty"
    UNASKED = "kept: slots are empty, but nobody asked, so another price would bring nothing"
    NOT_THE_PRICE = "kept: slots are empty, but the price was not the reason"
    LOWEST_ASKED = "kept: slots are empty, but nobody asks less"
    FLOOR = "at your floor"
    CEILING = "at your ceiling"
    REFUSED_ABOVE = "kept just below what proved too dear lately"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a worker's owner allows."""

    floor: int
    ceiling: int

    def within(self, price: int) -> int:
        return min(max(price, self.floor), self.ceiling)


@dataclass(frozen=True, slots=True)
class Told:
    """What one proxy told of a worker's chances since the last look."""

    asked: int
    "Asks that it looked back at."

    too_dear: int
    "Of them, those whose client would not pay the price."

    undercut: int
    "Those that went to others for what they cost, or cost for their speed."


@dataclass(frozen=True, slots=True)
class Look:
    """What is known since the last look."""

    now: float
    busy: float
    "The share of its slots' time that was taken."

    told: Sequence[Told] = ()
    others: Sequence[int] = ()
    "What the cheapest asks for the same model, by each proxy's public record."


@dataclass(frozen=True, slots=True)
class Asking:
    """A price, and what must be remembered to move it."""

    price: int
    why: Cause = Cause.BEGUN
    step: int = STEP_FIRST
    "In basis points."

    direction: int = 0
    "Of the last move: 1 up, -1 down."

    filled: int | None = None
    "The price before the last step up: at it, slots were taken."

    refused: int | None = None
    "A price that proved too dear."

    refused_until: float = 0.0


def move(asking: Asking, look: Look, bounds: Bounds) -> Asking:
    """Decide what to ask from now on, by what was seen since the last look."""
    # After a clock was set back, that would be for longer than anybody meant.
    if asking.refused is not None and not 0 < asking.refused_until - look.now < 2 * REFUSED_SECONDS:
        asking = replace(asking, refused=None)
    if look.busy >= BUSY:
        return _raised(asking, bounds)
    if look.busy > IDLE:
        return replace(asking, why=Cause.HELD)
    return _lowered(asking, look, bounds)


def _raised(asking: Asking, bounds: Bounds) -> Asking:
    if asking.price >= bounds.ceiling:
        return replace(asking, price=bounds.within(asking.price), why=Cause.CEILING)
    step = _step(asking, 1)
    price = bounds.within(asking.price + max(1, asking.price * step // _BASIS_POINTS))
    if asking.refused is not None and price >= asking.refused:
        # Half way, and where that is hardly a step, not at all.
        price = (asking.price + asking.refused) // 2
        if (price - asking.price) * _BASIS_POINTS < asking.price * STEP_LEAST:
            return replace(asking, why=Cause.REFUSED_ABOVE)
    return replace(asking, price=price, why=Cause.BUSY, step=step, direction=1, filled=asking.price)


def _lowered(asking: Asking, look: Look, bounds: Bounds) -> Asking:
    heard = [told for told in look.told if told.asked >= ASKED_LEAST]
    if not heard:
        return replace(asking, why=Cause.UNASKED)
    if asking.price <= bounds.floor:
        return replace(asking, price=bounds.within(asking.price), why=Cause.FLOOR)
    step = _step(asking, -1)
    price = bounds.within(asking.price - max(1, asking.price * step // _BASIS_POINTS))
    if _share(heard, lambda told: told.too_dear) >= REASON_SHARE:
        kept_away = min(asking.price, asking.refused or asking.price)
        until = look.now + REFUSED_SECONDS
        if asking.direction == 1 and asking.filled is not None and asking.filled < asking.price:
            # The last step up was one too many: that one is taken back.
            price = bounds.within(asking.filled)
        return Asking(price, Cause.TOO_DEAR, step, -1, refused=kept_away, refused_until=until)
    if _share(heard, lambda told: told.undercut) < REASON_SHARE:
        return replace(asking, why=Cause.NOT_THE_PRICE)
    # Of two the one that lowers less: the other may lie.
    lowest = median_high(look.others) if look.others else asking.price
    if lowest * _BASIS_POINTS >= asking.price * (_BASIS_POINTS - NEAR):
        return replace(asking, why=Cause.LOWEST_ASKED)
    return replace(asking, price=max(price, lowest), why=Cause.UNDERCUT, step=step, direction=-1)


def _step(asking: Asking, direction: int) -> int:
    """Give the next step: half of the last where it turns round, a little more where it goes on."""
    if asking.direction == -direction:
        return max(STEP_LEAST, asking.step // 2)
    return min(STEP_MOST, asking.step * 5 // 4) if asking.direction else asking.step


def _share(heard: Sequence[Told], count: Callable[[Told], int]) -> float:
    """Give the middle proxy's share of Asks that went elsewhere for a reason."""
    return median_low(count(told) / told.asked for told in heard)


# ---------------------------------------------------------------- what the classes of tokens cost


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker's file says of one model's price. None: it follows the market."""

    prompt: int | None
    cached: int | None
    "None: a quarter of the prompt's."

    completion: int | None
    reasoning: int | None
    bounds: Bounds
    first: int
    "What to ask for 1,000 completion tokens where nothing is remembered."

    @property
    def is_auto(self) -> bool:
        return None in (self.prompt, self.completion, self.reasoning)

    def at(self, level: int) -> Price:
        """Spell a price out where 1,000 completion tokens cost this much."""
        prompt = level // PROMPT_SHARE if self.prompt is None else self.prompt
        cached = prompt // CACHED_SHARE if self.cached is None else self.cached
        return Price(
            prompt,
            # Clients refuse one whose cached tokens are dearer than computed ones.
            min(cached, prompt),
            level if self.completion is None else self.completion,
            level if self.reasoning is None else self.reasoning,
        )

    def fixed_at(self, completion: int) -> "Plan":
        """Fix the price of 1,000 completion tokens anew; the other classes keep their share of it.

        Raises:
            ValueError: Completion tokens have cost nothing so far, so nothing is a share of them; or a share
                is more than can be asked.
        """
        before = self.at(self.first)
        if not before.completion:
            raise ValueError("completion tokens cost nothing, so the others have no share of it")
        prompt, cached, reasoning = (
            price * completion // before.completion
            for price in (before.prompt, before.cached, before.reasoning)
        )
        if max(completion, prompt, reasoning) > NANO_MAX:
            raise ValueError("with it, tokens of another class would cost more than can be asked")
        return replace(self, prompt=prompt, cached=cached, completion=completion, reasoning=reasoning)
