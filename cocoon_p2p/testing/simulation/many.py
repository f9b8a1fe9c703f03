"""Many seeds, on as many processors as there are."""

import logging
import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed

from cocoon_p2p.testing.simulation.running import Report, simulate


def run_many(seeds: Iterable[int], exchanges: int, processes: int) -> Iterator[tuple[int, Report | str]]:
    """Run every seed, and give each report as it comes, or what a run broke down with."""
    if processes == 1:
        yield from (_run(seed, exchanges) for seed in seeds)
        return
    # Started anew, not forked: a fork takes along whatever threads and locks there are. The processes stay,
    # because before Python 3.12 a pool that replaces them may wait for one of them for ever.
    pool = ProcessPoolExecutor(
        processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=keep_quiet,
    )
    with pool:
        for future in as_completed([pool.submit(_run, seed, exchanges) for seed in seeds]):
            yield future.result()


def keep_quiet() -> None:
    """Let nobody print warnings: most runs are full of what is worth one."""
    logging.getLogger("cocoon_p2p").addHandler(logging.NullHandler())


def _run(seed: int, exchanges: int) -> tuple[int, Report | str]:
    try:
        return seed, simulate(seed, exchanges=exchanges)
    except Exception as exc:  # noqa: BLE001  # whatever it is, the seed must be named
        return seed, f"{type(exc).__name__}: {exc}"
