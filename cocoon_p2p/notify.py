r"""Tells systemd how a service is: joining, ready, alive, stopping.

Whoever starts this process says in `NOTIFY_SOCKET` where it wants to hear of it: a datagram socket, each
datagram some lines of `NAME=value`. Where nobody wants to hear, nothing is said.

    READY=1                  the node serves; before that `systemctl start` waits
    STATUS=registered ...    one line for `systemctl status`
    WATCHDOG=1               the loop still turns; silence for WATCHDOG_USEC has it killed
    STOPPING=1               it was told to stop, and lets what runs end
    EXTEND_TIMEOUT_USEC=...  and needs so much longer for it

Source: sd_notify(3), sd_watchdog_enabled(3) of systemd 252. A socket of a virtual machine's host (`vsock:`)
is not spoken to.
"""

import logging
import os
import socket
from collections.abc import Mapping

import trio

log = logging.getLogger(__name__)

SEND_SECONDS = 1.0
"The manager's queue holds hundreds of datagrams; if it is full for so long, it does not read."

STATUS_MAX_CHARACTERS = 200
"A line of a terminal or two."

EXTENSION_SECONDS = 30.0
"How much longer is asked for at a time, three times as often: an end that hangs is noticed so soon."

STOPPING_MAX_SECONDS = 600.0
"How long more time is asked for at most: what has not ended by then hangs, and is killed."


class ServiceManager:
    """Who wants to know how this process is, if anybody does.

    Args:
        environment: Of the process: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self.watchdog_seconds = _watchdog_seconds(environment)
        "How long the manager bears with silence; None: for ever."

    def ready(self) -> None:
        """Say that the node serves."""
        self._tell("READY=1")

    def status(self, text: str) -> None:
        """Say in a line what it does. Peers' words may be in it: they cannot say anything else by that."""
        line = "".join(each if each.isprintable() else " " for each in text)
        self._tell(f"STATUS={line.strip()[:STATUS_MAX_CHARACTERS]}")

    def stopping(self) -> None:
        """Say that it was told to stop."""
        self._tell("STOPPING=1")

    def alive(self) -> None:
        """Say that the loop turns."""
        self._tell("WATCHDOG=1")

    def extend(self, seconds: float) -> None:
        """Ask for so many seconds from now before it is killed."""
        self._tell(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def _tell(self, line: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(SEND_SECONDS)
                sender.sendto(line.encode("utf-8", "replace"), self._address)
        except OSError as exc:
            # It is the manager's to care: a node serves with nobody listening.
            log.warning("service manager not told", extra={"error": str(exc)})


async def keep_told(manager: ServiceManager, stop: trio.Event) -> None:
    """Tell the manager that the loop turns and, once `stop` is set, that the end is near; until cancelled."""
    async with trio.open_nursery() as nursery:
        if manager.watchdog_seconds is not None:
            nursery.start_soon(_stay_alive, manager, manager.watchdog_seconds)
        await stop.wait()
        await _bear_with(manager)


async def _stay_alive(manager: ServiceManager, bears_seconds: float) -> None:
    while True:
        manager.alive()
        # As sd_watchdog_enabled(3) has it. On trio's own loop: one that hangs is found out.
        await trio.sleep(bears_seconds / 2)


async def _bear_with(manager: ServiceManager) -> None:
    manager.stopping()
    with trio.move_on_after(STOPPING_MAX_SECONDS - EXTENSION_SECONDS):
        while True:
            manager.extend(EXTENSION_SECONDS)
            await trio.sleep(EXTENSION_SECONDS / 3)


def _address(named: str) -> str | None:
    if named.startswith("@"):
        # A name in no folder: Linux spells it with a zero byte.
        return "\0" + named[1:]
    return named if named.startswith("/") else None


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """Read how often the manager wants to hear; it may want it of another process."""
    period, of_whom = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not period.isdecimal() or int(period) == 0:
        return None
    if of_whom and of_whom != str(os.getpid()):
        return None
    return int(period) / 1_000_000
