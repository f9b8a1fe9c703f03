"""A walk over the servers of the directory."""

from collections.abc import Iterable
from typing import Any

import pytest
import trio
import trio.testing

from cocoon_p2p.errors import MalformedMessage, Unavailable
from cocoon_p2p.identity import PeerId, peer_id_of
from cocoon_p2p.network.libp2p import kad_survey
from cocoon_p2p.network.libp2p.kad_survey import AT_ONCE_MAX, Survey, Surveyed
from cocoon_p2p.network.libp2p.kad_wire import Answer
from cocoon_p2p.network.libp2p.routing_table import Entry
from tests.network.libp2p.kad_nodes import network


def peer(number: int) -> PeerId:
    return peer_id_of(number.to_bytes(32, "big"))


class Servers:
    """A node that knows some servers, and what each of those would say."""

    def __init__(self, known: Iterable[int], named: dict[int, Iterable[int]]) -> None:
        self.transport = self
        self.peer_id = peer(0)
        self.bootstraps = tuple(map(peer, known))
        self.table: tuple[Entry, ...] = ()
        self.named = {peer(number): tuple(map(peer, names)) for number, names in named.items()}
        self.asked: list[PeerId] = []
        self.asking = self.asked_at_once = 0

    async def ask(self, asked: PeerId, question: Any) -> Answer:
        self.asked.append(asked)
        self.asking += 1
        self.asked_at_once = max(self.asked_at_once, self.asking)
        await trio.sleep(1 if asked in self.named else 6)
        self.asking -= 1
        assert question.key == asked
        if asked not in self.named:
            raise Unavailable("nobody is there")
        if not self.named[asked]:
            raise MalformedMessage("no answer")
        return Answer(tuple(Entry(each, ()) for each in self.named[asked]), (), None)

    async def survey(self) -> Surveyed:
        node: Any = self
        return await Survey(node).run()


async def test_everybody_is_asked_once_and_few_at_once(autojump_clock: trio.testing.MockClock) -> None:
    ring = {number: (0, number % 40 + 1, (number + 7) % 40 + 1) for number in range(1, 41)}
    servers = Servers([1], {**ring, 40: (41, 42)})

    found = await servers.survey()

    assert found.answered == {peer(number) for number in range(1, 41)}
    assert (found.silent, found.is_whole) == (2, True)
    assert len(servers.asked) == len(set(servers.asked)) == 42
    assert 1 < servers.asked_at_once <= AT_ONCE_MAX


async def test_who_answers_nonsense_is_no_server(autojump_clock: trio.testing.MockClock) -> None:
    found = await Servers([1, 2], {1: (2,), 2: ()}).survey()

    assert (found.answered, found.silent) == ({peer(1)}, 1)


async def test_a_liar_who_names_servers_without_end_is_left_in_time(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kad_survey, "ASKED_MAX", 100)
    named: dict[int, Iterable[int]] = {1: range(2, 22), 2: range(1000, 9000)}

    found = await Servers([1], named).survey()

    assert found.answered == {peer(1), peer(2)}
    assert found.silent <= 100
    assert not found.is_whole


async def test_nobody_is_asked_where_nobody_is_known(autojump_clock: trio.testing.MockClock) -> None:
    assert await Servers([], {}).survey() == Surveyed(frozenset(), 0, True)


@pytest.mark.slow
async def test_a_client_counts_the_servers_of_a_real_network() -> None:
    async with network() as nodes:
        bootstrap, _ = await nodes.start(1)
        others = [(await nodes.start(number, bootstrap.addresses))[0] for number in range(10, 13)]
        _, client = await nodes.client(20, bootstrap.addresses)

        everybody = {bootstrap.peer_id, *(other.peer_id for other in others)}
        found = await client.survey()
        with trio.fail_after(60):
            while found.answered != everybody:
                found = await client.survey()

    assert found.is_whole
