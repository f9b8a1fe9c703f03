"""A real node under attack: it keeps serving an honest client, and stays within its memory."""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from libp2p.kad_dht.pb.kademlia_pb2 import Message

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import Identity, network_id
from cocoon_p2p.network.libp2p.addresses import parse_peer_address
from cocoon_p2p.network.libp2p.host import Libp2pTransport, open_transport
from cocoon_p2p.network.libp2p.kad_keys import KadKeys
from cocoon_p2p.network.libp2p.kad_wire import encode, find_node, get_value, put_value, read_message
from cocoon_p2p.network.messaging import MessageStream
from cocoon_p2p.protocols.ids import HEARTBEAT_SECONDS, SESSION, Role
from cocoon_p2p.protocols.messages import Load, Register, Registered
from cocoon_p2p.records import make_record, make_statement
from tests.attacks.attacks import NAMES, signed_record
from tests.attacks.target import MEGABYTE, Target, running_target

ROOT = Path(__file__).parents[2]
QUIET_SECONDS = 2.0
SETTLING_SECONDS = 1.5
"For what the attack before left behind."

STARTING_SECONDS = 30.0
"What an attacker may take to start, on a busy machine. It ends by itself."

ATTACK_SECONDS = float(os.environ.get("COCOON_ATTACK_SECONDS", "6"))
LONGER = {"connections": 30.0, "streams": 25.0, "unread_answers": 20.0}
"What has a number to reach has this long for it at least."

GROWTH_MAX_BYTES = 256 * MEGABYTE
"By which no attack makes a proxy grow, nor all of them one after another: see docs/hardening.md."

ANSWER_SECONDS = 20.0
"A client that has waited this long has not been served."


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One node for all of them: what an attack leaves behind, the next one meets."""
    with running_target(tmp_path_factory.mktemp("target")) as target:
        yield target


@pytest.fixture(scope="module")
def resting_bytes(target: Target) -> int:
    return target.resident_bytes()


@dataclass
class Times:
    """What honest peers met with, in seconds."""

    questions: list[float] = field(default_factory=list[float])
    busy: list[float] = field(default_factory=list[float])
    "How long the node was on a processor from question to answer: other processes do not count in it."

    arrivals: list[float] = field(default_factory=list[float])


class Honest:
    """A client with a connection of old, and newcomers beside it; both are timed."""

    def __init__(self, target: Target, transport: Libp2pTransport) -> None:
        self._target = target
        self._transport = transport
        self.peak_bytes = 0
        self.turned_away = 0

    async def watch(self, seconds: float, attack: trio.Process | None = None) -> Times:
        """Use the node for so long, or while it is attacked."""
        times, end = Times(), time.monotonic() + seconds
        while (begun := time.monotonic()) < end and (attack is None or attack.poll() is None):
            busy = self._target.busy_seconds()
            with trio.fail_after(ANSWER_SECONDS):
                await self._ask_until_answered(self._transport)
            times.questions.append(time.monotonic() - begun)
            times.busy.append(self._target.busy_seconds() - busy)
            if len(times.questions) % 10 == 1:
                begun = time.monotonic()
                await self._arrive()
                times.arrivals.append(time.monotonic() - begun)
            self.peak_bytes = max(self.peak_bytes, self._target.resident_bytes())
            await trio.sleep(0.03)
        return times

    async def stand_as_worker(self, identity: Identity) -> MessageStream:
        """Register, as anybody may where no proof is asked, so that the node protects the connection."""
        peer = await self._transport.dial([self._target.address])
        session = MessageStream(await self._transport.open_stream(peer, SESSION))
        await session.send(papers(identity, self._target.network_name), Load(1, 1, 0))
        assert isinstance(await session.receive(), Registered)
        return session

    async def question(self, question: Message, transport: Libp2pTransport | None = None) -> Message:
        """Put one to the node, over the connection of old unless another is given."""
        transport = transport or self._transport
        peer = await transport.dial([self._target.address])
        stream = await transport.open_stream(peer, KadKeys(self._target.network_name).protocol)
        await stream.write(encode(question))
        answer = await read_message(stream)
        stream.reset()
        assert answer is not None
        assert answer.type == question.type
        return answer

    async def _arrive(self) -> None:
        """Be somebody new."""
        with trio.fail_after(ANSWER_SECONDS):
            async with open_transport(Identity.from_seed(os.urandom(32))) as transport:
                await self._ask_until_answered(transport)

    async def _ask_until_answered(self, transport: Libp2pTransport) -> None:
        """Try again when turned away, as a client does."""
        while True:
            try:
                await self.question(find_node(os.urandom(38)), transport)
                return
            except Unavailable as exc:
                self.turned_away += 1
                await trio.sleep(exc.retry_after or 0.1)


def worst(times: list[float]) -> float:
    """The time that one in a hundred exceeds."""
    return sorted(times)[math.ceil(0.99 * len(times)) - 1]


def papers(identity: Identity, network_name: str) -> Register:
    """Give a worker's papers, with nothing to sell."""
    network, now = network_id(network_name), time.time()
    statement = make_statement(
        identity, network, role=Role.WORKER, sealing_key=bytes(32), now=now, nonce=bytes(16)
    )
    record = make_record(
        identity,
        network,
        role=Role.WORKER,
        statement=statement,
        addresses=[],
        models=[],
        now=now,
        sequence=1,
    )
    return Register(record, statement)


