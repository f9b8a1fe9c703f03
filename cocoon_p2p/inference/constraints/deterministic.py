"""Whether a grammar ever leaves two ways to go, and grammars that do not, written. Pure.

An engine follows all ways at once. In a grammar that refers to itself they may double at each character
(`root ::= "a" root? root? "b"?`), so such a one is taken only if the next character always decides:
in the field's words, if it is strong LL(1). One that does not refer to itself becomes an automaton.

To find the next characters, an engine goes through whatever may be empty, and holds every way it finds.
So nothing comes in a row or is counted that is only ever empty, and the ways at one place are bounded.

Source: Aho et al., Compilers, 4.4 (FIRST and FOLLOW).
"""

from collections.abc import Mapping
from typing import Final, assert_never

from cocoon_p2p.inference.constraints.automaton import automaton, rules
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
    both,
    ranges,
    written,
)

SIZE_MAX: Final = 20_000
"Parts of a grammar that refers to itself, with every count written out."

WIDTH_MAX: Final = 64
"Ways to go on at one place, though the next character tells which."

Rules = Mapping[str, Expression]


def grammar_rules(grammar: Rules) -> list[str]:
    """Write a grammar as rules that leave one way to go.

    Raises:
        ConstraintRefused: It is too large, never ends, or refers to itself and leaves two ways to go.
    """
    if (whole := _unfolded(grammar)) is not None:
        return rules("root", automaton(whole))
    if sum(map(_size, grammar.values())) > SIZE_MAX:
        raise ConstraintRefused(f"the grammar is too large (parts={SIZE_MAX} at most)")
    _Check(grammar).check()
    return _Writer().lines(grammar)


def _unfolded(grammar: Rules) -> Expression | None:
    """The root with every reference replaced; None if the grammar refers to itself."""
    done, open_ = dict[str, Expression](), set[str]()

    def unfold(expression: Expression) -> Expression:
        match expression:
            case Characters():
                return expression
            case Sequence(parts):
                return Sequence(tuple(map(unfold, parts)))
            case Choice(options):
                return Choice(tuple(map(unfold, options)))
            case Repeat(of, low, high):
                return Repeat(unfold(of), low, high)
            case Reference(name):
                if name in open_:
                    raise _RefersToItself
                if name not in done:
                    open_.add(name)
                    done[name] = unfold(grammar[name])
                    open_.remove(name)
                return done[name]

    try:
        return unfold(Reference("root"))
    except _RefersToItself:
        return None
    except RecursionError:
        raise ConstraintRefused("the grammar is nested too deeply") from None


class _RefersToItself(Exception):
    pass


