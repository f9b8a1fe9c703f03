"""Everything about a running node that its owner is shown at a glance, in one reply.

The status page, `cocoon status`, `cocoon top` and the metrics read this and nothing else, so they cannot
disagree. No word of a prompt or an answer is in it, and no secret.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from cocoon_p2p.control import Request, Verb
from cocoon_p2p.network.health import Health
from cocoon_p2p.network.reachability import ReachabilityView
from cocoon_p2p.overview.channel_view import ChannelView
from cocoon_p2p.overview.peers import Role
from cocoon_p2p.overview.selling import Selling

CHANNELS_SHOWN_MAX = 100


class ShowSnapshot(Request, tag="snapshot", frozen=True):
    """Ask how the node does."""


class StepView(msgspec.Struct, frozen=True):
    """A step that the node made while it joined."""

    step: str
    seconds: float
    "Since it was started."

    facts: dict[str, str] = {}
    remedy: str = ""
    "What its owner can do about a step that is late or failed; empty for one that was made."

    status: Literal["ok", "waiting", "failed"] = "ok"


class LoadView(msgspec.Struct, frozen=True):
    """What a worker or a proxy does right now."""

    running: int = 0
    waiting: int = 0
    slots_total: int = 0
    slots_free: int = 0
    is_draining: bool = False


class OfferView(msgspec.Struct, frozen=True):
    """What is sold here. Prices are in nanoTON for 1,000 tokens, before a proxy's commission."""

    model: str
    prompt: int
    cached: int
    completion: int
    reasoning: int
    trust: str = ""
    sellers: int = 1
    "Workers that a proxy has for it. Prices are then those of the cheapest."


class MoneyView(msgspec.Struct, frozen=True):
    """What came in and went out, in nanoTON."""

    income_today: int = 0
    expense_today: int = 0
    "Since midnight (UTC), by the ledger."

    in_channels: int = 0
    "What this node may still pay from its channels."

    uncollected: int = 0
    "What it was paid by voucher and has not collected from a contract."

    wallet: int | None = None
    "As the chain said last; None: no wallet, no chain, or nothing heard yet."

    wallet_seconds_ago: float | None = None
    chain: Literal["", "unknown", "in step", "behind", "away"] = ""
    """Empty: no chain stands behind this node's channels; `unknown`: nothing was asked of it yet; `away`: the
    last question had no answer."""

    chain_seconds_ago: float | None = None
    "Since the chain answered last: all that is shown of it is as old. None: it has not yet."

    channels_open: int = 0
    channels_closing: int = 0
    "Those that pay us and that their payers have begun to close alone: to be claimed in time."


class LatelyView(msgspec.Struct, frozen=True):
    """What went through the node in the last minute: exchanges that have ended in it."""

    over_seconds: int = 60
    exchanges: int = 0
    failed: int = 0
    "Those that ended otherwise than finished or cancelled."

    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_token_seconds: float | None = None
    "On average; None: no token came."


class EntryView(msgspec.Struct, frozen=True):
    """An exchange that ended, as `journal.Entry` has it."""

    exchange: str
    model: str
    outcome: str
    began_at: float
    seconds: float
    first_token_seconds: float | None
    prompt_tokens: int
    completion_tokens: int
    income: int
    expense: int
    peer: str


class FindingView(msgspec.Struct, frozen=True):
    """What a check of the node found the last time (`cocoon doctor`)."""

    check: str
    severity: Literal["fine", "warning", "failure"]
    text: str
    remedy: str = ""
    page: str = ""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """How a node does. Times are in seconds since the Unix epoch."""

    role: Role
    network: str
    peer: str
    version: str
    pid: int
    started_at: float
    now: float
    is_ready: bool
    "Whether it does what it is there for: a worker that some proxy offers, a proxy that is announced."

    steps: Sequence[StepView] = ()
    health: Health
    reach: ReachabilityView
    load: LoadView | None = None
    "None: this role carries no exchanges."

    offers: Sequence[OfferView] = ()
    money: MoneyView | None = None
    "None: this role has no ledger."

    channels: Sequence[ChannelView] = ()
    "Those that are not settled, `CHANNELS_SHOWN_MAX` at most; `money.channels_open` counts all."

    selling: Selling | None = None
    "A worker's proxies or a proxy's workers; None: nothing is sold here."

    lately: LatelyView = LatelyView()
    recent: Sequence[EntryView] = ()
    "The newest first."

    findings: Sequence[FindingView] = ()
    "Of the last check; empty before the first one."

    checked_at: float | None = None


SNAPSHOT = Verb(ShowSnapshot, Snapshot)
