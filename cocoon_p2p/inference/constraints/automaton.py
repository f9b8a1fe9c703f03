"""A regular expression as an automaton that never has two ways to go, and that as GBNF. Pure.

llama.cpp follows every way in which a grammar may go on, and compares them all at each character:
`(a?b?){500}` stops it for good. An automaton with one state at a time costs the same at each
character, whatever the expression was; how many states it may have is bounded here, and so is the
work of finding them.

Sources: Thompson's construction and the subset construction, as in Aho et al., Compilers, 3.7.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from cocoon_p2p.inference.constraints.effort import Effort
from cocoon_p2p.inference.constraints.expressions import (
    Characters,
    Choice,
    ConstraintRefused,
    Expression,
    Ranges,
    Reference,
    Repeat,
    Sequence,
    ranges,
    written,
)

PLACES_MAX: Final = 20_000
"Of the expression, with every count written out."

STATES_MAX: Final = 4_000


@dataclass(frozen=True, slots=True)
class Automaton:
    """State 0 is the first."""

    moves: tuple[Mapping[int, Ranges], ...]
    "Of each state: by which characters it goes to which other."

    accepting: frozenset[int]


def automaton(expression: Expression, effort: Effort | None = None) -> Automaton:
    """Find the automaton of an expression without references.

    Args:
        expression: What it matches.
        effort: What is left for it; by default, all that one constraint may take.

    Raises:
        ConstraintRefused: It is too large, or nothing matches it.
    """
    effort = effort or Effort()
    places = _Places(effort)
    end = places.add(expression, start := places.new())
    return _without_dead_ends(*_Subsets(places, end, effort).found(start))


def rules(prefix: str, found: Automaton) -> list[str]:
    """Write an automaton as rules of GBNF; the first, `prefix`, is its language."""
    names = [prefix, *(f"{prefix}-{number}" for number in range(1, len(found.moves)))]
    lines = list[str]()
    for number, moves in enumerate(found.moves):
        ways = [f"{written(by)} {names[to]}" for to, by in moves.items()]
        if number in found.accepting:
            ways.append('""')
        lines.append(f"{names[number]} ::= {' | '.join(ways)}")
    return lines


@dataclass(slots=True)
class _Places:
    """An automaton with many ways to go: places, free moves, and moves by a character."""

    effort: Effort
    free: list[list[int]] = field(default_factory=list[list[int]])
    by: list[tuple[Ranges, int] | None] = field(default_factory=list[tuple[Ranges, int] | None])

    def new(self) -> int:
        if len(self.free) >= PLACES_MAX:
            raise _too_large()
        self.free.append([])
        self.by.append(None)
        return len(self.free) - 1

    def add(self, expression: Expression, start: int) -> int:
        """Add an expression that begins at a place; give the place where it ends."""
        self.effort.pay_work(1)
        match expression:
            case Characters(by):
                end = self.new()
                self.by[start] = (by, end)
                return end
            case Sequence(parts):
                for part in parts:
                    start = self.add(part, start)
                return start
            case Choice(options):
                end = self.new()
                for option in options:
                    self.free[start].append(begin := self.new())
                    self.free[self.add(option, begin)].append(end)
                return end
            case Repeat():
                return self._add_repeat(expression, start)
            case Reference(name):
                raise ConstraintRefused(f"the constraint refers to itself (rule={name!r})")

    def _add_repeat(self, repeat: Repeat, start: int) -> int:
        for _ in range(repeat.low):
            start = self.add(repeat.of, start)
        end = self.new()
        if repeat.high is None:
            self.free[start].append(loop := self.new())
            self.free[loop] += [end, begin := self.new()]
            self.free[self.add(repeat.of, begin)].append(loop)
            return end
        for _ in range(repeat.high - repeat.low):
            self.free[start] += [end, begin := self.new()]
            start = self.add(repeat.of, begin)
        self.free[start].append(end)
        return end


class _Subsets:
    """Finds the states of the automaton that is in all its places at once."""

    def __init__(self, places: _Places, end: int, effort: Effort) -> None:
        self._places = places
        self._end = end
        self._pay = effort.pay_work

    def found(self, start: int) -> tuple[list[dict[int, Ranges]], set[int]]:
        first = self._reached([start])
        numbers, states, moves, accepting = {first: 0}, [first], list[dict[int, Ranges]](), set[int]()
        for number, state in enumerate(states):
            if self._end in state:
                accepting.add(number)
            by = dict[int, list[tuple[int, int]]]()
            for low, high, places in self._parted(state):
                reached = self._reached(places)
                if reached not in numbers:
                    if len(states) >= STATES_MAX:
                        raise ConstraintRefused(f"the constraint is too large (states={STATES_MAX} at most)")
                    numbers[reached] = len(states)
                    states.append(reached)
                by.setdefault(numbers[reached], []).append((low, high))
            moves.append({to: ranges(pairs) for to, pairs in by.items()})
        return moves, accepting

    def _reached(self, places: Iterable[int]) -> frozenset[int]:
        """The places themselves and what free moves lead to."""
        reached, open_ = set(places), list(places)
        while open_:
            self._pay(1)
            for place in self._places.free[open_.pop()]:
                self._pay(1)
                if place not in reached:
                    reached.add(place)
                    open_.append(place)
        return frozenset(reached)

    def _parted(self, state: frozenset[int]) -> Iterable[tuple[int, int, list[int]]]:
        """Part all characters by where they lead: from, to, and the places after them."""
        moves = [move for place in state if (move := self._places.by[place]) is not None]
        cost = sum(len(by) for by, _ in moves)
        cuts = sorted({point for by, _ in moves for low, high in by for point in (low, high + 1)})
        for low, after in pairwise(cuts):
            self._pay(cost)
            places = [to for by, to in moves if _has(by, low)]
            if places:
                yield low, after - 1, places


def _too_large() -> ConstraintRefused:
    return ConstraintRefused(f"the constraint is too large (places={PLACES_MAX} at most)")


def _has(by: Ranges, point: int) -> bool:
    return any(low <= point <= high for low, high in by)


def _without_dead_ends(moves: list[dict[int, Ranges]], accepting: set[int]) -> Automaton:
    """Leave out states from which no end can be reached: an answer that got there could not go on."""
    back = dict[int, list[int]]()
    for number, ways in enumerate(moves):
        for to in ways:
            back.setdefault(to, []).append(number)
    alive, open_ = set(accepting), list(accepting)
    while open_:
        for number in back.get(open_.pop(), ()):
            if number not in alive:
                alive.add(number)
                open_.append(number)
    if 0 not in alive:
        raise ConstraintRefused("nothing can match the constraint")
    numbers = {old: new for new, old in enumerate(sorted(alive))}
    return Automaton(
        tuple({numbers[to]: by for to, by in moves[old].items() if to in alive} for old in numbers),
        frozenset(numbers[old] for old in accepting),
    )
