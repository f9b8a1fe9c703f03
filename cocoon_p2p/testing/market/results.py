"""The results as a file, and as a book that can be looked up in."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cocoon_p2p.testing.market.outcome import Outcome
from cocoon_p2p.testing.market.study import Result, Size, Trial


def write_results(results: Iterable[Result], path: Path) -> None:
    """Write one line a run, so that a change can be read in a diff."""
    lines = ",\n".join(json.dumps(result.to_json()) for result in results)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


class Book:
    """Results by their runs."""

    def __init__(self, results: Iterable[Result]) -> None:
        self._outcomes = {result.trial: result.outcome for result in results}

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._outcomes)

    def __getitem__(self, trial: Trial) -> Outcome:
        return self._outcomes[trial]


def read_results(path: Path) -> Book:
    """Read what `write_results` has written. It is our own file: what is amiss in it raises as it will."""
    entries = json.loads(path.read_text(encoding="utf-8"))
    return Book(Result(_trial(**entry["trial"]), Outcome(**entry["outcome"])) for entry in entries)


def _trial(size: tuple[int, int, int], **trial: Any) -> Trial:
    return Trial(size=Size(*size), **trial)
