"""What a search makes of what servers say, with servers that are played."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import cast

import trio
from libp2p.kad_dht.pb.kademlia_pb2 import Message

from cocoon_p2p.errors import RecordRejected, Unavailable
from cocoon_p2p.identity import PeerId, peer_id_of
from cocoon_p2p.network.libp2p.kad_keys import KadKeys
from cocoon_p2p.network.libp2p.kad_node import KadNode, OnAnswer
from cocoon_p2p.network.libp2p.kad_search import LOOKED_UP_MAX, NAMED_BY_ONE_MAX, Search
from cocoon_p2p.network.libp2p.kad_wire import Answer

KEYS = KadKeys("demo")
LIAR, HONEST = b"liar", b"honest"


def peer(number: int) -> PeerId:
    return peer_id_of(number.to_bytes(32, "big"))


REAL = [peer(number) for number in range(1, 21)]
FORGED = [peer(number) for number in range(1000, 1000 + 2000)]


def validate(_: PeerId, value: bytes) -> float:
    if not value.startswith(b"record of"):
        raise RecordRejected("no record")
    return math.inf


class Played:
    """Stands in for a node: servers name others in order, and give what they are scripted to give."""

    def __init__(
        self, named_by: Mapping[bytes, Sequence[PeerId]], give: Callable[[bytes, PeerId], bytes | None]
    ) -> None:
        self.keys = KEYS
        self.server = None
        self.transport = SimpleNamespace(peer_id=peer(0))
        self.looked_up: list[bytes] = []
        self._named_by = named_by
        self._give = give

    async def look_up(self, question: Message, *, closest: int, on_answer: OnAnswer) -> None:
        if question.type != Message.MessageType.GET_PROVIDERS:
            self.looked_up.append(question.key)
            await trio.sleep(0.1)
            return
        for namer, names in self._named_by.items():
            await trio.sleep(0.01)
            belonging = tuple(each for each in names if KEYS.shard_of(each) == question.key)
            on_answer(PeerId(namer), Answer((), belonging, None))

    async def ask(self, namer: PeerId, question: Message) -> Answer:
        await trio.sleep(0.01)
        value = self._give(namer, KEYS.peer_of(question.key))
        if value is None:
            await trio.sleep_forever()
        if value == b"":
            raise Unavailable("refused")
        return Answer((), (), value)


async def found(played: Played) -> set[bytes]:
    values = await Search(cast("KadNode", played), validate).run()
    return {value for of_one in values for value in of_one}


def record(whose: PeerId, sequence: int = 1) -> bytes:
    return b"record of" + whose + bytes([sequence])


async def test_a_server_that_makes_proxies_up_and_hangs_hides_none(autojump_clock: trio.abc.Clock) -> None:
    """It answers first, in every shard, and is silent when it is asked for a record."""
    played = Played({LIAR: FORGED, HONEST: REAL}, lambda namer, of: None if namer == LIAR else record(of))

    began = trio.current_time()

    assert await found(played) == {record(each) for each in REAL}
    assert trio.current_time() - began < 10
    # What it made up is followed up, within bounds.
    assert len(played.looked_up) <= min(NAMED_BY_ONE_MAX, 16 * LOOKED_UP_MAX)


async def test_a_server_that_gives_no_record_of_whom_it_names_is_not_the_only_one_asked(
    autojump_clock: trio.abc.Clock,
) -> None:
    played = Played({LIAR: REAL, HONEST: REAL}, lambda namer, of: b"" if namer == LIAR else record(of))

    assert await found(played) == {record(each) for each in REAL}
    assert played.looked_up == []


async def test_an_older_record_does_not_hide_the_newer_one(autojump_clock: trio.abc.Clock) -> None:
    played = Played({LIAR: REAL, HONEST: REAL}, lambda namer, of: record(of, 1 if namer == LIAR else 2))

    assert await found(played) >= {record(each, 2) for each in REAL}


async def test_who_is_named_and_given_by_nobody_is_looked_up(autojump_clock: trio.abc.Clock) -> None:
    played = Played({HONEST: REAL[:3]}, lambda *_: b"nonsense")

    assert await found(played) == set()
    assert set(played.looked_up) == {KEYS.record_of(each) for each in REAL[:3]}


async def test_who_is_named_in_another_shard_is_passed_over(autojump_clock: trio.abc.Clock) -> None:
    played = Played({LIAR: REAL}, lambda _, of: record(of))

    async def in_every_shard(question: Message, *, closest: int, on_answer: OnAnswer) -> None:
        await trio.lowlevel.checkpoint()
        if question.key == KEYS.shard_of(REAL[0]):
            on_answer(PeerId(LIAR), Answer((), tuple(REAL), None))

    played.look_up = in_every_shard  # type: ignore[method-assign]

    there = {record(each) for each in REAL if KEYS.shard_of(each) == KEYS.shard_of(REAL[0])}
    assert await found(played) == there
