"""A network of processes under mixed load for as long as you like; none may grow.

    make soak MINUTES=20        python -m tests.soak --minutes 20

A bootstrap, a proxy and two workers stay; two clients ask, leave and cancel all the time; a third
worker is stopped or killed and comes back; strangers come and go, some of them with garbage. Every
ten seconds each node that stays says what it holds. After the first two minutes, when what is
kept has been filled, its memory may grow by five per cent and its files, tasks, connections and
streams hardly; and at the end both ends of every channel must say the same. Otherwise the exit
code is 1.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from cocoon_p2p import lifeline
from cocoon_p2p.cli.books import who_paid_whom
from cocoon_p2p.testing.processes import LocalNetwork, NodeProcess, open_local_network
from tests.soak.gauges import KINDS, Look, While, look_at, more_objects, what_grew

PROBE = Path(__file__).parent / "probe"
CLIENTS = 2
GUEST = "worker-3"
"The worker that comes and goes."

WARM_UP_SECONDS = 120.0
WHILE_SECONDS = 60.0
"How long each of the two whiles is that are compared."

LOOK_EVERY_SECONDS = 10.0
GUEST_STAYS_SECONDS = (20.0, 60.0)
STOP_SECONDS = 60.0
COUNTS = ("files", "tasks", *KINDS)


@dataclass
class Soak:
    """One run: where the watched ones tell, and what was seen."""

    minutes: float
    gauges: Path
    seen: dict[str, list[While]] = field(default_factory=dict[str, list[While]])
    "The two whiles of each process."

    done: dict[str, object] = field(default_factory=dict[str, object])
    faults: list[str] = field(default_factory=list[str])
    guest_comings: int = 0


async def run(soak: Soak, place: Path) -> None:
    """Let everybody live for the time, and then look at the books."""
    clients = [f"client-{number}" for number in range(1, CLIENTS + 1)]
    async with open_local_network(place, workers=3) as network:
        addresses = [
            network.nodes[name].steps["listening"]["addresses"][0] for name in ("bootstrap", "proxy")
        ]
        async with trio.open_nursery() as nursery:
            pids = {name: node.pid for name, node in network.nodes.items() if name != GUEST}
            strangers = ("tests.soak.strangers", network.name, *addresses)
            async with program("strangers", strangers, soak), trio.open_nursery() as asking:
                ended = trio.Event()
                for name in clients:
                    pids[name] = await asking.start(ask, network, name, soak, ended)
                nursery.start_soon(come_and_go, network.nodes[GUEST], nursery, soak)
                await watch(soak, pids)
                ended.set()
            nursery.cancel_scope.cancel()
        guest = network.nodes[GUEST]
        async with trio.open_nursery() as nursery:
            # It comes once more, so that what a kill left unsaid is said.
            await guest.stop()
            await guest.start(nursery)
            await guest.wait_for("ready")
            await guest.stop()
    books = await who_paid_whom(place, [*clients, *network.nodes])
    soak.faults += books.faults
    soak.done["channels"] = len(books.entries)


async def ask(
    network: LocalNetwork,
    name: str,
    soak: Soak,
    ended: trio.Event,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a client with a ledger of its own."""
    file = network.place / f"{name}.toml"
    file.write_text(network.client_file.read_text().replace("client-data", f"{name}-data"))
    async with program(name, ("tests.soak.client", str(file)), soak) as process:
        # Before it can be asked what it holds, it must have come up.
        assert process.stdout is not None
        await process.stdout.receive_some()
        task_status.started(process.pid)
        await ended.wait()


