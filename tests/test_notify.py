"""What systemd is told, on a real datagram socket of each kind."""

import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from cocoon_p2p.notify import (
    EXTENSION_SECONDS,
    STATUS_MAX_CHARACTERS,
    STOPPING_MAX_SECONDS,
    ServiceManager,
    keep_told,
)


class Manager:
    """What stands where systemd would."""

    def __init__(self, name: str) -> None:
        self.environment = {"NOTIFY_SOCKET": name}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """Give what came since the last look."""
        came: list[str] = []
        while True:
            try:
                came.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return came

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["in a folder", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    is_abstract = request.param == "abstract"
    manager = Manager(f"@cocoon-test-{secrets.token_hex(8)}" if is_abstract else str(tmp_path / "notify"))
    yield manager
    manager.close()


def test_each_thing_is_said_in_the_words_of_sd_notify(manager: Manager) -> None:
    service = ServiceManager(manager.environment)

    service.status("registered with 12D3")
    service.ready()
    service.alive()
    service.stopping()
    service.extend(2.5)

    assert manager.heard() == [
        "STATUS=registered with 12D3",
        "READY=1",
        "WATCHDOG=1",
        "STOPPING=1",
        "EXTEND_TIMEOUT_USEC=2500000",
    ]


def test_no_words_of_a_peers_become_another_statement(manager: Manager) -> None:
    ServiceManager(manager.environment).status("hello\nREADY=1\r\x1b[2J\N{LINE SEPARATOR}" + "x" * 5000)

    (said,) = manager.heard()
    assert said.startswith("STATUS=hello READY=1")
    assert "\n" not in said
    assert "\x1b" not in said
    assert len(said) == len("STATUS=") + STATUS_MAX_CHARACTERS


@pytest.mark.parametrize("named", ["", "vsock:2:1234", "relative/socket", "/there/is/none"])
def test_where_nobody_listens_a_node_says_so_to_nobody_and_goes_on(named: str) -> None:
    service = ServiceManager({"NOTIFY_SOCKET": named})

    service.ready()
    service.status("ready")


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
    ],
)
def test_the_watchdog_is_fed_only_where_this_process_is_meant_to(
    environment: dict[str, str], seconds: float | None
) -> None:
    assert ServiceManager(environment).watchdog_seconds == seconds


async def test_the_loop_is_said_to_turn_twice_in_the_time_that_the_manager_bears_with(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    manager, stop = Manager(str(tmp_path / "notify")), trio.Event()
    service = ServiceManager({**manager.environment, "WATCHDOG_USEC": "10000000"})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_told, service, stop)
        await trio.sleep(19.0)
        assert manager.heard() == ["WATCHDOG=1"] * 4

        nursery.cancel_scope.cancel()
    manager.close()


async def test_who_takes_long_to_stop_asks_for_more_time_again_and_again_but_not_for_ever(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    manager, stop = Manager(str(tmp_path / "notify")), trio.Event()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_told, ServiceManager(manager.environment), stop)
        await wait_all_tasks_blocked()
        assert manager.heard() == []

        stop.set()
        await wait_all_tasks_blocked()
        assert manager.heard() == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=30000000"]
        await trio.sleep(EXTENSION_SECONDS)
        assert len(manager.heard()) >= 2
        asked = 0
        for _ in range(60):
            # A manager reads: where its queue is full, each word waits a second of real time for room.
            await trio.sleep(60.0)
            asked += len(manager.heard())
        assert 0 < asked <= STOPPING_MAX_SECONDS / EXTENSION_SECONDS * 3
        await trio.sleep(3600.0)
        assert manager.heard() == []
        nursery.cancel_scope.cancel()
    manager.close()