async def attacked(name: str, target: Target, honest: Honest) -> tuple[Times, dict[str, int]]:
    """Use the node while it is attacked; give what honest peers met with, and what the attacker did."""
    seconds = max(ATTACK_SECONDS, LONGER.get(name, 0.0))
    arguments = [name, target.address, target.network_name, str(seconds)]
    command = [sys.executable, "-m", "tests.attacks.attacks", *arguments]
    process = await trio.lowlevel.open_process(command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        times = await honest.watch(seconds + STARTING_SECONDS, process)
        assert process.stdout is not None
        with trio.fail_after(30):
            done: dict[str, int] = json.loads(b"".join([piece async for piece in process.stdout]))
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
    return times, done


def tell(name: str, target: Target, honest: Honest, quiet: Times, loud: Times, **others: object) -> None:
    """Print what was measured."""
    figures = {
        **others,
        "question_ms": [round(1e3 * worst(times.questions), 1) for times in (quiet, loud)],
        "busy_ms": [round(1e3 * worst(times.busy), 1) for times in (quiet, loud)],
        "arrival_ms": [round(1e3 * max(times.arrivals)) for times in (quiet, loud)],
        "asked": len(loud.questions),
        "turned_away": honest.turned_away,
        "open_files": target.open_files(),
        "logged_bytes": target.log_file.stat().st_size,
    }
    print(f"\n{name}: {json.dumps(figures)}")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
async def test_the_node_serves_honest_clients_and_stays_within_its_memory_under(
    name: str, target: Target, resting_bytes: int
) -> None:
    async with open_transport(Identity.from_seed(os.urandom(32))) as transport:
        honest = Honest(target, transport)
        await honest.watch(SETTLING_SECONDS)
        quiet = await honest.watch(QUIET_SECONDS)

        loud, done = await attacked(name, target, honest)

    grown = honest.peak_bytes - resting_bytes
    tell(name, target, honest, quiet, loud, done=done, grown_megabytes=grown // MEGABYTE)
    assert target.is_running
    assert loud.arrivals
    assert grown < GROWTH_MAX_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("name", ["handshakes", "connections", "streams"])
async def test_a_worker_keeps_its_connection_under(name: str, target: Target) -> None:
    identity = Identity.from_seed(os.urandom(32))
    async with open_transport(identity) as transport, trio.open_nursery() as nursery:
        honest = Honest(target, transport)
        session = await honest.stand_as_worker(identity)

        async def stay() -> None:
            while True:
                await trio.sleep(HEARTBEAT_SECONDS)
                await session.send(Load(1, 1, 0))

        nursery.start_soon(stay)
        quiet = await honest.watch(QUIET_SECONDS)
        (connection,) = transport.swarm.open_connections(parse_peer_address(target.address)[1])

        loud, done = await attacked(name, target, honest)

        tell(f"{name}, to a worker", target, honest, quiet, loud, done=done)
        assert not connection.is_closed
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_records_that_are_replayed_expired_or_of_another_are_refused_and_the_newest_stays(
    target: Target,
) -> None:
    whose, other = (Identity.from_seed(os.urandom(32)) for _ in range(2))
    key = KadKeys(target.network_name).record_of(whose.peer_id)
    newest = signed_record(whose, target.network_name, sequence=2)
    bad = {
        "replayed": signed_record(whose, target.network_name, sequence=1),
        "expired": signed_record(whose, target.network_name, sequence=3, age_seconds=7_200),
        "of another": signed_record(other, target.network_name, sequence=3),
        "of another network": signed_record(whose, "another", sequence=3),
        "forged": bytes((*newest[:-1], newest[-1] ^ 1)),
        "too long": newest + bytes(2_000),
    }
    async with open_transport(Identity.from_seed(os.urandom(32))) as transport:
        honest = Honest(target, transport)
        assert (await honest.question(put_value(key, newest))).record.value == newest

        for value in bad.values():
            with pytest.raises(Unavailable):
                await honest.question(put_value(key, value))

        assert (await honest.question(get_value(key))).record.value == newest
