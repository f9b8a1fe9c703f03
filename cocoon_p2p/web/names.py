"""Whether a request means us, by the host that it names.

A page on the web can have its own name resolve to this machine, and then ask as if it came from here (DNS
rebinding). An IP address and `localhost` cannot be taken over so; other names are told to us.
"""

import ipaddress
from collections.abc import Iterable


class Names:
    """What a site is called.

    Args:
        more: Names beside `localhost` and IP addresses.
    """

    def __init__(self, more: Iterable[str] = ()) -> None:
        self._names = {"localhost", *(name.lower() for name in more)}

    def has(self, host: bytes) -> bool:
        """Whether a `Host` header names us."""
        name = _without_port(host.decode("latin-1").lower())
        return name in self._names or _is_address(name)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an IP address."""
    return ipaddress.ip_address(host).is_loopback


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
