"""`cocoon doctor FILE`: what is the matter with a node, and what to do about it."""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio

from cocoon_p2p.cli.node_folder import load_any
from cocoon_p2p.cli.spell import harmless
from cocoon_p2p.errors import Unavailable
from cocoon_p2p.observability import configure_logging

if TYPE_CHECKING:
    from cocoon_p2p.diagnosis import Finding, Patient

_EXIT_CODES = (0, 7, 8)
"By the worst severity."


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--live", is_flag=True, help="Try the network afresh, also where the node runs.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON objects, one a line.")
def doctor(file: Path, live: bool, as_json: bool) -> None:
    """Look at the node that FILE describes: files, disk, network, chain, clock, wallet, channels, engine.

    It may run or not; nothing is changed. The exit code is 0 where all is fine, 7 where something will be
    in the way, 8 where something is.
    """
    from cocoon_p2p.diagnosis import Patient

    loaded = load_any(file)
    configure_logging(sys.stderr, level=loaded.settings.log.level, as_json=loaded.settings.log.json)
    patient = Patient(loaded, time.time)
    if not live:
        patient = _asked(patient)
    worst = trio.run(_tell, patient, as_json)
    if worst:
        sys.exit(_EXIT_CODES[worst])


def _asked(patient: "Patient") -> "Patient":
    from dataclasses import replace

    from cocoon_p2p.control import ask
    from cocoon_p2p.overview.peers import PEERS, ShowPeers

    try:
        return replace(patient, peers=ask(patient.control_socket, PEERS, ShowPeers()))
    except Unavailable:
        return patient


async def _tell(patient: "Patient", as_json: bool) -> int:
    from cocoon_p2p.diagnosis import check_up

    worst = 0
    async for finding in check_up(patient):
        worst = max(worst, finding.severity)
        if as_json:
            told = {**asdict(finding), "severity": finding.severity.name.lower()}
            click.echo(json.dumps(told, ensure_ascii=False))
        else:
            _print(finding)
    return worst


def _print(finding: "Finding") -> None:
    mark = ("ok", "soon", "WRONG")[finding.severity]
    click.echo(harmless(f"{mark:<6} {finding.check:<13} {finding.text}"))
    if finding.remedy:
        page = f"  ({finding.page})" if finding.page else ""
        click.echo(harmless(f"{'':<20} {finding.remedy}{page}"))
