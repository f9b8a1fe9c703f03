"""What a process holds, and whether it grew.

Memory and open files come from Linux's /proc, the rest from the process itself
(`probe/sitecustomize.py`). Of memory, files and tasks the median of a first while is compared with
that of a last one: a single look may fall on a burst. Objects are counted once after each while.
"""

import json
import os
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import trio

GROWTH_MAX = 0.05
"Of memory, between the two whiles."

MORE_MAX = 16
"Files, tasks, connections and streams that there may be more of, beside the same share: load is uneven."

TELL_SECONDS = 5.0
"A process that has not said what it holds by then is busy; it is not looked at this time."

KINDS = {
    "connections": "cocoon_p2p.network.libp2p.muxer.MuxedConnection",
    "streams": "cocoon_p2p.network.libp2p.muxed_stream.MuxedStream",
}
"Objects that are counted by name. One that was closed and is kept is a leak all the same."


@dataclass(frozen=True, slots=True)
class Look:
    """What a process held at one moment."""

    resident_bytes: int
    files: int
    tasks: int
    kinds: Counter[str] = field(default_factory=Counter[str])
    "How many objects of each type were alive, where they were counted."


@dataclass(frozen=True, slots=True)
class While:
    """Some looks at a process, and the count after them."""

    looks: Sequence[Look]
    count: Look

    def middle(self, what: str) -> float:
        """Give the median of memory, files or tasks, or the count of connections or streams."""
        if what in KINDS:
            return self.count.kinds[KINDS[what]]
        middle: float = median(getattr(look, what) for look in self.looks)
        return middle


async def look_at(pid: int, folder: Path, *, counts: bool = False) -> Look | None:
    """Look at a process that writes into `folder` what it holds; None if it is too busy to say, or gone."""
    told = folder / str(pid)
    told.unlink(missing_ok=True)
    try:
        os.kill(pid, signal.SIGUSR2 if counts else signal.SIGUSR1)
        with trio.move_on_after(TELL_SECONDS):
            while not told.exists():  # noqa: ASYNC110  another process makes it
                await trio.sleep(0.02)
        return _look(pid, told)
    except (FileNotFoundError, ProcessLookupError):
        return None


def _look(pid: int, told: Path) -> Look:
    said, process = json.loads(told.read_text()), Path(f"/proc/{pid}")
    return Look(
        resident_bytes=int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
        files=len(list((process / "fd").iterdir())),
        tasks=said["tasks"],
        kinds=Counter[str](said["kinds"]),
    )


def what_grew(first: While, last: While) -> list[str]:
    """Say what there is more of in the last while than in the first, a line for each."""
    grew: list[str] = []
    before, after = first.middle("resident_bytes"), last.middle("resident_bytes")
    if after > before * (1 + GROWTH_MAX):
        grew.append(f"memory: {before / 1e6:.1f} MB, then {after / 1e6:.1f} MB ({after / before - 1:+.1%})")
    for what in ("files", "tasks", *KINDS):
        before, after = first.middle(what), last.middle(what)
        if after > before * (1 + GROWTH_MAX) + MORE_MAX:
            grew.append(f"{what}: {before:.0f}, then {after:.0f}")
    return grew


def more_objects(first: While, last: While, most: int = 8) -> list[str]:
    """Name the types of which there are most more objects: where to look for what grew."""
    more = Counter({kind: number - first.count.kinds[kind] for kind, number in last.count.kinds.items()})
    return [f"{number:+d} {kind}" for kind, number in more.most_common(most) if number > 0]
