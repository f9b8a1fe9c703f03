"""How a node's steps are shown while it joins: lines for a person, JSON objects for a program."""

import json
import sys
import time
from typing import TextIO


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
            line = f"{seconds:7.2f} s  {step:<12} {_spell(facts)}".rstrip()
        print(line, file=self._out, flush=True)


def _spell(facts: dict[str, object]) -> str:
    return "  ".join(
        " ".join(map(str, fact)) if isinstance(fact, list) else f"{fact}" for fact in facts.values()
    )
