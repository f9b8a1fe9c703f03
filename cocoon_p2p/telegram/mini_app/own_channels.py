"""Whose channels are open here now: each user's is opened when it is used, and closed when it is idle.

A user's side is a whole client with a connection, a ledger and an identity of its own, because a channel
belongs to two peers: two users' money in one channel would be one user's. So only so many are open at once.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import trio

from cocoon_p2p.errors import CocoonError, Refused, Unavailable
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.payments.contract import AccountId
from cocoon_p2p.telegram.mini_app.own_channel import OwnChannel, UserSide

log = logging.getLogger(__name__)

OPEN_MAX = 64
"Users' sides that are open at once."

IDLE_SECONDS = 300.0
"How long one stays open that nobody uses."

User = tuple[int, AccountId]
"A Telegram user, and the wallet that this user has shown to be theirs."

OpenSide = Callable[[int, AccountId], AbstractAsyncContextManager[UserSide]]
"""Opens the side of a Telegram user with a wallet, the same one each time: its ledger is money. It raises
`Refused` or `Unavailable` where the user may know why it cannot."""


@dataclass(slots=True)
class _Place:
    """One user's side, from when it begins to open until it is closed."""

    uses: int = 0
    idle_since: float = 0.0
    "On trio's clock."

    channel: OwnChannel | None = None
    error: CocoonError | None = None
    opened: trio.Event = field(default_factory=trio.Event)
    "Set once there is a channel, or an error."

    stirred: trio.Event = field(default_factory=trio.Event)
    "Set whenever somebody has left it, or it is to make room."

    makes_room: bool = False
    closed: trio.Event = field(default_factory=trio.Event)


class OwnChannels:
    """All users' channels that are open here. Made by `open_own_channels`."""

    def __init__(
        self, open_side: OpenSide, nursery: trio.Nursery, open_max: int, idle_seconds: float
    ) -> None:
        self._open_side = open_side
        self._nursery = nursery
        self._open_max = open_max
        self._idle_seconds = idle_seconds
        self._places: dict[User, _Place] = {}

    def __len__(self) -> int:
        return len(self._places)

    @asynccontextmanager
    async def use(self, user: User) -> AsyncIterator[OwnChannel]:
        """Use a user's channel while the block runs; it is opened if need be.

        Raises:
            Refused: This user cannot have one.
            Unavailable: Too many are in use, or this one's side cannot be opened.
        """
        place = await self._taken(user)
        try:
            await place.opened.wait()
            if place.channel is None:
                raise place.error or Unavailable(
                    "your side of this cannot be opened", hint="its owner sees why"
                )
            yield place.channel
        finally:
            place.uses -= 1
            place.idle_since = trio.current_time()
            place.stirred.set()

    async def _taken(self, user: User) -> _Place:
        """Find a user's place or make one, and count us in, so that it stays."""
        while (place := self._places.get(user)) is None or place.makes_room:
            if place is not None:
                # It is being closed: its ledger must be free before it is opened again.
                await place.closed.wait()
            elif len(self._places) < self._open_max:
                place = self._places[user] = _Place()
                self._nursery.start_soon(self._keep, user, place)
            else:
                await self._make_room()
        place.uses += 1
        return place

    async def _make_room(self) -> None:
        idle = [place for place in self._places.values() if not place.uses]
        if not idle:
            raise Unavailable(
                f"too many users at once (max={self._open_max})", hint="try again soon", retry_after=10.0
            )
        longest = min(idle, key=lambda place: place.idle_since)
        longest.makes_room = True
        longest.stirred.set()
        await longest.closed.wait()

    async def _keep(self, user: User, place: _Place) -> None:
        """Hold a user's side open until it is idle for long, or makes room."""
        try:
            async with self._open_side(*user) as side:
                place.channel = OwnChannel(side)
                place.opened.set()
                await self._until_unused(place)
        except* (Refused, Unavailable) as group:
            place.error = _first(group)
        except* Exception:
            # What is wrong here (a folder, a file) is its owner's to read, and no end to the others' sides.
            log.exception("a user's side broke")
        finally:
            place.makes_room = True
            place.channel = None
            del self._places[user]
            place.opened.set()
            place.closed.set()

    async def _until_unused(self, place: _Place) -> None:
        while place.uses or not place.makes_room:
            place.stirred = trio.Event()
            rest = float("inf") if place.uses else place.idle_since + self._idle_seconds - trio.current_time()
            with trio.move_on_after(max(rest, 0.0)) as waiting:
                await place.stirred.wait()
            if waiting.cancelled_caught and not place.uses:
                place.makes_room = True


def _first(group: BaseExceptionGroup[CocoonError]) -> CocoonError:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


@asynccontextmanager
async def open_own_channels(
    open_side: OpenSide, *, open_max: int = OPEN_MAX, idle_seconds: float = IDLE_SECONDS
) -> AsyncIterator[OwnChannels]:
    """Have users' channels at hand while the block runs; at its end all sides are closed.

    Args:
        open_side: Opens one user's side.
        open_max: How many may be open at once.
        idle_seconds: How long one stays open that nobody uses.
    """
    async with open_service_nursery() as nursery:
        yield OwnChannels(open_side, nursery, open_max, idle_seconds)
