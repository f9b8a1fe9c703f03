"""How long a newcomer searches for a proxy among 60 servers, and with a fifth of them killed.

    python benchmarks/dht.py [--quick]

Five processes with twelve servers each, on loopback, two of each process proxies; two bootstraps. Then
one of the processes is killed, a bootstrap and two proxies with it. A newcomer is a new key with an empty
table each time: ours returns when it has the records of all proxies; its connections warm, it then fetches
one record fifty times. Beside it: the Kademlia of py-libp2p as it ships, whose newcomer asks for
the providers under one shard and for one record. The two networks stand one after the other: both at once
would share two processors among 120 nodes.

The goals: 1 s; 3 s with a fifth killed; 100 ms for a record with warm connections (median).
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _measure import milliseconds, print_machine, read_arguments, spread

PROCESSES = 5
SERVERS_EACH = 12
PROXIES_EACH = 2
KILLED = 1
"Which of the processes is killed: it has the second bootstrap."

SETTLE_SECONDS = 10.0
"After the last server listens, before anything is published: every one looks around first."

NODES = Path(__file__).with_name("_dht_nodes.py")


def main() -> None:
    arguments = read_arguments(__doc__)
    print_machine()
    rounds = 2 if arguments.quick else 7
    for kind, count in (("ours", rounds), ("stock", max(1, rounds // 2))):
        measure(kind, count)


def measure(kind: str, rounds: int) -> None:
    with servers(kind) as (processes, bootstraps):
        print_machine()
        show(f"{kind}: newcomer among 60 servers", newcome(kind, 1000, rounds, bootstraps))
        processes[KILLED].kill()
        processes[KILLED].wait()
        show(f"{kind}: with a fifth killed", newcome(kind, 2000, rounds, bootstraps))


@contextmanager
def servers(kind: str) -> Iterator[tuple[list[subprocess.Popen[str]], list[str]]]:
    """Run the servers; the first of each of the first two processes is a bootstrap."""
    processes: list[subprocess.Popen[str]] = []
    bootstraps: list[str] = []
    try:
        for number in range(PROCESSES):
            first = 1 + number * SERVERS_EACH
            process = start(kind, "serve", first, SERVERS_EACH, PROXIES_EACH, *bootstraps[:1])
            processes.append(process)
            bootstraps += hear(process)["addresses"][:1]
        time.sleep(SETTLE_SECONDS)
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        for process in processes:
            hear(process)
        yield processes, bootstraps[: KILLED + 1]
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def newcome(kind: str, first: int, rounds: int, bootstraps: Sequence[str]) -> list[dict[str, Any]]:
    """Let newcomers come, one after the other; say what each told."""
    # The proxy in question lives in the first process, which is not killed.
    process = start(kind, "newcome", first, rounds, 1, *bootstraps)
    try:
        return [hear(process) for _ in range(rounds)]
    finally:
        process.kill()
        process.wait()


def show(what: str, told: Sequence[dict[str, Any]]) -> None:
    found = [round_["found"] for round_ in told]
    took = milliseconds([round_["seconds"] for round_ in told])
    print(f"{what}: {took}, proxies found {spread(found, digits=0)}", flush=True)
    print(f"  the newcomer's processor time: {milliseconds([round_['cpu_seconds'] for round_ in told])}")
    missed = sum(not round_["is_there"] for round_ in told)
    gets = [round_["get_seconds"] for round_ in told if round_["get_seconds"] is not None]
    if gets:
        print(f"  a record, connections warm: {milliseconds(gets)}")
    if missed:
        print(f"  {missed} of {len(told)} did not get the record")


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(NODES), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def hear(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"a node ended (code={process.wait()}): {process.args!r}")
    told: dict[str, Any] = json.loads(line)
    return told


if __name__ == "__main__":
    main()
