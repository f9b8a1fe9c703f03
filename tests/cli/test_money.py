"""`cocoon channels list` and `cocoon earnings`: of a node that runs, and of one that does not."""

import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from cocoon_p2p.cli import cocoon, main
from cocoon_p2p.cli.money import parse_since
from cocoon_p2p.control import serve_control
from cocoon_p2p.control.serving import CONNECTIONS_MAX
from cocoon_p2p.errors import ConfigurationError, LocalProtocolError, MalformedMessage
from cocoon_p2p.identity import peer_id_text
from cocoon_p2p.ledger import Account, ChannelName, ChannelRow, Line, Side
from cocoon_p2p.node import CONTROL_SOCKET, LEDGER
from cocoon_p2p.overview import EARNINGS, SumEarnings, earnings_of
from cocoon_p2p.overview.earnings import Earnings
from cocoon_p2p.payments.channel import Phase
from cocoon_p2p.protocols.messages import ExchangeId
from cocoon_p2p.protocols.papers import encode_signed, sign
from cocoon_p2p.store import open_store
from cocoon_p2p.testing.processes import open_local_network
from cocoon_p2p.units import Nano
from tests.end_to_end.scene import client_of
from tests.payments.parties import CHANNEL, NETWORK, OFFER, PAYER

DAY = 24 * 3600
NOVEMBER = 1_793_491_200
"2026-11-01, in seconds since the Unix epoch."

NAME = ChannelName(Side.PAYEE, CHANNEL.id)
ROW = ChannelRow(
    name=NAME,
    peer=PAYER.peer_id,
    offer=encode_signed(sign(PAYER, NETWORK, OFFER)),
    seed=None,
    phase=Phase.OPEN,
    vouchered=Nano(900),
    charged=Nano(703),
    lines=3,
)


def charge(number: int, amount: int, *, at: int) -> Line:
    return Line(NAME, number, Account.INCOME, Account.OWED, Nano(amount), ExchangeId(bytes(16)), at)


LINES = (charge(0, 1, at=NOVEMBER - 1), charge(1, 2, at=NOVEMBER), charge(2, 700, at=NOVEMBER + DAY))


async def write(folder: Path) -> None:
    async with open_store(folder / LEDGER) as store:
        await store.submit(ROW, *LINES).wait()


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cocoon, list(map(str, arguments)))


async def run_beside(*arguments: str | Path) -> Result:
    """Run a command while this process serves what it asks."""
    return await trio.to_thread.run_sync(partial(run, *arguments))


# ---------------------------------------------------------------- the node is down


async def test_channels_are_listed_from_the_ledger_when_the_node_is_down(tmp_path: Path) -> None:
    await write(tmp_path)

    shown, plain = (
        run("channels", "list", "--data", tmp_path),
        run("channels", "list", "--json", "--data", tmp_path),
    )

    assert "from the ledger: nobody answers there" in shown.stderr
    assert "0.000000703" in shown.stdout
    listed = json.loads(plain.stdout)
    assert listed["source"] == "ledger"
    (channel,) = listed["channels"]
    assert channel["peer"] == peer_id_text(PAYER.peer_id)
    assert channel["capacity_nano"] == 1000
    assert (channel["vouchered_nano"], channel["charged_nano"]) == (900, 703)
    assert (channel["is_connected"], channel["credit_nano"]) == (None, None)


async def test_earnings_are_summed_from_the_ledger_by_peer_and_by_day(tmp_path: Path) -> None:
    await write(tmp_path)

    shown, plain = run("earnings", "--data", tmp_path), run("earnings", "--json", "--data", tmp_path)

    sums = json.loads(plain.stdout)
    assert sums["source"] == "ledger"
    assert sums["earnings"]["total"] == {"income_nano": 703, "expense_nano": 0, "difference_nano": 703}
    assert list(sums["earnings"]["days"]) == ["2026-10-31", "2026-11-01", "2026-11-02"]
    assert peer_id_text(PAYER.peer_id) in shown.stdout
    assert "0.0000007" in shown.stdout


