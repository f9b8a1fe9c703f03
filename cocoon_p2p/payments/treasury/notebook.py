"""What the treasury remembers from one life of the process to the next: small numbers in the ledger's notes.

Spec: payments/settlement.md (Opening, Closing alone).
"""

import struct

from cocoon_p2p.ledger import Note, Store
from cocoon_p2p.protocols.messages import ChannelId

_NUMBER = struct.Struct(">Q")


class Notebook:
    """Numbers by name. They can be read once `load` is done."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._notes: dict[str, bytes] = {}

    async def load(self) -> None:
        self._notes = dict(await self._store.notes(""))

    def read(self, key: str) -> tuple[int, ...] | None:
        """Give what was written under a name; None if there is nothing."""
        value = self._notes.get(key)
        return None if value is None else tuple(number for (number,) in _NUMBER.iter_unpack(value))

    def under(self, prefix: str) -> dict[ChannelId, tuple[int, ...]]:
        """Give all that was written of channels under names that begin so."""
        keys = [key for key in self._notes if key.startswith(prefix)]
        return {ChannelId(bytes.fromhex(key[len(prefix) :])): self.read(key) or () for key in keys}

    def write(self, key: str, *numbers: int) -> None:
        """Remember numbers under a name, instead of what was there; none: forget it. It is soon on disk."""
        if numbers:
            self._notes[key] = b"".join(map(_NUMBER.pack, numbers))
        elif self._notes.pop(key, None) is None:
            return
        self._store.submit(Note(key, self._notes.get(key)))

    def forget(self, channel: ChannelId) -> None:
        """Forget all that was written of a channel."""
        for key in [key for key in self._notes if key.endswith(f"/{channel.hex()}")]:
            self.write(key)

    async def save(self, key: str, *numbers: int) -> None:
        """Write, and return when it is on disk. A cancel leaves it on its way.

        Raises:
            Unavailable: The ledger cannot be written.
        """
        self.write(key, *numbers)
        await self._store.submit().wait()
