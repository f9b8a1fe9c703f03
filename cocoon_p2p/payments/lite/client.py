"""The chain port over lite servers: what it tells is proven, agreed on, and never older than before.

Every look-up goes the same way: find the block that counts (`heads`), ask one server for what
is wanted with a proof from that block (`proofs`), and if it lies or fails, ask another. The
numbers of blocks that count never fall, so neither do times and accounts' logical times; when
look-ups overtake one another, the one that comes late is done again.
"""

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import trio

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.payments.chain import AccountSeen, Transaction
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.payments.lite import queries
from cocoon_p2p.payments.lite.heads import OF_NO_USE, Agreed, Heads
from cocoon_p2p.payments.lite.history import read_history
from cocoon_p2p.payments.lite.loop import AsyncioLoop, open_asyncio_loop
from cocoon_p2p.payments.lite.networks import PUBLIC, Directory, Network, read_directory
from cocoon_p2p.payments.lite.proofs import Header, ProvenAccount, Unreadable, prove_account, prove_header
from cocoon_p2p.payments.lite.queries import BlockId, ServerError
from cocoon_p2p.payments.lite.sending import SERVERS_MAX, check_message, hand_in
from cocoon_p2p.payments.lite.server import LiteServer

T = TypeVar("T")

STALE_SECONDS = 300.0
"How old a public network's newest block may be. It makes one every few seconds."

_CALLS_MAX = 32
"Look-ups at one time. More wait."

_ACCOUNTS_MAX = 4096
"Accounts of which it is remembered when they were told last. It matters only while look-ups overlap."

_TIME = AccountId(b"")
"Stands for the chain's time among them."


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take, in seconds."""

    answer_seconds: float = 5.0
    "One server: connecting, and each answer."

    call_seconds: float = 20.0
    "A whole call, tries and pauses and all."

    pauses_seconds: tuple[float, ...] = (0.25, 0.5, 1.0)
    "Between tries, at least."


@dataclass(frozen=True, slots=True)
class _Found(Generic[T]):
    """What a look-up found, and the header of the block that proves it."""

    header: Header
    value: T


class LiteChain:
    """A `Chain` over lite servers. See `open_chain`."""

    def __init__(
        self,
        network: Network,
        directory: Directory,
        loop: AsyncioLoop,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self._network = network
        self._limits = limits
        self._clock = clock
        self._servers = [
            LiteServer(address, loop, answer_seconds=limits.answer_seconds) for address in directory.servers
        ]
        self._heads = Heads(self._servers, directory.zero_state, network.operators_min)
        self._global_id = network.global_id
        self._newest = (0, 0)
        self._told: OrderedDict[AccountId, int] = OrderedDict()
        self._calls = trio.Semaphore(_CALLS_MAX)

    @property
    def global_id(self) -> int:
        assert self._global_id is not None
        return self._global_id

    async def time(self) -> int:
        return (await self._looked_up(_TIME, _ask_header)).header.utime

    async def newest(self) -> BlockId:
        """Name the masterchain's newest block that counts. Raises as `time`."""
        return (await self._looked_up(_TIME, _ask_header)).value

    async def hint(self, query: bytes, read: Callable[[bytes], T]) -> T | None:
        """Ask one server, then others, for what nobody proves: good for finding where to look, and no more.

        Returns:
            What the first that answers says; None: those who answer have nothing there (any more).

        Raises:
            Unavailable: No server answers.
        """
        is_refused = False
        with self._bounded():
            async with self._calls:
                for server in self._heads.askable():
                    try:
                        return await server.ask(query, read)
                    except ServerError:
                        is_refused = True
                    except OF_NO_USE:
                        continue
            if is_refused:
                return None
            raise Unavailable("no lite server answers")
        raise self._out_of_time()

    async def account(self, account: AccountId) -> AccountSeen:
        found = await self._looked_up(account, partial(_ask_account, account))
        return AccountSeen(
            account=account,
            balance=found.value.held.balance,
            code=found.value.held.code,
            data=found.value.held.data,
            last_lt=found.value.last_lt,
            at=found.header.utime,
        )

    async def transactions(self, account: AccountId, *, since_lt: int = 0) -> Sequence[Transaction]:
        with self._bounded():
            found = (await self._looked_up(account, partial(_ask_account, account))).value
            servers = self._heads.askable()
            return await read_history(servers, account, found.last_lt, found.last_hash, since_lt)
        raise self._out_of_time()

    async def send(self, message: bytes) -> None:
        check_message(message)
        with self._bounded():
            servers = self._heads.askable()[:SERVERS_MAX]
            await hand_in(servers, message, self._network.operators_min)
            return
        raise self._out_of_time()

    async def aclose(self) -> None:
        """Close all connections. A cancel closes them, too."""
        async with trio.open_nursery() as nursery:
            for server in self._servers:
                nursery.start_soon(server.close)

    def _bounded(self) -> trio.CancelScope:
        return trio.move_on_after(self._limits.call_seconds)

    def _out_of_time(self) -> Unavailable:
        return Unavailable(f"the chain does not answer in time (limit={self._limits.call_seconds:g} s)")

    async def _looked_up(
        self, name: AccountId, ask: Callable[[LiteServer, BlockId], Awaitable[_Found[T]]]
    ) -> _Found[T]:
        """Look something up, in a block that counts and is not older than where it was seen before."""
        with self._bounded():
            async with self._calls:
                for pause in (*self._limits.pauses_seconds, None):
                    try:
                        agreed = await self._heads.agreed()
                        found = await self._shown(agreed, ask)
                        if self._is_new(name, agreed.block.seqno):
                            return found
                    except Unavailable as exc:
                        rest = max(exc.retry_after or 0.0, pause or 0.0)
                        if pause is None or trio.current_time() + rest > trio.current_effective_deadline():
                            raise
                        await trio.sleep(rest)
        raise self._out_of_time()

    def _is_new(self, name: AccountId, seqno: int) -> bool:
        if seqno < self._told.get(name, 0):
            return False
        self._told[name] = seqno
        self._told.move_to_end(name)
        if len(self._told) > _ACCOUNTS_MAX:
            self._told.popitem(last=False)
        return True

    async def _shown(
        self, agreed: Agreed, ask: Callable[[LiteServer, BlockId], Awaitable[_Found[T]]]
    ) -> _Found[T]:
        """Have a server show it: first those who named the block, then others."""
        unreadable: Unreadable | None = None
        others = [server for server in self._heads.askable() if server not in agreed.servers]
        for server in (*agreed.servers, *others):
            if server.rest_seconds:
                continue
            try:
                found = await ask(server, agreed.block)
            except OF_NO_USE:
                continue
            except Unreadable as exc:
                unreadable = exc
                continue
            await self._judge_header(agreed, found.header)
            return found
        if unreadable is not None:
            raise unreadable
        raise Unavailable(f"no lite server shows what is in a block (seqno={agreed.block.seqno})")

    async def _judge_header(self, agreed: Agreed, header: Header) -> None:
        """Check that a block that counts is this network's, and of now.

        Raises:
            Unavailable: It is not.
        """
        why = self._whats_wrong(agreed.block.seqno, header)
        if why is not None:
            for server in agreed.servers:
                await server.set_aside(why)
            raise Unavailable(f"the lite servers cannot be believed: {why}")
        self._global_id = header.global_id
        self._newest = max(self._newest, (agreed.block.seqno, header.utime))
        if self._network.is_of_now and header.utime < self._clock() - STALE_SECONDS:
            raise Unavailable(
                f"the chain's newest block is too old (age={self._clock() - header.utime:.0f} s"
                f" limit={STALE_SECONDS:.0f} s)",
                hint="check this machine's clock; if it is right, name other servers in the configuration",
            )

    def _whats_wrong(self, seqno: int, header: Header) -> str | None:
        if self._global_id is None:
            public = [network.name for network in PUBLIC if network.global_id == header.global_id]
            return f"the network is {public[0]}, not {self._network.name}" if public else None
        if header.global_id != self._global_id:
            return f"another network's block (global_id={header.global_id} wanted={self._global_id})"
        newest_seqno, newest_utime = self._newest
        if (seqno - newest_seqno) * (header.utime - newest_utime) < 0:
            return f"time went back (seqno={seqno} utime={header.utime} before={newest_utime})"
        return None