async def test_earnings_of_a_span_leave_out_what_came_before(tmp_path: Path) -> None:
    await write(tmp_path)

    plain = run("earnings", "--json", "--data", tmp_path, "--since", "2026-11-01")

    assert json.loads(plain.stdout)["earnings"]["total"]["income_nano"] == 702


async def test_no_figure_is_cut_off_where_there_is_little_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(tmp_path)
    monkeypatch.setenv("COLUMNS", "20")

    shown = run("channels", "list", "--data", tmp_path).stdout

    for figure in ("0.000001", "0.0000009", "0.000000703"):
        assert f" {figure} " in shown


def test_without_a_ledger_the_command_says_so_and_makes_none(tmp_path: Path) -> None:
    done = run("earnings", "--data", tmp_path)

    assert isinstance(done.exception, ConfigurationError)
    assert f"no ledger here (file={tmp_path / LEDGER})" in str(done.exception)
    assert os.listdir(tmp_path) == []  # noqa: PTH208


# ---------------------------------------------------------------- which node


@pytest.mark.parametrize(
    "table", ['[worker]\nmodel = "demo"', "[proxy]", "[client]", "", "[bootstrap]"], ids=str
)
async def test_a_node_is_named_by_its_file_whatever_its_role(tmp_path: Path, table: str) -> None:
    (tmp_path / "mine").mkdir()
    await write(tmp_path / "mine")
    file = tmp_path / "node.toml"
    file.write_text(f'{table}\n[network]\nname = "local"\n[data]\ndirectory = "mine"\n')

    done = run("earnings", "--json", "--config", file)

    assert json.loads(done.stdout)["earnings"]["total"]["income_nano"] == 703


def test_a_mistake_in_the_file_is_shown_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('[worker]\nmodle = "demo"\n[network]\nname = "local"\n')

    done = run("channels", "list", "--config", file)

    assert f"{file}:2:1: unknown key `modle`" in str(done.exception)


@pytest.mark.parametrize("text", [None, "not = [toml", "\0"])
def test_a_file_that_cannot_be_read_is_told_so(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "node.toml"
    if text is not None:
        file.write_text(text)

    assert isinstance(run("earnings", "--config", file).exception, ConfigurationError)


def test_a_node_is_named_once(tmp_path: Path) -> None:
    done = run("earnings", "--config", tmp_path / "node.toml", "--data", tmp_path)

    assert done.exit_code == 2
    assert "give one of them" in done.stderr


# ---------------------------------------------------------------- the node runs


@asynccontextmanager
async def answering(folder: Path) -> AsyncIterator[None]:
    """Own the ledger and answer for it."""
    async with open_store(folder / LEDGER), trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
            answers = (EARNINGS.by(earnings_of(folder / LEDGER)),)
            await serve_control(folder / CONTROL_SOCKET, answers, task_status=task_status)

        await nursery.start(serve)
        yield
        nursery.cancel_scope.cancel()


async def test_a_running_node_is_asked_and_is_named_as_the_source(tmp_path: Path) -> None:
    await write(tmp_path)

    async with answering(tmp_path):
        done = await run_beside("earnings", "--json", "--data", tmp_path)

    assert json.loads(done.stdout)["source"] == "daemon"
    assert json.loads(done.stdout)["earnings"]["total"]["income_nano"] == 703
    assert done.stderr == "from the running node\n"


async def test_a_running_node_that_does_not_know_the_question_is_said_to_be_of_another_version(
    tmp_path: Path,
) -> None:
    await write(tmp_path)

    async with answering(tmp_path):
        done = await run_beside("channels", "list", "--json", "--data", tmp_path)

    assert isinstance(done.exception, MalformedMessage)
    assert "another version" in done.exception.hint


async def test_a_node_that_is_busy_leaves_the_command_to_its_ledger(tmp_path: Path) -> None:
    await write(tmp_path)

    async with answering(tmp_path):
        others = [await trio.open_unix_socket(tmp_path / CONTROL_SOCKET) for _ in range(CONNECTIONS_MAX)]
        await trio.testing.wait_all_tasks_blocked()
        done = await run_beside("earnings", "--json", "--data", tmp_path)
        for stream in others:
            await stream.aclose()

    assert json.loads(done.stdout)["source"] == "ledger"
    assert "too many ask at once" in done.stderr


async def test_a_bug_in_the_node_is_not_hidden_behind_the_ledger(tmp_path: Path) -> None:
    async def fail(_request: SumEarnings) -> Earnings:
        raise KeyError

    await write(tmp_path)
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
            await serve_control(tmp_path / CONTROL_SOCKET, (EARNINGS.by(fail),), task_status=task_status)

        await nursery.start(serve)
        done = await run_beside("earnings", "--data", tmp_path)
        nursery.cancel_scope.cancel()

    assert isinstance(done.exception, LocalProtocolError)


@pytest.mark.slow
def test_a_node_that_cannot_make_its_socket_does_not_start_and_says_why(tmp_path: Path) -> None:
    file = tmp_path / "client.toml"
    file.write_text('[client]\n[network]\nname = "local"\n[data]\ndirectory = "mine"\n')
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / CONTROL_SOCKET).write_text("my diary")

    with pytest.raises(SystemExit) as ended:
        main(["models", "--config", str(file)])

    assert ended.value.code == 2
    assert (tmp_path / "mine" / CONTROL_SOCKET).read_text() == "my diary"


