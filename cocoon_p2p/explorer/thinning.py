"""Which points of a series are kept as they grow old: pure.

    a day            every one
    thirty days      the first of each hour
    two years        the first of each day
    older            none

Hours and days are those of the epoch, and the first of each is kept; so it makes no difference how often, or
when, a series was thinned on its way.
"""

from collections.abc import Iterable

HOUR_SECONDS = 3600
DAY_SECONDS = 24 * HOUR_SECONDS

WHOLE_SECONDS = DAY_SECONDS
HOURLY_SECONDS = 30 * DAY_SECONDS
DAILY_SECONDS = 730 * DAY_SECONDS


def kept(times: Iterable[int], now: int) -> tuple[int, ...]:
    """Choose which points stay.

    Args:
        times: When each was taken, in seconds since the Unix epoch, in any order.
        now: In the same.

    Returns:
        Those that stay, oldest first.
    """
    first: dict[tuple[int, int], int] = {}
    for at in sorted(times):
        place = _place(at, now)
        if place is not None:
            first.setdefault(place, at)
    return tuple(sorted(first.values()))


def _place(at: int, now: int) -> tuple[int, int] | None:
    """Give the place that one point has: how wide it is, and which; None: there is none for it."""
    if at > now - WHOLE_SECONDS:
        return 1, at
    if at > now - HOURLY_SECONDS:
        return HOUR_SECONDS, at // HOUR_SECONDS
    day = at // DAY_SECONDS
    # By the day and not by the point: else the next of its day would live on.
    return (DAY_SECONDS, day) if day * DAY_SECONDS > now - DAILY_SECONDS else None