@asynccontextmanager
async def program(name: str, command: Sequence[str], soak: Soak) -> AsyncIterator[trio.Process]:
    """Run a program of this folder; keep what it prints when it is asked to end."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, lifeline.VARIABLE: "stdin"},
    )
    assert process.stdout is not None
    try:
        yield process
        with trio.move_on_after(STOP_SECONDS):
            process.send_signal(signal.SIGTERM)
            said = b"".join([part async for part in process.stdout])
            await process.wait()
        if process.returncode != 0:
            soak.faults.append(f"{name} ended with {process.returncode}")
        else:
            soak.done[name] = json.loads(said)
    finally:
        if process.poll() is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def come_and_go(guest: NodeProcess, nursery: trio.Nursery, soak: Soak) -> None:
    """Stop the guest or kill it, and let it come back, again and again."""
    while True:
        await trio.sleep(random.uniform(*GUEST_STAYS_SECONDS))
        if soak.guest_comings % 3 == 2:
            guest.signal(signal.SIGKILL)
        await guest.stop()
        await trio.sleep(random.uniform(0, 10))
        await guest.start(nursery)
        await guest.wait_for("ready")
        soak.guest_comings += 1


async def watch(soak: Soak, pids: dict[str, int]) -> None:
    """Look at every process again and again, until the time is up."""
    begun = trio.current_time()
    await look_on(soak, pids, begun, until=begun + WARM_UP_SECONDS)
    await see_a_while(soak, pids, begun)
    await look_on(soak, pids, begun, until=begun + soak.minutes * 60 - WHILE_SECONDS)
    await see_a_while(soak, pids, begun)


async def see_a_while(soak: Soak, pids: dict[str, int], begun: float) -> None:
    """Look on for a while and count at its end."""
    looks = await look_on(soak, pids, begun, until=trio.current_time() + WHILE_SECONDS)
    for name, pid in pids.items():
        count = await look_at(pid, soak.gauges, counts=True)
        if count is None or not looks[name]:
            soak.faults.append(f"{name}: does not say what it holds")
        else:
            soak.seen.setdefault(name, []).append(While(looks[name], count))


async def look_on(soak: Soak, pids: dict[str, int], begun: float, *, until: float) -> dict[str, list[Look]]:
    """Look at every process every ten seconds, and print what it holds."""
    looks: dict[str, list[Look]] = {name: [] for name in pids}
    while (now := trio.current_time()) < until:
        line = f"{now - begun:5.0f} s"
        for name, pid in pids.items():
            if (look := await look_at(pid, soak.gauges)) is not None:
                looks[name].append(look)
                line += f"  {name} {look.resident_bytes / 1e6:.1f} MB"
        print(line, flush=True)
        await trio.sleep_until(min(now + LOOK_EVERY_SECONDS, until))
    return looks


def report(soak: Soak, *, names_objects: bool) -> bool:
    """Print the table; say whether all is well."""
    print(f"\n{'process':12} {'MB':>15}", *(f"{title:>11}" for title in COUNTS))
    for name, whiles in soak.seen.items():
        if len(whiles) < 2:
            continue
        first, last = whiles
        megabytes = f"{first.middle('resident_bytes') / 1e6:.1f} > {last.middle('resident_bytes') / 1e6:.1f}"
        print(f"{name:12} {megabytes:>15}", *(_pair(first, last, what) for what in COUNTS))
        grew = what_grew(first, last)
        soak.faults += [f"{name}: {line}" for line in grew]
        if grew or names_objects:
            print(f"{'':12} {', '.join(more_objects(first, last))}")
    print(f"The third minute, and the last. {GUEST} came {soak.guest_comings} times.")
    for name, done in soak.done.items():
        print(f"{name}: {json.dumps(done)}")
    for fault in soak.faults:
        print(f"FAULT {fault}")
    return not soak.faults


def _pair(first: While, last: While, what: str) -> str:
    return f"{first.middle(what):.0f} > {last.middle(what):.0f}".rjust(11)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--objects", action="store_true", help="name the types that most more objects have")
    arguments = parser.parse_args()
    minutes = arguments.minutes
    if minutes * 60 < WARM_UP_SECONDS + 2 * WHILE_SECONDS:
        parser.error("the first two minutes do not count, and two more are compared: at least 4")
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        gauges = Path(folder, "gauges")
        gauges.mkdir()
        os.environ["COCOON_SOAK_GAUGES"] = str(gauges)
        os.environ["PYTHONPATH"] = os.pathsep.join([str(PROBE), os.environ.get("PYTHONPATH", "")])
        soak = Soak(minutes, gauges)
        trio.run(partial(run, soak, Path(folder)))
    sys.exit(0 if report(soak, names_objects=arguments.objects) else 1)


if __name__ == "__main__":
    main()
