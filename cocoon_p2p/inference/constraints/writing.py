"""Every constraint as a grammar in GBNF. Pure.

Nothing that a client wrote goes to an engine as it stands: llama.cpp follows some grammars for ever, and
takes no notice of schemas that it does not understand.
"""

from functools import lru_cache

from cocoon_p2p.inference.constraints.automaton import automaton, rules
from cocoon_p2p.inference.constraints.deterministic import grammar_rules
from cocoon_p2p.inference.constraints.gbnf import read_gbnf
from cocoon_p2p.inference.constraints.json_schema import schema_rules
from cocoon_p2p.inference.constraints.json_text import ANY_JSON
from cocoon_p2p.inference.constraints.regex import read_regex
from cocoon_p2p.inference.wishes import Constraint, Grammar

KEPT = 32
"Grammars between a request's count and its generation, so that each is written once."


@lru_cache(KEPT)
def gbnf_of(constraint: Constraint) -> str:
    """Write a constraint as a grammar. Takes some tenths of a second at most.

    Raises:
        ConstraintRefused: It is malformed, out of bounds, or uses what is not taken; the text names it.
    """
    match constraint.grammar:
        case Grammar.JSON_OBJECT:
            lines = ["root ::= object", *ANY_JSON]
        case Grammar.JSON_SCHEMA:
            lines = [*schema_rules(constraint.text), *ANY_JSON]
        case Grammar.REGEX:
            lines = rules("root", automaton(read_regex(constraint.text)))
        case Grammar.GBNF:
            lines = grammar_rules(read_gbnf(constraint.text))
    return "\n".join(lines)
