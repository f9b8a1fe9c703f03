"""Grammars in llama.cpp's notation: read as the library reads them, and taken only if they are safe."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.inference.constraints import ConstraintRefused, gbnf_of
from cocoon_p2p.inference.wishes import Constraint, Grammar

ARITHMETIC = """
# Sums in brackets.
root ::= expression "=" "\\n"?
expression ::= term ([-+] term)*
term ::= [0-9]{1,3} | "(" expression ")"
"""


DOUBLING = [f"a{number} ::= a{number + 1} a{number + 1}" for number in range(99)]

OPTIONAL = "".join(f"[\\u{number:04x}]?" for number in range(0x400, 0x400 + 160, 2))
"Eighty, of nine characters each."


def written(grammar: str) -> str:
    return gbnf_of(Constraint(Grammar.GBNF, grammar))


def test_a_grammar_that_refers_to_itself_is_written_anew() -> None:
    first, *others = written(ARITHMETIC).splitlines()

    assert first == "root ::= g-expression part-0 part-2"
    assert "g-expression ::= g-term part-4" in others


def test_one_that_does_not_becomes_an_automaton() -> None:
    assert written("root ::= a a\na ::= [xy] | [z]").splitlines()[0] == "root ::= [x-y] root-1 | [z] root-2"


@pytest.mark.parametrize(
    "grammar",
    [
        'root ::= "a" root? root? root? "b"?',
        'root ::= root "a" | "b"',
        'root ::= a | b\na ::= "x" a | "y"\nb ::= "x" b | "z"',
        'root ::= ("(" root ")")* ("(" "x" ")")?',
        'root ::= "a"? "a"? root "b" | "c"',
        'root ::= "x"{0,2} x{3} root | "c"\nx ::= "y"?',
        'root ::= (x y)? root? "."\nx ::= "x"?\ny ::= "y"?',
        'root ::= ("a" | "") ("" | root)',
    ],
)
def test_a_grammar_that_refers_to_itself_never_has_two_ways_to_go(grammar: str) -> None:
    with pytest.raises(ConstraintRefused, match="does not always decide"):
        written(grammar)


@pytest.mark.parametrize(
    ("grammar", "words"),
    [
        ("", "no rule 'root'"),
        ('x ::= "a"', "no rule 'root'"),
        ("root ::= x", "no rule 'x'"),
        ("root ::= root", "never ends"),
        ('root ::= "a" root', "never ends"),
        ('root ::= "a"\nroot ::= "b"', "twice"),
        ('root ::= "a', "an end in its midst"),
        ('root ::= "a\n"', "does not end with its line"),
        ("root ::= [a", "an end in its midst"),
        ("root ::= (", "a group that does not end"),
        ('root ::= "a" )', "does not end with its line"),
        ('root ::= "a"{2', "a count that is none"),
        ('root ::= "a"{9999}', "a count out of range"),
        ("root ::= <think>", "what is not taken"),
        ("%llguidance {}\nstart: /a/", "what is not taken"),
        ('root ::= "\\q"', r"\\q"),
        ("root ::= " + "(" * 99 + ")" * 99, "nested deeper"),
        ("\n".join(f"r{number} ::= []" for number in range(300)), "more than 256 rules"),
        ('root ::= ("a"? "b"?){500}', "too much work"),
        ('root ::= "[" (("x"{2000}){2000} root)? "]"', "too large"),
        ('root ::= [] root | "y"', "no answer can have"),
        ('root ::= "(" root ")" | "a" "\\x00"* "b" | "c"', "only ever empty"),
        ('root ::= "(" root ")" | "a" [\\ud800] | "c"', "no answer can have"),
        ('root ::= "x" e{2000} root | "y"\ne ::= f{2000}\nf ::= ""', "only ever empty"),
        ('root ::= "x" ""{2000} root | "y"', "only ever empty"),
        ("\n".join([*DOUBLING[:20], 'root ::= "x" a0 root | "y"', 'a20 ::= ""']), "only ever empty"),
        (f'root ::= "x" {OPTIONAL} root | "y"', "too much open"),
        (f'root ::= "(" root ")" | a b\na ::= {OPTIONAL[:360]}\nb ::= {OPTIONAL[360:]}', "too much open"),
        (f'root ::= "(" a {OPTIONAL[:360]} root | "."\na ::= "[" {OPTIONAL[360:]}', "too much open"),
        ("\n".join([*DOUBLING, 'root ::= a0', 'a99 ::= ""']), "too much work"),
    ],
)  # fmt: skip
def test_what_is_none_or_costs_too_much_is_refused_by_name(grammar: str, words: str) -> None:
    with pytest.raises(ConstraintRefused, match=words):
        written(grammar)


@given(
    st.text(max_size=40)
    | st.lists(
        st.sampled_from(
            ["root", "a", " ::= ", '"x"', "[y]", "(", ")", "|", "*", "?", "{1,2}", "\n", " ", '""']
        ),
        max_size=20,
    ).map(lambda parts: "root ::= " + "".join(parts))
)
def test_whatever_is_asked_for_is_read_or_refused_by_name(grammar: str) -> None:
    with suppress(ConstraintRefused):
        assert written(grammar).startswith("root ::= ")
