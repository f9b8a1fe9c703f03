"""How a worker's and a proxy's selling is shown: chances and their reasons, workers and their past."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from cocoon_p2p.cli.tables import print_table

if TYPE_CHECKING:
    from cocoon_p2p.overview.selling import StandingView, WorkerView
    from cocoon_p2p.overview.status import Status


def proxy_lines(proxies: "Sequence[StandingView]") -> Iterable[str]:
    """Say how proxies take a worker."""
    if not proxies:
        yield "no proxy is known yet: is a bootstrap in [network] reachable? see `cocoon peers`"
    for number, each in enumerate(proxies):
        if number:
            yield ""
        yield f"proxy {each.proxy}: {'offers you' if each.is_registered else 'does not offer you now'}"
        yield from _chances(each)


def _chances(each: "StandingView") -> Iterable[str]:
    if each.rests_seconds:
        yield f"  leaves you alone for {each.rests_seconds:.0f} s more"
    if each.told_seconds_ago is None:
        yield "  has said nothing of your chances yet (an older version never does)"
        return
    span = f"in {each.counted_seconds // 60} min" if each.counted_seconds >= 60 else "so far"
    if not each.looked_at:
        # What came after its word is not in it.
        told = f"as it told {each.told_seconds_ago:.0f} s ago"
        yield f"  no demand: nobody asked for a model of yours {span}, {told}"
        return
    yield f"  chosen {each.chosen} times of {each.looked_at} that it looked back at {span}; else:"
    for reason in each.not_chosen:
        yield f"  {reason.times:>7} x {reason.means}" + (f" -> {reason.to_do}" if reason.to_do else "")


def print_workers(found: "Status") -> None:
    """Print a proxy's workers."""
    if not found.workers:
        click.echo("no worker stands with this proxy")
        return
    columns = ("worker", "models", "slots free", "trust", "kept", "broken", "tries", "rests", "last question")
    print_table(columns, map(_row, found.workers), amounts=("slots free", "kept", "broken", "tries"))
    budget = found.canary_budget
    told = f"at most {budget:,} nanoTON an hour" if budget else "off (`canary_budget` in [proxy] is 0)"
    click.echo(
        f"\nquestions of its own: {told}; spent since it was started: {found.canaries_spent:,} nanoTON"
    )


def _row(each: "WorkerView") -> tuple[str, ...]:
    rests = (
        f"{each.rests_seconds:.0f} s: {each.rests_for or 'it cannot be had'}" if each.rests_seconds else ""
    )
    return (
        f"…{each.worker[-8:]}",
        " ".join(each.models),
        "draining" if each.is_draining else f"{each.slots_free}/{each.slots_total}",
        each.trust,
        f"{each.kept:.1f}",
        f"{each.broken:.1f}",
        f"{each.tries:.2f}",
        rests,
        each.canary,
    )
