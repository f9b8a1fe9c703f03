"""How a node says how far it is."""

from typing import Protocol


class Announce(Protocol):
    """Told of each step that a node makes while it joins, with its facts."""

    def __call__(self, step: str, **facts: object) -> None: ...
