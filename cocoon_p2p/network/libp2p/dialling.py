"""How a peer is reached: every address tried, in staggered starts, and failures remembered.

Rule 1: the first address that answers with the right key wins; what else is under way is dropped.
Rule 2: an address that failed rests before it is tried again: one second, then two, four, up to
        half a minute. One that works is forgiven at once.
Rule 3: nobody is dialled twice at the same time.
Rule 4: relays come last. They are asked when every address of the peer's own has failed, or has had a
        second: a relayed connection costs somebody else, and the direct one is faster ever after.

Upstream tries one address of each transport, waits at least 250 ms whatever happens, and then
shuns the peer for a minute if that one address was dead.

Spec: RFC 8305 (Happy Eyeballs), sections 4 and 5; libp2p leaves dialling to the dialler.
"""

import socket
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

import trio

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import PeerId, peer_id_text
from cocoon_p2p.network.libp2p.addresses import Address, CircuitAddress, Route
from cocoon_p2p.network.libp2p.limits import Limits

T = TypeVar("T")

REST_FIRST_SECONDS = 1.0
REST_LONGEST_SECONDS = 30.0
REMEMBERED_MAX = 4096
"Addresses whose failure, and peers whose address, is remembered; the oldest is forgotten first."


def in_dialling_order(addresses: Iterable[Address]) -> tuple[Address, ...]:
    """Order addresses so that no family holds up the other: IPv6 and IPv4 in turn, each address once."""
    unique = list(dict.fromkeys(addresses))
    six = [address for address in unique if address.kind == "ip6"]
    others = [address for address in unique if address.kind != "ip6"]
    # The peer's own order is kept within a family: it knows best where it is reached.
    in_turn = [address for pair in zip(six, others, strict=False) for address in pair]
    return (*in_turn, *six[len(others) :], *others[len(six) :])


@dataclass(frozen=True, slots=True)
class _Rest:
    until: float
    failures: int


@dataclass(slots=True)
class Resting:
    """Which addresses failed lately. Holds no clock: `now` is any clock that never goes back."""

    _rests: OrderedDict[str, _Rest] = field(default_factory=OrderedDict[str, _Rest])

    def failed(self, address: str, now: float) -> None:
        """Let `address` rest, twice as long as after the failure before."""
        failures = self._rests[address].failures + 1 if address in self._rests else 1
        # The exponent is bounded before the power: a peer chooses how often it fails.
        seconds = min(REST_LONGEST_SECONDS, REST_FIRST_SECONDS * 2 ** min(failures - 1, 16))
        self._rests[address] = _Rest(now + seconds, failures)
        self._rests.move_to_end(address)
        if len(self._rests) > REMEMBERED_MAX:
            self._rests.popitem(last=False)

    def worked(self, address: str) -> None:
        """Forget what `address` did before."""
        self._rests.pop(address, None)

    def seconds_left(self, address: str, now: float) -> float:
        """Say how long `address` still rests; 0 if it may be tried."""
        rest = self._rests.get(address)
        return max(0.0, rest.until - now) if rest else 0.0


async def first_success(
    attempts: Sequence[Callable[[], Awaitable[T]]], *, stagger_seconds: float, drop: Callable[[T], None]
) -> T:
    """Start attempts one after the other and return what the first success brought.

    The next attempt starts when the one before has failed, or after `stagger_seconds`. A cancel
    cancels what is under way; what an attempt had brought by then is handed to `drop`.

    Args:
        attempts: In order of preference. An attempt fails by raising `Unavailable`.
        stagger_seconds: Head start of one attempt before the next.
        drop: Gets what later successes brought.

    Raises:
        Unavailable: All attempts failed; the text names each reason.
    """
    successes: list[T] = []
    failures: list[Unavailable] = []

    async def run(attempt: Callable[[], Awaitable[T]], failed: trio.Event) -> None:
        try:
            successes.append(await attempt())
        except Unavailable as exc:
            failures.append(exc)
            failed.set()
        else:
            nursery.cancel_scope.cancel()

    unwanted = slice(0, None)
    try:
        async with trio.open_nursery() as nursery:
            for attempt in attempts:
                failed = trio.Event()
                nursery.start_soon(run, attempt, failed)
                with trio.move_on_after(stagger_seconds):
                    await failed.wait()
        unwanted = slice(1, None)
    finally:
        for late in successes[unwanted]:
            drop(late)
    if not successes:
        raise Unavailable("; ".join(map(str, failures)) or "no address to try")
    return successes[0]


async def resolve(address: Address) -> tuple[Address, ...]:
    """Look a name up in DNS; an address is its own answer.

    Raises:
        Unavailable: The name is not known, or nobody could be asked.
    """
    if not address.is_name:
        return (address,)
    family = {"dns4": socket.AF_INET, "dns6": socket.AF_INET6}.get(address.kind, socket.AF_UNSPEC)
    try:
        found = await trio.socket.getaddrinfo(
            address.host, address.port, family=family, type=socket.SOCK_STREAM
        )
    except OSError as exc:
        raise Unavailable(f"{address}: {exc.strerror or exc}") from exc
    return tuple(
        Address("ip6" if kind == socket.AF_INET6 else "ip4", str(where[0]), address.port)
        for kind, _, _, _, where in found
    )


