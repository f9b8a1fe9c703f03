"""An explorer that has seen what a test says it has, served on a socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cocoon_p2p.explorer.channels import Followed, Settlement
from cocoon_p2p.explorer.observing import ChainSeen
from cocoon_p2p.explorer.service import Explorer
from cocoon_p2p.explorer.sightings import NetworkSeen, OfferSeen, ProxySeen, Trust
from cocoon_p2p.explorer.site import FRESH_SECONDS, build_site
from cocoon_p2p.explorer.store import Store, open_store
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.lite.queries import BlockId
from cocoon_p2p.units import NANO_PER_TON as TON
from cocoon_p2p.web import read_listen, serve_site

NOW = 1_800_000_000
TOPS = (BlockId(0, -(1 << 63), 12, b"r" * 32, b"f" * 32),)
CHANNEL = Followed(AccountId(b"c" * 32), 7, AccountId(b"p" * 32), AccountId(b"q" * 32), 5 * TON, 20, 9, NOW)

HOSTILE = (
    '<script>document.title="taken"</script><img src=x onerror="document.title=1">'
    "\"'`{{7*7}}\u202egpj.exe\x1b[2J"
)
"What a peer may call its model."


def offer(model: str = "m", prompt: int = 4, completion: int = 20) -> OfferSeen:
    return OfferSeen(model, "chat", 4096, False, prompt, 1, completion, 20)


def network(*offers: OfferSeen, peer: str = "12D3KooWa", trust: Trust = "open") -> NetworkSeen:
    return NetworkSeen([ProxySeen(peer, trust, 500, list(offers))], servers=2, silent=1, is_whole=True)


def chain(
    *channels: Followed, gone: tuple[AccountId, ...] = (), settled: tuple[int, ...] = (), at: int = NOW
) -> ChainSeen:
    settlements = tuple(Settlement(at, amount) for amount in settled)
    return ChainSeen(at, channels, gone, len(channels), settlements, 3, 1, TOPS, 0)


@dataclass
class Served:
    """A site, and what it tells of."""

    url: str
    store: Store


@asynccontextmanager
async def serving(
    folder: Path, *, hosts: tuple[str, ...] = (), fresh_seconds: int = FRESH_SECONDS
) -> AsyncIterator[Served]:
    """Serve an explorer that has seen two rounds, and looks no more."""
    async with open_store(folder / "explorer.db", now=NOW) as store, open_service_nursery() as nursery:
        for number in range(3):
            now = NOW + 3600 * number
            offers = (offer(HOSTILE), offer("x" * 96), offer("qwen3-0.6b", completion=20 + number))
            await store.keep_network(network(*offers, trust="sim"), now)
            await store.keep_chain(chain(CHANNEL, settled=(TON,), at=now), now)
        explorer = Explorer("mainnet", "local", store, clock=lambda: NOW + 7200.0)
        site = build_site(explorer, hosts, fresh_seconds=fresh_seconds)
        url = await nursery.start(serve_site, site, read_listen("127.0.0.1:0"))
        yield Served(url, store)
