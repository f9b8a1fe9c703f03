"""Snapshots of nodes, for the commands that show them."""

from typing import Any

from cocoon_p2p.network.health import BootstrapHealth, Connections, Health
from cocoon_p2p.network.reachability import ReachabilityView
from cocoon_p2p.overview.snapshot import (
    EntryView,
    FindingView,
    LatelyView,
    LoadView,
    MoneyView,
    OfferView,
    Snapshot,
    StepView,
)

NAME = "12D3KooWLZw3LsHqWVfFxX6o8XEnP8wfPCw3SkikvjJ9BNj8ohYy"
NOW = 1_800_000_000.0

CONFIGS = {
    "worker": '[worker]\nmodel = "demo"\n[network]\nname = "demo"\n[data]\ndirectory = "data"\n',
    "proxy": '[proxy]\n[network]\nname = "demo"\n[data]\ndirectory = "data"\n',
    "client": '[client]\n[network]\nname = "demo"\n[data]\ndirectory = "data"\n',
    "bootstrap": '[bootstrap]\n[network]\nname = "demo"\n[data]\ndirectory = "data"\n',
}

HEALTH = Health(
    peer=NAME,
    addresses=["/ip4/203.0.113.7/tcp/4001"],
    reachability="public",
    servers=3,
    looked_up_seconds_ago=1.0,
    buckets=[],
    bootstraps=[BootstrapHealth("12D3KooWBootstrapA", ["/ip4/203.0.113.8/tcp/4001"], True)],
    connections=Connections(5, 3, 2, []),
    kept=None,
    peers_for_restart=2,
)
REACH = ReachabilityView("public", ("/ip4/203.0.113.7/tcp/4001",), (), (), "")
STEPS = (StepView("identity", 0.1, {"peer": NAME}), StepView("ready", 2.5))
MONEY = MoneyView(
    income_today=120_000_000,
    in_channels=0,
    uncollected=400_000_000,
    wallet=1_200_000_000,
    wallet_seconds_ago=200.0,
    chain="in step",
    chain_seconds_ago=10.0,
    channels_open=2,
)


def entry(**facts: Any) -> EntryView:
    given: dict[str, Any] = {
        "exchange": "ab" * 16, "model": "qwen3", "outcome": "finished", "began_at": NOW - 5, "seconds": 2.0,
        "first_token_seconds": 0.4, "prompt_tokens": 100, "completion_tokens": 50, "income": 1_500_000,
        "expense": 0, "peer": NAME,
    }  # fmt: skip
    return EntryView(**(given | facts))


def snapshot(role: str = "worker", **facts: Any) -> Snapshot:
    """Show a worker that is well, or what is said otherwise."""
    sells = role in ("worker", "proxy")
    given: dict[str, Any] = {
        "role": role, "network": "demo", "peer": NAME, "version": "1.0", "pid": 321,
        "started_at": NOW - 3 * 3600 - 120, "now": NOW, "is_ready": True, "steps": STEPS, "health": HEALTH,
        "reach": REACH, "load": LoadView(1, 0, 4, 3) if sells else None,
        "offers": [OfferView("qwen3", 4_000, 1_000, 20_000, 20_000)] if sells else [],
        "money": None if role == "bootstrap" else MONEY,
        "lately": LatelyView(60, 12, 1, 4_000, 3_100, 0.42), "recent": [entry()],
    }  # fmt: skip
    return Snapshot(**(given | facts))


BAD = FindingView("disk", "failure", "0.0 GB are free", "make room", "docs/status.md#disk")
