"""Constraints on an answer, from what clients write to grammars that are safe to give to an engine."""

from cocoon_p2p.inference.constraints.calling import calls_gbnf as calls_gbnf
from cocoon_p2p.inference.constraints.expressions import ConstraintRefused as ConstraintRefused
from cocoon_p2p.inference.constraints.writing import gbnf_of as gbnf_of
