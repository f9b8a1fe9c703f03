"""`cocoon channels` against real processes and a real local chain, as a person uses it."""

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from cocoon_p2p.payments.devchain.control import Advance, control_path
from cocoon_p2p.payments.devchain.control import ask as ask_chain
from cocoon_p2p.testing.fortune import PLAY_MONEY
from cocoon_p2p.testing.processes import LocalNetwork, open_local_network, place_of
from cocoon_p2p.units import NANO_PER_TON
from tests.end_to_end.scene import client_of
from tests.json_schemas.judging import judge

COMMAND = [sys.executable, "-m", "cocoon_p2p.cli"]
DEAR = {"worker-1": {"price": {"completion": 10 * NANO_PER_TON}}}
"So dear that what an answer costs is worth a claim by itself."

FEES_MAX = NANO_PER_TON // 20
LIMIT_SECONDS = 280


@dataclass
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def facts(self) -> dict[str, Any]:
        assert self.code == 0, self
        found: dict[str, Any] = json.loads(self.out)
        return found


async def cocoon(*arguments: str | Path) -> Done:
    with trio.fail_after(LIMIT_SECONDS):
        done = await trio.run_process(
            [*COMMAND, *map(str, arguments)], capture_stdout=True, capture_stderr=True, check=False
        )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@asynccontextmanager
async def network_on_chain(place: Path) -> AsyncIterator[LocalNetwork]:
    async with open_local_network(
        place,
        workers=1,
        on_chain=True,
        proxy_keys={"open_after": 0},
        worker_keys={"grant": NANO_PER_TON},
        more=DEAR,
    ) as network:
        yield network


@dataclass
class Person:
    """Somebody who has a client's file."""

    network: LocalNetwork

    async def channels(self, verb: str, *arguments: str | Path) -> Done:
        return await cocoon("channels", verb, *arguments, "--config", self.network.client_file, "--json")

    async def ask(self) -> int:
        """Buy an answer; give what it cost, in nanoTON."""
        done = await cocoon(
            *("ask", "Translate to Spanish: the red house", "--max-tokens", "8"),
            *("--max-cost", str(NANO_PER_TON // 10), "--config", self.network.client_file, "--json"),
        )
        return int(done.facts["client_paid"])

    async def balance(self, name: str = "client") -> int:
        fortune = self.network.fortune
        assert fortune is not None
        done = await cocoon(
            *("wallet", "show", self.network.place / f"{name}.wallet"), *("--chain", fortune.config, "--json")
        )
        return int(done.facts["balance_nano"])


def advance(network: LocalNetwork, seconds: int) -> None:
    assert network.fortune is not None
    ask_chain(control_path(network.fortune.state), Advance(seconds))


async def test_a_channel_is_opened_used_topped_up_and_closed_and_the_wallets_show_it(tmp_path: Path) -> None:
    async with network_on_chain(tmp_path) as network:
        person = Person(network)

        opened = (await person.channels("open", "0.7")).facts
        (channel,) = opened["channels"]
        assert opened["source"] == "here"
        assert 7 * NANO_PER_TON // 10 <= channel["capacity_nano"] < channel["deposit_nano"]
        cost = await person.ask()
        async with client_of(network):
            # A program that has the ledger is asked.
            done = await person.channels("top-up", channel["channel"][:8], "0.3")
        assert done.facts["source"] == "daemon"
        topped = done.facts["channels"][0]
        assert topped["capacity_nano"] - channel["capacity_nano"] in range(
            3 * NANO_PER_TON // 10, NANO_PER_TON // 3
        )
        listed = (await person.channels("list")).facts
        assert listed["source"] == "ledger"
        assert listed["channels"][0]["address"] == channel["address"]
        assert listed["channels"][0]["charged_nano"] == cost
        own = await cocoon("channels", "list", "--config", place_of(network, "proxy"), "--json")
        sides = {view["side"]: view for view in own.facts["channels"]}
        assert sides["payee"]["channel"] == channel["channel"]
        assert own.facts["source"] == "daemon"

        closed = (await person.channels("close", channel["address"])).facts["channels"][0]

        assert closed["is_settled"]
        assert closed["claimed_nano"] == cost
        spent = PLAY_MONEY - await person.balance()
        assert cost < spent < cost + FEES_MAX
        # Again: it is done already, and says so.
        again = (await person.channels("close", channel["channel"][:8])).facts["channels"][0]
        assert again["is_settled"]


async def test_a_client_whose_proxy_disappeared_gets_the_rest_back_and_the_watcher_the_proxy_s_part(
    tmp_path: Path,
) -> None:
    async with network_on_chain(tmp_path) as network, trio.open_nursery() as nursery:
        assert network.fortune is not None
        person, proxy = Person(network), network.nodes["proxy"]
        before = await person.balance("proxy")
        (channel,) = (await person.channels("open", "0.7")).facts["channels"]
        cost = await person.ask()
        proxy.signal(signal.SIGKILL)
        await proxy.stop()
        # Its ledger is all that is left of it.
        exported = await cocoon("channels", "export", "--config", proxy.file)
        vouchers = tmp_path / "vouchers.jsonl"
        vouchers.write_text(exported.out)

        lonely = await person.channels("close", channel["channel"])
        assert lonely.code == 3
        assert "close alone" in lonely.err
        begun = (await person.channels("close", channel["channel"], "--alone")).facts["channels"][0]
        assert begun["close_at"] > 0
        assert not begun["is_settled"]
        watcher = await nursery.start(
            watching, "--vouchers", vouchers, "--chain", network.fortune.config, "--every", "0.5"
        )
        claimed = await watcher.wait_for("claimed")
        assert claimed["amount_nano"] >= cost
        watcher.process.terminate()
        advance(network, 24 * 3600 + 1)
        ended = (await person.channels("close", channel["channel"], "--alone")).facts["channels"][0]

        assert ended["is_settled"]
        assert ended["claimed_nano"] == claimed["amount_nano"]
        spent = PLAY_MONEY - await person.balance()
        assert claimed["amount_nano"] < spent < claimed["amount_nano"] + FEES_MAX
        # The proxy had put something into its channel to the worker meanwhile.
        assert await person.balance("proxy") > before - 2 * NANO_PER_TON


class Watcher:
    """A running `cocoon channels watch`."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self._changed = trio.Event()

    async def follow(self) -> None:
        rest = b""
        assert self.process.stdout is not None
        async for data in self.process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                judge(["channels", "watch", "--json"], line)
                self.events.append(json.loads(line))
            self._changed.set()
            self._changed = trio.Event()

    async def wait_for(self, event: str) -> dict[str, Any]:
        with trio.fail_after(LIMIT_SECONDS):
            while not (found := [one for one in self.events if one["event"] == event]):
                await self._changed.wait()
        return found[-1]


async def watching(
    *arguments: str | Path, task_status: trio.TaskStatus[Watcher] = trio.TASK_STATUS_IGNORED
) -> None:
    command = [*COMMAND, "channels", "watch", "--json", *map(str, arguments)]
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, command, stdout=subprocess.PIPE, check=False)
        process: trio.Process = await nursery.start(run)
        watcher = Watcher(process)
        nursery.start_soon(watcher.follow)
        task_status.started(watcher)
