"""`cocoon status`: how a node of any role does, running or not; why a worker is not chosen."""

import json
import socket
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio
from click.testing import CliRunner, Result

from cocoon_p2p.cli import cocoon
from cocoon_p2p.config.folder import CONTROL_SOCKET, LAST_SHOWN, LEDGER
from cocoon_p2p.control import serve_control
from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.identity import peer_id_text
from cocoon_p2p.keyfile import load_or_create
from cocoon_p2p.ledger import Account, ChannelName, Line, Side
from cocoon_p2p.overview.last_shown import read_last, write_last
from cocoon_p2p.overview.selling import Selling, StandingView, WorkerView, why_not
from cocoon_p2p.overview.snapshot import SNAPSHOT, LoadView, MoneyView, ShowSnapshot, Snapshot, StepView
from cocoon_p2p.protocols.ids import Why
from cocoon_p2p.protocols.messages import ChannelId
from cocoon_p2p.store import open_store
from cocoon_p2p.units import Nano
from tests.cli.snapshots import BAD, CONFIGS, MONEY, NAME, NOW, snapshot


def config_of(role: str, place: Path) -> Path:
    (place / "data").mkdir(mode=0o700)
    file = place / "node.toml"
    file.write_text(CONFIGS[role])
    return file


async def run(file: Path, *arguments: str) -> Result:
    return await trio.to_thread.run_sync(
        partial(CliRunner().invoke, cocoon, ["status", str(file), *arguments])
    )


async def status_of(place: Path, seen: Snapshot, *arguments: str) -> Result:
    """Run the command beside a node that shows this."""
    file = config_of(seen.role, place)

    async def show(_request: ShowSnapshot) -> Snapshot:
        await trio.lowlevel.checkpoint()
        return seen

    async with trio.open_nursery() as nursery:
        serve = partial(serve_control, place / "data" / CONTROL_SOCKET, [SNAPSHOT.by(show)])
        await nursery.start(serve)
        result = await run(file, *arguments)
        nursery.cancel_scope.cancel()
    return result


async def shown(role: str, place: Path, selling: Selling, *arguments: str) -> Result:
    return await status_of(place, snapshot(role, selling=selling), *arguments)


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
    quiet = StandingView(NAME, is_registered=True, told_seconds_ago=21.0, counted_seconds=600)

    result = await shown("worker", tmp_path, Selling("worker", proxies=[quiet]))

    assert "no demand: nobody asked for a model of yours in 10 min, as it told 21 s ago" in result.output


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


async def test_a_worker_shows_what_it_does_and_earns(tmp_path: Path) -> None:
    result = await status_of(tmp_path, snapshot())

    assert result.exit_code == 0, result.output
    for part in (
        "worker on demo: ready",
        "321, version 1.0, up 3 h 2 min",
        "public at /ip4/203.0.113.7/tcp/4001",
        "1 running, 1 of 4 slots taken",
        "12 exchanges, 1 failed, 4,000 + 3,100 tokens, first token 0.42 s",
        "qwen3: 4,000 / 20,000 nanoTON per 1,000 tokens",
        "today in 0.12 TON, out 0 TON, 0.4 TON uncollected, wallet 1.2 TON (3 min 20 s ago)",
        "chain in step (answered 10 s ago)",
    ):
        assert part in result.output


@pytest.mark.parametrize("role", ["bootstrap", "client", "proxy"])
async def test_every_role_has_a_status(role: str, tmp_path: Path) -> None:
    result = await status_of(tmp_path, snapshot(role))

    assert result.exit_code == 0, result.output
    assert f"{role} on demo: ready" in result.output


async def test_a_chain_that_is_away_is_said_with_how_old_what_is_shown_of_it_is(tmp_path: Path) -> None:
    away = MoneyView(wallet=5, wallet_seconds_ago=7_200.0, chain="away", chain_seconds_ago=7_200.0)

    result = await status_of(tmp_path, snapshot(money=away))

    assert "CHAIN AWAY (answered 2 h 0 min ago)" in result.output


async def test_a_step_that_is_late_and_a_fault_that_was_found_are_shown(
    tmp_path: Path,
) -> None:
    late = StepView("registered", 12.0, {}, "is a proxy there? see `cocoon peers`", "waiting")

    result = await status_of(tmp_path, snapshot(is_ready=False, steps=[late], findings=[BAD]))

    assert "running, and not ready" in result.output
    assert "is a proxy there?" in result.output
    assert "disk: 0.0 GB are free" in result.output


