"""What our transport costs beside js-libp2p, beside py-libp2p as it ships, and beside bare TCP.

    python benchmarks/transport.py [--quick]

Each kind is two processes on this machine, one that dials and one that listens, both of the same
kind; they live through all rounds. Within a round each figure is taken from one kind right after
the other, and the ratio is that of the two. `bare` is a TCP connection of trio's: no secrecy, no
streams. What is measured stands in _transport_peer.py, and for js-libp2p in
tests/interop/peer/bench.mjs. Without Node, or without what `make interop-peer` fetches,
js-libp2p is left out.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from _measure import print_machine, read_arguments, spread
from _transport_pair import JS_PEER, Pair, far_away

ONE_WAY_SECONDS = 0.02
MIB = 1 << 20
STOCK_SHARE = 8
"py-libp2p as it ships gets this part of the messages, or they would take all day."

Answer = dict[str, Any]
Kind = tuple[str, str]
"Who, and secured how: the name of one pair."
BARE: Kind = ("bare", "")
SECURITIES = ("noise", "tls")


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    unit: str
    do: Mapping[str, Any]
    value: Callable[[Answer, Mapping[str, Any]], float]
    goals: Mapping[str, float | tuple[float, float]] = field(default_factory=dict[str, float])
    "Ours at most (a rate: at least) this many times theirs; two numbers: with Noise and with TLS."

    cost: tuple[str, float] | None = None
    "What the processor time of both ends is told for, and how much of that one call is."

    is_rate: bool = False


def _middle(answer: Answer, _: Mapping[str, Any]) -> float:
    return 1e3 * median(answer["seconds"])


def _opened(answer: Answer, _: Mapping[str, Any]) -> float:
    return 1e3 * median(answer["opened"])


def _mebibytes(answer: Answer, did: Mapping[str, Any]) -> float:
    return float(did["size"] / MIB / answer["seconds"][0])


def _thousands(answer: Answer, did: Mapping[str, Any]) -> float:
    return float(did["size"] / did["block"] / 1000 / answer["seconds"][0])


def near_figures(*, quick: bool) -> tuple[Figure, ...]:
    """Choose what is measured on loopback."""
    connects, opens, echoes = (3, 10, 100) if quick else (5, 30, 300)
    bulk, messages = (16 * MIB, 10_000) if quick else (64 * MIB, 50_000)
    connect = {"do": "connect", "times": connects}
    one, eight = ({"do": "send", "streams": streams, "size": bulk} for streams in (1, 8))
    small = {"do": "send", "streams": 1, "size": 100 * messages, "block": 100}
    trips = {"do": "round_trip", "times": echoes}
    per_mib = ("MiB", bulk / MIB)
    return (
        Figure("connect", "ms", connect, _middle, {"js": 0.7}, ("connection", connects)),
        Figure("open, agreed", "ms", {"do": "open_negotiated", "times": opens}, _middle, {"js": 0.5}),
        Figure("open, as callers do", "ms", {"do": "open", "times": opens}, _opened, {"js": 0.5}),
        Figure("open and first echo", "ms", {"do": "open", "times": opens}, _middle),
        Figure("round trip, 64 bytes", "ms", trips, _middle, {"js": 1, "bare": 2}, ("trip", echoes)),
        Figure("one stream", "MiB/s", one, _mebibytes, {"js": (1.5, 1.2)}, per_mib, is_rate=True),
        Figure("eight streams", "MiB/s", eight, _mebibytes, {"js": (1.2, 0.8)}, per_mib, is_rate=True),
        Figure("100-byte messages", "thousand/s", small, _thousands, {}, ("message", messages), is_rate=True),
    )


FAR_KINDS = ("ours", "js")
"As it ships, py-libp2p hangs up and connects again only by halves."

FAR_FIGURES = (
    Figure("far: connect", "ms", {"do": "connect", "times": 5}, _middle),
    Figure("far: open and first echo", "ms", {"do": "open", "times": 5}, _middle),
)


class Results:
    """The values of all rounds, by figure and pair, in the order in which they were taken."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, Kind], list[float]] = {}
        self.costs: dict[tuple[str, Kind], list[float]] = {}

    def take(self, figure: Figure, kind: Kind, pair: Pair, address: str) -> None:
        """Measure one figure of one pair, once."""
        did = dict(figure.do)
        if did["do"] == "connect":
            did["address"] = address
        share = STOCK_SHARE if kind[0] == "stock" and "size" in did else 1
        if share > 1:
            did["size"] //= share
        worked = pair.working_seconds()
        answer = pair.tell(**did)
        self.values.setdefault((figure.name, kind), []).append(figure.value(answer, did))
        if figure.cost is not None:
            cost = 1e6 * (pair.working_seconds() - worked) * share / figure.cost[1]
            self.costs.setdefault((figure.name, kind), []).append(cost)

    def show(self, figures: Sequence[Figure]) -> None:
        """Print each figure of ours, and whatever is beside it."""
        for figure in figures:
            for security in SECURITIES:
                self._show(figure, security)

    def _show(self, figure: Figure, security: str) -> None:
        ours = self.values[figure.name, ("ours", security)]
        print(f"{figure.name}, {security}")
        print(f"    {'ours':6}{spread(ours, figure.unit)}{self._cost(figure, ('ours', security))}")
        for kind in (("js", security), ("stock", security), BARE):
            theirs = self.values.get((figure.name, kind))
            if theirs is not None:
                ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
                verdict = f"ours is {spread(ratios)}{_judged(figure, kind[0], security, median(ratios))}"
                print(
                    f"    {kind[0]:6}{spread(theirs, figure.unit)}{self._cost(figure, kind)}; {verdict}",
                    flush=True,
                )

    def _cost(self, figure: Figure, kind: Kind) -> str:
        if figure.cost is None:
            return ""
        return f", {median(self.costs[figure.name, kind]):.1f} us of processor a {figure.cost[0]}"


