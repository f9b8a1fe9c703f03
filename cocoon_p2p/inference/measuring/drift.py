"""Whether what a worker advertises is what its requests see, and what to say instead. Pure.

Each request gives a ratio: how quick it was beside what was stated for the load of that moment.
The ratios are averaged, older ones counting less by the time that has gone by; when the average has
been off for a while, by enough requests, new speeds are stated. Not often: each is a new
record for every proxy.

Spec: inference/measuring.md (Drift).
"""

from dataclasses import dataclass, replace
from math import exp, exp2, log

from cocoon_p2p.inference.measuring.levels import Speeds
from cocoon_p2p.inference.measuring.stopwatch import Observation

OFF_BY = 0.2
"An average that is a fifth quicker or slower than stated is off."

OFF_FOR_SECONDS = 60.0
"So long it must stay off: a burst of long prompts is no drift."

PAUSE_SECONDS = 300.0
"Between two statements at least."

HALF_LIFE_SECONDS = 300.0
"After so long a request counts half."

WEIGHT_MIN = 5.0
"Requests of now that an average must stand on."

RATIO_MAX = 4.0
"One request counts as no further off than this."


@dataclass(frozen=True, slots=True)
class Decayed:
    """An average of ratios (as logarithms) in which the older ones count less."""

    mean: float = 0.0
    weight: float = 0.0
    at: float = 0.0

    def add(self, ratio: float, now: float) -> "Decayed":
        aged = self.weight_at(now)
        value = max(-log(RATIO_MAX), min(log(ratio), log(RATIO_MAX)))
        return Decayed((self.mean * aged + value) / (aged + 1), aged + 1, now)

    def weight_at(self, now: float) -> float:
        """How many requests of now it stands on."""
        return self.weight * exp2(-max(0.0, now - self.at) / HALF_LIFE_SECONDS)

    def ratio_at(self, now: float) -> float | None:
        """How quick requests are beside what is stated, if enough of them say so."""
        return exp(self.mean) if self.weight_at(now) >= WEIGHT_MIN else None


@dataclass(frozen=True, slots=True)
class Drift:
    """One model's speeds as stated, and what requests say of them."""

    stated: Speeds
    slots: int
    stated_at: float
    "On the clock of `now` below."

    prefill: Decayed = Decayed()
    decode: Decayed = Decayed()
    off_since: float | None = None


def observe(drift: Drift, seen: Observation, now: float) -> Drift:
    """Take in what a request told.

    Args:
        drift: What was known.
        seen: The request.
        now: Seconds on a clock that does not jump.

    Returns:
        What is known now. Where its `stated` is another than before, that is to be advertised.
    """
    prefill, decode = drift.prefill, drift.decode
    if seen.prefill is not None:
        prefill = prefill.add(seen.prefill / drift.stated.prefill, now)
    expected = expected_decode(drift.stated, drift.slots, seen.running)
    if seen.decode is not None and expected is not None:
        decode = decode.add(seen.decode / expected, now)
    ratios = prefill.ratio_at(now), decode.ratio_at(now)
    if not any(_is_off(ratio) for ratio in ratios):
        return replace(drift, prefill=prefill, decode=decode, off_since=None)
    since = now if drift.off_since is None else drift.off_since
    if now - since < OFF_FOR_SECONDS or now - drift.stated_at < PAUSE_SECONDS:
        return replace(drift, prefill=prefill, decode=decode, off_since=since)
    return Drift(_corrected(drift.stated, *ratios), drift.slots, now)


def expected_decode(stated: Speeds, slots: int, running: float) -> float | None:
    """Say how quick each of so many requests should be, by what is stated of one and of as many as slots.

    The time of a step grows evenly between the two.
    """
    if stated.decode is None or stated.decode_full is None:
        return None
    share = 0.0 if slots == 1 else min(max((running - 1) / (slots - 1), 0.0), 1.0)
    return 1 / ((1 - share) / stated.decode + share / stated.decode_full)


def _is_off(ratio: float | None) -> bool:
    return ratio is not None and not 1 / (1 + OFF_BY) <= ratio <= 1 + OFF_BY


def _corrected(stated: Speeds, prefill: float | None, decode: float | None) -> Speeds:
    written = 1.0 if decode is None else decode
    return Speeds(
        stated.prefill * (1.0 if prefill is None else prefill),
        None if stated.decode is None else stated.decode * written,
        None if stated.decode_full is None else stated.decode_full * written,
    )
