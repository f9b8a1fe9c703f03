"""`cocoon demo`, run as a stranger would run it."""

import fcntl
import json
import signal
import subprocess
import sys
from pathlib import Path

FIELDS = {
    "answer", "model", "finish_reason", "usage", "client_paid", "worker_earned", "commission",
    "unspent", "proxy", "worker", "first_token_seconds", "trust",
}  # fmt: skip


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cocoon_p2p.cli", "demo", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_the_demo_answers_and_every_coin_is_accounted_for() -> None:
    done = demo("--prompt", "Translate to Spanish: the red house", "--json")

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told) >= FIELDS
    assert "casa roja" in told["answer"].lower()
    assert told["finish_reason"] == "stop"
    assert told["client_paid"] == told["worker_earned"] + told["commission"] > 0
    assert told["commission"] == told["worker_earned"] * 500 // 10_000
    assert told["unspent"] == 1_000_000_000 - told["client_paid"]
    assert told["trust"] == "open"
    assert told["is_demo_model"] is True
    assert done.stderr == ""


def test_the_demo_shows_who_paid_whom() -> None:
    done = demo("--workers", "1")

    assert done.returncode == 0, done.stderr
    assert "listening" in done.stdout
    assert "(demo model)" in done.stdout
    table = done.stdout.splitlines()
    assert any(line.split()[:2] == ["client", "proxy"] for line in table), done.stdout
    assert any(line.split()[:2] == ["proxy", "worker-1"] for line in table), done.stdout
    assert "kept by the proxy" in done.stdout
    assert "no chain stands behind them yet" in done.stdout


def test_a_demo_that_is_told_to_end_takes_its_nodes_along(tmp_path: Path) -> None:
    serving = subprocess.Popen(
        [sys.executable, "-m", "cocoon_p2p.cli", "demo", "--serve", str(tmp_path / "demo"), "--workers", "1"],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    with serving:
        assert serving.stdout is not None
        for line in serving.stdout:
            if "stays up" in line:
                break

        serving.send_signal(signal.SIGTERM)

        assert serving.wait(timeout=60) == 130
    locks = list((tmp_path / "demo").glob("*-data/ledger.db.lock"))
    assert len(locks) == 3
    for path in locks:
        with path.open() as lock:
            # A node that still runs holds it.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
