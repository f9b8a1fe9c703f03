"""Whose turn it is: fair among clients, whatever joins, leaves, fits and is charged."""

from itertools import combinations, cycle

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cocoon_p2p.identity import PeerId
from cocoon_p2p.scheduling import FairQueue, Place

A, B, C = (PeerId(name) for name in (b"a", b"b", b"c"))
CLIENTS = st.sampled_from([A, B, C])
SECONDS = st.integers(1, 9).map(float)
LINES = st.lists(SECONDS, min_size=1, max_size=12)


def anybody(_item: object) -> bool:
    return True


def served(queue: FairQueue[int]) -> list[Place[int]]:
    """Serve everybody, and say in what order."""
    order: list[Place[int]] = []
    while (place := queue.take(anybody)) is not None:
        order.append(place)
    return order


def test_a_client_that_has_just_come_is_behind_one_of_a_flood_and_not_behind_all() -> None:
    queue = FairQueue[int]()
    for item in range(5):
        queue.join(A, 4.0, item)
    queue.take(anybody)

    queue.join(B, 1.0, 9)

    assert [place.item for place in served(queue)] == [9, 1, 2, 3, 4]


@given(LINES, LINES, LINES, st.integers(0, 9))
def test_of_two_that_wait_neither_gets_more_than_the_other_but_for_a_place_of_each(
    first: list[float], second: list[float], third: list[float], served_before: int
) -> None:
    queue, lines = FairQueue[int](), {A: first, B: second, C: third}
    for client in (A, B):
        for item, seconds in enumerate([*lines[client], *[5.0] * served_before]):
            queue.join(client, seconds, item)
    # The third comes when the other two have been served for a while.
    for _ in range(served_before):
        queue.take(anybody)
    for item, seconds in enumerate(lines[C]):
        queue.join(C, seconds, item)

    order = served(queue)

    most = {client: max(*line, 5.0) for client, line in lines.items()}
    for one, other in combinations(lines, 2):
        # As long as both wait: up to the last of whoever is done first.
        lasts = [
            max((at for at, place in enumerate(order) if place.client == each), default=-1)
            for each in (one, other)
        ]
        both = order[: min(lasts) + 1]
        for begin in range(len(both)):
            got = dict.fromkeys(lines, 0.0)
            for place in both[begin:]:
                got[place.client] += place.seconds
                assert abs(got[one] - got[other]) <= most[one] + most[other]


@given(st.lists(st.tuples(CLIENTS, SECONDS), max_size=12), st.integers(0, 12), CLIENTS)
def test_what_is_said_to_be_ahead_is_what_is_served_before(
    joined: list[tuple[PeerId, float]], taken: int, client: PeerId
) -> None:
    queue = FairQueue[int]()
    for item, (who, seconds) in enumerate(joined):
        queue.join(who, seconds, item)
    for _ in range(taken):
        queue.take(anybody)

    ahead = queue.ahead(client)
    mine = queue.join(client, 1.0, -1)

    order = served(queue)
    assert sum(place.seconds for place in order[: order.index(mine)]) == ahead


@given(LINES, st.lists(st.tuples(st.sampled_from([B, C]), SECONDS), min_size=1, max_size=6))
def test_nobody_starves_however_many_come_after(
    before: list[float], newcomers: list[tuple[PeerId, float]]
) -> None:
    queue = FairQueue[int]()
    for seconds in before:
        queue.join(A, seconds, 0)
    place, coming = queue.join(A, 1.0, 1), cycle(newcomers)

    got, served_place = {B: 0.0, C: 0.0}, None
    while served_place is not place:
        # Two come for each that is served.
        for who, seconds in (next(coming), next(coming)):
            queue.join(who, seconds, 2)
        served_place = queue.take(anybody)
        assert served_place is not None
        if served_place.client in got:
            got[served_place.client] += served_place.seconds

    assert max(got.values()) <= sum(before) + 9


def test_who_leaves_makes_room_for_its_own_that_come_after() -> None:
    queue = FairQueue[int]()
    queue.join(B, 1.0, 0)
    gone = queue.join(A, 9.0, 1)
    queue.join(A, 1.0, 2)
    queue.join(B, 1.0, 3)
    queue.join(B, 1.0, 4)

    queue.leave(gone)

    assert [place.item for place in served(queue)] == [0, 2, 3, 4]


def test_what_was_charged_too_little_is_made_up_for() -> None:
    queue = FairQueue[int]()
    for item in range(3):
        queue.join(A, 1.0, item)
        queue.join(B, 1.0, item + 10)
    queue.take(anybody)

    queue.charge(A, 9.0)

    assert [place.item for place in served(queue)] == [10, 11, 12, 1, 2]


class Waiters(RuleBasedStateMachine):
    """Nothing is lost or served twice; a client's own come in their turn; a slot that suits is given."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = FairQueue[int]()
        self.waiting: dict[int, Place[int]] = {}
        self.served: list[Place[int]] = []
        self.joined = 0

    @rule(client=CLIENTS, seconds=SECONDS)
    def join(self, client: PeerId, seconds: float) -> None:
        before = [self.waiting[item] for item in self.waiting]
        ahead = self.queue.ahead(client)
        place = self.waiting[self.joined] = self.queue.join(client, seconds, self.joined)
        self.joined += 1
        earlier = [other for other in before if (other.tag, other.number) < (place.tag, place.number)]
        assert ahead == sum(other.seconds for other in earlier)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(sorted(self.waiting)))
        self.queue.leave(self.waiting.pop(item))

    @rule(modulus=st.integers(1, 3))
    def take(self, modulus: int) -> None:
        """A slot that suits every so many."""
        place = self.queue.take(lambda item: item % modulus == 0)
        if place is None:
            assert all(item % modulus for item in self.waiting)
        else:
            del self.waiting[place.item]
            self.served.append(place)
            mine = [other.number for other in self.waiting.values() if other.client == place.client]
            assert all(number > place.number for number in mine if number % modulus == 0)

    @rule(client=CLIENTS, seconds=st.integers(-9, 30).map(float))
    def charge(self, client: PeerId, seconds: float) -> None:
        self.queue.charge(client, seconds)

    @precondition(lambda self: self.served)
    @rule(data=st.data(), seconds=st.integers(-9, 30).map(float))
    def end(self, data: st.DataObject, seconds: float) -> None:
        place = self.served.pop(data.draw(st.integers(0, len(self.served) - 1)))
        self.queue.charge(place.client, seconds, served=place)

    @invariant()
    def all_wait_in_order(self) -> None:
        places = list(self.queue)
        assert {place.item for place in places} == set(self.waiting)
        assert len(places) == len(self.queue) == len(self.waiting)
        assert [(place.tag, place.number) for place in places] == sorted(
            (place.tag, place.number) for place in places
        )
        for client in (A, B, C):
            numbers = [place.number for place in places if place.client == client]
            assert numbers == sorted(numbers)


TestWaiters = Waiters.TestCase
TestWaiters.settings = settings(max_examples=40, stateful_step_count=30)
