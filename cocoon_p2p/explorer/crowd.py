"""How often one address may ask: a bucket of requests for each, that fills while time passes. Pure.

Behind a web server of the operator's own all visitors have its address. That is one of this machine or of a
network behind it, and is not limited here, but there.
"""

import ipaddress
from collections import OrderedDict

BURST = 60
"Requests at once: a page with its files takes eight."

PER_SECOND = 4.0
_NEAR = tuple(
    map(
        ipaddress.ip_network,
        ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"),
    )
)
"This machine, and networks that nobody comes from over the internet (RFC 1918, RFC 4193)."

ADDRESSES_MAX = 4096
"Addresses that are remembered: those that asked last."


class Crowd:
    """Everybody who asks."""

    def __init__(self) -> None:
        self._asked: OrderedDict[str, tuple[float, float]] = OrderedDict()
        "Of each address what is left in its bucket, and when that was so."

    def admit(self, address: str, now: float) -> float | None:
        """Take one request out of an address's bucket.

        Args:
            address: Whose.
            now: Seconds on a clock that never goes back.

        Returns:
            None: it may ask. Else after how many seconds it may.
        """
        key = _range(address)
        if key is None:
            return None
        left, at = self._asked.pop(key, (float(BURST), now))
        left = min(float(BURST), left + (now - at) * PER_SECOND)
        is_admitted = left >= 1
        self._asked[key] = (left - is_admitted, now)
        if len(self._asked) > ADDRESSES_MAX:
            self._asked.popitem(last=False)
        return None if is_admitted else (1 - left) / PER_SECOND


def _range(address: str) -> str | None:
    """Give what is counted as one; None: it is no address of the internet's."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        # A socket for both kinds spells the old ones so.
        parsed = parsed.ipv4_mapped or parsed
    if any(parsed in network for network in _NEAR if network.version == parsed.version):
        return None
    # One household has a whole /64 of them.
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)
