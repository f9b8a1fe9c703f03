"""What the lab itself promises, seen by bare sockets: else what is proved in it would be worth nothing."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.nat.lab import Lab, Line, Place, namespaces, open_lab, sweep
from tests.nat.rules import Nat
from tests.nat.sockets import connected, datagrams, listening, seen_as

SERVER, OTHER = "203.0.113.10", "192.0.2.10"
HOME, CARRIER = "198.51.100.7", "198.51.100.9"

DROPPED_SECONDS = 1.5
"A SYN that was dropped is sent again after one second: this long sees both."

A_LAB_FOREVER = """
import time
from tests.nat.lab import Line, open_lab
with open_lab() as lab:
    lab.add("one", "203.0.113.10", line=Line(delay_seconds=0.01))
    print("up", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def server(lab: Lab) -> Place:
    return lab.add("server", SERVER)


def at_home(lab: Lab, nat: Nat, *, line: Line | None = None) -> Place:
    """A laptop behind a home's router."""
    home = lab.add("home", HOME, nat=nat)
    return lab.add("laptop", "192.168.1.2", behind=home, line=line)


def test_a_host_behind_a_router_is_seen_under_the_routers_address(lab: Lab, server: Place) -> None:
    laptop = at_home(lab, Nat.PORT_PRESERVING)

    with listening(server, 4001) as listener:
        assert seen_as(laptop, listener, SERVER, from_port=4002) == (HOME, 4002)


def test_nobody_outside_can_dial_a_host_behind_a_router_or_the_router(lab: Lab, server: Place) -> None:
    laptop = at_home(lab, Nat.PORT_PRESERVING)

    with listening(laptop, 4001), listening(lab.places["home"], 4003):
        for port in (4001, 4003):
            with pytest.raises(TimeoutError):
                connected(server, HOME, port, seconds=DROPPED_SECONDS)
        # Nor does the world route to where the laptop is.
        with pytest.raises(OSError, match="unreachable"):
            connected(server, laptop.address, 4001, seconds=DROPPED_SECONDS)


def test_a_forwarded_port_lets_the_world_in_and_no_other_does(lab: Lab, server: Place) -> None:
    laptop = at_home(lab, Nat.PORT_PRESERVING)
    lab.forward_port(lab.places["home"], 4001, laptop)

    with listening(laptop, 4001) as listener, listening(laptop, 4002):
        assert seen_as(server, listener, HOME)[0] == SERVER
        with pytest.raises(TimeoutError):
            connected(server, HOME, 4002, seconds=DROPPED_SECONDS)


def test_behind_two_routers_addresses_are_translated_twice(lab: Lab, server: Place) -> None:
    carrier = lab.add("carrier", CARRIER, nat=Nat.PORT_PRESERVING)
    home = lab.add("home", "100.64.0.7", behind=carrier, nat=Nat.PORT_PRESERVING)
    laptop = lab.add("laptop", "192.168.1.2", behind=home)

    with listening(home, 4001) as nearest, listening(carrier, 4001) as middle, listening(server, 4001) as far:
        seen = [
            seen_as(laptop, listener, host)[0]
            for listener, host in ((nearest, "192.168.1.1"), (middle, "100.64.0.1"), (far, SERVER))
        ]

    assert seen == ["192.168.1.2", "100.64.0.7", CARRIER]


def test_a_symmetric_router_shows_every_peer_another_port(lab: Lab, server: Place) -> None:
    other = lab.add("other", OTHER)
    laptop = at_home(lab, Nat.SYMMETRIC)

    with listening(server, 4001) as first, listening(other, 4001) as second:
        ports = {
            seen_as(laptop, listener, host, from_port=from_port)[1]
            for from_port in (4002, 4003)
            for listener, host in ((first, SERVER), (second, OTHER))
        }

    # By chance one in 64,512 may be what the host inside has.
    assert len(ports - {4002, 4003}) >= 3


def test_two_hosts_behind_routers_of_their_own_reach_each_other_by_a_hole_only(lab: Lab) -> None:
    one = at_home(lab, Nat.PORT_PRESERVING)
    other_home = lab.add("home2", OTHER, nat=Nat.PORT_PRESERVING)
    two = lab.add("desktop", "192.168.2.2", behind=other_home)

    with datagrams(one, 4001) as left, datagrams(two, 4002) as right:
        # The first one opens the sender's own router, and ends at the other's.
        left.sendto(b"lost", (OTHER, 4002))
        right.sendto(b"through", (HOME, 4001))
        assert left.recv(100) == b"through"
        left.sendto(b"back", (OTHER, 4002))
        assert right.recv(100) == b"back"


def test_a_line_loses_what_it_was_told_to_lose_each_way(lab: Lab, server: Place) -> None:
    laptop = at_home(lab, Nat.PORT_PRESERVING, line=Line(loss_percent=20))
    sent = 1000

    with datagrams(server, 4001) as far, datagrams(laptop) as near:
        for _ in range(sent):
            near.sendto(b"up", (SERVER, 4001))
        seen, back = received(far)
        for _ in range(sent):
            far.sendto(b"down", back)
        arrived = [seen, received(near)[0]]

    # Eight standard deviations: 12.6 each.
    assert all(700 < count < 900 for count in arrived), arrived


def received(endpoint: socket.socket) -> tuple[int, tuple[str, int]]:
    """Count what has arrived, and say where from: without delay all that is not lost is there once sent."""
    count = 1
    _, sender = endpoint.recvfrom(100)
    endpoint.setblocking(False)
    try:
        while True:
            endpoint.recv(100)
            count += 1
    except BlockingIOError:
        return count, sender


def test_a_line_delays_by_what_it_was_told_each_way(lab: Lab, server: Place) -> None:
    laptop = at_home(lab, Nat.PORT_PRESERVING, line=Line(delay_seconds=0.04))

    with datagrams(server, 4001) as far, datagrams(laptop) as near:
        trips = [round_trip_seconds(near, far) for _ in range(10)]

    assert min(trips) >= 0.08
    # The best of ten, on a machine that has much else to do.
    assert min(trips) < 0.5


def round_trip_seconds(near: socket.socket, far: socket.socket) -> float:
    began = time.monotonic()
    near.sendto(b"ping", (SERVER, 4001))
    _, sender = far.recvfrom(100)
    far.sendto(b"pong", sender)
    near.recv(100)
    return time.monotonic() - began


@pytest.mark.parametrize("line", [Line(rate_mbit=10), Line(rate_mbit=10, delay_seconds=0.01)])
def test_a_line_carries_no_more_than_it_was_told(lab: Lab, server: Place, line: Line) -> None:
    laptop = at_home(lab, Nat.PORT_PRESERVING, line=line)
    size = 500_000

    with listening(server, 4001) as listener:
        sender = connected(laptop, SERVER, 4001)
        receiver, _ = listener.accept()
        began = time.monotonic()
        left = size
        with sender, receiver:
            sender.setblocking(False)
            rest = bytes(size)
            while left:
                with suppress(BlockingIOError):
                    rest = rest[sender.send(rest) :] if rest else b""
                left -= len(receiver.recv(65536))
        seconds = time.monotonic() - began

    burst = 32_768
    assert seconds >= (size - burst) * 8 / 10_000_000


def test_a_router_that_reconnects_forgets_what_it_translated(lab: Lab, server: Place) -> None:
    laptop = at_home(lab, Nat.PORT_PRESERVING)

    with listening(server, 4001) as listener, connected(laptop, SERVER, 4001) as near:
        far, _ = listener.accept()
        with far:
            near.sendall(b"before")
            assert far.recv(100) == b"before"

            lab.reconnect(lab.places["home"], "198.51.100.8")
            near.sendall(b"after")

            # From an address that the server has no connection with: refused, and nobody told the server.
            with pytest.raises(ConnectionResetError):
                near.recv(100)
            far.settimeout(0)
            with pytest.raises(BlockingIOError):
                far.recv(100)
        assert seen_as(laptop, listener, SERVER)[0] == "198.51.100.8"


def test_nothing_is_left_of_a_lab_that_has_ended_or_failed() -> None:
    with pytest.raises(ZeroDivisionError), open_lab() as lab:
        lab.add("one", SERVER, line=Line(delay_seconds=0.01))
        assert len(owned(os.getpid())) == 2
        _ = 1 / 0

    assert owned(os.getpid()) == []


def test_what_a_killed_process_left_is_swept_away_and_what_a_living_one_has_is_not() -> None:
    command = [sys.executable, "-c", A_LAB_FOREVER]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as killed,
        subprocess.Popen(command, stdout=subprocess.PIPE) as living,
    ):
        try:
            for process in (killed, living):
                assert process.stdout is not None
                assert process.stdout.readline() == b"up\n"
            killed.send_signal(signal.SIGKILL)
            killed.wait()
            assert owned(killed.pid)

            sweep()

            assert not owned(killed.pid)
            assert len(owned(living.pid)) == 2
        finally:
            living.kill()
            living.wait()
            sweep()
    assert owned(os.getpid()) == []


def owned(pid: int) -> list[str]:
    return [name for name in namespaces() if name.split("-")[2] == str(pid)]


def test_who_enters_places_in_blocks_that_overlap_is_at_home_after_them(lab: Lab, server: Place) -> None:
    def here() -> int:
        return Path("/proc/thread-self/ns/net").stat().st_ino

    home, other = here(), lab.add("other", OTHER)
    first, second = server.entered(), other.entered()

    first.__enter__()
    there = here()
    second.__enter__()
    elsewhere = here()
    first.__exit__(None, None, None)
    assert here() == elsewhere
    second.__exit__(None, None, None)

    assert here() == home
    assert len({home, there, elsewhere}) == 3
    with server.entered():
        with other.entered():
            assert here() == elsewhere
        assert here() == there
    assert here() == home
