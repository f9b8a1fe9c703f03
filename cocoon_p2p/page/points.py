"""What was going on in the last minutes, for the plot: points at even distances, the oldest forgotten."""

from collections import deque

from cocoon_p2p.overview.snapshot import Snapshot

POINT_SECONDS = 5.0
POINTS_MAX = 181
"A quarter of an hour."

Columns = tuple[list[float], list[int], list[int], list[int]]
"Times in seconds since the Unix epoch; what ran, what waited, and how many slots there were."


class Points:
    """The last points of a node's load."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int, int, int]] = deque(maxlen=POINTS_MAX)

    def note(self, snapshot: Snapshot) -> None:
        """Add how it is now. A node that carries nothing has no points."""
        if (load := snapshot.load) is not None:
            self._points.append((round(snapshot.now, 1), load.running, load.waiting, load.slots_total))

    def columns(self) -> Columns:
        """Give all of them as uPlot reads them."""
        points = self._points
        return (
            [point[0] for point in points],
            [point[1] for point in points],
            [point[2] for point in points],
            [point[3] for point in points],
        )
