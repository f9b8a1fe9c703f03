"""`cocoon status CONFIG`: how a running worker's or proxy's selling goes, and what to do about it."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cocoon_p2p.cli.node_folder import data_folder, role_of
from cocoon_p2p.cli.spell import harmless
from cocoon_p2p.cli.tables import print_json, print_table
from cocoon_p2p.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    from cocoon_p2p.overview.selling import Selling, StandingView, WorkerView


@click.command()
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(config: Path, as_json: bool) -> None:
    """Show how the running worker or proxy that CONFIG describes does its business.

    Of a worker: which proxies offer it, how often they chose it, and why not, with what to do about it.
    Of a proxy: its workers, what their past counts for, who rests and why. The JSON's fields keep their
    names and meaning.
    """
    from cocoon_p2p.control import ask
    from cocoon_p2p.node import CONTROL_SOCKET
    from cocoon_p2p.overview.selling import SELLING, ShowSelling

    role = role_of(config)
    if role not in ("worker", "proxy"):
        raise ConfigurationError(
            f"a {role} sells nothing",
            hint="see `cocoon peers` for its network, `cocoon channels list` for its money",
        )
    socket = data_folder(config) / CONTROL_SOCKET
    try:
        found = ask(socket, SELLING, ShowSelling())
    except Unavailable as exc:
        if exc.retry_after is not None:
            # It runs, and says itself when to ask again: a second one would not help.
            raise
        raise Unavailable(
            f"only a running node knows this: {exc}", hint=f"start it: cocoon {role} {config}"
        ) from exc
    if as_json:
        print_json(found)
    elif found.role == "worker":
        for line in _of_worker(found):
            click.echo(harmless(line))
    else:
        _print_proxy(found)


def _of_worker(found: "Selling") -> Iterable[str]:
    if not found.proxies:
        yield "no proxy is known yet: is a bootstrap in [network] reachable? see `cocoon peers`"
    for number, each in enumerate(found.proxies):
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
        yield f"  no demand: nobody asked for a model of yours {span}"
        return
    yield f"  chosen {each.chosen} times of {each.looked_at} that it looked back at {span}; else:"
    for reason in each.not_chosen:
        yield f"  {reason.times:>7} x {reason.means}" + (f" -> {reason.to_do}" if reason.to_do else "")


def _print_proxy(found: "Selling") -> None:
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
