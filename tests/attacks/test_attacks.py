"""A real node under attack: it keeps serving an honest client, and stays within its memory."""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from libp2p.kad_dht.pb.kademlia_pb2 import Message

from cocoon_p2p.errors import Unavailable
from cocoon_p2p.identity import Identity
from cocoon_p2p.network.libp2p.host import Libp2pTransport, open_transport
from cocoon_p2p.network.libp2p.kad_keys import KadKeys
from cocoon_p2p.network.libp2p.kad_wire import encode, find_node, get_value, put_value, read_message
from tests.attacks.attacks import NAMES, signed_record
from tests.attacks.target import MEGABYTE, Target, running_target

ROOT = Path(__file__).parents[2]
QUIET_SECONDS = 2.0
SETTLING_SECONDS = 1.5
"For what the attack before left behind."

STARTING_SECONDS = 30.0
"What an attacker may take to start, on a busy machine. It ends by itself."

ATTACK_SECONDS = float(os.environ.get("COCOON_ATTACK_SECONDS", "6"))
LONGER = {"connections": 30.0, "streams": 25.0}
"What has a number to reach has this long for it at least."

GROWTH_MAX_BYTES = 512 * MEGABYTE
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


class Honest:
    """A client with a connection of old, and newcomers beside it; both are timed."""

    def __init__(self, target: Target, transport: Libp2pTransport) -> None:
        self._target = target
        self._transport = transport
        self.peak_bytes = 0
        self.turned_away = 0

    async def watch(
        self, seconds: float, attack: trio.Process | None = None
    ) -> tuple[list[float], list[float]]:
        """Use the node for so long, or while it is attacked; give how long questions and arrivals took."""
        questions, arrivals = list[float](), list[float]()
        end = time.monotonic() + seconds
        while (begun := time.monotonic()) < end and (attack is None or attack.poll() is None):
            with trio.fail_after(ANSWER_SECONDS):
                await self._ask_until_answered(self._transport)
            questions.append(time.monotonic() - begun)
            if len(questions) % 10 == 1:
                begun = time.monotonic()
                await self._arrive()
                arrivals.append(time.monotonic() - begun)
            self.peak_bytes = max(self.peak_bytes, self._target.resident_bytes())
            await trio.sleep(0.03)
        return questions, arrivals

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


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
async def test_the_node_serves_honest_clients_and_stays_within_its_memory_under(
    name: str, target: Target, resting_bytes: int
) -> None:
    seconds = max(ATTACK_SECONDS, LONGER.get(name, 0.0))
    command = [
        sys.executable,
        "-m",
        "tests.attacks.attacks",
        name,
        target.address,
        target.network_name,
        str(seconds),
    ]
    async with open_transport(Identity.from_seed(os.urandom(32))) as transport:
        honest = Honest(target, transport)
        await honest.watch(SETTLING_SECONDS)
        quiet, quiet_arrivals = await honest.watch(QUIET_SECONDS)
        process = await trio.lowlevel.open_process(command, cwd=ROOT, stdout=subprocess.PIPE)
        try:
            loud, loud_arrivals = await honest.watch(seconds + STARTING_SECONDS, process)
            assert process.stdout is not None
            with trio.fail_after(30):
                done = b"".join([piece async for piece in process.stdout])
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()

    figures = {
        "done": json.loads(done),
        "question_ms": [round(1e3 * worst(times), 1) for times in (quiet, loud)],
        "arrival_ms": [round(1e3 * max(times)) for times in (quiet_arrivals, loud_arrivals)],
        "asked": len(loud),
        "turned_away": honest.turned_away,
        "grown_megabytes": (honest.peak_bytes - resting_bytes) // MEGABYTE,
        "open_files": target.open_files(),
        "logged_bytes": target.log_file.stat().st_size,
    }
    print(f"\n{name}: {json.dumps(figures)}")
    assert target.is_running
    assert loud_arrivals
    assert honest.peak_bytes - resting_bytes < GROWTH_MAX_BYTES


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
