"""What a proxy's operator decides, and the bounds that no peer moves."""

from collections.abc import Callable
from dataclasses import dataclass

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.identity import PeerId
from cocoon_p2p.protocols.ids import CHUNK_TOKENS
from cocoon_p2p.units import Nano

GrantPolicy = Callable[[PeerId], Nano]
"How much a client may owe; the same that the accounts were opened with."

_CHANNEL_CAPACITY = Nano(1_000_000_000)
_NOTHING = Nano(0)


def grant_nothing(_client: PeerId) -> Nano:
    """Let nobody owe anything."""
    return Nano(0)


@dataclass(frozen=True, slots=True)
class ProxyPolicy:
    """How a proxy does business. The bounds are what one peer can make it hold or do.

    Raises:
        ConfigurationError: Commission or window are out of range.
    """

    commission_basis_points: int = 500
    "On top of what a worker earns."

    channel_capacity: Nano = _CHANNEL_CAPACITY
    "Of each channel that is opened to a worker."

    window_tokens: int = 256
    "Covered ahead of delivery, by us at the worker and by the client here: a second or two of tokens."

    grant: GrantPolicy = grant_nothing

    workers_max: int = 1_000
    exchanges_max: int = 4_096
    "That run at once, all told. One costs some 10 KiB beside what is under way."

    streams_per_client_max: int = 64
    asks_per_second: float = 20.0
    "Of one client, price questions and refusals included. What was paid for in the end does not count."

    asks_burst: int = 64
    waiting_max: int = 1_024
    "Asks that wait for a slot, all told. One is a newcomer's frame at most: 16 MiB in the worst case."

    waiting_per_client_max: int = 64
    wait_max_seconds: float = 60.0
    "The longest that an Ask is let wait, whatever it says."

    lost_rest_seconds: float = 10.0
    "How long a worker that was lost in an exchange is not chosen."

    broken_rest_seconds: float = 600.0
    "The same of one that broke the rules, or whose receipt did not hold."

    canary_budget: Nano = _NOTHING
    "What may be spent an hour on questions of our own to our workers, in nanoTON; none: they are not asked."

    def __post_init__(self) -> None:
        if not 0 <= self.commission_basis_points <= 10_000:
            raise ConfigurationError(
                f"commission out of range (got={self.commission_basis_points} basis points, at most 10,000)"
            )
        if self.window_tokens < 2 * CHUNK_TOKENS:
            raise ConfigurationError(
                f"window too small (got={self.window_tokens} min={2 * CHUNK_TOKENS} tokens)",
                hint="cover is renewed when half of it is used, and that must hold a chunk",
            )
