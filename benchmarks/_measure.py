"""What the benchmarks share: one way to measure beside a peer, and one way to print it.

A figure of a shared machine means little alone, so every script takes its ratio or difference
within a round, of two things measured one right after the other, and prints the spread of all
rounds. Nothing here, and no script, judges a time.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

CLOCK_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def read_arguments(description: str | None) -> argparse.Namespace:
    """Read the options that every script has: `--quick`."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="a few rounds: tries the script, measures little"
    )
    return parser.parse_args()


def print_machine() -> None:
    """Say what ran this, and how busy it was."""
    loads = " ".join(f"{load:.1f}" for load in os.getloadavg())
    print(
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python "
        f"{sys.version_info.major}.{sys.version_info.minor}, load averages {loads}",
        flush=True,
    )


def spread(values: Sequence[float], unit: str = "", digits: int = 2) -> str:
    """Spell the median, and the least and the most in brackets."""
    if not values:
        return "nothing measured"
    middle, least, most = (f"{value:.{digits}f}" for value in (median(values), min(values), max(values)))
    return f"{middle}{unit and ' ' + unit} ({least} to {most}, n={len(values)})"


def milliseconds(seconds: Sequence[float]) -> str:
    """Spell spans of seconds as milliseconds."""
    return spread([1e3 * value for value in seconds], "ms", 1)


def flush_seconds(folder: Path) -> float:
    """Measure what one fdatasync of a small append takes on the disk below `folder`."""
    file = folder / "flush"
    with file.open("ab", buffering=0) as stream:
        stream.write(bytes(4096))
        started = time.perf_counter()
        os.fdatasync(stream.fileno())
        return time.perf_counter() - started


def processor_seconds(pid: int) -> float:
    """Say how much processor time a process has had, kernel's share included, in ticks of 10 ms.

    Reads Linux's /proc.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_PER_SECOND


def waiting_seconds(pid: int) -> float:
    """Say how long a process's main thread was ready to run and had no processor, since it began.

    Reads Linux's /proc: what other work on the machine has cost this process.
    """
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def working_seconds(pid: int) -> float:
    """Say how much processor time all of a process's threads have had, since each began, to the nanosecond.

    Reads Linux's /proc.
    """
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def resident_bytes(pid: int) -> int:
    """Say how much memory a process has in use, from Linux's /proc."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
