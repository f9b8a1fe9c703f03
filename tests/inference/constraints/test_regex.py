"""Regular expressions as automata: the same language as Python's, within bounds."""

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.inference.constraints import ConstraintRefused, gbnf_of
from cocoon_p2p.inference.constraints.automaton import Automaton, automaton
from cocoon_p2p.inference.constraints.regex import read_pattern, read_regex
from cocoon_p2p.inference.wishes import Constraint, Grammar


def matches(found: Automaton, text: str) -> bool:
    state = 0
    for character in text:
        ways = [
            to
            for to, by in found.moves[state].items()
            if any(low <= ord(character) <= high for low, high in by)
        ]
        if not ways:
            return False
        (state,) = ways
    return state in found.accepting


def expressions() -> st.SearchStrategy[str]:
    atoms = st.sampled_from(
        ["a", "b", ".", "[ab]", "[^a]", r"\d", r"\W", r"\.", "é", r"\x61", "()", "[a-c0-]"]
    )
    return st.recursive(
        atoms,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map("".join),
            st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
            st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,2}", "*?"])).map(
                lambda pair: f"(?:{pair[0]}){pair[1]}"
            ),
        ),
        max_leaves=6,
    )


@given(expression=expressions(), texts=st.lists(st.text("ab0.é-\n", max_size=6), max_size=8))
def test_an_automaton_matches_what_python_matches(expression: str, texts: list[str]) -> None:
    try:
        found = automaton(read_regex(expression))
    except ConstraintRefused:
        return

    for text in texts:
        assert matches(found, text) == bool(re.fullmatch(expression, text, re.ASCII)), text


@given(expression=expressions(), text=st.text("ab0.é", max_size=6))
def test_a_schema_s_pattern_may_match_anywhere(expression: str, text: str) -> None:
    try:
        found = automaton(read_pattern(expression))
    except ConstraintRefused:
        return

    assert matches(found, text) == bool(re.search(expression, text, re.ASCII))


@given(st.text(max_size=40) | st.text("ab(|)[]{}*+?\\^$,0123-", max_size=40))
def test_whatever_is_asked_for_is_read_or_refused_by_name(expression: str) -> None:
    with suppress(ConstraintRefused):
        assert gbnf_of(Constraint(Grammar.REGEX, expression)).startswith("root ::= ")


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("a(", "a group that does not end"),
        ("a)", "a closing bracket"),
        ("[a", "an end in its midst"),
        ("[b-a]", "a range of characters"),
        ("a**", "a count of a count"),
        ("*a", "has no meaning"),
        ("a{3,2}", "a count that ends below"),
        ("a{99999}", "a count above"),
        ("a{x}", "a count that is none"),
        (r"(a)\1", r"\\1"),
        (r"\bword", r"\\b"),
        ("(?=a)b", "begins with"),
        ("(?P<n>a)", "begins with"),
        ("a$b", "has no meaning"),
        (r"\ud800", "nothing can match"),
        ("[]", "nothing can match"),
        ("(" * 200 + ")" * 200, "nested deeper"),
        ("(a?b?){500}", "too much work"),
        ("(a|aa|aaa){300}", "too much work"),
        ("((a{100}){100}){100}", "too "),
        ("(((){2000}){2000}){2000}", "too much work"),
        ("(a|b)*a(a|b){20}", "too "),
        (f"[{''.join(map(chr, range(256, 2_000, 2)))}]", "too many ranges"),
    ],
)
def test_what_is_none_or_costs_too_much_is_refused_by_name(expression: str, words: str) -> None:
    with pytest.raises(ConstraintRefused, match=words):
        gbnf_of(Constraint(Grammar.REGEX, expression))