async def test_a_node_that_stops_says_so(tmp_path: Path) -> None:
    stopping = snapshot(is_ready=False, load=LoadView(2, 0, 4, 2, is_draining=True))

    assert "stopping, once what runs has ended" in (await status_of(tmp_path, stopping)).output


async def test_a_name_that_steers_terminals_is_harmless(tmp_path: Path) -> None:
    hostile = snapshot(network="demo\x1b[2J", findings=[BAD])

    assert "\x1b" not in (await status_of(tmp_path, hostile)).output


@pytest.mark.parametrize("role", CONFIGS)
async def test_a_node_that_never_ran_is_down_and_is_told_how_to_start(role: str, tmp_path: Path) -> None:
    result = await run(config_of(role, tmp_path))

    assert result.exit_code == 3
    assert f"{role} on demo: down" in result.stdout
    assert ("start it: cocoon" in result.stderr) is (role != "client")


async def test_of_a_node_that_is_down_its_folder_is_told(tmp_path: Path) -> None:
    file = config_of("worker", tmp_path)
    identity = load_or_create(tmp_path / "data" / "identity.key")
    write_last(tmp_path / "data", snapshot(now=NOW))
    await _earned(tmp_path / "data" / LEDGER, 250_000_000)

    result = await run(file)
    told = json.loads((await run(file, "--json")).stdout)

    assert result.exit_code == 3
    for part in (peer_id_text(identity.peer_id), "last shown", "sells        qwen3", "in 0.25 TON"):
        assert part in result.stdout
    assert told["is_running"] is False
    assert told["books"]["income"] == 250_000_000
    assert told["down_since"] >= NOW
    assert told["snapshot"]["peer"] == NAME


async def _earned(ledger: Path, amount: int) -> None:
    name = ChannelName(Side.PAYEE, ChannelId(bytes(32)))
    async with open_store(ledger) as store:
        line = Line(name, 0, Account.INCOME, Account.OWED, Nano(amount), None, 1)
        await store.submit(line).wait()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"role": "worker"}', "[" * 100_000])
async def test_what_was_shown_last_and_is_damaged_is_as_good_as_nothing(text: str, tmp_path: Path) -> None:
    file = config_of("worker", tmp_path)
    (tmp_path / "data" / LAST_SHOWN).write_text(text)
    (tmp_path / "data" / LAST_SHOWN).chmod(0o600)

    result = await run(file)

    assert (result.exit_code, read_last(tmp_path / "data")) == (3, None)


async def test_what_a_node_showed_last_is_read_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    seen = snapshot(selling=Selling("worker", proxies=[STANDING]), money=MONEY)

    write_last(tmp_path / "data", seen)

    assert msgspec.json.encode(read_last(tmp_path / "data")) == msgspec.json.encode(seen)


async def test_where_one_is_starting_it_does_not_say_to_start_another(tmp_path: Path) -> None:
    file = config_of("worker", tmp_path)

    async def show(_request: ShowSnapshot) -> Snapshot:
        await trio.lowlevel.checkpoint()
        raise Unavailable("the node is still starting", retry_after=1.0)

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_control, tmp_path / "data" / CONTROL_SOCKET, [SNAPSHOT.by(show)]))
        result = await run(file)
        nursery.cancel_scope.cancel()

    assert result.exit_code == 3
    assert "runs, and does not answer: the node is still starting" in result.stdout
    assert "start it" not in result.stderr


def test_a_node_that_hangs_is_told_apart_from_one_that_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = config_of("worker", tmp_path)
    monkeypatch.setattr("cocoon_p2p.cli.status.PATIENCE_SECONDS", 0.05)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hanging:
        hanging.bind(str(tmp_path / "data" / CONTROL_SOCKET))
        hanging.listen(8)

        result = CliRunner().invoke(cocoon, ["status", str(file)])

    assert result.exit_code == 3
    assert "worker on demo: runs, and does not answer" in result.stdout


async def test_with_watch_it_looks_again_until_it_is_told_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("cocoon_p2p.cli.status.time.sleep", pause)

    result = await status_of(tmp_path, snapshot(), "--watch", "--json")

    assert [json.loads(line)["is_running"] for line in result.stdout.splitlines()] == [True] * 3


@pytest.mark.parametrize("command", ["status", "doctor"])
def test_of_another_user_s_node_nobody_says_that_it_is_down(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_stream: socket.socket, _path: str) -> None:
        raise PermissionError(13, "Permission denied")

    file = config_of("worker", tmp_path)
    monkeypatch.setattr(socket.socket, "connect", refuse)

    result = CliRunner().invoke(cocoon, [command, str(file)])

    assert isinstance(result.exception, ConfigurationError)
    assert "another user's" in str(result.exception)
    assert result.stdout == ""
