"""Tokens put together until they spell whole characters.

    token --> ends inside a character --> held, with what comes next
          --> ends with one           --> a burst, with all that was held

Bytes that are no UTF-8 become U+FFFD and hold nothing back. Nothing here does IO.
"""

import codecs
import itertools
from dataclasses import dataclass

from cocoon_p2p.inference.exllama.banning import Burst

_NOTHING = Burst("", ())


@dataclass(frozen=True, slots=True)
class Characters:
    """The last tokens, as long as they end inside a character."""

    tokens: tuple[int, ...] = ()
    spelled: tuple[bytes, ...] = ()
    "What each of them spells."

    def take(self, token: int, spelled: bytes) -> tuple["Characters", Burst]:
        """Take one more token; give a burst, empty if it ends inside a character."""
        after = Characters((*self.tokens, token), (*self.spelled, spelled))
        text, consumed = _decode(after.spelled)
        if consumed < sum(map(len, after.spelled)):
            return after, _NOTHING
        return Characters(), Burst(text, after.tokens)

    def end(self) -> Burst:
        """Give what is whole, once nothing follows: a token that holds none of it is left out."""
        text, consumed = _decode(self.spelled)
        ends = itertools.accumulate(map(len, self.spelled))
        starts = (end - len(each) for end, each in zip(ends, self.spelled, strict=True))
        whole = (token for token, start in zip(self.tokens, starts, strict=True) if start < consumed)
        return Burst(text, tuple(whole))


def _decode(spelled: tuple[bytes, ...]) -> tuple[str, int]:
    return codecs.utf_8_decode(b"".join(spelled), "replace", False)
