"""Having a running node look itself over at once (`cocoon doctor --live`)."""

from collections.abc import Sequence

import msgspec

from cocoon_p2p.control import Request, Verb
from cocoon_p2p.overview.snapshot import FindingView

LIMIT_SECONDS = 20.0
"Of a node's checks all together."


class CheckUp(Request, tag="check-up", frozen=True):
    """Ask the node to look itself over now."""


class CheckedUp(msgspec.Struct, frozen=True):
    """What it found."""

    findings: Sequence[FindingView]
    checked_at: float
    "In seconds since the Unix epoch."


# Who asks while the node looks itself over waits for that, and then for a look of his own.
CHECK_UP = Verb(CheckUp, CheckedUp, limit_seconds=2 * LIMIT_SECONDS + 5.0)
