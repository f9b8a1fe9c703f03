"""How often a key may ask: a bucket of requests that fills while time passes. Pure."""

from dataclasses import dataclass

MINUTE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Bucket:
    """What one key may ask for now."""

    left: float
    "Requests; it holds a minute's worth at most."

    at: float
    "When that was so, in seconds on a steady clock."


def take(bucket: Bucket | None, per_minute: int, now: float) -> tuple[Bucket, float | None]:
    """Take one request out of a bucket, if there is one in it.

    Args:
        bucket: As it stood; None: a full one.
        per_minute: How many requests flow in, evenly, and how many it holds.
        now: Seconds on a steady clock.

    Returns:
        The bucket after it, and how many seconds there are to wait for one; None: it was taken.
    """
    bucket = bucket or Bucket(per_minute, now)
    passed = max(0.0, now - bucket.at)
    left = min(per_minute, bucket.left + passed * per_minute / MINUTE_SECONDS)
    if left >= 1:
        return Bucket(left - 1, now), None
    return Bucket(left, now), (1 - left) * MINUTE_SECONDS / per_minute
