"""How long a worker took for one exchange, by what passed here.

    Assign --answer--> Accept ... Part(final) --prefill--> Chunk 0 --decode--> Chunk n

When it says PromptMetered is the worker's choice, so what it takes until then is prefill too, but for
the line: else one that says it late would have taken no time.
What it waited for others is not its time: as soon as the client is behind with its credit or its
reading, nothing more is measured. The line counts once in each part at most, since all times are
taken at one end of it.
"""

from dataclasses import dataclass

from cocoon_p2p.protocols.messages import Accept, Chunk, PromptMetered, Usage

TOKENS_MIN = 8
"Fewer say more of the line than of the engine: a client that asks short would make any worker look slow."

LINE_ANSWERS = 2.0
"How many times what it takes to answer at all may pass before the prompt is metered: lines waver."


@dataclass(frozen=True, slots=True)
class Lap:
    """What was measured; zero tokens where nothing was."""

    answer_seconds: float | None = None
    "From the Assign to the first word, where that was an Accept: nobody else's time is in it."

    prefill_tokens: int = 0
    prefill_seconds: float = 0.0
    decode_tokens: int = 0
    decode_seconds: float = 0.0
    cached_share: float | None = None
    "What part of the prompt it had in its cache; None if it counted none."


class Stopwatch:
    """Takes one exchange's times."""

    def __init__(self) -> None:
        self._assigned_at: float | None = None
        self._given_at: float | None = None
        self._answer_seconds: float | None = None
        self._prompt: Usage | None = None
        self._metered_at = 0.0
        self._first: tuple[int, float] | None = None
        self._last: tuple[int, float] | None = None
        self.first_token_at: float | None = None
        "When a chunk first counted any, whoever had made the worker wait; None: none did yet."

        self._is_held_up = False

    def assigned(self, now: float) -> None:
        """Begin: the worker is being told."""
        self._assigned_at = now

    def given(self, now: float) -> None:
        """Note that the worker is being sent the last of the request."""
        self._given_at = now

    def held_up(self) -> None:
        """Measure no more: from here on others make the worker wait. Before it has work, nobody does."""
        self._is_held_up = self._prompt is not None

    def heard(self, message: object, now: float) -> None:
        """Take note of what the worker said."""
        match message:
            case Accept() if self._assigned_at is not None and self._answer_seconds is None:
                self._answer_seconds = now - self._assigned_at
            case PromptMetered(usage=usage):
                self._prompt, self._metered_at = usage, now
            case Chunk(usage=usage):
                tokens = usage.completion + usage.reasoning
                if tokens and self.first_token_at is None:
                    self.first_token_at = now
                if not self._is_held_up:
                    self._first = self._first or (tokens, now)
                    self._last = tokens, now
            case _:
                pass

    def lap(self, answer_seconds: float | None = None) -> Lap:
        """Say what was measured.

        Args:
            answer_seconds: How long it takes the worker to say anything, where this exchange does not show.
        """
        share, prefill, seconds = None, 0, 0.0
        if self._prompt is not None and (total := self._prompt.prompt + self._prompt.cached):
            share = self._prompt.cached / total
            if self._first is not None and self._prompt.prompt >= TOKENS_MIN:
                prefill, seconds = self._prompt.prompt, self._first[1] - self._metered_at
                seconds += self._metering_seconds(answer_seconds)
        decoded, decode_seconds = 0, 0.0
        if self._first is not None and self._last is not None:
            decoded, decode_seconds = self._last[0] - self._first[0], self._last[1] - self._first[1]
        if decoded < TOKENS_MIN:
            decoded, decode_seconds = 0, 0.0
        return Lap(self._answer_seconds, prefill, seconds, decoded, decode_seconds, share)

    def _metering_seconds(self, answer_seconds: float | None) -> float:
        """Say how long it took to meter the prompt, beyond what the line may have taken."""
        answer = answer_seconds if self._answer_seconds is None else self._answer_seconds
        if self._given_at is None or answer is None:
            return 0.0
        return max(0.0, self._metered_at - self._given_at - LINE_ANSWERS * answer)
