"""A wire that takes its time: a process that carries packets between two TUN devices, each a while later.

It does what netem's delay does, also on kernels without netem. Whoever starts it opens the devices, gives
it their descriptors, and moves each device to a namespace; they vanish when this process ends, and it ends
with whoever started it.

    python -m tests.nat.wire DELAY_SECONDS DESCRIPTOR DESCRIPTOR
"""

import fcntl
import os
import select
import struct
import sys
import time
from collections import deque

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
"linux/if_tun.h: whole IP packets, with nothing before them."

PACKET_BYTES_MAX = 65_536

UNDERWAY_MAX = 10_000
"Packets on the wire at once; more are lost, as in any router."


def open_tun(name: str) -> int:
    """Make a device in this namespace; it lives until the descriptor is closed, wherever it is moved."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def carry(left: int, right: int, delay_seconds: float, lifeline: int) -> None:
    """Carry packets both ways until the lifeline ends or a device is gone."""
    ends = {left: right, right: left}
    poll = select.poll()
    for descriptor in (left, right, lifeline):
        poll.register(descriptor, select.POLLIN)
    # All take equally long, so who came first leaves first.
    underway: deque[tuple[float, int, bytes]] = deque()
    while True:
        wait_ms = None
        if underway:
            wait_ms = max(0.0, underway[0][0] - time.monotonic()) * 1000
        for descriptor, what in poll.poll(wait_ms):
            if descriptor == lifeline or what != select.POLLIN:
                return
            packet = os.read(descriptor, PACKET_BYTES_MAX)
            if len(underway) < UNDERWAY_MAX:
                underway.append((time.monotonic() + delay_seconds, ends[descriptor], packet))
        while underway and underway[0][0] <= time.monotonic():
            _, descriptor, packet = underway.popleft()
            try:
                os.write(descriptor, packet)
            except OSError:
                # That end is down: lost.
                continue


if __name__ == "__main__":
    carry(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[1]), sys.stdin.fileno())