def _judged(figure: Figure, who: str, security: str, ratio: float) -> str:
    goal = figure.goals.get(who)
    if goal is None:
        return " of it"
    if isinstance(goal, tuple):
        goal = goal[security == "tls"]
    is_met = ratio >= goal if figure.is_rate else ratio <= goal
    bound = "at least" if figure.is_rate else "at most"
    return f" of it, goal {bound} {goal:g}: {'met' if is_met else 'MISSED'}"


def show_memory(security: str, count: int) -> None:
    """Print what a connection costs each end in memory, and both in processor time, ours and stock."""
    for kind in ("ours", "stock"):
        with ExitStack() as stack:
            pair = Pair(kind, security, stack)
            pair.tell("prepare", count=count)
            before, worked = pair.resident_bytes(), pair.working_seconds()
            pair.tell("crowd", address=pair.address)
            dialler, listener = (
                (now - then) / count / 1024 for now, then in zip(pair.resident_bytes(), before, strict=True)
            )
            spent_ms = (pair.working_seconds() - worked) / count * 1e3
        print(
            f"{count} connections, {security}: {kind:6}{dialler:.0f} KiB each where it was dialled, "
            f"{listener:.0f} KiB where it was accepted, {spent_ms:.1f} ms of processor for both",
            flush=True,
        )


def main() -> None:
    arguments = read_arguments(__doc__)
    print_machine()
    kinds = ["ours", "stock"]
    if shutil.which("node") and (JS_PEER / "node_modules" / "libp2p").exists():
        kinds.insert(1, "js")
    else:
        print("js-libp2p is missing (Node 20, then: make interop-peer); the rest is measured without it")
    names = [(kind, security) for security in SECURITIES for kind in kinds]
    near = near_figures(quick=arguments.quick)
    results = Results()
    with ExitStack() as stack:
        pairs = {kind: Pair(*kind, stack) for kind in [BARE, *names]}
        for _ in range(1 if arguments.quick else 5):
            for figure in near:
                for kind, pair in pairs.items():
                    if kind != BARE or not figure.name.startswith("open"):
                        results.take(figure, kind, pair, pair.address)
        results.show(near)
        for kind, pair in pairs.items():
            if kind[0] in FAR_KINDS:
                address = stack.enter_context(far_away(pair.address, ONE_WAY_SECONDS))
                for figure in FAR_FIGURES:
                    results.take(figure, kind, pair, address)
    print(f"far: {2 * ONE_WAY_SECONDS * 1e3:.0f} ms a round trip, by a forwarder that delays what is sent")
    results.show(FAR_FIGURES)
    for security in SECURITIES:
        show_memory(security, 20 if arguments.quick else 300)


if __name__ == "__main__":
    main()
