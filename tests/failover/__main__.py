"""Lose workers of a real network in the midst of their answers, as often as you like.

    make losses LOSSES=200        python -m tests.failover --losses 200

A bootstrap, a proxy and three workers with the demo model, a process each; the client is this process.
Each answer's worker is killed (or, with --stop, falls silent) after a random token; the answer must be
the undisturbed one, and every paper and ledger as payments/settlement.md says. Otherwise the exit code
is 1.
"""

import argparse
import signal
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

import trio

from tests.failover.killing import lose_workers


def main() -> int:
    reader = argparse.ArgumentParser()
    reader.add_argument("--losses", type=int, default=200)
    reader.add_argument("--seed", type=int, default=0)
    reader.add_argument("--stop", action="store_true", help="SIGSTOP in place of SIGKILL")
    arguments = reader.parse_args()
    how = signal.SIGSTOP if arguments.stop else signal.SIGKILL
    with tempfile.TemporaryDirectory(prefix="cocoon-losses-") as place:
        run = partial(lose_workers, Path(place), arguments.losses, seed=arguments.seed, how=how, tell=print)
        account = trio.run(run)
    gaps = sorted(account.gaps_seconds)
    print(f"{account.losses} losses, {account.continued} in the midst of an answer")
    print(f"{len(account.faults)} faults, {account.client_paid} nanoTON paid")
    median, late = statistics.median(gaps), gaps[int(len(gaps) * 0.95)]
    print(f"longest time without a piece: median {median:.2f} s, 95 % {late:.2f} s, at most {gaps[-1]:.2f} s")
    print("\n".join(account.faults))
    return 1 if account.faults else 0


if __name__ == "__main__":
    sys.exit(main())