class _Check:
    """FIRST and FOLLOW of each rule, found by going over the grammar until nothing is added."""

    def __init__(self, grammar: Rules) -> None:
        self._grammar = grammar
        self._ends = dict.fromkeys(grammar, False)
        self._empty = dict.fromkeys(grammar, False)
        self._first: dict[str, Ranges] = dict.fromkeys(grammar, ())
        self._follow: dict[str, Ranges] = dict.fromkeys(grammar, ())
        self._begins = dict.fromkeys(grammar, 0)
        "In how many ways."

        self._goes_on = dict.fromkeys(grammar, 0)
        "In how many ways after it, at most."

        self._widest = 0
        self._rule = ""
        self._is_strict = False
        self._pay = Effort().pay_work

    def check(self) -> None:
        found = (self._ends, self._empty, self._first, self._follow, self._begins, self._goes_on)
        before = None
        while before != (now := [dict(each) for each in found]):
            before = now
            for name, rule in self._grammar.items():
                self._ends[name] = self._can_end(rule)
                self._empty[name] = self._can_be_empty(rule)
                self._first[name] = self._first_of(rule)
                self._begins[name] = min(self._ways(rule, 0), WIDTH_MAX + 1)
                self._go_over(rule, self._follow[name], self._goes_on[name])
        if endless := [name for name, ends in self._ends.items() if not ends]:
            raise ConstraintRefused(f"the grammar has a rule that never ends (rule={endless[0]!r})")
        self._is_strict = True
        for name, rule in self._grammar.items():
            self._rule = name
            self._go_over(rule, self._follow[name], self._goes_on[name])
        if self._widest > WIDTH_MAX:
            raise ConstraintRefused(f"the grammar leaves too much open at once (ways={WIDTH_MAX} at most)")

    def _can_end(self, expression: Expression) -> bool:
        self._pay(1)
        match expression:
            case Characters(by):
                return bool(by)
            case Sequence(parts):
                return all(map(self._can_end, parts))
            case Choice(options):
                return any(map(self._can_end, options))
            case Repeat(of, low, _):
                return low == 0 or self._can_end(of)
            case Reference(name):
                return self._ends[name]

    def _can_be_empty(self, expression: Expression) -> bool:
        self._pay(1)
        match expression:
            case Characters():
                return False
            case Sequence(parts):
                return all(map(self._can_be_empty, parts))
            case Choice(options):
                return any(map(self._can_be_empty, options))
            case Repeat(of, low, _):
                return low == 0 or self._can_be_empty(of)
            case Reference(name):
                return self._empty[name]

    def _first_of(self, expression: Expression) -> Ranges:
        self._pay(1)
        match expression:
            case Characters(by):
                return by
            case Sequence(parts):
                found: Ranges = ()
                for part in parts:
                    found = ranges((*found, *self._first_of(part)))
                    self._pay(len(found))
                    if not self._can_be_empty(part):
                        break
                return found
            case Choice(options):
                return ranges(pair for option in options for pair in self._first_of(option))
            case Repeat(of, _, high):
                return () if high == 0 else self._first_of(of)
            case Reference(name):
                return self._first[name]

    def _ways(self, expression: Expression, after: int) -> int:
        """In how many ways an expression is gone into, and on after it if it may be empty."""
        self._pay(1)
        match expression:
            case Characters():
                return 1
            case Sequence(parts):
                for part in reversed(parts):
                    after = self._ways(part, after)
                return after
            case Choice(options):
                ways = sum(self._ways(option, 0) for option in options)
            case Repeat(of, _, high):
                ways = 0 if high == 0 else self._ways(of, 0)
            case Reference(name):
                ways = self._begins[name]
        return ways + (after if self._can_be_empty(expression) else 0)

    def _is_nothing(self, expression: Expression) -> bool:
        """Whether it is only ever empty."""
        return self._can_be_empty(expression) and not self._first_of(expression)

    def _starts(self, expression: Expression, follow: Ranges) -> Ranges:
        """By what characters an expression is gone into, or past if it may be empty."""
        return ranges((*self._first_of(expression), *(follow if self._can_be_empty(expression) else ())))

    def _go_over(self, expression: Expression, follow: Ranges, after: int) -> None:
        """Add to FOLLOW what this part brings; once all is found, look for two ways to go."""
        self._pay(1 + len(follow))
        self._widest = max(self._widest, self._ways(expression, after))
        match expression:
            case Characters(by):
                if not by:
                    self._refuse("a character is asked for that no answer can have")
            case Sequence(parts):
                for part in reversed(parts):
                    if part != Sequence() and self._is_nothing(part):
                        self._refuse("a part is only ever empty")
                    self._go_over(part, follow, after)
                    follow, after = self._starts(part, follow), self._ways(part, after)
            case Choice(options):
                taken: Ranges = ()
                for option in options:
                    self._go_over(option, follow, after)
                    starts = self._starts(option, follow)
                    self._decide(taken, starts)
                    taken = ranges((*taken, *starts))
                    self._pay(len(taken))
                if sum(map(self._can_be_empty, options)) > 1:
                    self._refuse()
            case Repeat(of, low, high):
                first = self._first_of(of)
                self._go_over(of, ranges((*first, *follow)), after + self._ways(of, 0))
                if low != high:
                    self._decide(first, follow)
                if self._can_be_empty(of):
                    self._refuse()
            case Reference(name):
                self._goes_on[name] = min(max(self._goes_on[name], after), WIDTH_MAX + 1)
                self._follow[name] = ranges((*self._follow[name], *follow))
            case _:
                assert_never(expression)

    def _decide(self, one: Ranges, other: Ranges) -> None:
        if both(one, other):
            self._refuse()

    def _refuse(self, why: str = "the next character does not always decide how it goes on") -> None:
        if self._is_strict:
            raise ConstraintRefused(f"the grammar refers to itself, and {why} (rule={self._rule!r})")


def _size(expression: Expression) -> int:
    match expression:
        case Characters() | Reference():
            return 1
        case Sequence(parts) | Choice(parts):
            return 1 + sum(map(_size, parts))
        case Repeat(of, low, high):
            return 1 + _size(of) * max(low, high or 0, 1)


class _Writer:
    """Writes rules in which every group is a rule of its own: the library refuses counts of larger things."""

    def __init__(self) -> None:
        self._lines = list[str]()

    def lines(self, grammar: Rules) -> list[str]:
        named = [f"{_own(name)} ::= {self._text(rule)}" for name, rule in grammar.items()]
        return [*named, *self._lines]

    def _text(self, expression: Expression) -> str:
        match expression:
            case Characters(by):
                return written(by)
            case Reference(name):
                return _own(name)
            case Sequence(parts):
                return " ".join(map(self._one, parts)) or '""'
            case Choice(options):
                return " | ".join(map(self._text, options))
            case Repeat(of, low, high):
                return f"{self._one(of)}{{{low},{'' if high is None else high}}}"

    def _one(self, expression: Expression) -> str:
        """What may be counted: a class or the name of a rule."""
        text = self._text(expression)
        if isinstance(expression, Characters | Reference):
            return text
        name = f"part-{len(self._lines)}"
        self._lines.append(f"{name} ::= {text}")
        return name


def _own(name: str) -> str:
    """A name for a rule that is none of ours, and none that the engine gives to what it splits."""
    return name if name == "root" else f"g-{name}"
