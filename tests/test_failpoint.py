"""A node dies where it is told, when it is told, and nowhere else."""

import signal
import subprocess
import sys

import pytest

from cocoon_p2p.failpoint import VARIABLE, Failpoint, read_failpoint

REACH = "from cocoon_p2p.failpoint import Failpoint, reached; reached(Failpoint.CLAIM_SENT); print('one'); "
AGAIN = "reached(Failpoint.CLOSE_SENT); reached(Failpoint.CLAIM_SENT); print('two')"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wish", "said", "code"),
    [
        ("", b"one\ntwo\n", 0),
        ("claim.sent", b"", -signal.SIGKILL),
        ("claim.sent:2", b"one\n", -signal.SIGKILL),
        ("claim.sent:3", b"one\ntwo\n", 0),
    ],
)
def test_a_process_dies_when_it_comes_there_for_that_time(wish: str, said: bytes, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-u", "-c", REACH + AGAIN], env={VARIABLE: wish}, capture_output=True, check=False
    )

    assert (done.stdout, done.returncode) == (said, code)


@pytest.mark.parametrize("wish", ["claim", "claim.sent:0", "claim.sent:x"])
def test_a_place_that_there_is_not_is_not_taken_for_none(wish: str) -> None:
    with pytest.raises(ValueError, match=r"claim|time|invalid literal"):
        read_failpoint(wish)


def test_without_a_wish_nothing_happens() -> None:
    for place in Failpoint:
        read_failpoint("")(place)
