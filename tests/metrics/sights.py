"""Nodes of every role as a scrape finds them."""

from cocoon_p2p.journal import Entry, Journal
from cocoon_p2p.network.health import BootstrapHealth, Connections, Health, Kept
from cocoon_p2p.network.reachability import ReachabilityView
from cocoon_p2p.overview.channels import ChannelView
from cocoon_p2p.overview.peers import Role
from cocoon_p2p.overview.selling import Selling, StandingView, WhyNot, WorkerView
from cocoon_p2p.overview.snapshot import FindingView, LoadView, MoneyView, OfferView, Snapshot

ROLES: tuple[Role, ...] = ("client", "proxy", "worker", "bootstrap")
NOW = 1_800_000_000.0


def health() -> Health:
    return Health(
        peer="12D3KooWnode",
        addresses=["/ip4/192.0.2.1/tcp/4001"],
        reachability="public",
        servers=7,
        looked_up_seconds_ago=12.0,
        buckets=[],
        bootstraps=[BootstrapHealth("12D3KooWboot", [], True), BootstrapHealth("12D3KooWgone", [], False)],
        connections=Connections(5, 2, 3, []),
        kept=Kept(11, 4),
        peers_for_restart=7,
    )


def channel(side: str, *, capacity: int, charged: int) -> ChannelView:
    return ChannelView(
        channel="aa",
        side=side,
        peer="12D3KooWpeer",
        phase="open",
        has_contract=True,
        is_settled=False,
        is_connected=True,
        capacity_nano=capacity,
        vouchered_nano=charged,
        charged_nano=charged,
        running_nano=0,
        credit_nano=0,
        address=None,
        deposit_nano=capacity,
        claimed_nano=charged // 2,
        close_delay_seconds=None,
        close_at=0,
    )


def selling(role: Role) -> Selling | None:
    if role == "worker":
        whys = [
            WhyNot("others-cheaper", 3, "", ""),
            WhyNot("other-77", 1, "", ""),
            WhyNot("other-78", 1, "", ""),
        ]
        return Selling(
            "worker", proxies=[StandingView("p", True, 1.0, 60, 9, 4, whys), StandingView("q", False, None)]
        )
    if role == "proxy":
        worker = WorkerView("w", ["m"], "open", 1, 4, False, 1.1, 9.0, 0.0, {}, 0.0, "", "")
        resting = WorkerView("v", ["m"], "open", 1, 4, False, 1.1, 9.0, 0.0, {}, 30.0, "lost", "")
        return Selling("proxy", workers=[worker, resting], canary_budget=100, canaries_spent=42)
    return None


def snapshot(
    role: Role = "proxy", *, offers: tuple[OfferView, ...] = (OfferView("m", 1, 2, 3, 4),)
) -> Snapshot:
    """Make one in which everything has a value that its role can have."""
    is_seller = role in ("proxy", "worker")
    channels = [
        channel("payee", capacity=100, charged=40),
        channel("payee", capacity=50, charged=50),
    ]
    return Snapshot(
        role=role,
        network="local",
        peer="12D3KooWnode",
        version="1.2.3",
        pid=1,
        started_at=NOW - 100,
        now=NOW,
        is_ready=True,
        health=health(),
        reach=ReachabilityView("public", (), (), (), ""),
        load=LoadView(3, 2, 8, 5) if is_seller else None,
        offers=offers if is_seller else (),
        money=None if role == "bootstrap" else MoneyView(1, 2, 3, 4, 5, 6.0, "in step", 7.0, 2, 1),
        channels=() if role == "bootstrap" else channels,
        selling=selling(role),
        findings=[FindingView("clock", "fine", ""), FindingView("disk", "failure", "full")],
        checked_at=NOW - 60,
    )


def entry(model: str = "m", outcome: str = "finished", first: float | None = 0.3) -> Entry:
    return Entry(
        exchange=bytes(range(16)),
        role="proxy",
        model=model,
        outcome=outcome,
        began_at=NOW - 2,
        seconds=1.5,
        first_token_seconds=first,
        prompt_tokens=10,
        completion_tokens=20,
        income=105,
        expense=100,
    )


def journal(*entries: Entry) -> Journal:
    noted = Journal()
    for each in entries or (entry(),):
        noted.note(each)
    return noted
