"""What routers do to packets, in nftables' language."""

from collections.abc import Sequence
from enum import Enum

UPLINK = "uplink"
"The device of a place that leads to what it hangs on."


class Nat(Enum):
    """How a router chooses the port that the world sees; both drop whatever nobody inside asked for."""

    PORT_PRESERVING = "masquerade"
    "The one that the host inside has, if it is free: most routers of homes. Holes can be punched."

    SYMMETRIC = "masquerade random,fully-random"
    "Another one for each connection, which nobody can foretell. Holes cannot be punched."


def translating(nat: Nat) -> str:
    """What makes a router of the place whose device `uplink` leads outside."""
    return f"""
table ip nat {{
  chain forwarded_ports {{ type nat hook prerouting priority dstnat; }}
  chain to_outside {{ type nat hook postrouting priority srcnat; oifname "{UPLINK}" {nat.value}; }}
}}
table ip guard {{
  chain passing {{
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname != "{UPLINK}" accept
    ct status dnat accept
  }}
  chain arriving {{
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iifname != "{UPLINK}" accept
  }}
}}
"""


def forwarded_port(port: int, to: str) -> str:
    """What lets the world in at one TCP port: it is the same one at the host inside."""
    return f'add rule ip nat forwarded_ports iifname "{UPLINK}" tcp dport {port} dnat to {to}\n'


def lossy(device: str, percent: int) -> str:
    """What loses packets, one by one and by chance, both ways on one device of a router's."""
    chance = f"numgen random mod 100 < {percent} drop"
    # Before translation and after it: the loss is the line's, and no connection learns of it.
    return f"""
table ip loss_{device} {{
  chain coming {{ type filter hook prerouting priority raw; iifname "{device}" {chance}; }}
  chain going {{ type filter hook postrouting priority 300; oifname "{device}" {chance}; }}
}}
"""


def cut(one: str, others: Sequence[str], *, is_one_way: bool) -> str:
    """What lets nothing pass from one address to others, nor back unless it is one way."""
    there = ", ".join(others)
    back = "" if is_one_way else f"ip saddr {{ {there} }} ip daddr {one} drop;"
    return f"""
table ip cut {{
  chain passing {{
    type filter hook forward priority filter;
    ip saddr {one} ip daddr {{ {there} }} drop; {back}
  }}
}}
"""
