"""`cocoon demo`: the whole network on this machine, and a paid answer from it.

A bootstrap node, a proxy and workers run as everybody runs them, a process each with a config
file; this process is the client. When they have ended, the table of who paid whom is read
from each one's own ledger.
"""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio

from cocoon_p2p.cli.steps import spell_facts
from cocoon_p2p.config import ClientFile, load
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.observability import configure_logging

FOUND_SECONDS = 30.0
"How long the proxy's record may take to be found with a model in it."

DEFAULT_PROMPT = "Translate to Spanish: the red house"


@click.command()
@click.option("--prompt", help=f"What to ask. [default: {DEFAULT_PROMPT}]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end, and nothing else.")
@click.option("--workers", type=click.IntRange(1, 16), default=2, show_default=True)
@click.option(
    "--serve",
    "place",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the network up until Ctrl-C, its config files in this folder, for other commands to use.",
)
def demo(prompt: str | None, as_json: bool, workers: int, place: Path | None) -> None:
    """Bring up a whole network on this machine and buy an answer from it.

    Without --prompt, and with a terminal, it goes on asking what you want to know.
    """
    configure_logging(sys.stderr, level="warning", as_json=False)
    is_talking = prompt is None and not as_json and place is None and sys.stdin.isatty()
    show = Show(is_quiet=as_json)
    with _folder(place) as folder:
        run = partial(_demo, prompt or DEFAULT_PROMPT, workers, folder, show, place is not None, is_talking)
        trio.run(_until_ended, run)


async def _until_ended(run: Callable[[], Awaitable[None]]) -> None:
    """Run until done, or until told to end: the nodes are processes of their own, and would stay behind.

    Raises:
        KeyboardInterrupt: It was told to end; the nodes have ended.
    """
    is_told = False
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as signals:
        async with open_service_nursery() as nursery:

            async def listen() -> None:
                nonlocal is_told
                async for _ in signals:
                    is_told = True
                    nursery.cancel_scope.cancel()

            nursery.start_soon(listen)
            await run()
    if is_told:
        raise KeyboardInterrupt


class Show:
    """What the person at the terminal sees: everything, or with --json only the last object."""

    def __init__(self, *, is_quiet: bool) -> None:
        self.is_quiet = is_quiet
        self._began = time.perf_counter()

    def line(self, text: str = "", *, newline: bool = True) -> None:
        if not self.is_quiet:
            click.echo(text, nl=newline)

    def step(self, node: str, step: dict[str, Any]) -> None:
        """Show one step of one node on its way into the network, at the demo's own time."""
        if step["step"] in ("stopping", "stopped"):
            return
        seconds = time.perf_counter() - self._began
        spelled = spell_facts(value for name, value in step.items() if name not in ("step", "seconds"))
        self.line(f"  {seconds:6.2f} s  {node:<10} {step['step']:<11} {spelled}".rstrip())


async def _demo(
    prompt: str, workers: int, folder: Path, show: Show, is_serving: bool, is_talking: bool
) -> None:
    from cocoon_p2p.cli.books import who_paid_whom
    from cocoon_p2p.node import open_client
    from cocoon_p2p.testing.processes import open_local_network

    show.line("A network of its own, every node a process on this machine:")
    async with open_local_network(folder, workers=workers, watch=show.step) as network:
        async with open_client(load(ClientFile, network.client_file, os.environ)) as client:
            facts = await _buy(client, prompt, show)
            if is_talking:
                from cocoon_p2p.cli.ask import talk

                await talk(client, model=facts["model"], wishes={})
        if is_serving:
            await _serve(folder, show)
    books = await who_paid_whom(folder, list(network.nodes))
    facts["unspent"] = books.unspent
    if show.is_quiet:
        click.echo(json.dumps(facts))
    else:
        books.print()


@contextmanager
def _folder(place: Path | None) -> Iterator[Path]:
    """Use the folder that was named, which must be empty or new, or one that vanishes."""
    if place is None:
        with tempfile.TemporaryDirectory(prefix="cocoon-demo-") as temporary:
            yield Path(temporary)
        return
    from cocoon_p2p.errors import ConfigurationError

    place.mkdir(parents=True, exist_ok=True)
    if any(place.iterdir()):
        raise ConfigurationError(f"{place} is not empty", hint="name a new folder for --serve")
    yield place


async def _buy(client: Any, prompt: str, show: Show) -> dict[str, Any]:
    from cocoon_p2p.cli.spell import answer_facts, footer, harmless
    from cocoon_p2p.errors import Unavailable

    offers: Any = ()
    with trio.move_on_after(FOUND_SECONDS):
        while not (offers := await client.models()):  # noqa: ASYNC110  (each look is a search)
            await trio.sleep(0.1)
    if not offers:
        raise Unavailable(
            "the proxy was not found in the directory", hint="run it again with --serve and read the logs"
        )
    show.line(f"\n> {prompt}")
    async with client.chat(offers[0].model.name, [{"role": "user", "content": prompt}]) as answer:
        async for piece in answer:
            show.line(harmless(piece.text), newline=False)
    show.line()
    show.line(footer(answer))
    return answer_facts(answer)


async def _serve(folder: Path, show: Show) -> None:
    show.line("\nThe network stays up until Ctrl-C. In another terminal:\n")
    show.line(f"    cocoon chat --config {folder}/client.toml\n")
    if show.is_quiet:
        click.echo(json.dumps({"client": str(folder / "client.toml")}), err=True)
    await trio.sleep_forever()
