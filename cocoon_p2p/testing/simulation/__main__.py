"""Run many seeds, as many at once as there are processors.

python -m cocoon_p2p.testing.simulation --seeds 1000
python -m cocoon_p2p.testing.simulation --seed 47 --verbose
"""

import logging
import os
import sys
import time
from collections.abc import Mapping

import click

from cocoon_p2p.testing.simulation.many import keep_quiet, run_many
from cocoon_p2p.testing.simulation.plan import EXCHANGES
from cocoon_p2p.testing.simulation.running import Report
from cocoon_p2p.testing.simulation.tally import EXCHANGE, told


def again(seed: int, exchanges: int) -> str:
    """Spell the command that runs one seed again."""
    more = "" if exchanges == EXCHANGES else f" --exchanges {exchanges}"
    return f"python -m cocoon_p2p.testing.simulation --seed {seed}{more} --verbose"


@click.command(help=__doc__)
@click.option("--seeds", default=20, show_default=True, help="How many.")
@click.option("--first", default=0, show_default=True, help="The first of them.")
@click.option("--seed", type=int, help="This one alone.")
@click.option("--exchanges", default=EXCHANGES, show_default=True, help="In each run, at least.")
@click.option("--processes", default=os.cpu_count() or 1, show_default=True)
@click.option("--verbose", is_flag=True, help="The log, and a line for each run.")
def main(seeds: int, first: int, seed: int | None, exchanges: int, processes: int, verbose: bool) -> None:
    if verbose:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(name)s: %(message)s")
    else:
        keep_quiet()
    chosen = [seed] if seed is not None else list(range(first, first + seeds))
    began, failed, runs = time.perf_counter(), 0, list[Mapping[str, int]]()
    for number, report in run_many(chosen, exchanges, 1 if seed is not None else processes):
        faults = (report,) if isinstance(report, str) else report.faults
        if isinstance(report, Report):
            runs.append(report.struck)
        if verbose or faults:
            click.echo(report if isinstance(report, Report) else f"seed {number}: broke down")
        for fault in faults:
            click.echo(f"  {fault}")
        if faults:
            failed += 1
            click.echo(f"  again: {again(number, exchanges)}")
    seconds = time.perf_counter() - began
    if runs:
        click.echo(told(runs))
    exchanges = sum(run[EXCHANGE] for run in runs)
    click.echo(f"{len(chosen)} seeds, {exchanges} exchanges, {failed} failed, {seconds:.0f} s")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
