"""One order of events for one seed, and a hash of what happened.

trio shuffles what is ready to run, on purpose; here it shuffles by the seed. With a mock clock,
drawn bytes and a network in memory nothing else is left to chance: no thread, no socket, no wall
clock, and the order of a set only where it makes no difference.
"""

import gc
import hashlib
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import trio

from cocoon_p2p.testing.memory import Fate, Fault, Write


@contextmanager
def pinned_order(seed: int) -> Iterator[None]:
    """Let trio run its tasks in an order that follows from the seed, and collect no garbage meanwhile."""
    # trio keeps both to itself; the second is there for Hypothesis, which needs the same.
    scheduler = vars(import_module("trio._core._run"))
    pinned = {"_r": random.Random(seed), "_ALLOW_DETERMINISTIC_SCHEDULING": True}
    before = {name: scheduler[name] for name in pinned}
    was_collecting = gc.isenabled()
    scheduler.update(pinned)
    # A collection may end an abandoned generator, and so a task, at any time.
    gc.disable()
    try:
        yield
    finally:
        scheduler.update(before)
        if was_collecting:
            gc.enable()


class Trace:
    """Everything that was written on the network, and when, as one hash."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.events = 0

    def tap(self, fault: Fault | None) -> Fault:
        """Listen in on a network, beside a fault."""

        def listen(write: Write) -> tuple[Fate, float]:
            self.note(write.source, write.target, write.protocol.encode(), write.data)
            return (Fate.DELIVER, 0.0) if fault is None else fault(write)

        return listen

    def note(self, *words: bytes) -> None:
        """Add an event, as of now."""
        self.events += 1
        self._hash.update(struct.pack(">d", trio.current_time()))
        for word in words:
            self._hash.update(struct.pack(">I", len(word)) + word)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()
