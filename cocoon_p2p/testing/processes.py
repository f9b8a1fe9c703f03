"""A whole network on this machine: real processes, real sockets, one process a role.

What `cocoon demo` shows and what the end-to-end tests break. Every network gets a random
name, hence a network id of its own: its papers are worthless anywhere else.

    async with open_local_network(Path("somewhere"), workers=2) as network:
        ...  # buy from it with network.client_file

With `on_chain` a local TON chain runs beside it, everybody has a wallet there (`testing.fortune`), and
channels are contracts. Who pays opens its own: a client by `Treasury.fund`, the proxy by its `open_after`.
"""

import json
import math
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from cocoon_p2p import lifeline
from cocoon_p2p.errors import Unavailable
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.testing.fortune import Fortune

START_SECONDS = 180.0
"A node that has not made its next step after this long will not."

STOP_SECONDS = 10.0
"How long a node may take to finish what runs, before it is killed."

LOG_TAIL_LINES = 12

Watch = Callable[[str, dict[str, Any]], None]
"Told of every step of every node: the node's name, and the step as `cocoon <role> --json` printed it."

Tables = Mapping[str, Mapping[str, object]]
"A config file: its sections, and each one's keys."


@dataclass(frozen=True, slots=True)
class Site:
    """Where a node runs and listens; by default on this machine's loopback, at any free port."""

    host: str = "127.0.0.1"
    "An IPv4 address."

    port: int = 0
    within: tuple[str, ...] = ()
    "What is written before its command: `ip netns exec X`, `env NAME=VALUE`."

    @property
    def address(self) -> str:
        return f"/ip4/{self.host}/tcp/{self.port}"


_HERE = Site()


def _unwatched(_name: str, _step: dict[str, Any]) -> None:
    """Watch nothing."""


class NodeProcess:
    """One node in a process of its own, and the steps that it has made so far."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        file: Path,
        watch: Watch = _unwatched,
        *,
        within: Sequence[str] = (),
    ) -> None:
        """Name a node that is not started yet; `within` is written before its command (`ip netns exec X`)."""
        self.name = name
        self.file = file
        self._arguments = arguments
        self._within = within
        self.log_file = file.with_suffix(".log")
        self.steps: dict[str, dict[str, Any]] = {}
        self._watch = watch
        self._changed = trio.Event()
        self._ended = False
        self._process: trio.Process

    @property
    def pid(self) -> int:
        return self._process.pid

    async def start(self, nursery: trio.Nursery, *more: str) -> None:
        """Start it, with `more` arguments this time; it ends with this process, also if that is killed.

        Its standard error is appended to a file beside its config.
        """
        command = [*self._within, sys.executable, "-m", "cocoon_p2p.cli", *self._arguments, *more, "--json"]
        with self.log_file.open("ab") as log:
            self._process = await trio.lowlevel.open_process(
                command,
                env={**os.environ, lifeline.VARIABLE: "stdin"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self.steps.clear()
        self._ended = False
        nursery.start_soon(self._follow, self._process)

    async def _follow(self, process: trio.Process) -> None:
        assert process.stdout is not None
        rest = b""
        async with process.stdout as out:
            async for data in out:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._note(json.loads(line))
        await process.wait()
        # One that was killed may end after the next one was started.
        if process is self._process:
            self._ended = True
            self._wake()

    def _note(self, step: dict[str, Any]) -> None:
        self.steps[step["step"]] = step
        self._watch(self.name, step)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def wait_for(
        self, step: str, *, until: Callable[[dict[str, Any]], bool] = lambda _step: True
    ) -> dict[str, Any]:
        """Wait until the node has made a step, the newest such as `until` asks, and give what it said of it.

        Raises:
            Unavailable: It ended first, or took longer than START_SECONDS; the text ends with its log.
        """
        is_made = False
        with trio.move_on_after(START_SECONDS):
            while not (is_made := step in self.steps and until(self.steps[step])) and not self._ended:
                await self._changed.wait()
        if not is_made:
            how = "ended" if self._ended else f"did not get there in {START_SECONDS:.0f} s"
            raise Unavailable(f"{self.name}: no step `{step}`, it {how}\n{self.log_tail()}")
        return self.steps[step]

    def log_tail(self) -> str:
        """Give the last lines that the node logged."""
        lines = self.log_file.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def signal(self, number: signal.Signals) -> None:
        """Send a signal (SIGKILL to lose it, SIGSTOP to freeze it)."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait until it has ended by itself; give its exit code."""
        return await self._process.wait()

    async def stop(self, *, within_seconds: float = STOP_SECONDS) -> int:
        """Ask it to finish, wait, kill it if it does not; give its exit code."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        with trio.move_on_after(within_seconds):
            return await self._process.wait()
        self.signal(signal.SIGKILL)
        return await self._process.wait()


@dataclass
class LocalNetwork:
    """The processes of one network, by name: `bootstrap`, `proxy`, `worker-1` ..."""

    name: str
    place: Path
    nodes: dict[str, NodeProcess] = field(default_factory=dict[str, NodeProcess])
    fortune: Fortune | None = None
    "The chain beside the network, and everybody's wallets; None without one."

    more: Mapping[str, Tables] = field(default_factory=dict[str, Tables])
    "What nodes' files say besides."

    sites: Mapping[str, Site] = field(default_factory=dict[str, Site])
    "Where nodes run that do not simply run here."

    @property
    def client_file(self) -> Path:
        """The config of a client of this network, for this and any other command."""
        return self.place / "client.toml"

    @property
    def network_file(self) -> Path:
        """What a node of one's own names as `bootstrap`, to join this network."""
        return self.place / "network.toml"

    def data_directory(self, name: str) -> Path:
        """Where a node keeps its ledger, and its control socket while it runs."""
        return self.place / f"{name}-data"

    def name_of(self, peer: str) -> str:
        """Say which of the nodes a peer id is.

        Raises:
            KeyError: None that has said who it is.
        """
        peers = {
            node.steps["identity"]["peer"]: name
            for name, node in self.nodes.items()
            if "identity" in node.steps
        }
        return peers[peer]


