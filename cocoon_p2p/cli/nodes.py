"""`cocoon bootstrap|proxy|worker FILE`: run one node until it is told to stop."""

import functools
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click
import trio

from cocoon_p2p.cli.steps import StepPrinter, spell_facts
from cocoon_p2p.config import BootstrapFile, Loaded, ProxyFile, WorkerFile, load
from cocoon_p2p.notify import ServiceManager, keep_told
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.observability import configure_logging

F = TypeVar("F", WorkerFile, ProxyFile, BootstrapFile)

_file = click.argument("file", type=click.Path(path_type=Path))
_json = click.option("--json", "as_json", is_flag=True, help="Print the steps as JSON objects, one a line.")


@click.command()
@_file
@_json
def bootstrap(file: Path, as_json: bool) -> None:
    """Run the bootstrap node that FILE describes: the first address that others dial."""
    from cocoon_p2p.node import run_bootstrap

    _run(run_bootstrap, load(BootstrapFile, file, os.environ), as_json)


@click.command()
@_file
@_json
def proxy(file: Path, as_json: bool) -> None:
    """Run the proxy that FILE describes."""
    from cocoon_p2p.node import run_proxy

    _run(run_proxy, load(ProxyFile, file, os.environ), as_json)


@click.command()
@_file
@_json
def worker(file: Path, as_json: bool) -> None:
    """Run the worker that FILE describes. SIGTERM lets it finish what runs; a second one does not."""
    from cocoon_p2p.node import run_worker

    _run(run_worker, load(WorkerFile, file, os.environ), as_json)


def _run(run: Callable[..., Awaitable[None]], loaded: Loaded[F], as_json: bool) -> None:
    from cocoon_p2p.diagnosis import from_inside

    configure_logging(sys.stderr, level=loaded.settings.log.level, as_json=loaded.settings.log.json)
    checked = functools.partial(run, check=from_inside(loaded))
    trio.run(functools.partial(_until_told, checked, loaded, NodeSteps(as_json=as_json)))


class NodeSteps(StepPrinter):
    """The steps of a node, which has loaded what it needs by the time it is ready.

    Attributes:
        manager: What systemd sees of them.
    """

    def __init__(self, *, as_json: bool, out: TextIO | None = None) -> None:
        super().__init__(as_json=as_json, out=out)
        self.manager = ServiceManager(os.environ)

    def __call__(self, step: str, **facts: object) -> None:
        if step == "ready":
            # Python looks through all objects for cycles now and then, and nobody has a turn meanwhile:
            # with libp2p's modules, which stay anyway, that took 360 ms under a flood.
            gc.collect()
            gc.freeze()
        super().__call__(step, **facts)
        self.manager.status(f"{step} {spell_facts(facts.values())}")
        if step == "ready":
            self.manager.ready()


async def _until_told(
    run: Callable[[Loaded[Any], StepPrinter, trio.Event], Awaitable[None]],
    loaded: Loaded[Any],
    announce: NodeSteps,
) -> None:
    """Run the node; the first SIGTERM or Ctrl-C asks it to finish, the second ends it at once."""
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_service_nursery() as nursery:
            nursery.start_soon(keep_told, announce.manager, stop)

            async def listen() -> None:
                async for _ in signals:
                    if stop.is_set():
                        nursery.cancel_scope.cancel()
                    announce("stopping")
                    stop.set()

            nursery.start_soon(listen)
            await run(loaded, announce, stop)
    announce("stopped")
