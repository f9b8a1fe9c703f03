"""Pages out of templates, in which nothing that a peer said can be more than text.

Jinja escapes what HTML would read; `plain` takes away what HTML lets through and eyes are fooled by. Both
are done to whatever is written into any template, so none can forget them.
"""

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cocoon_p2p.units import format_ton
from cocoon_p2p.web.assets import Assets

if TYPE_CHECKING:
    import jinja2

SHARED = Path(__file__).parent / "templates"
"`site.html`, which every page extends."

LETTERS_MAX = 600
"Of one value. What is longer ends with an ellipsis: peers name models."

_UNSEEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"Unicode's categories of what is no letter: controls, directions, what nobody has assigned."

_MARKS = frozenset({"Mn", "Me"})
_MARKS_MAX = 2
"Upon one letter; more of them cover the lines above and below."


def open_templates(folder: Path, assets: Assets) -> "jinja2.Environment":
    """Open a site's templates, and the shared ones beside them.

    They have `asset(NAME)`, and the filters `ton`, `count`, `span`, `short`, `day_time` and `clock`.
    """
    # Sites without templates are served without it: the gateway is.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, SHARED]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    shared: Mapping[str, Any] = {"asset": assets.address}
    environment.globals.update(shared)
    environment.filters.update(FILTERS)
    return environment


def plain(text: str) -> str:
    """Show a text as what can be read of it.

    Control characters, those that turn the direction of reading, and those that are not seen become
    U+FFFD; marks that pile up are left out; a long text is cut.
    """
    shown: list[str] = []
    marks = 0
    for letter in text[: LETTERS_MAX + 1]:
        category = unicodedata.category(letter)
        marks = marks + 1 if category in _MARKS else 0
        if marks <= _MARKS_MAX:
            shown.append(_spell(letter, category))
    return "".join(shown) if len(text) <= LETTERS_MAX else "".join(shown[:LETTERS_MAX]) + "…"


def _spell(letter: str, category: str) -> str:
    if letter in "\n\t":
        return " "
    return "\N{REPLACEMENT CHARACTER}" if category in _UNSEEN else letter


def _finalize(value: object) -> object:
    return plain(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


# ------------------------------------------------------------ filters


def ton(amount: int | None) -> str:
    """Spell nanoTON in TON; what nobody knows as a dash."""
    return "-" if amount is None else format_ton(amount)


def count(number: int) -> str:
    """Spell a number in threes: 12,000."""
    return f"{number:,}"


def span(seconds: float | None) -> str:
    """Spell seconds in at most two units, coarse enough not to change all the time: `2 h 5 min`."""
    if seconds is None:
        return "never"
    whole = max(0, int(seconds))
    if whole < 60:
        return "less than a minute"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if minutes < 60:
        return f"{minutes} min"
    if hours < 24:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h"


def short(name: str) -> str:
    """Give the end of a peer id, or of a channel's, enough to tell a few apart."""
    return name if len(name) <= 10 else f"…{name[-8:]}"


def clock(at: float) -> str:
    """Spell a time of day, in UTC, of seconds since the Unix epoch."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def day_time(at: float) -> str:
    """Spell a day and a time, in UTC, of seconds since the Unix epoch."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


# Jinja's own types name nothing but what it has itself.
FILTERS: Mapping[str, Any] = {
    "ton": ton,
    "count": count,
    "span": span,
    "short": short,
    "clock": clock,
    "day_time": day_time,
}