@pytest.mark.slow
async def test_a_real_node_answers_and_its_ledger_says_the_same_when_it_is_killed(
    tmp_path: Path,
) -> None:
    async with open_local_network(tmp_path, workers=1) as network:
        async with client_of(network) as client:
            async with client.chat("cocoon-demo", [{"role": "user", "content": "Hello"}]) as answer:
                await answer.read()
            own = await run_beside("earnings", "--json", "--config", network.client_file)
        assert json.loads(own.stdout)["source"] == "daemon"
        assert json.loads(own.stdout)["earnings"]["total"]["expense_nano"] == answer.cost

        for name in ("proxy", "worker-1"):
            node = network.nodes[name]
            commands = [
                (*words, "--json", "--config", node.file) for words in (("channels", "list"), ("earnings",))
            ]
            alive = [json.loads((await run_beside(*command)).stdout) for command in commands]
            node.signal(signal.SIGKILL)
            await node.stop()
            dead = [json.loads((await run_beside(*command)).stdout) for command in commands]

            assert [facts["source"] for facts in (*alive, *dead)] == ["daemon"] * 2 + ["ledger"] * 2
            assert alive[1]["earnings"] == dead[1]["earnings"]
            charged = [
                [channel["charged_nano"] for channel in facts["channels"]] for facts in (alive[0], dead[0])
            ]
            assert charged[0] == charged[1]
            assert sum(charged[0]) > 0


# ---------------------------------------------------------------- spans


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-01", NOVEMBER),
        ("1970-01-01", 0),
        ("1900-01-01", 0),
        ("30m", NOVEMBER - 1800),
        ("12h", NOVEMBER - 12 * 3600),
        ("7d", NOVEMBER - 7 * DAY),
        ("2w", NOVEMBER - 14 * DAY),
        ("999999w", 0),
    ],
)
def test_a_span_begins_where_it_says(text: str, at: int) -> None:
    assert parse_since(text, now=NOVEMBER + 0.5) == at


@pytest.mark.parametrize(
    "text", ["", "yesterday", "7", "d", "7 d", "-7d", "2026-13-01", "2026-11-01T00:00", "1y"]
)
def test_what_is_no_span_is_wrong_usage(text: str) -> None:
    done = run("earnings", "--data", ".", "--since", text)

    assert done.exit_code == 2
    assert "neither a day" in done.stderr


@given(st.text(max_size=20))
def test_whatever_is_written_as_a_span_is_read_or_refused(text: str) -> None:
    try:
        at = parse_since(text, now=NOVEMBER)
    except ValueError:
        return
    assert 0 <= at < 2**40
