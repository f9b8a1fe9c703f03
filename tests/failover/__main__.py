"""Lose workers or proxies of a real network in the midst of their answers, as often as you like.

    make losses LOSSES=200        python -m tests.failover --losses 200
                                  python -m tests.failover --losses 20 --proxies shared

A bootstrap, a proxy and three workers with the demo model, a process each; the client is this process.
Each answer's worker is killed (or, with --stop, falls silent) after a random token; the answer must be
the undisturbed one, and every paper and ledger as payments/settlement.md says. Otherwise the exit code
is 1. With --proxies it is one of two proxies that is killed, and started again over its ledger.
"""

import argparse
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path

import trio

from tests.failover.gates import lose_proxies
from tests.failover.killing import lose_workers

KILLED_BOUND_SECONDS = 2.0
STOPPED_BOUND_SECONDS = 5.0
"What is promised to a reader, reading the prompt again left out: it is short here."


def main() -> int:
    reader = argparse.ArgumentParser()
    reader.add_argument("--losses", type=int, default=200)
    reader.add_argument("--seed", type=int, default=0)
    reader.add_argument(
        "--proxies",
        choices=("shared", "separate"),
        help="kill proxies; whether their workers serve both, or one each",
    )
    reader.add_argument("--stop", action="store_true", help="SIGSTOP in place of SIGKILL")
    arguments = reader.parse_args()
    how = signal.SIGSTOP if arguments.stop else signal.SIGKILL
    with tempfile.TemporaryDirectory(prefix="cocoon-losses-") as place:
        lose = partial(lose_workers, how=how)
        if arguments.proxies:
            lose = partial(lose_proxies, are_shared=arguments.proxies == "shared")
        run = partial(lose, Path(place), arguments.losses, seed=arguments.seed, tell=print)
        account = trio.run(run)
    gaps = sorted(account.gaps_seconds)
    print(f"{account.losses} losses, {account.continued} in the midst of an answer")
    print(f"{len(account.faults)} faults, {account.client_paid} nanoTON paid")
    shares = {share: gaps[(len(gaps) - 1) * share // 100] for share in (0, 25, 50, 75, 95, 99, 100)}
    print("longest time without a piece: " + ", ".join(f"{k} % {gap:.2f} s" for k, gap in shares.items()))
    bound = STOPPED_BOUND_SECONDS if arguments.stop else KILLED_BOUND_SECONDS
    print(f"above the bound of {bound:g} s: {sum(gap > bound for gap in gaps)}")
    print("\n".join(account.faults))
    return 1 if account.faults else 0


if __name__ == "__main__":
    sys.exit(main())
