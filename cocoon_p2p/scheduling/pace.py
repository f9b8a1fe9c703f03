"""How quick a worker proved to be with one model, by the word of many; it fades with time.

A worker's advertised rates are its own word, and one voice among others: each client whose
exchange was measured is another, and so is the proxy itself. A voice weighs what it measured, up
to a bound, and what counts is the median. So a lie of the worker's is found out within an answer,
an absurd one no later than a small one; and no client can make a worker look slower than the
slowest, or quicker than the quickest, that anybody else has seen.

What was seen long ago counts less, so that whoever was slow because its machine was busy is tried
again by and by.
"""

from dataclasses import dataclass, replace

from cocoon_p2p.scheduling.witness import ANYBODY, OURSELVES, Witness, faded

HALF_LIFE_SECONDS = 600.0
"After this long an observation counts half: load on a machine changes within minutes."

PREFILL_PRIOR_TOKENS = 512.0
DECODE_PRIOR_TOKENS = 64.0
"How many measured tokens a promise is worth: one short answer."

PREFILL_VOICE_TOKENS = 4_096.0
DECODE_VOICE_TOKENS = 512.0
"What one voice weighs at most. Beyond it the newer tokens take the place of the older ones."

VOICES_MAX = 8
"Of one worker and model. The one that weighs least gives way, be it the newest; the proxy's own stays."


@dataclass(frozen=True, slots=True)
class Tally:
    """Tokens, and the seconds that they took, by one voice."""

    tokens: float = 0.0
    seconds: float = 0.0
    at: float = 0.0
    "When the newest were added."

    def add(self, tokens: float, seconds: float, now: float, most: float) -> "Tally":
        """Count what was measured, in whatever order it becomes known; `most` tokens are kept."""
        at = max(self.at, now)
        kept, fresh = faded(at - self.at, HALF_LIFE_SECONDS), faded(at - now, HALF_LIFE_SECONDS)
        counted, took = self.tokens * kept + tokens * fresh, self.seconds * kept + seconds * fresh
        share = min(1.0, most / counted) if counted else 1.0
        return Tally(counted * share, took * share, at)

    def weight(self, now: float) -> float:
        """Say how many tokens it still stands for."""
        return self.tokens * faded(now - self.at, HALF_LIFE_SECONDS)


_SILENT = Tally()


@dataclass(frozen=True, slots=True)
class Voices:
    """What several have measured of the same thing."""

    told: tuple[tuple[Witness, Tally], ...] = ()

    @property
    def tokens(self) -> float:
        """Say how many tokens were measured, each voice's by its own time."""
        return sum(tally.tokens for _, tally in self.told)

    @property
    def seconds(self) -> float:
        return sum(tally.seconds for _, tally in self.told)

    def add(self, by: Witness, tokens: float, seconds: float, now: float, most: float) -> "Voices":
        """Hear one voice."""
        before = dict(self.told)
        before[by] = before.get(by, _SILENT).add(tokens, seconds, now, most)
        if len(before) > VOICES_MAX:
            others = (voice for voice in before if voice != OURSELVES)
            del before[min(others, key=lambda voice: before[voice].weight(now))]
        return Voices(tuple(before.items()))

    def seconds_per_token(self, promised: float, prior_tokens: float, now: float) -> float:
        """Give the median of what was promised (in seconds for a token) and what was measured."""
        if not self.told:
            return promised
        said = [(promised, prior_tokens)]
        said += [
            (tally.seconds / tally.tokens, tally.weight(now)) for _, tally in self.told if tally.tokens > 0
        ]
        return _median(said)


def _median(said: list[tuple[float, float]]) -> float:
    """Give the value that half of the weight lies on either side of."""
    said.sort()
    left = sum(weight for _, weight in said) / 2
    for value, weight in said:
        left -= weight
        if left <= 0:
            return value
    return said[-1][0]


_NOTHING = Voices()


@dataclass(frozen=True, slots=True)
class Pace:
    """What was measured of one worker with one model, as if each request had been alone."""

    prefill: Voices = _NOTHING
    decode: Voices = _NOTHING

    def prefilled(self, tokens: float, seconds: float, now: float, by: Witness = ANYBODY) -> "Pace":
        """Count a prompt."""
        return replace(self, prefill=self.prefill.add(by, tokens, seconds, now, PREFILL_VOICE_TOKENS))

    def decoded(self, tokens: float, seconds: float, now: float, by: Witness = ANYBODY) -> "Pace":
        """Count the tokens of an answer after its first."""
        return replace(self, decode=self.decode.add(by, tokens, seconds, now, DECODE_VOICE_TOKENS))
