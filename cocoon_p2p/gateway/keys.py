"""API keys: who may ask a gateway, from which purse it is paid, and how often.

A key's secret is shown once, when it is made; the ledger keeps its SHA-256. The secret is 32 random bytes,
so nobody can try their way to it, and a slow hash would protect nothing.
"""

from dataclasses import dataclass

from cocoon_p2p.client import Budget


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key, without its secret."""

    id: str
    name: str
    "What its owner calls it."

    purse: str
    "Whose budget its requests are paid from: `key/` and its id."

    requests_per_minute: int | None
    "None: as many as it wants."

    created_at: int
    "In seconds since the Unix epoch."


class Keys:
    """All keys of a gateway."""

    async def create(
        self, name: str, budget: Budget | None, requests_per_minute: int | None = None
    ) -> tuple[ApiKey, str]:
        """Make a key, and give it with its secret, which is told this once.

        Args:
            name: What its owner calls it.
            budget: Of its purse; None: what it spends is only counted.
            requests_per_minute: None: as many as it wants.

        A cancel leaves it on its way to disk, with a secret that nobody knows.

        Raises:
            ConfigurationError: The name or a number is out of range.
            Refused: There are too many keys.
            Unavailable: The ledger cannot be written.
        """
        raise NotImplementedError

    def find(self, secret: str) -> ApiKey | None:
        """Find the key that a secret belongs to, at once; None: nobody's."""
        raise NotImplementedError

    def admit(self, key: ApiKey, now: float) -> float | None:
        """Count a request of a key against its rate: None: it may run; else the seconds to wait.

        Args:
            key: As `find` gave it.
            now: Seconds on a steady clock.
        """
        raise NotImplementedError

    async def revoke(self, id: str) -> ApiKey:
        """Take a key back: its secret finds nothing any more. Its purse stays, with what was spent.

        Raises:
            ConfigurationError: There is no such key.
            Unavailable: The ledger cannot be written.
        """
        raise NotImplementedError

    def list(self) -> tuple[ApiKey, ...]:
        """Give all keys, the oldest first."""
        raise NotImplementedError
