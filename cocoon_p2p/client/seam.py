"""Where one worker's part of an answer ends and another's begins: no stop string gets through there. Pure.

A worker looks for stop strings in what it makes itself. One that begins in what an earlier worker
delivered and ends in what the next one makes is seen by neither, so the client looks for it: it
holds back what may still become the end of one, a few characters at most, and only behind a seam.

Spec: protocols/exchange.md (Continuation).
"""

from dataclasses import dataclass
from typing import NamedTuple


class Passed(NamedTuple):
    """What came of a text at the seam."""

    seam: "Seam"
    text: str
    "May be given to the reader."

    is_stopped: bool
    "A stop string is complete: what comes is not part of the answer, and nothing of it was let through."


@dataclass(frozen=True, slots=True)
class Seam:
    """A seam, with what stands before it. `Seam()` lets everything through."""

    before: str = ""
    "The end of what the reader has, as far as a stop string may have begun in it."

    stop: tuple[str, ...] = ()
    held: str = ""
    "What came since, and may be the end of a stop string."

    def feed(self, text: str) -> Passed:
        """Take what comes next."""
        if not self.before:
            return Passed(self, text, is_stopped=False)
        held = self.held + text
        rests = [self.before[start:] + held for start in range(len(self.before))]
        stops = [stop for stop in self.stop if stop]
        # Whoever ends in what was delivered already was let through by the worker that made it.
        if any(
            rest.startswith(stop) for rest in rests for stop in stops if len(stop) > len(rest) - len(held)
        ):
            return Passed(Seam(), "", is_stopped=True)
        if any(stop.startswith(rest) for rest in rests for stop in stops):
            return Passed(Seam(self.before, self.stop, held), "", is_stopped=False)
        return Passed(Seam(), held, is_stopped=False)


def seam_after(text: str, stop: tuple[str, ...]) -> Seam:
    """Make the seam behind what the reader has."""
    longest = max(map(len, stop), default=0)
    return Seam(text[max(0, len(text) - longest + 1) :] if longest > 1 else "", stop)
