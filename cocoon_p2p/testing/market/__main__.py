"""Make all runs, and write what came of them: results, plots, and the tables of the document.

    python -m cocoon_p2p.testing.market docs/simulation.md

Results and plots are written into the folder of the document's name. `--again` makes no runs: it
writes plots and tables from the results that are there.
"""

import multiprocessing
from pathlib import Path

import click

from cocoon_p2p.testing.market.findings import fill, tables
from cocoon_p2p.testing.market.plots import plots
from cocoon_p2p.testing.market.results import read_results, write_results
from cocoon_p2p.testing.market.study import Result, trials, try_out


def make_runs(processes: int) -> list[Result]:
    """Make all runs, in the order of the study whoever is done first."""
    results: list[Result] = []
    with multiprocessing.Pool(processes) as pool:
        for result in pool.imap(try_out, trials()):
            results.append(result)
            trial = result.trial
            click.echo(f"{trial.study}: {trial.rule}, load {trial.load}", err=True)
    return results


@click.command(help=__doc__)
@click.argument("document", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--again", is_flag=True, help="Make no runs.")
@click.option("--processes", default=1, show_default=True)
def main(document: Path, again: bool, processes: int) -> None:
    folder = document.with_suffix("")
    folder.mkdir(exist_ok=True)
    file = folder / "results.json"
    if not again:
        write_results(make_runs(processes), file)
    book = read_results(file)
    for name, drawing in plots(book).items():
        (folder / name).write_text(drawing, encoding="utf-8")
    filled = fill(document.read_text(encoding="utf-8"), tables(book))
    document.write_text(filled, encoding="utf-8")


if __name__ == "__main__":
    main()
