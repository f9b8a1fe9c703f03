"""How often a peer may have something appraised: asked before any work is done.

A quote costs a millisecond of CPU, eight GPUs cost forty, and a peer that has no money and
no attested key can send them in a loop. Each sender has a bucket, and all strangers together
have one, since a sender's identity costs nothing either.
"""

from collections import OrderedDict
from dataclasses import dataclass

from cocoon_p2p.errors import Refused
from cocoon_p2p.identity import PeerId
from cocoon_p2p.protocols.ids import Reason

PER_SENDER = 8
"Appraisals at once: a client that meets a proxy sees a few workers in its first quotes."

PER_SENDER_SECONDS = 5.0
"After so long a sender may ask for one more."

TOTAL = 64
TOTAL_SECONDS = 0.02
"Fifty a second in all: at a millisecond each, a twentieth of a core."

SENDERS_MAX = 1024


@dataclass(slots=True)
class _Bucket:
    left: float
    filled: float


class Turnstile:
    """Counts appraisals by who sent the evidence. Time is an argument, in seconds of any clock."""

    __slots__ = ("_all", "_senders")

    def __init__(self) -> None:
        self._all = _Bucket(TOTAL, 0.0)
        self._senders: OrderedDict[PeerId, _Bucket] = OrderedDict()

    def admit(self, sender: PeerId, *, now: float) -> None:
        """Count one appraisal for a sender.

        Raises:
            Refused: `rate-limited`, with `retry_after`. Nothing was done, and nothing is counted.
        """
        bucket = self._senders.pop(sender, None) or _Bucket(PER_SENDER, now)
        self._senders[sender] = bucket
        if len(self._senders) > SENDERS_MAX:
            self._senders.popitem(last=False)
        buckets = ((bucket, PER_SENDER, PER_SENDER_SECONDS), (self._all, TOTAL, TOTAL_SECONDS))
        for each, most, seconds in buckets:
            # A clock that goes back fills nothing, and must not stop the filling afterwards.
            each.left = min(most, each.left + max(0.0, now - each.filled) / seconds)
            each.filled = now
        for each, most, seconds in buckets:
            if each.left < 1:
                raise Refused(
                    f"rate limited: too many appraisals (at once={most}, then one in {seconds:g} seconds)",
                    code=Reason.RATE_LIMITED.code,
                    retry_after=(1 - each.left) * seconds,
                )
        for each, _, _ in buckets:
            each.left -= 1
