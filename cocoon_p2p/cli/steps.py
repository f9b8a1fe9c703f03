"""How a node's steps are shown while it joins: lines for a person, JSON objects for a program."""

import json
import sys
import time
from collections.abc import Iterable
from typing import TextIO, cast


class StepPrinter:
    """Prints each step with the seconds since the node began.

    As JSON the steps go to stdout, one object a line: `{"step": "listening", "seconds": 0.71, ...}`.
    For people they go to stderr, because stdout is for data.
    """

    def __init__(self, *, as_json: bool, out: TextIO | None = None) -> None:
        self._as_json = as_json
        self._out = out or (sys.stdout if as_json else sys.stderr)
        self._began = time.perf_counter()

    def __call__(self, step: str, **facts: object) -> None:
        seconds = round(time.perf_counter() - self._began, 2)
        if self._as_json:
            line = json.dumps({"step": step, "seconds": seconds, **facts})
        else:
            line = f"{seconds:7.2f} s  {step:<12} {spell_facts(facts.values())}".rstrip()
        print(line, file=self._out, flush=True)


def spell_facts(facts: Iterable[object]) -> str:
    """Write a step's facts side by side, a list's items too."""
    return "  ".join(_spell(fact) for fact in facts)


def _spell(fact: object) -> str:
    return " ".join(map(str, cast("list[object]", fact))) if isinstance(fact, list) else str(fact)
