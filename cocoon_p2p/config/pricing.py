"""What a worker asks: fixed prices, prices that follow the market, or prices in another unit.

The text under a key is what `cocoon config show` and the JSON Schema say of it. Spec: docs/earning.md.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

import msgspec

from cocoon_p2p.config.sections import NonNegative, Section
from cocoon_p2p.strict_toml import Where
from cocoon_p2p.units import NANO_MAX

FLOOR, CEILING = 5_000, 200_000
"What `auto` keeps within where nothing else is said."

_CLASSES = ("prompt", "completion", "reasoning")
_PEGGED = ("source", "pointer")

_SOURCE = r"^(https://[^\s]+|http://(127\.0\.0\.1|\[::1\])[:/][^\s]*)?$"
"Over a plain line only from this very machine: a rate is money."

Auto = Literal["auto"]


class PriceSection(Section, frozen=True, kw_only=True):
    """nanoTON per 1,000 tokens; with a `unit`, its millionths."""

    prompt: NonNegative | Auto = "auto"
    "auto: a fifth of what a completion token costs."

    cached: NonNegative | None = None
    "Left out: a quarter of `prompt`. It cannot be more than that."

    completion: NonNegative | Auto = "auto"
    reasoning: NonNegative | Auto = "auto"
    """auto: follows the market, in small steps: up while your slots are taken, down while they are empty and
    the price is why (docs/earning.md). It begins at 20,000."""

    floor: NonNegative | None = None
    """In nanoTON, whatever the unit: where the price is auto or has a unit, completion tokens are never sold
    below it. Left out: 5,000; with a `unit` it must be said."""

    ceiling: NonNegative | None = None
    "In nanoTON likewise: nor are they offered above it. Left out: 200,000 where the price is auto."

    unit: Annotated[str, msgspec.Meta(pattern=r"^[a-z]{0,8}$")] = ""
    """usd, say: prices are then in millionths of it, and follow the rate that `source` tells. Empty: they are
    in nanoTON."""

    source: Annotated[str, msgspec.Meta(pattern=_SOURCE, max_length=512)] = ""
    "Where the rate is read: an https address that gives JSON, every ten minutes. No redirect is followed."

    pointer: Annotated[str, msgspec.Meta(max_length=512)] = ""
    "What of it is the price of one TON in the unit, as a JSON Pointer (RFC 6901): /rates/TON/prices/USD."

    source_hours: Annotated[int, msgspec.Meta(ge=1, le=24 * 365)] = 6
    "A rate that is older is shown as stale. Prices stay where they are until the source speaks again."


def price_mistakes(tables: Mapping[str, Any]) -> list[tuple[Where, str]]:
    """Say what does not go together in [price]."""
    table = tables.get("price", {})
    if not isinstance(table, dict):
        return []
    price = cast("dict[str, Any]", table)
    found: list[tuple[Where, str]] = []
    unit = price.get("unit", "")
    floor, ceiling = price.get("floor", FLOOR), price.get("ceiling", NANO_MAX if unit else CEILING)
    if isinstance(floor, int) and isinstance(ceiling, int) and floor > ceiling:
        key = "floor" if "floor" in price else "ceiling"
        found.append((("price", key), f"the floor is above the ceiling (floor={floor} ceiling={ceiling})"))
    if not unit:
        said = [key for key in _PEGGED if price.get(key)]
        return [
            *found,
            *((("price", key), f"`{key}` without a `unit`: say which, usd for example") for key in said),
        ]
    for key in (*_PEGGED, "floor"):
        if price.get(key) in (None, ""):
            found.append((("price", "unit"), f"`{key}` is missing in [price]: a `unit` needs it"))
    for key in _CLASSES:
        if price.get(key, "auto") == "auto" and not (key == "reasoning" and key not in price):
            found.append(
                (("price", key), f"`{key}` must be a number where there is a `unit`: in its millionths")
            )
    return [*found, *_pointer_mistakes(price)]


def _pointer_mistakes(price: Mapping[str, Any]) -> list[tuple[Where, str]]:
    pointer = price.get("pointer", "")
    if isinstance(pointer, str) and pointer and not re.fullmatch(r"/([^~]|~[01])*", pointer, re.DOTALL):
        text = "not a JSON Pointer: it begins with a slash, and in names / is ~1 and ~ is ~0"
        return [(("price", "pointer"), text)]
    return []
