"""Whole runs: what must hold does, the same seed is the same run, and a fault is found."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from click.testing import CliRunner

from cocoon_p2p.testing.simulation import Report, carry_out, make_plan, simulate
from cocoon_p2p.testing.simulation import checks as at_rest
from cocoon_p2p.testing.simulation.__main__ import main
from cocoon_p2p.testing.simulation.many import run_many
from cocoon_p2p.testing.simulation.plan import EXCHANGES, Deed, Trouble
from cocoon_p2p.testing.simulation.tally import CONTINUATION, CONTINUED_AGAIN, EXCHANGE, told

FEW = 24
"Exchanges of a run that must be quick."

MANY = 28


def held(report: Report) -> None:
    assert report.faults == (), (
        f"{report}\n  again: python -m cocoon_p2p.testing.simulation --seed {report.plan.seed}"
    )
    assert report.outcomes


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_seed_holds(seed: int) -> None:
    held(simulate(seed, exchanges=FEW))


@pytest.fixture(scope="module")
def many() -> dict[int, Report | str]:
    """Run the seeds that every change must pass; `make sim` runs others."""
    return dict(run_many(range(1000, 1000 + MANY), EXCHANGES, processes=os.cpu_count() or 1))


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_many_seeds_hold_and_each_has_its_exchanges(many: dict[int, Report | str]) -> None:
    for report in many.values():
        assert isinstance(report, Report), report
        held(report)
        assert report.struck[EXCHANGE] >= EXCHANGES, report


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_each_trouble_truly_strikes(many: dict[int, Report | str]) -> None:
    runs = [report.struck for report in many.values() if isinstance(report, Report)]

    for name in runs[0].keys() - {CONTINUED_AGAIN}:
        assert any(run[name] for run in runs), f"{name} never happened: {told(runs)}"
    assert sum(run[CONTINUATION] for run in runs) * 2 >= len(runs), told(runs)


@pytest.mark.slow
def test_equal_seeds_are_equal_runs_and_others_are_not() -> None:
    first, second, other = simulate(1, exchanges=FEW), simulate(1, exchanges=FEW), simulate(2, exchanges=FEW)

    assert first == second
    assert first.digest != other.digest


@pytest.mark.slow
def test_a_run_does_not_hang_on_how_strings_are_hashed() -> None:
    script = f"from cocoon_p2p.testing.simulation import simulate; print(simulate(1, exchanges={FEW}).digest)"

    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }

    assert digests == {simulate(1, exchanges=FEW).digest + "\n"}


@pytest.mark.slow
@pytest.mark.parametrize("deed", Deed)
def test_each_kind_of_trouble_is_survived(deed: Deed) -> None:
    plan = make_plan(5, exchanges=FEW)
    nodes = {Deed.KILL: "proxy-1", Deed.RESTORE: "client-1", Deed.ISOLATE: "client-1"}
    trouble = Trouble(1.0, deed, nodes.get(deed, "worker-1"), "proxy-1", 3.0, 5)

    report = carry_out(replace(plan, troubles=(trouble,)))

    held(report)
    assert report.struck[deed.value]


@pytest.mark.slow
def test_seeds_run_beside_each_other_and_each_is_reported_once() -> None:
    reports = dict(run_many(range(5), 4, processes=2))

    assert sorted(reports) == list(range(5))
    assert reports[3] == simulate(3, exchanges=4)


@pytest.mark.slow
def test_a_seed_that_does_not_hold_says_how_to_run_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_a_slot(*_: object) -> Iterator[str]:
        yield "worker-1: 1 of 2 slots free, 0 run"

    monkeypatch.setattr(at_rest, "slot_faults", lose_a_slot)

    result = CliRunner().invoke(main, ["--seed", "2", "--exchanges", "6"])

    assert result.exit_code == 1
    assert "worker-1: 1 of 2 slots free, 0 run" in result.output
    assert "again: python -m cocoon_p2p.testing.simulation --seed 2 --exchanges 6 --verbose" in result.output
