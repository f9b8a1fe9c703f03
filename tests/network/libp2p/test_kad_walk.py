"""Carrying a lookup out, with servers that answer, fail, or say nothing."""

from collections.abc import Sequence

import trio

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import PeerId, peer_id_of
from cocoon_p2p.network.libp2p.disjoint import DisjointLookup
from cocoon_p2p.network.libp2p.kad_walk import LATE_SECONDS, Walk

SERVERS = [peer_id_of(number.to_bytes(32, "big")) for number in range(60)]


class Servers:
    """Servers of which some are silent, for ever or for a time."""

    def __init__(self, *, silent: Sequence[PeerId] = (), slow: Sequence[PeerId] = ()) -> None:
        self.silent = silent
        self.slow = slow
        self.late: list[PeerId] = []
        self.cancelled = 0

    async def ask(self, peer: PeerId) -> Sequence[PeerId]:
        try:
            await trio.sleep(5.5 if peer in self.slow else 0.01)
            if peer in self.silent:
                await trio.sleep(5)
                raise Unavailable("silent")
        except trio.Cancelled:
            self.cancelled += 1
            raise
        return SERVERS

    async def walk(self, *begin: PeerId) -> tuple[PeerId, ...]:
        lookup = DisjointLookup(b"key", 2)
        lookup.begin(begin, [])
        await Walk(lookup, self.ask, self.late.append).run()
        return lookup.found()


async def test_a_fifth_that_is_silent_costs_little_more_than_one_wait(autojump_clock: trio.abc.Clock) -> None:
    servers = Servers(silent=SERVERS[::5])

    began = trio.current_time()
    found = await servers.walk(*SERVERS[1:20])

    assert len(found) == 8
    assert trio.current_time() - began < 3
    assert set(servers.late) <= set(SERVERS[::5])
    assert servers.cancelled == len(servers.late)


async def test_where_everybody_is_slow_somebody_is_waited_for(autojump_clock: trio.abc.Clock) -> None:
    servers = Servers(slow=SERVERS)

    began = trio.current_time()
    found = await servers.walk(SERVERS[3])

    assert found == (SERVERS[3],)
    assert trio.current_time() - began >= 5 * LATE_SECONDS
    assert servers.late[0] == SERVERS[3]


async def test_where_everybody_is_dead_it_ends(autojump_clock: trio.abc.Clock) -> None:
    servers = Servers(silent=SERVERS)

    assert await servers.walk(*SERVERS[:4]) == ()
    assert servers.cancelled == 0


async def test_a_lookup_that_knows_nobody_ends_at_once(autojump_clock: trio.abc.Clock) -> None:
    began = trio.current_time()

    assert await Servers().walk() == ()
    assert trio.current_time() == began
