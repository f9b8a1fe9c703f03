"""Lines over an axis, as SVG. Nothing is drawn here that a hundred lines cannot draw.

Everything that a text may hold is escaped; numbers are written with one decimal, so the same points
are the same bytes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 44, 48
TICKS = 5
LEGEND_STEP = 20


@dataclass(frozen=True, slots=True)
class Pen:
    """How a line looks."""

    colour: str
    width: float = 1.5
    dashes: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure."""

    title: str
    below: str
    "What the horizontal axis is of."

    lines: Mapping[str, Sequence[tuple[float, float]]]
    "By their names: points from left to right."

    pens: Mapping[str, Pen]
    floor: float | None = None
    "Draw logarithms, and what is less than this as if it were this. None: draw from 0."


def draw(figure: Figure) -> str:
    """Draw a figure. It must have a point."""
    points = [point for line in figure.lines.values() for point in line]
    across = _Axis(min(x for x, _ in points), max(x for x, _ in points), LEFT, WIDTH - RIGHT)
    top = max(y for _, y in points)
    low = 0.0 if figure.floor is None else figure.floor
    up = _Axis(low, max(top, 2 * low) or 1.0, HEIGHT - BOTTOM, TOP, is_log=figure.floor is not None)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 22, figure.title, size=15),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, figure.below, anchor="middle"),
    ]
    for value in up.ticks():
        y = up.place(value)
        parts.append(_line(LEFT, y, WIDTH - RIGHT, y, Pen("#dddddd", 1)))
        parts.append(_text(LEFT - 6, y + 4, f"{value:,.4g}", anchor="end"))
    for value in sorted({x for x, _ in points}):
        parts.append(_text(across.place(value), HEIGHT - BOTTOM + 18, f"{value:g}", anchor="middle"))
    for number, (name, line) in enumerate(figure.lines.items()):
        pen = figure.pens[name]
        at = " ".join(f"{across.place(x):.1f},{up.place(y):.1f}" for x, y in line)
        parts.append(f'<polyline points="{at}" fill="none" {_stroke(pen)}/>')
        y = TOP + LEGEND_STEP * number + 8.0
        parts.append(_line(WIDTH - RIGHT + 12, y, WIDTH - RIGHT + 36, y, pen))
        parts.append(_text(WIDTH - RIGHT + 42, y + 4, name))
    return "\n".join([*parts, "</svg>\n"])


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    begin: float
    "Where the lowest stands in the drawing."

    end: float
    is_log: bool = False

    def place(self, value: float) -> float:
        """Give the place of a value."""
        if self.is_log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.begin + share * (self.end - self.begin)

    def ticks(self) -> list[float]:
        """Give values to write beside it: powers of ten, or a few round steps."""
        if self.is_log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            return [10.0**power for power in range(first, last + 1)]
        rough = (self.high - self.low) / TICKS
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * times for times in (1, 2, 5, 10) if unit * times >= rough)
        return [self.low + step * number for number in range(int((self.high - self.low) / step) + 1)]


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, pen: Pen) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {_stroke(pen)}/>'


def _stroke(pen: Pen) -> str:
    dashes = f' stroke-dasharray="{pen.dashes}"' if pen.dashes else ""
    return f'stroke="{pen.colour}" stroke-width="{pen.width:g}"{dashes}'
