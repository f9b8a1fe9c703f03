"""What one window of sound was heard to say, and where the next begins. Pure.

Whisper writes between marks of time: `<0.00> Hello. <2.40><2.40> Who is <29.80>`. Text between two marks is a
segment. A window ends in the midst of a word more often than not; what stands after the last mark that both
ends and begins a segment is then heard again, by the next window, which begins there.

Spec: the reference implementation's `transcribe` (openai/whisper, whisper/transcribe.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

STEPS_PER_MARK: Final = 2
"Marks stand for every 20 ms, steps of the spectrum for 10."

STEPS_HEARD_MIN: Final = 1000
"""A window moves on by ten seconds at least, if there are: less would let a recording cost many times what it
is paid for. What would have been heard again is then taken as it is."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One window's words."""

    segments: tuple[tuple[int, ...], ...]
    "Tokens of text: none is empty."

    steps: int
    "How far the next window is from this one."


def read_window(tokens: Sequence[int], *, first_mark: int, steps: int) -> Heard:
    """Divide what was sampled for a window.

    Args:
        tokens: Text and marks, as they were sampled, without the end.
        first_mark: The mark of 0.00 s; all that are higher are marks too, lower ones are text.
        steps: As many as the window has sound for.
    """
    marks = [token >= first_mark for token in tokens]
    cuts = [at for at in range(1, len(tokens)) if marks[at] and marks[at - 1]]
    is_open = bool(cuts) and not (marks[-1] and not marks[-2])
    heard_to = (tokens[cuts[-1] - 1] - first_mark) * STEPS_PER_MARK if is_open else steps
    if heard_to < min(STEPS_HEARD_MIN, steps) or heard_to >= steps:
        return Heard(_segments(tokens, first_mark), steps)
    return Heard(_segments(tokens[: cuts[-1]], first_mark), heard_to)


def _segments(tokens: Sequence[int], first_mark: int) -> tuple[tuple[int, ...], ...]:
    found: list[list[int]] = [[]]
    for token in tokens:
        if token >= first_mark:
            found.append([])
        else:
            found[-1].append(token)
    return tuple(tuple(segment) for segment in found if segment)
