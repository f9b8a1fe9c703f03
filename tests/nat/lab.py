"""A small internet on this machine: each place a network namespace, each line a pair of devices.

    with open_lab() as lab:
        server = lab.add("server", "203.0.113.10")
        home = lab.add("home", "198.51.100.7", nat=Nat.SYMMETRIC)
        laptop = lab.add("laptop", "192.168.1.2", behind=home, line=Line(delay_seconds=0.04))
        laptop.run("ping", "-c1", "203.0.113.10")

Each place has one way up, the device `uplink`, and one device for each place below it, of that place's name.
Routes are to single addresses, so hosts of one /24 need no switch. Namespaces carry the number of the
process that made them: those of a process that was killed are swept away by the next lab.
"""

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.nat.rules import UPLINK, Nat, cut, forwarded_port, lossy, translating
from tests.nat.wire import open_tun

PREFIX = "cocoon-lab"
NAMESPACES = Path("/run/netns")

CLONE_NEWNET = 0x40000000
"linux/sched.h"

WIRE_END_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Line:
    """How a place hangs on the one above it; without numbers, as fast as the machine is."""

    delay_seconds: float = 0.0
    "Each way."

    loss_percent: int = 0
    "Each way, of packets."

    rate_mbit: int | None = None
    "Each way, in millions of bits a second."


