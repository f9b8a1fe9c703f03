"""Real processes are lost at random tokens: the text is the undisturbed one, and the bill is by the rule."""

import signal
from pathlib import Path

import pytest

from tests.failover.gates import lose_proxies
from tests.failover.killing import lose_workers

pytestmark = pytest.mark.long


@pytest.mark.timeout(600)
async def test_answers_of_killed_workers_go_on_without_a_seam_and_are_billed_by_the_rule(
    tmp_path: Path,
) -> None:
    account = await lose_workers(tmp_path, 20, seed=8, how=signal.SIGKILL)

    assert account.faults == []
    # On a slow machine a signal may come when the end is on its way.
    assert account.continued > account.losses // 2 == 10


@pytest.mark.timeout(300)
async def test_so_do_those_of_workers_that_fall_silent(tmp_path: Path) -> None:
    account = await lose_workers(tmp_path, 4, seed=9, how=signal.SIGSTOP)

    assert account.faults == []
    assert account.continued > account.losses // 2 == 2


@pytest.mark.timeout(600)
@pytest.mark.parametrize("are_shared", [True, False], ids=["workers of both", "workers of one each"])
async def test_answers_of_killed_proxies_go_on_through_another_and_are_settled_once_it_is_back(
    tmp_path: Path, are_shared: bool
) -> None:
    account = await lose_proxies(tmp_path, 5, seed=10, are_shared=are_shared)

    assert account.faults == []
    assert account.continued > account.losses // 2 == 2
