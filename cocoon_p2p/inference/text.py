"""An answer's text on its way from any engine to the reader: whole characters out, stop strings cut.

    bytes of a token --> whole characters --> not the start of a stop string --> delivered

Rule 1: text leaves only at the end of a token. A continuation that starts where a
        delivered piece ended then splits into the same tokens as the first answer did.
Rule 2: a token counts as soon as some of its text is delivered, and never before. What
        an unfinished character or a possible stop string holds back is not counted.
Rule 3: of several stop strings the one that is complete first wins, so the delivered
        text does not depend on how an engine cuts its output.

Nothing here does IO; every engine feeds the same frozen value.
Spec: protocols/exchange.md, whole characters.
"""

import codecs
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Delivery:
    """What may be given to the reader now."""

    text: str
    "Empty if everything new is held back."

    completion_tokens: int
    "Cumulative: every token of which some text has been delivered."

    stopped: bool = False
    "A stop string is complete: nothing follows, the engine can be stopped."


class TokenEnd(NamedTuple):
    """Where one undelivered step of the engine ends."""

    characters: int
    "How much of the held text must be out for all of this step to be out."

    tokens: int
    "The cumulative count with this step."

    whole: bool
    "False if the step ends inside the character it counts as its last."

    @property
    def next_start(self) -> int:
        """The held character in which the next step begins."""
        return self.characters if self.whole else self.characters - 1


@dataclass(frozen=True, slots=True)
class AnswerText:
    """What is held back of an answer, and why.

    `AnswerText(stop)` is the state before the first token. Empty stop strings mean nothing.
    """

    stop: tuple[str, ...] = ()
    unfinished: bytes = b""
    "The first bytes of a character that the last step did not finish."

    held: str = ""
    "Whole characters that were not delivered."

    ends: tuple[TokenEnd, ...] = ()
    "Of each step of which something was not delivered, in order."

    delivered_tokens: int = 0

    def feed(self, data: bytes, tokens: int) -> tuple["AnswerText", Delivery]:
        """Take the text of one more step.

        Args:
            data: UTF-8, cut anywhere. Bytes that are no UTF-8 become U+FFFD.
            tokens: Completion tokens so far, with this step's: cumulative, never less than before.

        Returns:
            The text after the step, and what may be delivered of it.
        """
        data = self.unfinished + data
        characters, consumed = codecs.utf_8_decode(data, "replace", False)
        held, unfinished = self.held + characters, data[consumed:]
        end = TokenEnd(len(held) + bool(unfinished), tokens, whole=not unfinished)
        after = AnswerText(self.stop, unfinished, held, (*self.ends, end), self.delivered_tokens)
        cut = first_complete(held, self.stop)
        if cut is not None:
            delivery = after._up_to(cut, stopped=True)
            return AnswerText(self.stop, delivered_tokens=delivery.completion_tokens), delivery
        return after._release(len(held) - held_back(held, self.stop))

    def end(self) -> Delivery:
        """Tell what is still to be delivered when the engine has ended by itself.

        That is what was held in case of a stop string. The beginning of a character that
        will never be finished is dropped, and so are the tokens that hold nothing else.
        """
        return self._up_to(len(self.held), stopped=False)

    def _up_to(self, cut: int, *, stopped: bool) -> Delivery:
        """Deliver `cut` characters, perhaps a part of a step, which then counts whole."""
        tokens, start = self.delivered_tokens, 0
        for end in self.ends:
            if start >= cut and end.characters > cut:
                break
            tokens, start = end.tokens, end.next_start
        return Delivery(self.held[:cut], tokens, stopped)

    def _release(self, free: int) -> tuple["AnswerText", Delivery]:
        """Deliver the steps that end, with a whole character, within the first `free` characters."""
        released = 0
        for number, end in enumerate(self.ends, start=1):
            if end.whole and end.characters <= free:
                released = number
        if not released:
            return self, Delivery("", self.delivered_tokens)
        cut, tokens, _ = self.ends[released - 1]
        rest = tuple(end._replace(characters=end.characters - cut) for end in self.ends[released:])
        after = AnswerText(self.stop, self.unfinished, self.held[cut:], rest, tokens)
        return after, Delivery(self.held[:cut], tokens)


def first_complete(text: str, stop: tuple[str, ...]) -> int | None:
    """Where the stop string that is complete first begins; of two that end together, the longer."""
    found = [(start + len(string), start) for string in stop if string and (start := text.find(string)) >= 0]
    return min(found)[1] if found else None


def held_back(text: str, stop: tuple[str, ...]) -> int:
    """How many characters at the end of `text` could be the beginning of a stop string."""
    for length in range(min(len(text), max((len(string) for string in stop), default=0)), 0, -1):
        if any(string.startswith(text[-length:]) for string in stop):
            return length
    return 0
