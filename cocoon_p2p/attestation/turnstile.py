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

PER_SENDER_SECONDS = 1.0
"""After so long a sender may ask for one more: a proxy stands for all its workers, and each that starts anew
has a new statement. With eight GPUs that is a twenty-fifth of a core; `TOTAL_SECONDS` bounds them all."""

TOTAL = 64
TOTAL_SECONDS = 0.02
"Fifty a second in all: at a millisecond each, a twentieth of a core."

SENDERS_MAX = 1024


@dataclass(slots=True)
class _Bucket:
    left: float
    filled: float


class Turnstile:
    """Counts what peers make us do, by who they are. Time is an argument, in seconds of any clock.

    Args:
        what: What is counted, in the plural, for the refusal's text.
        per_sender: So many at once, then one in `per_sender_seconds`.
        per_sender_seconds: See above.
        total: The same of all senders together.
        total_seconds: See above.
    """

    __slots__ = ("_all", "_per_sender", "_senders", "_total", "_what")

    def __init__(
        self,
        what: str = "appraisals",
        *,
        per_sender: int = PER_SENDER,
        per_sender_seconds: float = PER_SENDER_SECONDS,
        total: int = TOTAL,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self._what = what
        self._per_sender = (per_sender, per_sender_seconds)
        self._total = (total, total_seconds)
        self._all = _Bucket(total, 0.0)
        self._senders: OrderedDict[PeerId, _Bucket] = OrderedDict()

    def admit(self, sender: PeerId, *, now: float) -> None:
        """Count one for a sender.

        Raises:
            Refused: `rate-limited`, with `retry_after`. Nothing was done, and nothing is counted.
        """
        bucket = self._senders.pop(sender, None) or _Bucket(self._per_sender[0], now)
        self._senders[sender] = bucket
        if len(self._senders) > SENDERS_MAX:
            self._senders.popitem(last=False)
        buckets = ((bucket, *self._per_sender), (self._all, *self._total))
        for each, most, seconds in buckets:
            # A clock that goes back fills nothing, and must not stop the filling afterwards.
            each.left = min(most, each.left + max(0.0, now - each.filled) / seconds)
            each.filled = now
        for each, most, seconds in buckets:
            if each.left < 1:
                raise Refused(
                    f"rate limited: too many {self._what} (at once={most}, then one in {seconds:g} seconds)",
                    code=Reason.RATE_LIMITED.code,
                    retry_after=(1 - each.left) * seconds,
                )
        for each, _, _ in buckets:
            each.left -= 1
