"""A price that is given in another unit, and follows a rate that the worker's owner names a source of.

    prices in millionths of the unit, for 1,000 tokens  --/ rate (units a TON) -->  nanoTON

A source may be wrong, so a rate is judged before it counts:

    near the last one    it counts from now on
    a jump               it counts once `JUMP_CONFIRMED` looks in a row have said much the same
    nothing, for long    the last one that counted goes on counting, and the owner is told how old it is

Whatever the rate says, nothing is sold below the floor, which is in nanoTON: a source that lies, or an old
rate, costs customers or a part of the margin, never more than the owner has named. So a silent source does
not stop sales either: else whoever can silence it could.

Pure: the time and what was read are arguments. Rates are decimals, exactly as the source spells them.

Source: RFC 6901 (JSON Pointer). Spec: docs/earning.md (A price in dollars).
"""

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from fractions import Fraction
from math import ceil
from typing import cast

from cocoon_p2p.errors import MalformedMessage
from cocoon_p2p.frozen import replace
from cocoon_p2p.payments.asking_price import Bounds
from cocoon_p2p.protocols.messages import Price
from cocoon_p2p.units import NANO_MAX, NANO_PER_TON

RATE_MIN, RATE_MAX = Decimal("1e-6"), Decimal("1e9")
"Units that a TON may cost. Beyond them somebody named another number of the page."

RATE_MAX_LETTERS = 40
JUMP_MAX = Decimal("1.25")
"A rate that is so many times another is a jump: TON moves by less in the minutes between two looks."

JUMP_CONFIRMED = 6
"Looks in a row that must have said much the same before a jump counts."

MICRO = 1_000_000

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_NUMBER = re.compile(r"[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?")


class Judged(Enum):
    """What came of a look."""

    TAKEN = "taken"
    DOUBTED = "doubted"
    MISSED = "missed"


@dataclass(frozen=True, slots=True)
class Peg:
    """What is known of a rate. None of it: nothing may be sold yet."""

    rate: Decimal | None = None
    "Units a TON, the last that counted."

    at: float = 0.0
    "When that was, in seconds since the Unix epoch."

    doubted: Decimal | None = None
    "A jump that is not believed yet."

    doubts: int = 0
    "Looks in a row that have said it."


def took(peg: Peg, rate: Decimal, now: float) -> tuple[Peg, Judged]:
    """Judge a rate that was read."""
    if peg.rate is None or _is_near(rate, peg.rate):
        return Peg(rate, now), Judged.TAKEN
    is_same = peg.doubted is not None and _is_near(rate, peg.doubted)
    doubts = peg.doubts + 1 if is_same else 1
    if doubts >= JUMP_CONFIRMED:
        return Peg(rate, now), Judged.TAKEN
    # The first of them stays the measure, so that doubted ones cannot creep.
    return replace(peg, doubted=peg.doubted if is_same else rate, doubts=doubts), Judged.DOUBTED


def missed(peg: Peg) -> Peg:
    """Take note that nothing could be read: a jump must be said in a row."""
    return replace(peg, doubted=None, doubts=0)


def _is_near(one: Decimal, other: Decimal) -> bool:
    return one <= other * JUMP_MAX and other <= one * JUMP_MAX


# ---------------------------------------------------------------- reading


def follow(pointer: str, document: object) -> object:
    """Give what a JSON Pointer names in a document (RFC 6901, section 4).

    Raises:
        MalformedMessage: There is nothing there.
    """
    here = document
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        inside: dict[str, object] = {}
        if isinstance(here, dict):
            inside = cast("dict[str, object]", here)
        elif isinstance(here, list) and _INDEX.fullmatch(name):
            items = cast("list[object]", here)
            inside = {name: items[int(name)]} if int(name) < len(items) else {}
        if name not in inside:
            raise MalformedMessage(f"the source has nothing at {pointer!r} (missing={name[:64]!r})")
        here = inside[name]
    return here


def read_rate(found: object) -> Decimal:
    """Read a rate: a JSON number, or a text that spells one, as exchanges like to.

    Raises:
        MalformedMessage: It is no number, or none that can be a rate.
    """
    text = str(found) if isinstance(found, int | Decimal | str) and not isinstance(found, bool) else ""
    if len(text) > RATE_MAX_LETTERS or not _NUMBER.fullmatch(text):
        raise MalformedMessage(f"the source has no rate there (type={type(found).__name__})")
    try:
        rate = Decimal(text)
    except InvalidOperation:
        raise MalformedMessage("the source has no rate there") from None
    if not RATE_MIN <= rate <= RATE_MAX:
        raise MalformedMessage(
            f"the source's rate is out of range (rate={rate} min={RATE_MIN} max={RATE_MAX})"
        )
    return rate


# ---------------------------------------------------------------- converting


def converted(price: Price, rate: Decimal, bounds: Bounds) -> Price:
    """Give a price in nanoTON.

    Args:
        price: In millionths of the unit, for 1,000 tokens.
        rate: Units a TON.
        bounds: Of the completion tokens' price (of the dearest, where those cost nothing), in nanoTON.
            Where it would leave them all classes are scaled by the same; each is rounded up.
    """
    classes = (price.prompt, price.cached, price.completion, price.reasoning)
    scale = Fraction(NANO_PER_TON) / (MICRO * Fraction(rate))
    level = (price.completion or max(classes)) * scale
    held = min(max(level, Fraction(bounds.floor)), Fraction(bounds.ceiling))
    if level:
        scale *= held / level
    return Price(*(min(ceil(each * scale), NANO_MAX) for each in classes))
