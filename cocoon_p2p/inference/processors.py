"""How many threads an engine gets by default: as many as help, and never so many that it collapses.

Engines that compute on processors wait for each other's threads in a busy loop, dozens of times for each
token. One thread too many, which has no processor of its own at that moment, holds up all of them: 110
tokens a second become 13. So each rule takes the lesser number:

    affinity   processors that this process may use, less one for everything else
    quota      a container's share of time, on the way up to the root, less one as well
    cores      one thread a core: two on one core share what they wait for
    kinds      only the fast cores of a processor that has two kinds: all wait for the slowest
    nodes      one node of memory's: threads of another one read the weights through a narrow bridge

Spec: https://docs.kernel.org/admin-guide/cputopology.html, https://docs.kernel.org/admin-guide/cgroup-v2.html
(cpu.max), cgroup-v1 (cpu.cfs_quota_us).
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SLOW_SHARE: Final = 0.75
"A core of less than this part of the fastest one's capacity is of the slow kind."


@dataclass(frozen=True, slots=True)
class Processor:
    """One that this process may use: a hardware thread, as the system counts."""

    core: tuple[int, int]
    "Package and core: equal for threads of one core."

    node: int = 0
    "Of memory."

    capacity: int = 1024
    "How fast its core is, beside the others."


def threads_for(processors: list[Processor], quota: int | None) -> int:
    """Say how many threads to compute with. Pure.

    Args:
        processors: Those that may be used.
        quota: What a limit of processor time comes to, in processors; None: there is none.
    """
    fastest = max((each.capacity for each in processors), default=1)
    fast = [each for each in processors if each.capacity >= SLOW_SHARE * fastest]
    cores = Counter(node for node, _ in {(each.node, each.core) for each in fast})
    spare = min(len(processors), len(processors) if quota is None else quota) - 1
    return max(1, min(spare, max(cores.values(), default=1)))


def default_threads(root: Path = Path("/")) -> int:
    """Say how many threads to compute with on this machine.

    Args:
        root: Where the system describes itself, below it /sys and /proc.
    """
    return threads_for(usable_processors(root), quota(root))


def usable_processors(root: Path = Path("/")) -> list[Processor]:
    """Describe the processors that this process may use. What the system does not say counts as usual."""
    is_linux = hasattr(os, "sched_getaffinity")
    numbers = sorted(os.sched_getaffinity(0)) if is_linux else range(os.cpu_count() or 1)
    folder = root / "sys/devices/system"
    nodes = {
        number: int(node.name.removeprefix("node"))
        for node in (folder / "node").glob("node[0-9]*")
        for number in parse_list(_read(node / "cpulist"))
    }
    fast = set(parse_list(_read(root / "sys/devices/cpu_core/cpus")))
    return [_describe(folder / f"cpu/cpu{number}", number, nodes, fast) for number in numbers]


def _describe(folder: Path, number: int, nodes: dict[int, int], fast: set[int]) -> Processor:
    package = _number(folder / "topology/physical_package_id") or 0
    core = _number(folder / "topology/core_id")
    capacity = _number(folder / "cpu_capacity")
    if capacity is None:
        # Intel's processors of two kinds say which are the fast ones; the others are about half of that.
        capacity = 1024 if not fast or number in fast else 512
    return Processor((package, number if core is None else core), nodes.get(number, 0), capacity)


def quota(root: Path = Path("/")) -> int | None:
    """Say how many processors this process's limits of time come to; the narrowest counts."""
    found = [limit for folder in _groups(root) if (limit := _limit(folder)) is not None]
    return min(found, default=None)


def _groups(root: Path) -> Iterator[Path]:
    """The control groups that this process is in, up to their roots: a limit of each one holds."""
    mounted = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        kinds, _, path = rest.partition(":")
        if number != "0" and "cpu" not in kinds.split(","):
            continue
        # Within a container the path may be one that is seen from outside only; then the root is its own.
        top = mounted if number == "0" else mounted / "cpu"
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        yield from (top.joinpath(*parts[:length]) for length in range(len(parts), -1, -1))
    yield mounted


def _limit(group: Path) -> int | None:
    words = _read(group / "cpu.max").split()
    if not words:
        words = [_read(group / "cpu.cfs_quota_us").strip(), _read(group / "cpu.cfs_period_us").strip()]
    match words:
        case [allowed, period] if allowed.isdigit() and period.isdigit() and int(period):
            return max(1, int(allowed) // int(period))
        case _:
            return None


def parse_list(text: str) -> list[int]:
    """Read a list as the kernel writes it: `0-3,8`."""
    numbers: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (not last or last.isdigit()):
            numbers += range(int(first), int(last or first) + 1)
    return numbers


def _number(file: Path) -> int | None:
    text = _read(file).strip()
    return int(text) if text.isdigit() else None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
