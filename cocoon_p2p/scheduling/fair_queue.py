"""Who waits for a slot of one model, and whose turn it is: start-time fair queueing, with no clock.

Whoever joins gets a tag, in seconds of slot time. The least tag is served first, the earlier of equals.

    floor          the tag that was served last
    tag of a place max(floor, the tag of the client's last place + what that takes)

         floor 8 |  A 8   B 8   A 12   A 16   A 20     each of A's takes 4: B, who has just come, is
                                                       behind one of them, not behind all
Rule 1: of two clients that wait all the while, neither gets more slot time than the other by more than
what one place of each takes (Goyal, Vin and Cheng: Start-time Fair Queuing, SIGCOMM 1996, Theorem 1).
Rule 2: a place is never passed by one that joined when the floor was above its tag: nobody starves.
Rule 3: a slot that suits anybody who waits is given to somebody.
Rule 4: once nobody waits all is forgotten: what was used meanwhile was missing to nobody.

What a place takes is a forecast. `charge` corrects what the client gets next by what it took.
"""

from bisect import insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from cocoon_p2p.identity import PeerId

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Place(Generic[T]):
    """A place in the queue."""

    client: PeerId
    seconds: float
    "How long it is expected to take a slot."

    item: T
    number: int
    "Ascends with each that joins."

    tag: float
    period: int
    "Which time it is that somebody waits: tags of another say nothing."


class FairQueue(Generic[T]):
    """Those who wait. Bounded by whoever lets them join."""

    def __init__(self) -> None:
        self._places: list[Place[T]] = []
        "By tag and number."

        self._next_tags: dict[PeerId, float] = {}
        "For the next place of each client, where that is above the floor."

        self._floor = 0.0
        self._joined = 0
        self._period = 0

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Place[T]]:
        return iter(tuple(self._places))

    # ------------------------------------------------------------ to come and to go

    def join(self, client: PeerId, seconds: float, item: T) -> Place[T]:
        """Wait. `seconds` is what it is expected to take of a slot: not negative."""
        tag = self._tag(client)
        place = Place(client, seconds, item, self._joined, tag, self._period)
        self._joined += 1
        insort(self._places, place, key=_order)
        self._next_tags[client] = tag + seconds
        return place

    def leave(self, place: Place[T]) -> None:
        """Wait no more. The client's later places move up."""
        self._places.remove(place)
        self._shift(place.client, -place.seconds, after=place.number)
        self._tidy()

    def take(self, fits: Callable[[T], bool]) -> Place[T] | None:
        """Give the slot that is free to the first whom it suits, and remove its place."""
        place = next((place for place in self._places if fits(place.item)), None)
        if place is not None:
            self._floor = max(self._floor, place.tag)
            self._places.remove(place)
            self._tidy()
        return place

    def charge(self, client: PeerId, seconds: float, *, served: Place[T] | None = None) -> None:
        """Correct what a client was given by so many seconds more than were expected, or less.

        Args:
            client: Who was given it.
            seconds: Less than 0 if it was less.
            served: The place by which. Without it nobody is charged of whom all that was expected has been
                made up for: not one either who asks for one thing at a time, and takes long.
        """
        if client not in self._next_tags and served is not None and served.period == self._period:
            self._next_tags[client] = served.tag + served.seconds
        if client in self._next_tags:
            self._shift(client, seconds)
            self._tidy()

    # ------------------------------------------------------------ what is to be expected

    def ahead(self, client: PeerId) -> float:
        """Say how many seconds of slot time come before the client's next place, as things stand."""
        tag = self._tag(client)
        return sum(place.seconds for place in self._places if place.tag <= tag)

    # ------------------------------------------------------------ tags

    def _tag(self, client: PeerId) -> float:
        return max(self._floor, self._next_tags.get(client, 0.0))

    def _shift(self, client: PeerId, seconds: float, *, after: int = -1) -> None:
        """Move a client's places behind this number, but none of them in front of the floor."""
        self._next_tags[client] = max(self._floor, self._next_tags.get(client, 0.0) + seconds)
        for place in self._places:
            if place.client == client and place.number > after:
                place.tag = max(min(place.tag, self._floor), place.tag + seconds)
        self._places.sort(key=_order)

    def _tidy(self) -> None:
        if not self._places:
            self._floor = 0.0
            self._period += 1
            self._next_tags.clear()
        self._next_tags = {client: tag for client, tag in self._next_tags.items() if tag > self._floor}


def _order(place: Place[T]) -> tuple[float, int]:
    return place.tag, place.number
