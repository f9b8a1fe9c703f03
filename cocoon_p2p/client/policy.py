"""What a client insists on, and how patient it is, unless a request says otherwise."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cocoon_p2p.protocols.contents import RequestContent
from cocoon_p2p.protocols.ids import Trust
from cocoon_p2p.units import Nano

CountPrompt = Callable[[bytes, RequestContent], int | None]
"""Says how many tokens a request's prompt has, template included, by the tokenizer with this hash (the
worker's record names it); None if that is not at hand. Pure, and quick: the answer waits for it. It is not
asked about the rest of an answer that broke off."""

_MAX_COST = Nano(100_000_000)
_CHANNEL_CAPACITY = Nano(1_000_000_000)


@dataclass(frozen=True, slots=True)
class Policy:
    """A client's own rules."""

    trust: Trust = Trust.TDX
    "What must be proven about a worker's machine."

    weights: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    "For a model's name the hash of the only weights that will do, unless a request names others."

    max_cost: Nano = _MAX_COST
    "The most that one answer may cost, in nanoTON."

    channel_capacity: Nano = _CHANNEL_CAPACITY
    "Of each channel that is opened to a proxy, in nanoTON."

    commission_basis_points_max: int = 2_000
    "A proxy that takes more, or more than its record says, is not used."

    window_tokens_max: int = 256
    "Tokens that are paid ahead of delivery at most: what a proxy that vanishes may take along."

    completion_tokens_max: int = 256
    timeout_seconds: float = 120.0
    "For a whole answer, first to last."

    attempts_max: int = 4
    "Workers and proxies that are tried for one request until something is delivered; as many after a break."

    breaks_max: int = 8
    "How often one answer that broke off goes on with another worker; 0: it never does."

    hedges_per_thousand: int = 100
    """Of the chats and completions that prefer `fast`, how many are asked of a second worker too at most,
    because their first token is late (`hedging`); the one that loses is paid for its prompt. 0: none."""

    wait_seconds: float = 10.0
    "How long a request waits in all, where nobody has room and somebody says when to try again."

    refresh_seconds: float = 60.0
    "How old the view of the network's proxies may become."

    first_view_seconds: float = 15.0
    "How long a request waits for a proxy to be found when none is known yet."

    connect_seconds: float = 10.0
    "For dialling a proxy and opening a channel to it."

    count_prompt: CountPrompt | None = None
    "Counts a prompt exactly where the client has the worker's tokenizer; else its bytes bound it."

    proxy_trust: Trust | None = None
    """What must be proven about a proxy's machine before anything is said to it: it sees sizes, never words.
    None: as much as a request asks of workers, unless the appraisal policy asks nothing of proxies."""