class Dialler(Generic[T]):
    """Reaches peers by the rules above. `T` is what a connection is to whoever makes it.

    Args:
        connect: Tries one way, at whose end the key of the peer must answer; raises `Unavailable`.
        drop: Closes a connection that came too late, without waiting.
        is_connected: Says whether a connection to a peer stands.
    """

    def __init__(
        self,
        connect: Callable[[Route, PeerId], Awaitable[T]],
        drop: Callable[[T], None],
        is_connected: Callable[[PeerId], bool],
        limits: Limits,
    ) -> None:
        self._connect = connect
        self._drop = drop
        self._is_connected = is_connected
        self._limits = limits
        self._resting = Resting()
        self._under_way: dict[PeerId, trio.Lock] = {}
        self._worked_last: OrderedDict[PeerId, Route] = OrderedDict()

    async def dial(self, peer: PeerId, routes: Iterable[Route]) -> None:
        """Connect to `peer` unless we are. A cancel leaves nothing under way.

        Raises:
            Unavailable: No address answered with this peer's key in time. If all of them rest,
                `retry_after` says when the first may be tried.
        """
        async with self._turn(peer):
            if not self._is_connected(peer):
                await self._dial(peer, routes)

    async def dial_anew(self, peer: PeerId, routes: Iterable[Route]) -> None:
        """Make one connection more to `peer`, which has a better or a fresher way. As `dial` otherwise."""
        async with self._turn(peer):
            await self._dial(peer, routes)

    @asynccontextmanager
    async def _turn(self, peer: PeerId) -> AsyncIterator[None]:
        lock = self._under_way.setdefault(peer, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked() and self._under_way.get(peer) is lock:
                del self._under_way[peer]

    def worked_last(self, peer: PeerId) -> Route | None:
        """Give the way by which a peer was last reached, if that is remembered."""
        return self._worked_last.get(peer)

    async def _dial(self, peer: PeerId, routes: Iterable[Route]) -> None:
        direct, relayed = await self._candidates(list(routes))
        now = trio.current_time()
        rests = {route: self._resting.seconds_left(route.of(peer), now) for route in (*direct, *relayed)}
        if rests and all(rests.values()):
            raise Unavailable(
                f"every address of the peer failed a moment ago (peer={peer_id_text(peer)})",
                retry_after=min(rests.values()),
            )
        stages = [
            self._stage([route for route in each if not rests[route]], peer) for each in (direct, relayed)
        ]
        try:
            await first_success(
                [stage for stage in stages if stage is not None],
                stagger_seconds=self._limits.dial_direct_head_start_seconds,
                drop=self._drop,
            )
        except Unavailable as exc:
            raise Unavailable(f"cannot reach {peer_id_text(peer)}: {exc}") from exc

    def _stage(self, ready: list[Route], peer: PeerId) -> Callable[[], Awaitable[T]] | None:
        # A dead address costs its head start at every dial; the one that worked last does not.
        ready.sort(key=lambda route: route != self._worked_last.get(peer))
        attempts = [self._attempt(route, peer) for route in ready]
        if not attempts:
            return None
        return partial(
            first_success, attempts, stagger_seconds=self._limits.dial_stagger_seconds, drop=self._drop
        )

    async def _candidates(self, routes: Sequence[Route]) -> tuple[Sequence[Route], Sequence[Route]]:
        """Choose the addresses of the peer's own to try, and the relays."""
        relayed = dict.fromkeys(route for route in routes if isinstance(route, CircuitAddress))
        addresses = [route for route in routes if isinstance(route, Address)]
        try:
            direct = await self._resolve_all(addresses[: self._limits.dial_addresses_max])
        except Unavailable:
            if not relayed:
                raise
            direct = ()
        return direct, list(relayed)[: self._limits.dial_relays_max]

    async def _resolve_all(self, addresses: Sequence[Address]) -> tuple[Address, ...]:
        found: list[Address] = []
        reasons: list[str] = []
        with trio.move_on_after(self._limits.dial_seconds):
            for address in addresses:
                try:
                    found += await resolve(address)
                except Unavailable as exc:
                    reasons.append(str(exc))
        if reasons and not found:
            raise Unavailable("; ".join(reasons))
        return in_dialling_order(found)[: self._limits.dial_addresses_max]

    def _attempt(self, address: Route, peer: PeerId) -> Callable[[], Awaitable[T]]:
        async def attempt() -> T:
            is_direct = isinstance(address, Address)
            limits = self._limits
            try:
                with trio.fail_after(limits.dial_seconds if is_direct else limits.dial_relayed_seconds):
                    connection = await self._connect(address, peer)
            except (Unavailable, trio.TooSlowError) as exc:
                self._resting.failed(address.of(peer), trio.current_time())
                raise Unavailable(f"{address}: {str(exc) or 'no answer in time'}") from exc
            self._resting.worked(address.of(peer))
            self._remember(peer, address)
            return connection

        return attempt

    def _remember(self, peer: PeerId, address: Route) -> None:
        self._worked_last[peer] = address
        self._worked_last.move_to_end(peer)
        if len(self._worked_last) > REMEMBERED_MAX:
            self._worked_last.popitem(last=False)
