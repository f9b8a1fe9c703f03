"""Who saw what, and how what was seen fades."""

from typing import NewType

Witness = NewType("Witness", bytes)
"Whose exchange it was that showed something: a client's peer id. Never written down."

ANYBODY = Witness(b"")
"Nobody in particular: what was known before a restart."

OURSELVES = Witness(b"ourselves")
"The proxy, with an exchange that it bought itself."


def faded(seconds: float, half_life_seconds: float) -> float:
    """Say what is left of 1 after so long. A clock that went back makes nothing more."""
    return float(0.5 ** (max(0.0, seconds) / half_life_seconds))
