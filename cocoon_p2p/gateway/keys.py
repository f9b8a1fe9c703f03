"""API keys: who may ask a gateway, from which purse it is paid, and how often.

A key's secret is shown once, when it is made; the ledger keeps its SHA-256. The secret is 32 random bytes,
so nobody can try their way to it, and a slow hash would protect nothing. What a key may spend is its
purse's budget (`client.purses`).
"""

import hmac
import os
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated

from cocoon_p2p.client import Budget, Purses
from cocoon_p2p.client.ranges import check_range, check_text
from cocoon_p2p.errors import ConfigurationError, MalformedMessage, Refused
from cocoon_p2p.gateway.rate import Bucket, take
from cocoon_p2p.ledger import Note, Store
from cocoon_p2p.protocols.messages import AHash
from cocoon_p2p.protocols.schema import Key, Max, decode_paper, encode_paper

PREFIX = "sk-cocoon-"
SECRET_SIZE_BYTES = 32
SECRET_MAX_CHARACTERS = 256
"More is not hashed: it is nobody's."

ID_SIZE_BYTES = 8
NAME_MAX_BYTES = 64
KEYS_MAX = 10_000
PER_MINUTE_MAX = 1_000_000

_NOTE = "gateway-key/"
_NOBODYS = bytes(32)


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


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a key's note holds; its id is in the note's name."""

    digest: Annotated[AHash, Key(1)]
    "The SHA-256 of the secret."

    name: Annotated[str, Key(2), Max(NAME_MAX_BYTES)]
    created_at: Annotated[int, Key(3)]
    requests_per_minute: Annotated[int | None, Key(4), Max(PER_MINUTE_MAX)] = None


class Keys:
    """All keys of a ledger. They can be used once `load` is done.

    Args:
        store: The ledger.
        purses: The purses of that ledger.
        clock: Seconds since the Unix epoch.
        draw: Draws random bytes.
    """

    def __init__(
        self,
        store: Store,
        purses: Purses,
        clock: Callable[[], float],
        draw: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._store = store
        self._purses = purses
        self._clock = clock
        self._draw = draw
        self._keys: dict[str, ApiKey] = {}
        self._digests: dict[bytes, tuple[bytes, str]] = {}
        "By the SHA-256 of each secret: itself, and the key's id."

        self._buckets: dict[str, Bucket] = {}

    async def load(self) -> None:
        """Read the keys that were made before.

        Raises:
            ConfigurationError: A note cannot be read.
            Unavailable: The ledger cannot be read.
        """
        for note, value in (await self._store.notes(_NOTE)).items():
            try:
                kept = decode_paper(_Kept, value)
            except MalformedMessage as exc:
                raise ConfigurationError(
                    f"an API key in the ledger cannot be read: {exc} (note={note})",
                    hint="was it written by a newer version of this program?",
                ) from exc
            self._keep(note.removeprefix(_NOTE), kept)

    async def create(
        self, name: str, budget: Budget | None, requests_per_minute: int | None = None
    ) -> tuple[ApiKey, str]:
        """Make a key, and give it with its secret, which is told this once.

        Args:
            name: What its owner calls it.
            budget: Of its purse; None: what it spends is only counted.
            requests_per_minute: None: as many as it wants.

        A cancel may leave a key whose secret nobody knows.

        Raises:
            ConfigurationError: The name or a number is out of range.
            Refused: There are too many keys, or purses.
            Unavailable: The ledger cannot be written.
        """
        check_text("a key's name", name, NAME_MAX_BYTES)
        check_range("requests_per_minute", requests_per_minute, 1, PER_MINUTE_MAX)
        if not name or not name.isprintable():
            raise ConfigurationError("a key's name is empty, or has characters that cannot be shown")
        if len(self._keys) >= KEYS_MAX:
            raise Refused(
                f"too many keys (most={KEYS_MAX})",
                code="too-many-keys",
                hint="revoke those that nobody uses: cocoon gateway key revoke",
            )
        secret = PREFIX + urlsafe_b64encode(self._draw(SECRET_SIZE_BYTES)).decode().rstrip("=")
        kept = _Kept(_digest(secret), name, max(0, int(self._clock())), requests_per_minute)
        ident = self._draw(ID_SIZE_BYTES).hex()
        # First: a key without its budget would be one without a limit.
        await self._purses.allow(_purse_of(ident), budget)
        await self._store.submit(Note(_NOTE + ident, encode_paper(kept))).wait()
        return self._keep(ident, kept), secret

    def find(self, secret: str) -> ApiKey | None:
        """Find the key that a secret belongs to, at once; None: nobody's.

        How long it takes tells nothing of any secret: the table is searched by a hash, of which nobody
        can choose even the beginning, and the hashes are compared in constant time.
        """
        if len(secret) > SECRET_MAX_CHARACTERS:
            return None
        said = _digest(secret)
        kept, ident = self._digests.get(said, (_NOBODYS, ""))
        return self._keys[ident] if hmac.compare_digest(kept, said) else None

    def admit(self, key: ApiKey, now: float) -> float | None:
        """Count a request of a key against its rate: None: it may run; else the seconds to wait.

        Args:
            key: As `find` gave it.
            now: Seconds on a steady clock.
        """
        if key.requests_per_minute is None:
            return None
        self._buckets[key.id], wait = take(self._buckets.get(key.id), key.requests_per_minute, now)
        return wait

    async def revoke(self, id: str) -> ApiKey:
        """Take a key back: its secret finds nothing from now on. Its purse stays, with what was spent.

        A cancel leaves it on its way to disk.

        Raises:
            ConfigurationError: There is no such key.
            Unavailable: The ledger cannot be written.
        """
        key = self.get(id)
        del self._keys[id]
        self._digests = {digest: kept for digest, kept in self._digests.items() if kept[1] != id}
        self._buckets.pop(id, None)
        await self._store.submit(Note(_NOTE + id, None)).wait()
        return key

    def get(self, id: str) -> ApiKey:
        """Give a key by its id.

        Raises:
            ConfigurationError: There is no such key.
        """
        if id not in self._keys:
            raise ConfigurationError(
                f"there is no such key (id={id[:32]!r})", hint="`cocoon gateway key list` shows all"
            )
        return self._keys[id]

    def list(self) -> tuple[ApiKey, ...]:
        """Give all keys, the oldest first."""
        return tuple(sorted(self._keys.values(), key=lambda key: (key.created_at, key.id)))

    def _keep(self, ident: str, kept: _Kept) -> ApiKey:
        key = ApiKey(ident, kept.name, _purse_of(ident), kept.requests_per_minute, kept.created_at)
        self._keys[ident] = key
        self._digests[kept.digest] = kept.digest, ident
        return key


def _purse_of(ident: str) -> str:
    return f"key/{ident}"


def _digest(secret: str) -> bytes:
    # What is no Unicode text is nobody's secret either.
    return sha256(secret.encode("utf-8", "replace")).digest()
