"""`cocoon status`: why a worker is not chosen, in words its owner can act on; and a proxy's workers."""

import json
from functools import partial
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from cocoon_p2p.cli import cocoon
from cocoon_p2p.control import serve_control
from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.node import CONTROL_SOCKET
from cocoon_p2p.overview.selling import (
    SELLING,
    Selling,
    ShowSelling,
    StandingView,
    WorkerView,
    why_not,
)
from cocoon_p2p.protocols.ids import Why

NAME = "12D3KooWLZw3LsHqWVfFxX6o8XEnP8wfPCw3SkikvjJ9BNj8ohYy"
CONFIGS = {
    "worker": '[worker]\nmodel = "demo"\n[network]\nname = "demo"\n[data]\ndirectory = "data"\n',
    "proxy": '[proxy]\n[network]\nname = "demo"\n[data]\ndirectory = "data"\n',
    "client": '[client]\n[network]\nname = "demo"\n[data]\ndirectory = "data"\n',
}


def config_of(role: str, place: Path) -> Path:
    (place / "data").mkdir()
    file = place / "node.toml"
    file.write_text(CONFIGS[role])
    return file


async def shown(role: str, place: Path, selling: Selling, *arguments: str) -> Result:
    """Run the command beside a node that has this to say."""
    file = config_of(role, place)

    async def show(_request: ShowSelling) -> Selling:
        await trio.lowlevel.checkpoint()
        return selling

    async with trio.open_nursery() as nursery:
        serve = partial(serve_control, place / "data" / CONTROL_SOCKET, [SELLING.by(show)])
        await nursery.start(serve)
        run = partial(CliRunner().invoke, cocoon, ["status", str(file), *arguments])
        result = await trio.to_thread.run_sync(run)
        nursery.cancel_scope.cancel()
    return result


STANDING = StandingView(
    NAME,
    is_registered=True,
    told_seconds_ago=3.0,
    counted_seconds=1_800,
    looked_at=40,
    chosen=3,
    not_chosen=[why_not(int(Why.OTHERS_CHEAPER), 30), why_not(int(Why.FULL), 7)],
    rests_seconds=9.4,
)


async def test_a_worker_is_told_why_it_is_not_chosen_and_what_to_do(tmp_path: Path) -> None:
    result = await shown("worker", tmp_path, Selling("worker", proxies=[STANDING]))

    assert result.exit_code == 0, result.output
    assert f"proxy {NAME}: offers you" in result.output
    assert "leaves you alone for 9 s more" in result.output
    assert "chosen 3 times of 40 that it looked back at in 30 min" in result.output
    assert "30 x others cost less for the time that they take -> lower [price]" in result.output


async def test_where_nobody_asked_there_is_no_demand(tmp_path: Path) -> None:
    quiet = StandingView(NAME, is_registered=True, told_seconds_ago=1.0, counted_seconds=600)

    result = await shown("worker", tmp_path, Selling("worker", proxies=[quiet]))

    assert "no demand: nobody asked for a model of yours in 10 min" in result.output


async def test_a_proxy_that_tells_nothing_is_said_to(tmp_path: Path) -> None:
    old = StandingView(NAME, is_registered=True, told_seconds_ago=None)

    result = await shown("worker", tmp_path, Selling("worker", proxies=[old]))

    assert "has said nothing of your chances yet" in result.output


async def test_json_has_the_words_for_programs(tmp_path: Path) -> None:
    result = await shown("worker", tmp_path, Selling("worker", proxies=[STANDING]), "--json")

    told = json.loads(result.stdout)
    assert [reason["why"] for reason in told["proxies"][0]["not_chosen"]] == ["others-cheaper", "full"]


async def test_a_proxy_shows_its_workers_and_what_their_past_counts_for(tmp_path: Path) -> None:
    view = WorkerView(
        NAME, ["qwen3"], "open", 1, 4, False, 1.5, 6.0, 2.0, {"canary failed": 2.0}, 29.0, "canary failed",
        "empty answer",
    )  # fmt: skip

    result = await shown(
        "proxy", tmp_path, Selling("proxy", workers=[view], canary_budget=2_000_000, canaries_spent=1_234)
    )

    assert result.exit_code == 0, result.output
    for part in ("qwen3", "1/4", "29 s: canary failed", "empty answer", "2,000,000 nanoTON an hour", "1,234"):
        assert part in result.output


def test_a_reason_that_came_later_is_shown_as_its_number() -> None:
    assert why_not(200, 3).why == "other-200"


@pytest.mark.parametrize("why", Why)
def test_every_reason_has_words(why: Why) -> None:
    said = why_not(int(why), 1)

    assert said.why == why.code
    assert said.means


def test_where_none_runs_it_says_how_to_start_it(tmp_path: Path) -> None:
    result = CliRunner().invoke(cocoon, ["status", str(config_of("worker", tmp_path))])

    assert isinstance(result.exception, Unavailable)
    assert "cocoon worker" in (result.exception.hint or "")


async def test_where_one_is_starting_it_does_not_say_to_start_another(tmp_path: Path) -> None:
    file = config_of("worker", tmp_path)

    async def show(_request: ShowSelling) -> Selling:
        await trio.lowlevel.checkpoint()
        raise Unavailable("the node is still starting", retry_after=1.0)

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_control, tmp_path / "data" / CONTROL_SOCKET, [SELLING.by(show)]))
        result = await trio.to_thread.run_sync(partial(CliRunner().invoke, cocoon, ["status", str(file)]))
        nursery.cancel_scope.cancel()

    assert isinstance(result.exception, Unavailable)
    assert "still starting" in str(result.exception)
    assert "cocoon worker" not in (result.exception.hint or "")


def test_a_client_sells_nothing(tmp_path: Path) -> None:
    result = CliRunner().invoke(cocoon, ["status", str(config_of("client", tmp_path))])

    assert isinstance(result.exception, ConfigurationError)
