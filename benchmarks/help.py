"""How long `cocoon --help` takes, beside a Python that does nothing.

    python benchmarks/help.py [--quick]

Each is a new process with warm file caches, in turn; who begins alternates. Processor time
stands beside the clock's, because a busy machine disturbs it less.

The goal is 200 ms.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from _measure import milliseconds, print_machine, read_arguments, spread

GOAL_MILLISECONDS = 200
HELP: Sequence[str] = (str(Path(sys.executable).with_name("cocoon")), "--help")
NOTHING: Sequence[str] = (sys.executable, "-c", "pass")


@dataclass(frozen=True, slots=True)
class Run:
    """One process from start to end, in seconds."""

    clock: float
    processor: float


def main() -> None:
    arguments = read_arguments(__doc__)
    print_machine()
    for command in (HELP, NOTHING):
        _run(command)
    helps: list[Run] = []
    nothings: list[Run] = []
    for number in range(5 if arguments.quick else 50):
        pair: list[tuple[Sequence[str], list[Run]]] = [(HELP, helps), (NOTHING, nothings)]
        for command, runs in pair if number % 2 else reversed(pair):
            runs.append(_run(command))
    _report(helps, nothings)


def _run(command: Sequence[str]) -> Run:
    before = os.times()
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    clock = time.perf_counter() - started
    after = os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return Run(clock, processor)


def _report(helps: Sequence[Run], nothings: Sequence[Run]) -> None:
    ratios = [ours.clock / bare.clock for ours, bare in zip(helps, nothings, strict=True)]
    print("a process from start to end; median (least to most):")
    print(f"  cocoon --help   {milliseconds([run.clock for run in helps])}, goal {GOAL_MILLISECONDS} ms")
    print(f"    processor     {milliseconds([run.processor for run in helps])}")
    print(f"  python -c pass  {milliseconds([run.clock for run in nothings])}")
    print(f"    processor     {milliseconds([run.processor for run in nothings])}")
    print(f"  ratio           {spread(ratios)}")


if __name__ == "__main__":
    main()
