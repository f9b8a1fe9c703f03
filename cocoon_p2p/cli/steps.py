"""How a node's steps are shown while it joins: lines for a person, JSON objects for a program."""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, cast

from cocoon_p2p.cli.spell import harmless

_SPELLED = {
    "waited_seconds": "for {} s",
    "tokens": "{} tokens",
    "tokens_per_second": "{} tokens/s",
    "income": "{:,} nanoTON",
    "by": "by {}",
    "took_seconds": "in {} s",
}
"How a number or a name is told to a person that would say little alone."


class StepPrinter:
    """Prints each step with the seconds since the node began.

    As JSON the steps go to stdout, one object a line:
    `{"step": "listening", "seconds": 0.71, "status": "ok", ...}`; what is late or failed has a `hint`.
    For people they go to stderr, because stdout is for data.
    """

    def __init__(self, *, as_json: bool, out: TextIO | None = None) -> None:
        self._as_json = as_json
        self._out = out or (sys.stdout if as_json else sys.stderr)
        self._began = time.perf_counter()

    def __call__(self, step: str, **facts: object) -> None:
        seconds = round(time.perf_counter() - self._began, 2)
        if self._as_json:
            line = json.dumps({"step": step, "seconds": seconds, "status": "ok", **facts})
        else:
            line = "\n".join(_lines(seconds, step, facts))
        print(line, file=self._out, flush=True)


def _lines(seconds: float, step: str, facts: dict[str, object]) -> Iterator[str]:
    """Write a step for a person: what it came to, and below it what to do where it was not made."""
    status, hint = facts.pop("status", "ok"), facts.pop("hint", "")
    known = {name: fact for name, fact in facts.items() if fact is not None}
    spelled = [_SPELLED[name].format(fact) if name in _SPELLED else fact for name, fact in known.items()]
    said = "" if status == "ok" else f"{status}: "
    yield _on_one_line(f"{seconds:7.2f} s  {step:<12} {said}{spell_facts(spelled)}".rstrip())
    if hint:
        yield _on_one_line(f"{'':<11}{hint}")


def _on_one_line(text: str) -> str:
    """Keep what may be a peer's word from steering the terminal, and from looking like another step."""
    return harmless(text).replace("\n", " ")


def spell_facts(facts: Iterable[object]) -> str:
    """Write a step's facts side by side, a list's items too."""
    return "  ".join(filter(None, map(_spell, facts)))


def _spell(fact: object) -> str:
    return " ".join(map(str, cast("list[object]", fact))) if isinstance(fact, list) else str(fact)
