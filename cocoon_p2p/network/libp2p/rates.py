"""How often others may make us do something: token buckets, each kept as one number. Pure.

A bucket that holds `burst` and gains `per_second` is whole again at some moment. Whatever is used up
moves that moment on; how far it may lie ahead is what bounds the rate. So a bucket costs one float, has
nothing to refill, and says not only that it is too early but by how much (which is all that is needed to
slow somebody down instead of turning him away).

Source: the generic cell rate algorithm, ITU-T I.371. Times are seconds on any steady clock of the caller's.
"""

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

REMEMBERED_MAX = 4096
"Buckets kept; the one used least lately goes first. It is whole again by then, or nearly."

_ROUNDING_SECONDS = 1e-6
"What is less is no wait: clocks are large numbers."


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and so many a second in the long run."""

    per_second: float
    burst: float


class Bucket:
    """What one party may still use of a rate."""

    __slots__ = ("_rate", "whole_at")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self.whole_at = -math.inf
        "When nothing will be missing from the burst, if nothing more is used."

    def seconds_early(self, count: float, now: float) -> float:
        """Say how long to wait until `count` may be used; 0 if it may be now."""
        early = self._whole_after(count, now) - now - self._rate.burst / self._rate.per_second
        return early if early > _ROUNDING_SECONDS else 0.0

    def use(self, count: float, now: float) -> float:
        """Use `count` in any case, and say by how many seconds that was too early; 0 if it was not."""
        early = self.seconds_early(count, now)
        self.whole_at = self._whole_after(count, now)
        return early

    def _whole_after(self, count: float, now: float) -> float:
        return max(self.whole_at, now) + count / self._rate.per_second


class Shares:
    """A rate for all together, and one for each who shares in it.

    Args:
        in_all: For all together.
        each: For each of them.
    """

    def __init__(self, in_all: Rate, each: Rate) -> None:
        self._in_all = Bucket(in_all)
        self._each = each
        # In the order of use, so that the first is the one used least lately.
        self._buckets: OrderedDict[Hashable, Bucket] = OrderedDict()

    def seconds_early(self, who: Hashable, now: float) -> float:
        """Say how long `who` has to wait until it may use one; 0 if it may now."""
        return max(self._in_all.seconds_early(1, now), self._of(who).seconds_early(1, now))

    def use(self, who: Hashable, count: float, now: float, *, apart: bool = False) -> float:
        """Use `count` in any case, and say by how many seconds that was too early; 0 if it was not.

        Args:
            who: Who uses it.
            count: How many.
            now: The time.
            apart: Only its own rate bounds it, and others have as much as before.
        """
        bucket = self._of(who)
        self._buckets[who] = bucket
        self._buckets.move_to_end(who)
        if len(self._buckets) > REMEMBERED_MAX:
            self._buckets.popitem(last=False)
        early = bucket.use(count, now)
        return early if apart else max(early, self._in_all.use(count, now))

    def whole_at(self, who: Hashable) -> float:
        """Say from when on `who` has all of its burst again: earliest is who used least lately."""
        bucket = self._buckets.get(who)
        return -math.inf if bucket is None else bucket.whole_at

    def _of(self, who: Hashable) -> Bucket:
        return self._buckets.get(who) or Bucket(self._each)