@asynccontextmanager
async def open_local_network(
    place: Path,
    *,
    workers: int = 2,
    proxies: int = 1,
    are_shared: bool = True,
    worker_keys: Mapping[str, object] | None = None,
    proxy_keys: Mapping[str, object] | None = None,
    on_chain: bool = False,
    more: Mapping[str, Tables] | None = None,
    sites: Mapping[str, Site] | None = None,
    watch: Watch = _unwatched,
) -> AsyncIterator[LocalNetwork]:
    """Bring a network up in `place`, and take it down when the block ends (also by a cancel).

    Args:
        place: An empty folder, or one that an earlier network of this function left.
        workers: How many, each with the demo model unless `worker_keys` says otherwise.
        proxies: How many: `proxy`, `proxy-2` ...
        are_shared: Whether each worker serves all proxies; else they take turns.
        worker_keys: What to set in every worker's `[worker]`.
        proxy_keys: What to set in every proxy's `[proxy]`.
        on_chain: Whether contracts on a local chain stand behind the channels.
        more: What to set in one node's file besides, by its name and the section.
        sites: Where a node runs, by its name (`chain` is one), if not simply here.
        watch: Told of every step.

    Raises:
        Unavailable: A node did not come up; the text ends with its log.
    """
    network = LocalNetwork(f"demo-{secrets.token_hex(8)}", place, more=more or {}, sites=sites or {})
    async with open_service_nursery() as nursery:
        try:
            bootstrap = await _start(network, nursery, watch, "bootstrap", "bootstrap", {}, listens=True)
            if on_chain:
                await _begin_chain(network, nursery, workers, watch)
            gates = ["proxy", *(f"proxy-{number}" for number in range(2, proxies + 1))]
            # Who paid whom is counted to the nanoTON here, so a proxy asks nothing for its own sake.
            of_proxies = {"canary_budget": 0, **(proxy_keys or {})}
            plan = _Plan(workers, worker_keys or {}, gates, of_proxies, are_shared)
            await _bring_up(network, nursery, bootstrap, plan, watch)
            yield network
        finally:
            with trio.CancelScope(shield=True):
                await _take_down(network)


async def _begin_chain(network: LocalNetwork, nursery: trio.Nursery, workers: int, watch: Watch) -> None:
    """Make everybody's wallet, and run the chain that they are on."""
    names = ("client", "proxy", *(f"worker-{number}" for number in range(1, workers + 1)))
    # Deriving keys from words is made to take its time, and another node is coming up meanwhile.
    fortune = await trio.to_thread.run_sync(Fortune.made, network.place, names)
    site = network.sites.get("chain", _HERE)
    arguments = (*fortune.chain_arguments, f"--listen={site.host}:{site.port}")
    chain = NodeProcess("chain", arguments, place_of(network, "chain"), watch, within=site.within)
    network.nodes["chain"] = chain
    await chain.start(nursery, *fortune.funding)
    fortune.write_config((await chain.wait_for("config"))["config"])
    network.fortune = fortune


