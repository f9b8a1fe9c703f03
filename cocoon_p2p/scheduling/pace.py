"""How quick a worker proved to be, and how often it kept its word; both fade with time.

A worker's advertised rates are its own word. They count as much as a few tokens that were
measured: a lie is found out within an answer, and an absurd one no later than a small one. What
was seen long ago counts less, so that whoever was slow because its machine was busy, or failed
because its line was, is tried again by and by.
"""

from dataclasses import dataclass, replace

HALF_LIFE_SECONDS = 600.0
"After this long an observation counts half: load on a machine changes within minutes."

PREFILL_PRIOR_TOKENS = 512.0
DECODE_PRIOR_TOKENS = 64.0
"How many measured tokens a promise is worth: one short answer."

ENDS_PRIOR = 4.0
"How many kept exchanges a newcomer is credited with: one failure among them costs a fifth."


@dataclass(frozen=True, slots=True)
class Tally:
    """Tokens, and the seconds that they took."""

    tokens: float = 0.0
    seconds: float = 0.0
    at: float = 0.0
    "When the newest were added."

    def add(self, tokens: float, seconds: float, now: float) -> "Tally":
        """Count what was measured just now."""
        kept = _kept(now - self.at)
        return Tally(self.tokens * kept + tokens, self.seconds * kept + seconds, now)

    def seconds_per_token(self, promised: float, prior_tokens: float, now: float) -> float:
        """Weigh a promise (in seconds for a token) against what was measured."""
        kept = _kept(now - self.at)
        return (prior_tokens * promised + kept * self.seconds) / (prior_tokens + kept * self.tokens)


_NOTHING = Tally()


@dataclass(frozen=True, slots=True)
class Pace:
    """What was measured of one worker with one model, as if each request had been alone."""

    prefill: Tally = _NOTHING
    decode: Tally = _NOTHING

    def prefilled(self, tokens: int, seconds: float, now: float) -> "Pace":
        """Count a prompt."""
        return replace(self, prefill=self.prefill.add(tokens, seconds, now))

    def decoded(self, tokens: int, seconds: float, now: float) -> "Pace":
        """Count the tokens of an answer after its first."""
        return replace(self, decode=self.decode.add(tokens, seconds, now))


@dataclass(frozen=True, slots=True)
class Odds:
    """How exchanges with a worker ended."""

    kept: float = 0.0
    broken: float = 0.0
    "By its fault."

    at: float = 0.0

    def after(self, now: float, *, is_kept: bool) -> "Odds":
        """Count one more end."""
        faded = _kept(now - self.at)
        return Odds(self.kept * faded + is_kept, self.broken * faded + (not is_kept), now)

    def tries(self, now: float) -> float:
        """Say how many tries an answer is expected to take: 1 where none ever failed."""
        faded = _kept(now - self.at)
        kept = ENDS_PRIOR + self.kept * faded
        return (kept + self.broken * faded) / kept


NO_ENDS = Odds()
"Of a newcomer."


def _kept(seconds: float) -> float:
    return float(0.5 ** (max(0.0, seconds) / HALF_LIFE_SECONDS))
