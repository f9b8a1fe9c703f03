"""What the page draws: which lines, in which colours, and what they are called. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from cocoon_p2p.explorer.view import ExplorerView, HistoryView, Line
from cocoon_p2p.units import NANO_PER_TON

COLORS = ("accent", "warn", "good", "bad")
"Of `site.css`. What is beyond them is not drawn."

Column = Sequence[int | float | None]


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture."""

    id: str
    title: str
    unit: str
    "Empty: it is plain."

    legend: tuple[tuple[str, str], ...]
    "A colour and a name for each line."

    points: tuple[Column, ...]
    "Times, and then the values of each line, as uPlot reads them."

    is_whole: bool = False
    "Whether its values are counts."

    @property
    def series(self) -> list[dict[str, object]]:
        """How uPlot draws the lines."""
        return [{"label": name, "color": f"--{color}", "steps": True} for color, name in self.legend]

    @property
    def is_drawn(self) -> bool:
        """Whether there is anything to see: two points are the least."""
        return len(self.points[0]) > 1


def plots_of(view: ExplorerView, history: HistoryView) -> tuple[Plot, ...]:
    """Choose what to draw."""
    priced = [model.model for model in view.models if model.model in history.completion_prices.values]
    # What makes no completion tokens is priced by its prompts.
    completed = [name for name in priced if any(history.completion_prices.values[name])]
    plots = [
        _plot("nodes", "Nodes over time", "", history.nodes, ("proxies", "servers"), is_whole=True),
        _plot(
            "prices",
            "Lowest price by model",
            "nanoTON for 1,000 completion tokens, before commission",
            history.completion_prices,
            completed[: len(COLORS)],
        ),
    ]
    if view.chain is not None:
        locked = [None if one is None else one / NANO_PER_TON for one in history.chain.values["locked"]]
        plots += [
            Plot("locked", "Locked in channels", "TON", ((COLORS[0], "locked"),), (history.chain.at, locked)),
            _plot(
                "settlements",
                "Settlements by hour",
                "number",
                history.settlements,
                ("number",),
                is_whole=True,
            ),
        ]
    return tuple(plots)


def _plot(
    id_: str, title: str, unit: str, line: Line, names: Sequence[str], *, is_whole: bool = False
) -> Plot:
    legend = tuple(zip(COLORS, names, strict=False))
    return Plot(id_, title, unit, legend, (line.at, *(line.values[name] for _, name in legend)), is_whole)
