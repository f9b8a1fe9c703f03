"""When a contract runs, as it can tell."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """Time, order and chance: all that a contract's outcome depends on beside itself and the message."""

    now: int
    "Seconds since the Unix epoch."

    lt: int
    "Logical time: the chain's own order of messages and transactions."

    seed: bytes
    "32 bytes, from which contracts get their random numbers."
