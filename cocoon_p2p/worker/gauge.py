"""How quick the requests of clients are, and what the papers say of it.

    each request --> stopwatch --> drift --now and then--> a new record

Nothing is measured for its own sake here: requests that are paid tell on the way.

Spec: inference/measuring.md (Drift).
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import trio

from cocoon_p2p.inference.engine import Piece
from cocoon_p2p.inference.measuring.drift import Drift, observe
from cocoon_p2p.inference.measuring.levels import Speeds
from cocoon_p2p.inference.measuring.stopwatch import Observation, Stopwatch
from cocoon_p2p.worker.papers import Papers

log = logging.getLogger(__name__)


class Gauge:
    """Compares what requests see with what is advertised.

    Args:
        papers: Told when something else is to be advertised.
        speeds: What they advertise. A model that is not in it is not watched: nothing was promised of it.
        slots: Requests that the engine computes at once.
    """

    def __init__(self, papers: Papers, speeds: Mapping[str, Speeds], slots: int) -> None:
        self._papers = papers
        self._slots = slots
        began = trio.current_time()
        self._drifts = {model: Drift(each, slots, began) for model, each in speeds.items()}
        self._running = 0

    def state(self, model: str, speeds: Speeds) -> None:
        """Advertise what was measured of a model, and watch it from now on."""
        self._drifts[model] = Drift(speeds, self._slots, trio.current_time())
        self._papers.set_speeds(model, speeds)

    @contextmanager
    def watch(self, model: str) -> Iterator[Stopwatch]:
        """Take the times of one request of this model; give each of its pieces to `step`."""
        self._running += 1
        watch = Stopwatch(trio.current_time(), self._running)
        try:
            yield watch
        finally:
            self._take(model, watch.read(self._running))
            self._running -= 1

    def step(self, watch: Stopwatch, piece: Piece) -> None:
        """Note a piece, the moment it comes."""
        if not piece.completion_tokens and piece.finish is None:
            return
        computed = piece.prompt_tokens - piece.cached_tokens
        watch.stepped(trio.current_time(), piece.completion_tokens, computed, self._running)

    def _take(self, model: str, seen: Observation) -> None:
        known = self._drifts.get(model)
        if known is None:
            return
        found = self._drifts[model] = observe(known, seen, trio.current_time())
        if found.stated != known.stated:
            log.info("speed has drifted", extra={"model": model, "speeds": str(found.stated)})
            self._papers.set_speeds(model, found.stated)