@dataclass(frozen=True, slots=True)
class Place:
    """A network namespace with an address: a host, or a router when others hang on it."""

    name: str
    namespace: str
    address: str

    @property
    def within(self) -> tuple[str, ...]:
        """What to write before a command, so that it runs here."""
        return ("ip", "netns", "exec", self.namespace)

    def run(self, *command: str, given: str = "") -> str:
        """Run a command here and give what it printed."""
        return _run(*self.within, *command, given=given)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Have this thread be here: its sockets of the block stay here also after it.

        Blocks of several tasks may overlap: the thread is where the newest of those that last has it be, and
        at home again after all of them.
        """
        if not _thread.visits:
            _thread.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        visit = _Visit(self.namespace)
        _thread.visits.append(visit)
        try:
            _go(self.namespace)
            yield
        finally:
            _thread.visits.remove(visit)
            if _thread.visits:
                _go(_thread.visits[-1].namespace)
            else:
                _enter(_thread.home)
                os.close(_thread.home)


@dataclass(frozen=True, slots=True, eq=False)
class _Visit:
    """One block of `Place.entered`."""

    namespace: str


class _Thread(threading.local):
    """Where one thread has been asked to be, and where it began."""

    home: int

    def __init__(self) -> None:
        self.visits: list[_Visit] = []


_thread = _Thread()


def _go(namespace: str) -> None:
    with (NAMESPACES / namespace).open() as there:
        _enter(there.fileno())


@dataclass(slots=True)
class Lab:
    """The places, by name, and what must be ended with them."""

    places: dict[str, Place] = field(default_factory=dict[str, Place])
    parents: dict[str, Place] = field(default_factory=dict[str, Place])
    lines: dict[str, Line] = field(default_factory=dict[str, Line])
    ends: ExitStack = field(default_factory=ExitStack)

    @property
    def internet(self) -> Place:
        return self.places["internet"]

    def add(
        self,
        name: str,
        address: str,
        *,
        behind: Place | None = None,
        line: Line | None = None,
        nat: Nat | None = None,
    ) -> Place:
        """Make a place.

        Args:
            name: 11 letters at most, as devices' names are short.
            address: Its own; what it hangs on is `.1` of the same /24.
            behind: What it hangs on; left out: the internet, which routes and drops nothing.
            line: How it hangs there.
            nat: How it translates for those who will hang on it; None: it is no router.
        """
        parent, line = behind or self.internet, line or Line()
        place = self._make(name, address)
        self.parents[name], self.lines[name] = parent, line
        if line.delay_seconds:
            self._join_by_wire(parent, place, line.delay_seconds)
        else:
            parent.run(
                "ip",
                "link",
                "add",
                "name",
                name,
                "type",
                "veth",
                "peer",
                "name",
                UPLINK,
                "netns",
                place.namespace,
            )
        self._route(parent, place)
        if line.rate_mbit:
            for end, device in ((place, UPLINK), (parent, name)):
                _limit(end, device, line.rate_mbit)
        if line.loss_percent:
            parent.run("nft", "-f", "-", given=lossy(name, line.loss_percent))
        if nat is not None:
            _forward_packets(place)
            place.run("nft", "-f", "-", given=translating(nat))
        return place

    def forward_port(self, router: Place, port: int, to: Place) -> None:
        """Let the world in at one TCP port of a router, as its owner can."""
        router.run("nft", "-f", "-", given=forwarded_port(port, to.address))

    @contextmanager
    def cut(self, one: str, *others: str, is_one_way: bool = False) -> Iterator[None]:
        """Let nothing pass between one address of the internet and others while the block lasts.

        Args:
            one: The one.
            others: The others.
            is_one_way: What comes back from them passes all the same.
        """
        self.internet.run("nft", "-f", "-", given=cut(one, others, is_one_way=is_one_way))
        try:
            yield
        finally:
            self.internet.run("nft", "delete table ip cut")

    def reconnect(self, router: Place, address: str) -> Place:
        """Have a router lose its line and get another address; it forgets all translations and tells nobody.

        Returns:
            The same router at its new address, which must be of the same /24.
        """
        parent = self.parents[router.name]
        # The kernel forgets what it masqueraded through a device that goes down.
        router.run("ip", "link", "set", "dev", UPLINK, "down")
        router.run("ip", "address", "flush", "dev", UPLINK)
        parent.run("ip", "route", "del", router.address, "dev", router.name)
        moved = self.places[router.name] = Place(router.name, router.namespace, address)
        self._route(parent, moved)
        return moved

    def _make(self, name: str, address: str) -> Place:
        place = self.places[name] = Place(name, f"{PREFIX}-{os.getpid()}-{name}", address)
        _run("ip", "netns", "add", place.namespace)
        self.ends.callback(_run, "ip", "netns", "del", place.namespace)
        place.run("ip", "link", "set", "lo", "up")
        return place

    def _route(self, parent: Place, place: Place) -> None:
        gateway = place.address.rpartition(".")[0] + ".1"
        place.run("ip", "address", "add", f"{place.address}/32", "dev", UPLINK)
        place.run("ip", "link", "set", "dev", UPLINK, "up")
        place.run("ip", "route", "replace", "default", "via", gateway, "dev", UPLINK, "onlink")
        parent.run("ip", "address", "replace", f"{gateway}/32", "dev", place.name)
        parent.run("ip", "link", "set", "dev", place.name, "up")
        parent.run("ip", "route", "replace", place.address, "dev", place.name)

    def _join_by_wire(self, parent: Place, place: Place, delay_seconds: float) -> None:
        """Have a process of its own carry the packets between the two."""
        left, right = f"ccl{os.getpid()}", f"ccr{os.getpid()}"
        with ExitStack() as ours:
            descriptors: list[int] = []
            for device in (left, right):
                descriptors.append(open_tun(device))
                ours.callback(os.close, descriptors[-1])
            _run("ip", "link", "set", "dev", left, "name", place.name, "netns", parent.namespace)
            _run("ip", "link", "set", "dev", right, "name", UPLINK, "netns", place.namespace)
            wire = subprocess.Popen(
                [sys.executable, "-m", "tests.nat.wire", str(delay_seconds), *map(str, descriptors)],
                stdin=subprocess.PIPE,
                pass_fds=descriptors,
            )
        self.ends.callback(_end, wire)


@contextmanager
def open_lab() -> Iterator[Lab]:
    """Open an internet that has nothing in it yet; all of it is gone when the block ends."""
    sweep()
    lab = Lab()
    with lab.ends:
        _forward_packets(lab._make("internet", "192.0.2.1"))
        yield lab


def sweep() -> None:
    """Remove what labs left whose process was killed."""
    for namespace in namespaces():
        if not Path(f"/proc/{namespace.split('-')[2]}").exists():
            _run("ip", "netns", "del", namespace)


def namespaces() -> list[str]:
    """Name all that labs have made on this machine, this process's and others'."""
    return [file.name for file in NAMESPACES.glob(f"{PREFIX}-*-*")]


def _run(*command: str, given: str = "") -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def _forward_packets(place: Place) -> None:
    with place.entered():
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _limit(place: Place, device: str, rate_mbit: int) -> None:
    place.run(
        "tc", "qdisc", "add", "dev", device, "root", "tbf",
        "rate", f"{rate_mbit}mbit", "burst", "32kb", "latency", "200ms",
    )  # fmt: skip


def _end(wire: subprocess.Popen[bytes]) -> None:
    assert wire.stdin is not None
    wire.stdin.close()
    wire.wait(WIRE_END_SECONDS)


def _enter(namespace: int) -> None:
    # os.setns is Python's from 3.12 on.
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
