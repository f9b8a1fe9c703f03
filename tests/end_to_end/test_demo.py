"""`cocoon demo`, run as a stranger would run it."""

import fcntl
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FIELDS = {
    "answer", "model", "finish_reason", "usage", "client_paid", "worker_earned", "commission",
    "unspent", "proxy", "worker", "first_token_seconds", "trust", "chain", "channel_addresses", "onchain",
}  # fmt: skip

README = Path(__file__).parents[2] / "README.md"

WITHOUT_TONPY = "import sys; sys.modules['tonpy'] = None; from cocoon_p2p.cli import main; main(sys.argv[1:])"


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "cocoon_p2p.cli", "demo", *arguments)


def told(*arguments: str) -> Any:
    """Run another command with --json."""
    done = run(sys.executable, "-m", "cocoon_p2p.cli", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=280, stdin=subprocess.DEVNULL, check=False
    )


def shape(text: str) -> list[str]:
    """Take out of the demo's lines what differs from run to run; nodes come up in any order."""
    for pattern, what in (
        (r"12D3[\w…]+", "PEER"),
        (r"…\w+", "PEER"),
        (r"\b[Uk0E]Q[\w…-]+", "ADDRESS"),
        (r"worker-\d", "worker-N"),
        (r"tcp/\d+|:\d+", "PORT"),
        (r"\d[\d.]*", "N"),
        (r"[ ]+", " "),
    ):
        text = re.sub(pattern, what, text)
    return sorted(line.strip() for line in text.splitlines() if line.strip())


def test_the_demo_answers_and_every_coin_is_accounted_for() -> None:
    done = demo("--prompt", "Translate to Spanish: the red house", "--json")

    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert set(facts) >= FIELDS
    assert "casa roja" in facts["answer"].lower()
    assert facts["finish_reason"] == "stop"
    assert facts["client_paid"] == facts["worker_earned"] + facts["commission"] > 0
    assert facts["commission"] == facts["worker_earned"] * 500 // 10_000
    assert facts["unspent"] >= 1_000_000_000 - facts["client_paid"]
    assert (facts["trust"], facts["is_insecure"]) == ("sim", True)
    assert set(facts["verdict"]["vector"].values()) == {"unknown"}
    assert facts["is_demo_model"] is True
    assert done.stderr == ""

    assert_reconciles(facts)


def assert_reconciles(facts: dict[str, Any]) -> None:
    """Do the sums again that the demo did, from the balances that it tells."""
    onchain = facts["onchain"]
    before, after, fees = onchain["before"], onchain["after"], onchain["fees"]
    assert facts["chain"] == "local"
    assert len(facts["channel_addresses"]) == len(set(facts["channel_addresses"])) == 2
    assert all(re.fullmatch(r"kQ[\w-]{46}", address) for address in facts["channel_addresses"])
    assert onchain["reconciles"] is True
    assert onchain["difference"] == 0
    assert before["client"] == before["proxy"] == 20 * 10**9
    earned = sum(after[name] - before[name] + fees[name] for name in before if name.startswith("worker"))
    commission = after["proxy"] - before["proxy"] + fees["proxy"]
    assert before["client"] - after["client"] == earned + commission + fees["client"]
    assert (earned, commission) == (facts["worker_earned"], facts["commission"])
    assert sum(before.values()) - sum(after.values()) == sum(fees.values()) == onchain["fees_total"] > 0


def test_the_demo_prints_what_the_readme_shows() -> None:
    done = demo()

    assert done.returncode == 0, done.stderr
    (shown,) = re.findall(r"```\n(A network of its own.*?)```", README.read_text(), re.DOTALL)
    assert shape(done.stdout) == shape(shown)


def test_without_a_virtual_machine_the_demo_says_so_and_runs_without_a_chain() -> None:
    done = run(sys.executable, "-c", WITHOUT_TONPY, "demo", "--workers", "1")

    assert done.returncode == 0, done.stderr
    assert "tonpy, TON's virtual machine, is not installed" in done.stdout
    assert "no chain stands behind them" in done.stdout
    assert "la casa roja" in done.stdout
    table = [line.split()[:2] for line in done.stdout.splitlines()]
    assert ["client", "proxy"] in table, done.stdout
    assert ["proxy", "worker-1"] in table, done.stdout
    assert "on the chain" not in done.stdout


def test_a_served_network_can_be_bought_from_and_looked_into_and_ends_when_told_to(tmp_path: Path) -> None:
    place = tmp_path / "demo"
    serving = subprocess.Popen(
        [sys.executable, "-m", "cocoon_p2p.cli", "demo", "--serve", str(place), "--workers", "1"],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    with serving:
        assert serving.stdout is not None
        for line in serving.stdout:
            if line.strip().startswith("cocoon wallet"):
                break

        answer = told("ask", "Hello", "--config", f"{place}/client.toml")
        channels = told("channels", "list", "--config", f"{place}/client.toml")["channels"]
        wallet = told("wallet", "show", f"{place}/client.wallet", "--chain", f"{place}/chain.json")

        serving.send_signal(signal.SIGTERM)

        assert serving.wait(timeout=280) == 130
    assert answer["client_paid"] > 0
    assert [channel["capacity_nano"] > 10**9 for channel in channels] == [True]
    assert 18 * 10**9 < wallet["balance_nano"] < 19 * 10**9
    locks = list(place.glob("*-data/ledger.db.lock"))
    assert len(locks) == 3
    for path in locks:
        with path.open() as lock:
            # A node that still runs holds it.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.long
def test_a_killed_worker_s_answer_goes_on_and_both_are_paid_on_the_chain() -> None:
    done = demo("--workers", "3", "--kill-worker-after", "5", "--tokens-per-second", "20", "--json")

    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    first, second = facts["parts"]
    assert facts["answer"].startswith("It is a peer-to-peer network for private AI. People with computers ")
    assert facts["finish_reason"] == "stop"
    assert facts["continued_from"] == [first["exchange"]] == [second["continues"]]
    assert first["worker"] != second["worker"] == facts["worker"]
    assert (first["outcome"], first["paper"]) == ("failed", "meter")
    assert (second["outcome"], second["paper"]) == ("completed", "receipt")
    assert first["charged"]["prompt_tokens"] == 0
    assert first["charged"]["completion_tokens"] <= first["delivered"]["completion_tokens"]
    before = first["delivered"]["completion_tokens"]
    assert before >= 5
    usage = facts["usage"]
    assert second["charged"] == {
        "prompt_tokens": usage["prompt_tokens"] + usage["cached_tokens"] + before,
        "completion_tokens": usage["completion_tokens"] - before,
    }
    assert facts["client_paid"] == first["client_paid"] + second["client_paid"]
    assert facts["client_paid"] == facts["worker_earned"] + facts["commission"]
    assert (facts["chain"], facts["onchain"]["difference"], facts["onchain"]["reconciles"]) == (
        "local",
        0,
        True,
    )