async def _ask_header(server: LiteServer, block: BlockId) -> _Found[BlockId]:
    def read(answer: bytes) -> Header:
        return prove_header(queries.read_header(answer).proof, block)

    return _Found(await server.ask(queries.get_header(block), read), block)


async def _ask_account(account: AccountId, server: LiteServer, block: BlockId) -> _Found[ProvenAccount]:
    def read(answer: bytes) -> ProvenAccount:
        return prove_account(queries.read_account(answer), block, account)

    proven = await server.ask(queries.get_account(block, account), read)
    return _Found(proven.header, proven)


@asynccontextmanager
async def open_chain(
    config: Path,
    network: Network,
    *,
    limits: Limits | None = None,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[LiteChain]:
    """Use a TON network while the block runs.

    Args:
        config: The network's `global.config.json`; see `networks` for who counts as an operator.
        network: Which network it must be: `MAINNET`, `TESTNET` or `LOCAL`.
        limits: How long things may take.
        clock: The machine's, in seconds since the Unix epoch.

    A public network is not asked anything until something is looked up. In the end, or at a
    cancel, all connections are closed and the thread they run in is joined.

    Raises:
        ConfigurationError: The configuration cannot be read, is another network's, or names too few
            operators.
        Unavailable: A local chain cannot be reached, so that its id is unknown; or it is a public network.
    """
    directory = await trio.to_thread.run_sync(read_directory, config, network)
    async with open_asyncio_loop("lite client") as loop:
        chain = LiteChain(network, directory, loop, limits or Limits(), clock)
        try:
            if network.global_id is None:
                await chain.time()
            yield chain
        finally:
            await chain.aclose()
