"""Where proxies are found: what the DHT (and its stand-in for tests) does for the roles."""

from typing import Protocol


class Directory(Protocol):
    """A shared, untrusted list of signed proxy records. Readers check every record again."""

    async def publish(self, record: bytes) -> None:
        """Make our own signed record (`protocols.messages.Signed`, encoded) findable.

        Republishing before it expires is the caller's job: a record carries its own dates.

        Raises:
            Unavailable: No other node stored it.
        """
        ...

    async def find_proxies(self) -> tuple[bytes, ...]:
        """Collect the signed records that the network holds now, at most a few hundred, newest first a peer.

        Returns what was found, possibly nothing; never raises for lack of peers.
        """
        ...
