"""A page served on a socket, of a node that is whatever a test says it is."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import msgspec
import trio

from cocoon_p2p.journal import Entry, Journal
from cocoon_p2p.network.health import BootstrapHealth, Connections, Health
from cocoon_p2p.network.reachability import ReachabilityView
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.overview.channels import ChannelView
from cocoon_p2p.overview.selling import Selling, StandingView, WorkerView, why_not
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
from cocoon_p2p.page import Deeds, Gate, Page
from cocoon_p2p.protocols.ids import Why
from cocoon_p2p.web import Bounds, read_listen, serve_site

NOW = 1_800_000_000.0
PEER = "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq"
CHANNEL = "3f" * 32
RELAYED = "/ip4/203.0.113.7/tcp/4001/" + "p2p-circuit/" * 4
TOKEN = "a-token-of-nobodys-" + "x" * 24

HOSTILE = (
    '<script>document.title="taken"</script><img src=x onerror="document.title=1">'
    "\"'`{{7*7}}\u202egpj.exe\x1b[2J"
)
"What a peer may call its model."

ENTRY = Entry(
    exchange=b"x" * 16, role="worker", model=HOSTILE, outcome="finished", began_at=NOW, seconds=1.0
)  # fmt: skip


def worker_snapshot(name: str = "qwen3-0.6b") -> Snapshot:
    """A worker that has all that a page can show."""
    return Snapshot(
        role="worker",
        network="mainnet",
        peer=PEER,
        version="0.1.0",
        pid=1,
        started_at=NOW - 7500,
        now=NOW,
        is_ready=True,
        steps=[
            StepView("identity", 0.1, {"peer": PEER}),
            StepView("reachability", 2.5, {"name": name}, "forward the port 4001 of your router", "waiting"),
        ],
        health=Health(
            peer=PEER,
            addresses=["/ip4/203.0.113.7/tcp/4001"],
            reachability="private",
            servers=7,
            looked_up_seconds_ago=2.0,
            buckets=[],
            bootstraps=[BootstrapHealth(PEER, ["/ip4/203.0.113.9/tcp/4001"], True)],
            connections=Connections(3, 1, 2, []),
            kept=None,
            peers_for_restart=7,
        ),
        reach=ReachabilityView("private", (RELAYED,), (), (), "use a relay"),
        load=LoadView(2, 1, 4, 2),
        offers=[OfferView(name, 4_000, 1_000, 20_000, 20_000)],
        money=MoneyView(
            income_today=1_234_000_000, uncollected=500, wallet=2_000_000_000, wallet_seconds_ago=3.0,
            chain="in step", channels_open=1,
        ),
        channels=[_channel()],
        selling=Selling(
            "worker",
            proxies=[
                StandingView(PEER, True, 3.0, 300, 12, 4, [why_not(Why.OTHERS_CHEAPER, 8)]),
                StandingView(PEER[::-1], False, None),
            ],
        ),
        lately=LatelyView(exchanges=3, failed=1),
        recent=[_entry(name, "finished"), _entry(name, "no-capacity")],
        findings=[
            FindingView("clock", "fine", "in step"),
            FindingView("disk", "warning", f"little room: {name}", "remove old models", "docs/running.md"),
        ],
        checked_at=NOW - 60,
    )  # fmt: skip


def proxy_snapshot(name: str = "qwen3-0.6b") -> Snapshot:
    """A proxy with workers."""
    standing = WorkerView(
        worker=PEER, models=[name] * 3, trust="tdx", slots_free=1, slots_total=4, is_draining=False,
        tries=1.25, kept=3, broken=1, faults={}, rests_seconds=2.0, rests_for=name, canary="",
    )  # fmt: skip
    return msgspec.structs.replace(
        worker_snapshot(name),
        role="proxy",
        selling=Selling("proxy", workers=[standing, msgspec.structs.replace(standing, rests_seconds=0.0)]),
        offers=[OfferView(name, 4_000, 1_000, 20_000, 20_000, "tdx", 2)],
    )


def bootstrap_snapshot() -> Snapshot:
    """A node without a ledger."""
    return msgspec.structs.replace(
        worker_snapshot(),
        role="bootstrap", load=None, money=None, selling=None, offers=[], channels=[], recent=[], findings=[],
        checked_at=None,
    )  # fmt: skip


def _channel() -> ChannelView:
    return ChannelView(
        channel=CHANNEL, side="payee", peer=PEER, phase="open", has_contract=True, is_settled=False,
        is_connected=True, capacity_nano=10**9, vouchered_nano=700, charged_nano=600, running_nano=0,
        credit_nano=5, address=None, deposit_nano=10**9, claimed_nano=0, close_delay_seconds=86_400,
        close_at=0,
    )  # fmt: skip


def _entry(model: str, outcome: str) -> EntryView:
    return EntryView(
        exchange="ab" * 16, model=model, outcome=outcome, began_at=NOW - 30, seconds=1.5,
        first_token_seconds=0.2, prompt_tokens=1200, completion_tokens=34, income=700, expense=0, peer=PEER,
    )  # fmt: skip


@dataclass
class Node:
    """What a test's page is of."""

    snapshot: Snapshot = field(default_factory=worker_snapshot)
    looks: int = 0
    drained: int = 0
    closed: list[str] = field(default_factory=list[str])
    priced: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])

    def look(self) -> Snapshot:
        self.looks += 1
        return self.snapshot

    def drain(self) -> None:
        self.drained += 1

    async def close(self, channel: str) -> str:
        await trio.lowlevel.checkpoint()
        self.closed.append(channel)
        return f"channel {channel[:8]} is closed"

    def price(self, model: str, completion: int) -> str:
        self.priced.append((model, completion))
        return f"{completion} is asked"

    @property
    def done(self) -> int:
        return self.drained + len(self.closed) + len(self.priced)

    def becomes(self, **facts: object) -> None:
        """Change how the node does."""
        self.snapshot = msgspec.structs.replace(self.snapshot, **facts)


def page_of(
    node: Node,
    *,
    is_public: bool = False,
    steady: Callable[[], float] = trio.current_time,
    hosts: tuple[str, ...] = (),
) -> Page:
    journal = Journal()
    journal.note(ENTRY)
    gate = None if is_public else Gate(TOKEN, steady)
    deeds = Deeds(node.drain, node.close, node.price)
    return Page(node.look, journal, deeds, gate, token_file=Path("/data/page-token"), hosts=hosts)


@asynccontextmanager
async def serving(page: Page, bounds: Bounds | None = None) -> AsyncIterator[str]:
    """Serve a page on a port that is free; give its URL."""
    async with open_service_nursery() as nursery:
        nursery.start_soon(page.run)
        yield await nursery.start(serve_site, page.app, read_listen("127.0.0.1:0"), bounds)


@asynccontextmanager
async def visiting(node: Node, **facts: object) -> AsyncIterator[httpx.AsyncClient]:
    """Serve a node's page, and give what asks it things."""
    with trio.fail_after(60):
        async with (
            serving(page_of(node, **facts)) as url,
            httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client,
        ):
            yield client


def by_owner(client: httpx.AsyncClient, token: str = TOKEN) -> dict[str, str]:
    """The headers of a POST that the page itself makes."""
    origin = str(client.base_url).rstrip("/")
    return {"origin": origin, "sec-fetch-site": "same-origin", "x-cocoon-token": token}
