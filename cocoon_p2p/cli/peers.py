"""`cocoon peers CONFIG`: how a running node stands in its network."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cocoon_p2p.cli.node_folder import data_folder, role_of
from cocoon_p2p.cli.tables import print_json, print_table
from cocoon_p2p.errors import Unavailable

if TYPE_CHECKING:
    from cocoon_p2p.network.health import Health
    from cocoon_p2p.overview.peers import Peers

_NUMBERS = ("servers", "stand by", "heard, s ago", "searched, s ago", "connections")


@click.command()
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def peers(config: Path, as_json: bool) -> None:
    """Show the network around the running node that CONFIG describes, of any role.

    Which servers of the directory it knows, whether its bootstraps answer, who is connected, and what
    it keeps for others. The JSON's fields keep their names and meaning.
    """
    from cocoon_p2p.config.folder import CONTROL_SOCKET
    from cocoon_p2p.control import ask
    from cocoon_p2p.overview.peers import PEERS, ShowPeers

    socket = data_folder(config) / CONTROL_SOCKET
    try:
        found = ask(socket, PEERS, ShowPeers())
    except Unavailable as exc:
        raise Unavailable(f"only a running node knows its peers: {exc}", hint=_how_to_start(config)) from exc
    if as_json:
        print_json(found)
        return
    _print(found)


def _how_to_start(config: Path) -> str:
    role = role_of(config)
    if role == "client":
        return "a client runs only while it asks"
    return f"start it: cocoon {role} {config}"


def _print(found: "Peers") -> None:
    health = found.health
    print_table(("", ""), _facts(found))
    if health.buckets:
        click.echo()
        print_table(("bucket", *_NUMBERS[:4]), _buckets(health), amounts=_NUMBERS)
    if health.bootstraps:
        click.echo()
        print_table(("bootstrap", "answers", "addresses"), _bootstraps(health))
    if health.connections.ranges:
        click.echo()
        print_table(
            ("range", "connections"),
            [(each.range or "unknown", str(each.connections)) for each in health.connections.ranges],
            amounts=_NUMBERS,
        )


def _facts(found: "Peers") -> Iterable[tuple[str, str]]:
    health = found.health
    connections, kept = health.connections, health.kept
    yield "role", f"{found.role} on {found.network}"
    yield "peer", health.peer
    yield "addresses told", " ".join(health.addresses) or "none"
    yield "reachability", health.reachability
    for seen in found.reach.seen:
        yield f"  {seen.source}", f"{seen.address}: reached by {seen.reached_by}, missed by {seen.missed_by}"
    if found.reach.observed:
        yield "seen from", " ".join(found.reach.observed)
    if found.reach.advice:
        yield "to do", found.reach.advice
    yield "servers known", f"{health.servers}, {health.peers_for_restart} written down for a restart"
    yield "searched", _ago(health.looked_up_seconds_ago)
    yield (
        "connections",
        f"{connections.number}: {connections.inbound} inbound, {connections.outbound} outbound",
    )
    yield (
        "keeps for others",
        "nothing, it only asks"
        if kept is None
        else f"{kept.records} records, {kept.announcements} announcements",
    )


def _buckets(health: "Health") -> Iterable[tuple[str, ...]]:
    for each in health.buckets:
        searched = "never" if each.looked_up_seconds_ago is None else f"{each.looked_up_seconds_ago:.0f}"
        yield (
            str(each.bucket),
            str(each.servers),
            str(each.standing_by),
            f"{each.heard_seconds_ago:.0f}",
            searched,
        )


def _bootstraps(health: "Health") -> Iterable[tuple[str, ...]]:
    for each in health.bootstraps:
        answers = {True: "yes", False: "no", None: "not asked yet"}[each.is_reached]
        yield f"…{each.peer[-8:]}", answers, " ".join(each.addresses)


def _ago(seconds: float | None) -> str:
    return "not yet" if seconds is None else f"{seconds:.0f} s ago"
