"""What others found when they dialled a node, as its operator is shown it and programs read it.

Every field keeps its name and meaning; new ones may come.
"""

from typing import Literal

import msgspec

Reachability = Literal["unknown", "public", "private"]
"Whether others can dial us: nobody has tried, they could, or they could not."

Source = Literal["configured", "listening", "upnp", "observed", "relay"]
"Who says that we are there: the operator, our sockets, our router, those we dialled, or our relays."


class Seen(msgspec.Struct, frozen=True):
    """One address of ours as others found it."""

    address: str
    source: Source
    reached_by: int
    missed_by: int
    "How many voices reached us there, and how many did not; both 0: nobody has tried."


class ReachabilityView(msgspec.Struct, frozen=True):
    """What a running node knows of how others reach it."""

    reachability: Reachability
    told: tuple[str, ...]
    "What others are told now."

    seen: tuple[Seen, ...]
    "Where it might be dialled itself; those that somebody reached are confirmed."

    observed: tuple[str, ...]
    "IP addresses that others see it come from."

    advice: str
    "What the operator can do so that others can dial it; empty if there is nothing."
