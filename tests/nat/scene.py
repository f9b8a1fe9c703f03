"""Nodes as everybody runs them, a process and a config file each, at places of a lab."""

import json
import secrets
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from cocoon_p2p.client import Client
from cocoon_p2p.config import ClientFile, load
from cocoon_p2p.control import follow
from cocoon_p2p.node import CONTROL_SOCKET, LEDGER, open_client
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.overview import CHANNELS, ChannelView, ListChannels
from cocoon_p2p.testing.processes import NodeProcess
from tests.nat.lab import Lab, Line, Place
from tests.nat.rules import Nat

MODEL = "cocoon-demo"
HELLO = [{"role": "user", "content": "Hello"}]

FOUND_SECONDS = 60.0
"Within this long everybody has found everybody, on whatever machine."

AGREED_SECONDS = 120.0
"Within this long both ends of a channel have found each other again and agree."

BAD_LINE = Line(delay_seconds=0.04, loss_percent=5, rate_mbit=10)

ESTABLISHED = "01"
"A connection's state in /proc/net/tcp (linux/tcp_states.h)."

PORT = 4001
"Where nodes listen: each place has all ports for itself."


@dataclass
class Overlay:
    """The nodes of one network, and the lab that they are in."""

    lab: Lab
    folder: Path
    nursery: trio.Nursery
    name: str = field(default_factory=lambda: f"lab-{secrets.token_hex(8)}")
    bootstrap: list[str] = field(default_factory=list[str])
    nodes: dict[str, NodeProcess] = field(default_factory=dict[str, NodeProcess])
    log_level: str = "info"
    "What files of nodes say that are written from now on."

    async def start(
        self, role: str, place: Place, keys: Mapping[str, object] | None = None, *, listen: Sequence[str] = ()
    ) -> NodeProcess:
        """Start a node at a place, whose name it takes; return at once.

        Args:
            role: As the command is called.
            place: Where its process runs.
            keys: What its file says in the role's own section.
            listen: What its file says there; a bootstrap or proxy else listens on its place's address.
        """
        if role != "worker" and not listen:
            listen = [f"/ip4/{place.address}/tcp/{PORT}"]
        file = self.write(role, place.name, keys or {}, listen)
        node = self.nodes[place.name] = NodeProcess(place.name, (role, str(file)), file, within=place.within)
        await node.start(self.nursery)
        return node

    def write(self, role: str, name: str, keys: Mapping[str, object], listen: Sequence[str]) -> Path:
        """Write a node's file."""
        file = self.folder / f"{name}.toml"
        # No router here answers UPnP, and asking takes its time.
        network = {
            "name": self.name,
            "listen": list(listen),
            "bootstrap": self.bootstrap,
            "upnp": False,
        }
        tables: dict[str, Mapping[str, object]] = {
            role: keys,
            "network": network,
            "data": {"directory": f"{name}-data"},
            "log": {"level": self.log_level, "json": True},
        }
        file.write_text(
            "\n".join(
                f"[{table}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
                for table, keys in tables.items()
            )
        )
        return file

    @asynccontextmanager
    async def client_at(self, place: Place) -> AsyncIterator[Client]:
        """Be a client at a place, in this process: its sockets are there."""
        file = self.write("client", "client", {"trust": "open"}, ())
        with place.entered():
            async with open_client(load(ClientFile, file, {})) as client:
                yield client


@asynccontextmanager
async def open_overlay(lab: Lab, folder: Path) -> AsyncIterator[Overlay]:
    """Open a network with a bootstrap node at 203.0.113.10; all nodes end with the block."""
    async with open_service_nursery() as nursery:
        overlay = Overlay(lab, folder, nursery)
        try:
            bootstrap = await overlay.start("bootstrap", lab.add("bootstrap", "203.0.113.10"))
            overlay.bootstrap = (await bootstrap.wait_for("listening"))["addresses"]
            yield overlay
        finally:
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as stopping:
                    for node in overlay.nodes.values():
                        stopping.start_soon(node.stop)


async def wait_reachable(node: NodeProcess, state: str) -> dict[str, Any]:
    """Wait until a node says that others can dial it (`public`), or cannot (`private`); give what it said."""
    return await node.wait_for("reachability", until=lambda step: bool(step["state"] == state))


async def wait_logged(node: NodeProcess, words: str) -> None:
    """Wait until a node has logged something."""
    with trio.fail_after(FOUND_SECONDS):
        while words not in node.log_file.read_text():  # noqa: ASYNC110  (a file tells nobody)
            await trio.sleep(0.1)


async def wait_connected(place: Place, host: str) -> None:
    """Wait until a connection stands from a place to a host."""
    with trio.fail_after(FOUND_SECONDS):
        while host not in connected_to(place):  # noqa: ASYNC110  (a kernel tells nobody)
            await trio.sleep(0.1)


def connected_to(place: Place) -> set[str]:
    """Name the IP addresses that TCP connections stand to from a place, as its kernel has them."""
    rows = [line.split() for line in place.run("cat", "/proc/net/tcp").splitlines()[1:]]
    hosts = [row[2].partition(":")[0] for row in rows if row[3] == ESTABLISHED]
    return {socket.inet_ntoa(bytes.fromhex(host)[::-1]) for host in hosts}


def home(lab: Lab, number: int, *, line: Line | None = None, nat: Nat = Nat.PORT_PRESERVING) -> Place:
    """Build a home behind two routers, its own and its carrier's, and give a host in it."""
    carrier = lab.add(f"carrier-{number}", f"198.51.{100 + number}.7", nat=nat)
    router = lab.add(f"router-{number}", f"100.64.{number}.7", behind=carrier, line=line, nat=nat)
    return lab.add(f"host-{number}", f"192.168.{number}.2", behind=router)


async def wait_offered(client: Client) -> None:
    """Wait until the client sees a model that it can buy."""
    with trio.fail_after(FOUND_SECONDS):
        while not await client.models():  # noqa: ASYNC110  (each look is a search)
            await trio.sleep(0.1)


async def wait_agreed(overlay: Overlay) -> None:
    """Wait until nothing runs and both ends of every channel say the same.

    Who lost sight of an exchange asks how it ended once it is connected again.
    """
    folders = [overlay.folder / f"{name}-data" for name in ("client", *overlay.nodes)]
    control = [folder / CONTROL_SOCKET for folder in folders if (folder / LEDGER).exists()]
    with trio.fail_after(AGREED_SECONDS):
        while True:
            views: list[ChannelView] = []
            for path in control:
                views += await trio.to_thread.run_sync(_channels_of, path)
            if are_agreed(views):
                return
            await trio.sleep(0.2)


def _channels_of(control: Path) -> list[ChannelView]:
    return list(follow(control, CHANNELS, ListChannels()))


def are_agreed(views: Sequence[ChannelView]) -> bool:
    """Say whether there are channels, nothing runs on them, and their two ends have charged the same."""
    ends = Counter((view.channel, view.charged_nano) for view in views)
    return bool(ends) and set(ends.values()) == {2} and not any(view.running_nano for view in views)
