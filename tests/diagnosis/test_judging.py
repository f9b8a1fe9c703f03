"""What is seen of a node is judged as its owner would want it to be."""

from typing import Any

from cocoon_p2p.diagnosis import Severity
from cocoon_p2p.diagnosis.machine import judge_room
from cocoon_p2p.diagnosis.money import TOLD_MAX, judge_chain, judge_channels, judge_wallet
from cocoon_p2p.diagnosis.network import NAMES_TOLD, judge_papers, judge_running
from cocoon_p2p.diagnosis.serving import judge_expiry
from cocoon_p2p.network.health import BootstrapHealth, Connections, Health
from cocoon_p2p.network.reachability import ReachabilityView
from cocoon_p2p.overview import ChannelView
from cocoon_p2p.overview.snapshot import Snapshot
from cocoon_p2p.units import Nano
from tests.explorer.test_crawling import model, record

NOW = 1_800_000_000.0
FINE, WARNING, FAILURE = Severity


def channel(**facts: object) -> ChannelView:
    given = {
        "channel": "ab" * 16, "side": "payer", "peer": "12D3KooWPeer", "phase": "open", "has_contract": True,
        "is_settled": False, "is_connected": None, "capacity_nano": 1000, "vouchered_nano": 100,
        "charged_nano": 90, "running_nano": None, "credit_nano": None, "address": None, "deposit_nano": 1000,
        "claimed_nano": 0, "close_delay_seconds": 600, "close_at": 0,
    }  # fmt: skip
    return ChannelView(**(given | facts))  # type: ignore[arg-type]


def seen(*, servers: int, reached: tuple[bool | None, ...], advice: str = "", **facts: Any) -> Snapshot:
    health = Health(
        peer="12D3KooWMe",
        addresses=[],
        reachability="unknown",
        servers=servers,
        looked_up_seconds_ago=None,
        buckets=[],
        bootstraps=[BootstrapHealth(f"12D3KooW{each}", [], each) for each in reached],
        connections=Connections(0, 0, 0, []),
        kept=None,
        peers_for_restart=0,
    )
    reach = ReachabilityView("unknown", (), (), (), advice)
    given: dict[str, Any] = {
        "is_ready": True,
        "role": "worker",
        "network": "mine",
        "peer": "12D3KooWMe",
        "version": "1.0",
    }
    return Snapshot(pid=1, started_at=NOW, now=NOW, health=health, reach=reach, **(given | facts))


def test_a_disk_that_is_nearly_full_is_told_before_it_is() -> None:
    assert judge_room(50 * 10**9).severity is FINE
    assert judge_room(5 * 10**8).severity is WARNING
    full = judge_room(10**6)
    assert full.severity is FAILURE
    assert "make room" in full.remedy


def test_a_clock_that_is_behind_the_chain_is_wrong_and_says_how_to_set_it() -> None:
    (finding,) = judge_chain("mainnet", 3600.0)

    assert (finding.check, finding.severity) == ("clock", FAILURE)
    assert "3,600 s behind" in finding.text
    assert "timedatectl" in finding.remedy


def test_an_old_block_is_a_warning_but_on_a_local_chain_that_makes_them_when_needed() -> None:
    assert judge_chain("testnet", -600.0)[0].severity is WARNING
    assert judge_chain("local", -600.0)[0].severity is FINE
    assert judge_chain("mainnet", -5.0)[0].severity is FINE


def test_a_wallet_without_gas_says_how_much_to_send() -> None:
    empty = judge_wallet("UQme", Nano(1))

    assert empty.severity is WARNING
    assert "0.2 TON or more" in empty.remedy
    assert judge_wallet("UQme", Nano(10**9)).severity is FINE


def test_channels_that_are_well_are_counted_and_settled_ones_are_not() -> None:
    (finding,) = judge_channels([channel(), channel(is_settled=True, phase="stopped")], NOW, is_running=True)

    assert (finding.severity, finding.text) == (FINE, "1 open")


def test_a_channel_near_its_limit_is_told_to_who_pays_by_it_alone() -> None:
    (paying,) = judge_channels([channel(vouchered_nano=950)], NOW, is_running=True)
    (paid,) = judge_channels([channel(vouchered_nano=950, side="payee")], NOW, is_running=True)

    assert (paying.severity, paid.severity) == (WARNING, FINE)
    assert "95% of its capacity" in paying.text


def test_a_payer_that_closes_is_a_failure_where_nobody_is_there_to_claim() -> None:
    closing = [channel(side="payee", close_at=int(NOW) + 500)]

    assert judge_channels(closing, NOW, is_running=True)[0].severity is FINE
    (away,) = judge_channels(closing, NOW, is_running=False)
    assert away.severity is FAILURE
    assert "in 500 s" in away.text
    assert "channels watch" in away.remedy


def test_of_very_many_channels_the_worst_are_told_and_the_others_counted() -> None:
    closing = [channel(side="payee", close_at=int(NOW) + 500)] * 10_000
    stopped = [channel(phase="stopped")] * 3

    found = judge_channels([*closing, *stopped], NOW, is_running=True)

    assert len(found) == TOLD_MAX + 1
    assert [finding.severity for finding in found].count(FAILURE) == 3
    assert found[-1].text.startswith(f"{10_003 - TOLD_MAX:d} more")


def test_books_that_contradict_each_other_are_a_failure() -> None:
    (finding,) = judge_channels([channel(phase="stopped")], NOW, is_running=True)

    assert finding.severity is FAILURE


def test_a_running_node_that_nobody_answers_is_a_failure_and_one_silent_bootstrap_a_warning() -> None:
    def severities(found: Snapshot) -> dict[str, Severity]:
        return {finding.check: finding.severity for finding in judge_running(found)}

    assert set(severities(seen(servers=3, reached=(True, None))).values()) == {FINE}
    assert severities(seen(servers=3, reached=(True, False)))["bootstrap"] is WARNING
    alone = severities(seen(servers=0, reached=(False, False)))
    assert (alone["bootstrap"], alone["directory"]) == (FAILURE, FAILURE)
    advised = severities(seen(servers=3, reached=(True,), advice="forward port 4001"))
    assert advised["reachability"] is WARNING


def test_what_anybody_may_put_into_the_directory_is_no_proxy() -> None:
    finding = judge_papers([b"", b"\x80", b"rubbish"], "mine", NOW)

    assert finding.severity is WARNING
    assert "no proxy" in finding.text
    assert "clock" in finding.remedy


def test_of_very_many_models_some_are_named_and_the_others_counted() -> None:
    models = [model(f"m{number:02d}") for number in range(NAMES_TOLD + 10)]

    finding = judge_papers([record(1, *models)], "explored", NOW)

    assert finding.text.startswith("1 proxies, which sell m00, m01, ")
    assert finding.text.endswith(f"m{NAMES_TOLD - 1}, 10 more")


def test_a_policy_is_told_a_week_before_it_ends() -> None:
    assert judge_expiry(30 * 86_400.0).severity is FINE
    assert judge_expiry(86_400.0).severity is WARNING
    assert judge_expiry(-3600.0).severity is FAILURE
