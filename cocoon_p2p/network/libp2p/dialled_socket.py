"""Sockets that dial, each from a port that nobody else dials from.

Left to itself the kernel gives one port to any number of sockets that dial different places. None of them
could then punch a hole from it: the port may be bound once more only if all that have it agree. Sockets of
other programs do not, nor those that were closed a minute ago. So the port is bound before it is dialled
from, which makes it ours alone.

Spec: ip(7), `ip_local_port_range`; socket(7), `SO_REUSEADDR`.
"""

import socket

import trio

from cocoon_p2p.network.libp2p.addresses import Address


async def connect(address: Address) -> trio.SocketStream:
    """Dial an IP address from a port of our own. A cancel leaves nothing behind.

    Raises:
        OSError: Nobody answers, or there is no port to be had.
    """
    return await _connect(("", 0), address, is_shared=False)


async def connect_from(local: tuple[str, int], address: Address) -> trio.SocketStream:
    """Dial from the port of another socket of ours, which must allow it. As `connect` otherwise."""
    return await _connect(local, address, is_shared=True)


async def _connect(local: tuple[str, int], address: Address, *, is_shared: bool) -> trio.SocketStream:
    family = socket.AF_INET6 if address.kind == "ip6" else socket.AF_INET
    sock = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        if is_shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await sock.bind(local)
        await sock.connect((address.host, address.port))
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)
