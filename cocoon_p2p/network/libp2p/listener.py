"""Listening on TCP: a port that is ours alone.

Upstream listens with SO_REUSEPORT, so a second node on the same port starts without a word
and takes every other newcomer. Here the second one is told.
"""

from collections.abc import Sequence

import trio
from libp2p.utils.address_validation import get_available_interfaces

from cocoon_p2p.errors import ConfigurationError
from cocoon_p2p.network.libp2p.addresses import Address, parse_address


async def open_listeners(address: Address) -> Sequence[trio.SocketListener]:
    """Bind and listen; port 0 lets the system choose one.

    Raises:
        ConfigurationError: The address is not ours, is taken, or may not be had.
    """
    if address.is_name:
        raise ConfigurationError(
            f"cannot listen on a name ({address})", hint="listen on an IP address; announce the name instead"
        )
    try:
        return await trio.open_tcp_listeners(address.port, host=address.host)
    except OSError as exc:
        raise ConfigurationError(
            f"cannot listen on {address}: {exc.strerror or exc}",
            hint="is another node running on this port? choose another address, or port 0 for any",
        ) from exc


def bound_addresses(listener: trio.SocketListener) -> tuple[Address, ...]:
    """Say where a listener can be reached: one address for each interface if it listens on all."""
    host, port = listener.socket.getsockname()[:2]
    address = Address("ip6" if ":" in host else "ip4", host, port)
    if not address.is_wildcard:
        return (address,)
    interfaces = (parse_address(str(found))[0] for found in get_available_interfaces(port))
    return tuple(found for found in interfaces if found.kind == address.kind)
