"""A process that is killed while it writes: what it was promised is there, and nothing by halves."""

import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.ledger import audit
from cocoon_p2p.store import DatabaseStore, open_store
from tests.store.rows import PAYEE_END, Place, line
from tests.store.writer import CALLERS, PRICE, channel_of, exchange_of

ROUNDS = 8


def start_writer(place: Place) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.store.writer", str(place)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def kill(process: "subprocess.Popen[str]") -> list[str]:
    """Kill it, and give what it had said and nobody had read."""
    process.send_signal(signal.SIGKILL)
    said = process.communicate()[0].splitlines(keepends=True)
    assert process.returncode == -signal.SIGKILL
    # The last line may be cut short.
    return [line for line in said if line.endswith("\n")]


@pytest.mark.slow
async def test_a_second_process_is_refused_until_the_first_is_killed(place: Place) -> None:
    process = start_writer(place)
    try:
        with pytest.raises(
            ConfigurationError, match=f"in use by another process .*pid={process.pid}"
        ) as caught:
            async with open_store(place):
                pass
    finally:
        kill(process)

    assert caught.value.hint == "stop that process, or give this node a ledger of its own"
    async with open_store(place) as store:
        await store.submit(line(0, name=PAYEE_END)).wait()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_what_a_killed_process_was_promised_is_there_and_nothing_by_halves(
    place: Place, seed: int
) -> None:
    process = start_writer(place)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(random.Random(seed).randrange(150))]

    said += kill(process)

    promised = Counter(int(line.split()[0]) for line in said)
    async with open_store(place) as store:
        written = await charged_by_caller(store)
        assert audit(await store.channels(), await store.lines()) == ()
    for caller in range(CALLERS):
        # One more may have landed than its caller heard of, and no caller has two on their way.
        assert written[caller] - promised[caller] in (0, 1)


async def charged_by_caller(store: DatabaseStore) -> Counter[int]:
    """Count the exchanges of each caller that are there with all that belongs to them."""
    rows = {row.name: row for row in await store.channels()}
    lines = Counter(line.name for line in await store.lines())
    written: Counter[int] = Counter()
    for caller in range(CALLERS):
        name = channel_of(caller)
        count = rows[name].charged // PRICE if name in rows else 0
        assert lines[name] == 2 * count
        assert all(store.exchange(name, exchange_of(number)) for number in range(1, count + 1))
        assert store.exchange(name, exchange_of(count + 1)) is None
        written[caller] = count
    return written