async def _take_down(network: LocalNetwork) -> None:
    """Stop all nodes: those who are paid before those who pay them, and what all stand on at last."""
    workers = [node for name, node in network.nodes.items() if name.startswith("worker")]
    proxies = [node for name, node in network.nodes.items() if name.startswith("proxy")]
    rest = [node for node in network.nodes.values() if node not in (*workers, *proxies)]
    for group in (workers, proxies, rest):
        async with trio.open_nursery() as nursery:
            for node in group:
                nursery.start_soon(node.stop)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Who is to be there."""

    workers: int
    worker_keys: Mapping[str, object]
    gates: Sequence[str]
    "The proxies, by name."

    proxy_keys: Mapping[str, object]
    are_shared: bool


async def _bring_up(
    network: LocalNetwork,
    nursery: trio.Nursery,
    bootstrap: NodeProcess,
    plan: _Plan,
    watch: Watch,
) -> None:
    addresses = (await bootstrap.wait_for("listening"))["addresses"]
    _write(network.client_file, _tables(network, "client", "client", {"trust": "sim"}, addresses))
    _write_network_file(network, addresses)
    for gate in plan.gates:
        await _start(network, nursery, watch, gate, "proxy", plan.proxy_keys, addresses, listens=True)
    served: list[list[str]] = []
    if len(plan.gates) > 1:
        # One alone is found; of several a worker would look for the others later.
        listening = [await network.nodes[gate].wait_for("listening") for gate in plan.gates]
        served = [step["addresses"] for step in listening]
    for number in range(1, plan.workers + 1):
        # Nobody chooses by speed here, and measuring would hold up every start.
        keys = {"model": "demo", "measure_seconds": 0, **plan.worker_keys}
        if served:
            mine = served if plan.are_shared else [served[number % len(served)]]
            keys["proxies"] = [address for addresses in mine for address in addresses]
        await _start(network, nursery, watch, f"worker-{number}", "worker", keys, addresses)
    for node in network.nodes.values():
        if node.name != "chain":
            await node.wait_for("ready")


async def _start(
    network: LocalNetwork,
    nursery: trio.Nursery,
    watch: Watch,
    name: str,
    role: str,
    keys: Mapping[str, object],
    bootstrap: list[str] | None = None,
    *,
    listens: bool = False,
) -> NodeProcess:
    file = place_of(network, name)
    _write(file, _tables(network, name, role, keys, bootstrap or [], listens=listens))
    within = network.sites.get(name, _HERE).within
    node = network.nodes[name] = NodeProcess(name, (role, str(file)), file, watch, within=within)
    await node.start(nursery)
    return node


def place_of(network: LocalNetwork, name: str) -> Path:
    """Say where a node's config is."""
    return network.place / f"{name}.toml"


_PRETENCE: Mapping[str, Tables] = {
    "client": {"trust": {"demo": True}},
    "proxy": {"trust": {"demo": True}, "attestation": {"evidence": "sim"}},
    "worker": {"trust": {"demo": True}, "attestation": {"evidence": "sim"}},
}
"No machine here proves anything: all show simulated evidence, and whoever takes it says INSECURE."


def _tables(
    network: LocalNetwork,
    name: str,
    role: str,
    keys: Mapping[str, object],
    bootstrap: list[str],
    *,
    listens: bool = False,
) -> Tables:
    fortune = network.fortune
    money: Tables = {}
    if fortune is not None and name in fortune.addresses:
        money = fortune.tables(name)
    tables: Tables = {
        role: keys,
        "network": {
            "name": network.name,
            "bootstrap": bootstrap,
            "listen": [network.sites.get(name, _HERE).address] if listens else [],
        },
        **money,
        **_PRETENCE.get(role, {}),
        "data": {"directory": f"{name}-data"},
        # Several nodes of a role on one machine would want one port.
        **({} if role == "client" else {"page": {"listen": ""}}),
        "log": {"level": "warning", "json": True},
    }
    more = network.more.get(name, {})
    return {section: {**tables.get(section, {}), **more.get(section, {})} for section in {**tables, **more}}


def _write(file: Path, tables: Tables) -> None:
    """Write a config. JSON's spelling of strings, numbers, booleans and lists is TOML's too."""
    lines: list[str] = []
    for table, keys in tables.items():
        lines.append(f"[{table}]")
        lines += [f"{key} = {_toml(value)}" for key, value in keys.items()]
        lines.append("")
    file.write_text("\n".join(lines))


def _write_network_file(network: LocalNetwork, addresses: list[str]) -> None:
    tables: Tables = {"network": {"name": network.name, "bootstrap": addresses}}
    if network.fortune is not None:
        tables = {**tables, "chain": network.fortune.tables("client")["chain"]}
    _write(network.network_file, tables)


def _toml(value: object) -> str:
    assert not isinstance(value, float) or math.isfinite(value)
    return json.dumps(value)
