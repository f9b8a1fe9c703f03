"""An explorer at work: it looks, at its own pace, and keeps what it saw.

    the directory      every five minutes
    the chain          every ten seconds

Whoever does not answer is asked again later, twice as late each time, up to an hour.
"""

import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from cocoon_p2p.config import ClientFile, Loaded
from cocoon_p2p.errors import Unavailable
from cocoon_p2p.explorer.crawling import Crawler
from cocoon_p2p.explorer.observing import Observer
from cocoon_p2p.explorer.reckoning import hourly, line, view_of
from cocoon_p2p.explorer.series import (
    CHANNELS,
    COMPLETION,
    LOCKED,
    PRICED_MAX,
    PROMPT,
    PROXIES,
    SERVERS,
    most_offered,
)
from cocoon_p2p.explorer.store import Store, open_store
from cocoon_p2p.explorer.thinning import HOUR_SECONDS
from cocoon_p2p.explorer.view import ExplorerView, HistoryView, Line
from cocoon_p2p.identity import network_id
from cocoon_p2p.keyfile import load_or_create
from cocoon_p2p.node.proving_side import open_doorkeeper
from cocoon_p2p.node.sole import sole

log = logging.getLogger(__name__)

STORE = "explorer.db"
IDENTITY_KEY = "explorer.key"
KEPT_PEERS = "explorer-peers.json"

PAUSE_MAX_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How often an explorer looks, in seconds."""

    crawl_seconds: float = 300.0
    "At the directory. A walk asks each of its servers once."

    look_seconds: float = 10.0
    "At the chain."


class Explorer:
    """Looks and tells. Made by `open_explorer`.

    Args:
        network: The network's name.
        ton_network: TON's; empty: no chain is looked at.
        store: Where what was seen is kept.
        crawler: Looks at the directory; None: another process does.
        observer: Looks at the chain; None: nobody, or another process does.
        clock: Seconds since the Unix epoch.
    """

    def __init__(
        self,
        network: str,
        ton_network: str,
        store: Store,
        crawler: Crawler | None = None,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.network = network
        self._ton_network = ton_network
        self._store = store
        self._crawler = crawler
        self._observer = observer
        self._clock = clock

    async def view(self) -> ExplorerView:
        """Tell how things stand, by the last looks."""
        return view_of(self.network, self._ton_network, await self._store.standing())

    async def history(self) -> HistoryView:
        """Tell how it came to that."""
        offered = [offer for known in (await self._store.standing()).proxies for offer in known.proxy.offers]
        models = most_offered(offered)[:PRICED_MAX]
        until = int(self._clock()) // HOUR_SECONDS * HOUR_SECONDS
        return HistoryView(
            nodes=await self._line("nodes/", (PROXIES, SERVERS)),
            prompt_prices=await self._line(PROMPT, [PROMPT + name for name in models]),
            completion_prices=await self._line(COMPLETION, [COMPLETION + name for name in models]),
            chain=await self._line("chain/", (LOCKED, CHANNELS)),
            settlements=hourly(await self._store.hours(0), until),
        )

    async def _line(self, prefix: str, names: "list[str] | tuple[str, ...]") -> Line:
        points = await self._store.points(names)
        return line({name.removeprefix(prefix): found for name, found in points.items()})

    # ------------------------------------------------------------ looking

    async def crawl(self) -> None:
        """Look at the directory once, and keep what was seen."""
        assert self._crawler is not None
        await self._store.keep_network(await self._crawler.look(), int(self._clock()))

    async def look(self) -> None:
        """Look at the chain once, if there is one, and keep what was seen.

        Raises:
            Unavailable: It does not answer.
        """
        if self._observer is not None:
            await self._store.keep_chain(await self._observer.look(), int(self._clock()))

    async def run(self, pace: Pace) -> None:
        """Look until cancelled; a look that is cut off is lost, and nothing else.

        Raises:
            DiskFailed: In a group. What was seen could not be kept.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_repeat, "directory", self.crawl, pace.crawl_seconds)
            if self._observer is not None:
                nursery.start_soon(_repeat, "chain", self.look, pace.look_seconds)


async def _repeat(what: str, look: Callable[[], Awaitable[None]], seconds: float) -> None:
    failures = 0
    while True:
        try:
            await look()
        except Unavailable as error:
            failures += 1
            log.warning("not to be seen", extra={"what": what, "failures": failures, "error": str(error)})
        else:
            failures = 0
        pause = min(seconds * 2.0 ** min(failures, 12), max(seconds, PAUSE_MAX_SECONDS))
        # Explorers that were started together must not ask together for good.
        await trio.sleep(pause * random.uniform(1.0, 1.2))


@asynccontextmanager
async def open_explorer(
    loaded: Loaded[ClientFile], folder: Path, clock: Callable[[], float] = time.time
) -> AsyncIterator[Explorer]:
    """Open an explorer over real parts for as long as the block lasts.

    Args:
        loaded: Says which network, chain and policy; nothing of a client's is used.
        folder: Where it keeps its key and what it saw, for itself alone.
        clock: Dates what is seen, in seconds since the Unix epoch; of one second the last look is kept.

    Raises:
        InUse: Another explorer uses the folder.
        ConfigurationError: Something in the file or the folder cannot be used.
        Unavailable: A local chain does not answer.
    """
    from cocoon_p2p.network.libp2p.host import open_transport
    from cocoon_p2p.network.libp2p.kad import open_directory

    network = loaded.settings.network
    identity = load_or_create(folder / IDENTITY_KEY)
    this_network = network_id(network.name)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        await enter(sole(folder))
        store = await enter(open_store(folder / STORE, now=int(time.time())))
        observer = await _observer(loaded, store, stack)
        transport = await enter(open_transport(identity, punches_holes=False))
        directory = await enter(
            open_directory(
                transport,
                network_name=network.name,
                mode="client",
                bootstrap=network.bootstrap,
                keep_in=folder / KEPT_PEERS,
            )
        )
        _, doorkeeper = await open_doorkeeper(loaded, identity, this_network, transport)
        crawler = Crawler(transport, directory, doorkeeper, this_network, time.time)
        yield Explorer(network.name, _ton_network(loaded), store, crawler, observer, clock)


@asynccontextmanager
async def open_kept(loaded: Loaded[ClientFile], folder: Path) -> AsyncIterator[Explorer]:
    """Open what another process keeps, to be read only.

    Raises:
        ConfigurationError: There is nothing.
    """
    async with open_store(folder / STORE, now=0, is_read_only=True) as store:
        yield Explorer(loaded.settings.network.name, _ton_network(loaded), store)


async def _observer(loaded: Loaded[ClientFile], store: Store, stack: AsyncExitStack) -> Observer | None:
    section = loaded.settings.chain
    if section is None:
        return None
    from cocoon_p2p.payments.lite import NETWORKS, BlockFollower, open_chain

    chain = await stack.enter_async_context(
        open_chain(loaded.resolve(section.servers), NETWORKS[section.network])
    )
    followed = (await store.standing()).channels
    return Observer(chain, BlockFollower(chain, await store.tops()), followed)


def _ton_network(loaded: Loaded[ClientFile]) -> str:
    return "" if loaded.settings.chain is None else loaded.settings.chain.network
