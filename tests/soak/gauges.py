"""What a process holds, and whether it grew.

Memory and open files come from Linux's /proc, the rest from the process itself
(`probe/sitecustomize.py`). What is compared is the median of a first while and of a last one:
a single look may fall on a burst.
"""

import json
import os
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import trio

GROWTH_MAX = 0.05
"Of memory, between the two whiles."

MORE_MAX = 16
"Files, tasks, connections and streams that there may be more of, beside the same share: load is uneven."

TELL_SECONDS = 5.0
"A process that has not said what it holds by then is busy; that look has no counts."

CONNECTION = "cocoon_p2p.network.libp2p.muxer.MuxedConnection"
STREAM = "cocoon_p2p.network.libp2p.muxed_stream.MuxedStream"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a process held at one moment."""

    resident_bytes: int
    files: int
    tasks: int
    connections: int
    "Objects alive, whether open or not: one that is closed and kept is a leak."

    streams: int
    "The same."

    kinds: Counter[str]
    "How many objects of each type Python's collector knew."


async def read(pid: int, folder: Path) -> Reading | None:
    """Look at a process that writes its counts into `folder`; None if it is too busy to say, or gone."""
    told = folder / str(pid)
    told.unlink(missing_ok=True)
    try:
        os.kill(pid, signal.SIGUSR1)
        with trio.move_on_after(TELL_SECONDS):
            while not told.exists():  # noqa: ASYNC110  another process makes it
                await trio.sleep(0.02)
        return _reading(pid, told)
    except (FileNotFoundError, ProcessLookupError):
        return None


def _reading(pid: int, told: Path) -> Reading:
    counts, process = json.loads(told.read_text()), Path(f"/proc/{pid}")
    kinds = Counter[str](counts["kinds"])
    return Reading(
        resident_bytes=int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
        files=len(list((process / "fd").iterdir())),
        tasks=counts["tasks"],
        connections=kinds[CONNECTION],
        streams=kinds[STREAM],
        kinds=kinds,
    )


def what_grew(first: Sequence[Reading], last: Sequence[Reading]) -> list[str]:
    """Say what there is more of in the last readings than in the first, a line for each."""
    grew: list[str] = []
    before, after = (median(each.resident_bytes for each in some) for some in (first, last))
    if after > before * (1 + GROWTH_MAX):
        grew.append(f"memory: {before / 1e6:.1f} MB, then {after / 1e6:.1f} MB ({after / before - 1:+.1%})")
    for what in ("files", "tasks", "connections", "streams"):
        before, after = (median(getattr(each, what) for each in some) for some in (first, last))
        if after > before * (1 + GROWTH_MAX) + MORE_MAX:
            grew.append(f"{what}: {before:.0f}, then {after:.0f}")
    return grew


def more_objects(first: Sequence[Reading], last: Sequence[Reading], count: int = 8) -> list[str]:
    """Name the types of which there are most more objects: where to look for what grew."""
    more = Counter[str]()
    for kind in {kind for each in last for kind in each.kinds}:
        before, after = (median(each.kinds[kind] for each in some) for some in (first, last))
        more[kind] = round(after - before)
    return [f"{number:+d} {kind}" for kind, number in more.most_common(count) if number > 0]
