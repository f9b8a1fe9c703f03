"""From where others say that we come: the first hint of what our router makes of us. Pure.

Identify tells everybody the address that its connection comes from. The port is one that our machine
or our router chose for that connection; the IP address is the one that a forwarded port would be at.
It is a hint to be tried and nothing more: whoever wants us to have somebody dialled can lie here.

Rule 1: only those whom we dialled are heard. Anybody can dial us, with as many keys as he likes.
Rule 2: two of different address ranges must say the same, unless all whom we dialled are in one.
"""

from collections import Counter, OrderedDict

from cocoon_p2p.network.libp2p.addresses import Address, address_range

OBSERVERS_MAX = 64
"Address ranges whose word is kept; the one heard longest ago is forgotten first."

AGREEING = 2
HOSTS_MAX = 2
"IP addresses of one family that are worth trying."


class Observations:
    """What those whom we dialled say of where we come from."""

    def __init__(self) -> None:
        # By family and by who says so, newest last.
        self._said: dict[bool, OrderedDict[str, str]] = {False: OrderedDict(), True: OrderedDict()}

    def note(self, observer: str, seen: str) -> None:
        """Note what one says.

        Args:
            observer: The IP address that we dialled.
            seen: The IP address that it sees.
        """
        said, where = self._said[":" in seen], address_range(observer)
        said[where] = seen
        said.move_to_end(where)
        if len(said) > OBSERVERS_MAX:
            said.popitem(last=False)

    def observers(self, host: str) -> int:
        """Count the address ranges that see us at an IP address."""
        return sum(seen == host for seen in self._said[":" in host].values())

    def hosts(self) -> tuple[str, ...]:
        """List the IP addresses that are worth trying."""
        return tuple(host for said in self._said.values() for host in _agreed(said))

    def candidates(self, listening: tuple[Address, ...]) -> tuple[Address, ...]:
        """List where we might be reached from outside, if a router lets our ports through as they are."""
        found = (
            Address("ip6" if ":" in host else "ip4", host, address.port)
            for host in self.hosts()
            for address in listening
            if (":" in host) == (address.kind == "ip6")
        )
        return tuple(dict.fromkeys(found))


def _agreed(said: OrderedDict[str, str]) -> list[str]:
    needed = min(AGREEING, len(said))
    counts = Counter(reversed(said.values())).most_common(HOSTS_MAX)
    return [host for host, count in counts if count >= needed]
