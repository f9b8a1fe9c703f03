"""`cocoon doctor FILE`: what is the matter with a node, and what to do about it."""

import errno
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cocoon_p2p.cli.node_folder import load_any
from cocoon_p2p.cli.spell import one_line
from cocoon_p2p.cli.tables import print_json
from cocoon_p2p.errors import Unavailable
from cocoon_p2p.observability import configure_logging

if TYPE_CHECKING:
    from cocoon_p2p.diagnosis import Check
    from cocoon_p2p.overview.snapshot import FindingView, Snapshot

_EXIT_CODES = {"fine": 0, "warning": 7, "failure": 8}
_MARKS = {"fine": "ok", "warning": "soon", "failure": "WRONG"}

PATIENCE_SECONDS = 5.0
"For a node that has taken the question, and may be busy. One that is well answers in milliseconds."


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--live", is_flag=True, help="Look afresh, where the node runs too; within 20 seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON objects, one a line.")
def doctor(file: Path, live: bool, as_json: bool) -> None:
    """Say what is the matter with the node that FILE describes, and what to do about it.

    A node that runs looks itself over every ten minutes, and what it found last is told at once. One that
    does not is looked at from outside. Nothing is changed. Each finding has its place in docs/status.md. The
    exit code is 0 where all is fine, 7 where something will be in the way, 8 where something is.
    """
    loaded = load_any(file)
    configure_logging(sys.stderr, level=loaded.settings.log.level, as_json=loaded.settings.log.json)
    worst: set[str] = set()

    def tell(view: "FindingView") -> None:
        worst.add(view.severity)
        _print(view, as_json=as_json)

    _examine(file, tell, is_live=live)
    code = max((_EXIT_CODES[severity] for severity in worst), default=0)
    if code:
        sys.exit(code)


def _examine(file: Path, tell: "Callable[[FindingView], None]", *, is_live: bool) -> None:
    """Have a node looked at by whoever can: itself, as it did last, or this process."""
    from cocoon_p2p.config.folder import CONTROL_SOCKET
    from cocoon_p2p.control import ask
    from cocoon_p2p.overview.findings import CHECK_UP, CheckUp
    from cocoon_p2p.overview.snapshot import SNAPSHOT, ShowSnapshot

    socket = load_any(file).data_directory / CONTROL_SOCKET
    try:
        seen = ask(socket, SNAPSHOT, ShowSnapshot(), patience_seconds=PATIENCE_SECONDS)
        if is_live:
            _live(file, socket, tell, seen)
            return
        if seen.checked_at is None:
            for view in ask(socket, CHECK_UP, CheckUp()).findings:
                tell(view)
            return
    except Unavailable as exc:
        _from_outside(file, tell, exc)
        return
    for view in seen.findings:
        tell(view)
    ago = max(0.0, seen.now - seen.checked_at)
    click.echo(f"as it looked itself over {ago:.0f} s ago; afresh with --live", err=True)


def _from_outside(file: Path, tell: "Callable[[FindingView], None]", why: Unavailable) -> None:
    """Look at a node that does not answer."""
    from cocoon_p2p.cli.node_folder import is_running
    from cocoon_p2p.diagnosis import Finding, Severity
    from cocoon_p2p.diagnosis.checkup import CHECKS, OF_ITS_OWN

    checks = dict(CHECKS)
    if is_running(load_any(file).data_directory):
        remedy = "if it stays so, look at its log, and start it again"
        tell(Finding("running", Severity.FAILURE, f"it runs, and does not answer: {why}", remedy).view)
        # It may be busy only, and has these: a second model in memory would end it.
        checks = {name: check for name, check in CHECKS.items() if name not in OF_ITS_OWN}
    else:
        tell(Finding("running", Severity.FINE, "it does not run; this is what is seen from outside").view)
    _look(file, tell, checks)


def _look(file: Path, tell: "Callable[[FindingView], None]", checks: "Mapping[str, Check]") -> None:
    """Look at a node from outside."""
    from cocoon_p2p.diagnosis import Patient, check_up

    patient = Patient(load_any(file), time.time)
    _run(partial(check_up, patient, lambda finding: tell(finding.view), checks=checks))


def _live(file: Path, socket: Path, tell: "Callable[[FindingView], None]", seen: "Snapshot") -> None:
    """Have a running node look itself over, and look at its network as a stranger would meanwhile."""
    import trio

    from cocoon_p2p.control import ask
    from cocoon_p2p.diagnosis import Check, Patient, check_up, look_from_outside
    from cocoon_p2p.overview.findings import CHECK_UP, CheckUp

    checks: dict[str, Check] = {"network": look_from_outside}

    async def inside() -> None:
        for view in (await trio.to_thread.run_sync(ask, socket, CHECK_UP, CheckUp())).findings:
            tell(view)

    async def look() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inside)
            patient = Patient(load_any(file), time.time, seen)
            await check_up(patient, lambda finding: tell(finding.view), checks=checks)

    _run(look)


def _run(look: "Callable[[], Awaitable[None]]") -> None:
    import trio

    try:
        trio.run(look)
    except BaseExceptionGroup as exc:
        if exc.subgroup(BrokenPipeError) is None:
            raise
        # Nobody reads any more (`| head`): Click knows what to do about that.
        raise BrokenPipeError(errno.EPIPE, "nobody reads any more") from exc


def _print(view: "FindingView", *, as_json: bool) -> None:
    if as_json:
        print_json(view)
        return
    for line in _lines(view):
        click.echo(one_line(line))


def _lines(view: "FindingView") -> Iterable[str]:
    yield f"{_MARKS[view.severity]:<6} {view.check:<13} {view.text}"
    if view.remedy:
        yield f"{'':<20} {view.remedy}  ({view.page})"
