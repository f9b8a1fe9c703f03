"""`cocoon demo`: the whole network on this machine, and a paid answer from it.

A local TON chain, a bootstrap node, a proxy and workers run as everybody runs them, a process each with
a config file; this process is the client. In the end the channels are closed on the chain; who paid whom
is read from each one's own ledger, and what that came to from everybody's balance on the chain.
"""

import importlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import trio

from cocoon_p2p.cli.steps import spell_facts
from cocoon_p2p.config import ClientFile, load
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.observability import configure_logging

if TYPE_CHECKING:
    from cocoon_p2p.cli.books import Books
    from cocoon_p2p.cli.chain_books import ChainBooks
    from cocoon_p2p.cli.demo_loss import Loss
    from cocoon_p2p.client import Answer, Client
    from cocoon_p2p.testing.processes import LocalNetwork

FOUND_SECONDS = 30.0
"How long the proxy's record may take to be found with a model in it."

_UNSHOWN_STEPS = frozenset(("stopping", "stopped", "saved", "config"))
_UNSHOWN_OF_NODES = frozenset(
    ("bootstrap", "chain", "gas", "attestation", "warm-up", "seen", "first job", "reachability")
)
"Steps that a node tells who joins a network; here all of it is one machine's."

_UNSHOWN_FACTS = frozenset(("step", "seconds", "status", "key", "global_id", "way"))

DEFAULT_PROMPT = "Translate to Spanish: the red house"
LONGER_PROMPT = "What is this network?"
"Where a worker is to be killed: its answer has some twenty tokens."


@click.command()
@click.option("--prompt", help=f"What to ask. [default: {DEFAULT_PROMPT}]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end, and nothing else.")
@click.option("--workers", type=click.IntRange(1, 16), default=2, show_default=True)
@click.option(
    "--kill-worker-after",
    type=click.IntRange(1, 10_000),
    metavar="TOKENS",
    help="Kill the worker that answers after so many tokens: another one goes on. Takes two workers.",
)
@click.option(
    "--tokens-per-second",
    type=click.IntRange(1, 1_000_000),
    help="Have the workers answer no faster, so that there is something to see.",
)
@click.option(
    "--serve",
    "place",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the network up until Ctrl-C, its config files and wallets in this folder, for other commands.",
)
def demo(
    prompt: str | None,
    as_json: bool,
    workers: int,
    kill_worker_after: int | None,
    tokens_per_second: int | None,
    place: Path | None,
) -> None:
    """Bring up a whole network on this machine, with a TON chain of its own, and buy an answer from it.

    Without --prompt, and with a terminal, it goes on asking what you want to know.
    """
    configure_logging(sys.stderr, level="warning", as_json=False)
    is_killing = kill_worker_after is not None
    is_talking = prompt is None and not as_json and place is None and not is_killing and sys.stdin.isatty()
    show = Show(is_quiet=as_json)
    wanted = Wanted(
        prompt or (LONGER_PROMPT if is_killing else DEFAULT_PROMPT),
        workers,
        kill_worker_after,
        tokens_per_second or 0,
        is_serving=place is not None,
        is_talking=is_talking,
    )
    with _folder(place) as folder:
        run = partial(_demo, wanted, folder, show)
        is_sound = trio.run(_until_ended, run)
    if not is_sound:
        sys.exit(1)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be shown."""

    prompt: str
    workers: int
    kill_after: int | None
    "Tokens after which the worker is killed that answers."

    tokens_per_second: int
    is_serving: bool
    is_talking: bool


async def _until_ended(run: Callable[[], Awaitable[bool]]) -> bool:
    """Run until done, or until told to end: the nodes are processes of their own, and would stay behind.

    Returns:
        What `run` did.

    Raises:
        KeyboardInterrupt: It was told to end; the nodes have ended.
    """
    is_told = is_sound = False
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as signals:
        async with open_service_nursery() as nursery:

            async def listen() -> None:
                nonlocal is_told
                async for _ in signals:
                    is_told = True
                    nursery.cancel_scope.cancel()

            nursery.start_soon(listen)
            is_sound = await run()
    if is_told:
        raise KeyboardInterrupt
    return is_sound


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
        if step["step"] in _UNSHOWN_STEPS or (step["step"] in _UNSHOWN_OF_NODES and _is_well(step)):
            return
        seconds = time.perf_counter() - self._began
        spelled = spell_facts(value for name, value in step.items() if name not in _UNSHOWN_FACTS)
        self.line(f"  {seconds:6.2f} s  {node:<10} {step['step']:<11} {spelled}".rstrip())


def _is_well(step: dict[str, Any]) -> bool:
    return bool(step.get("status", "ok") == "ok")


async def _demo(wanted: Wanted, folder: Path, show: Show) -> bool:
    """Run all of it.

    Returns:
        Whether all that was paid is accounted for.
    """
    from cocoon_p2p.cli.books import who_paid_whom
    from cocoon_p2p.cli.demo_chain import NO_TONPY, PROXY_KEYS, is_chain_here
    from cocoon_p2p.testing.processes import open_local_network

    on_chain = is_chain_here()
    if not on_chain:
        click.echo(NO_TONPY, err=show.is_quiet)
    show.line("A network of its own, every node a process on this machine:")
    async with open_service_nursery() as nursery:
        nursery.start_soon(_load_network_code)
        async with open_local_network(
            folder,
            workers=wanted.workers,
            worker_keys={"tokens_per_second": wanted.tokens_per_second},
            on_chain=on_chain,
            proxy_keys=PROXY_KEYS,
            watch=show.step,
        ) as network:
            facts, chain_books = await _trade(network, wanted, show, nursery)
            if wanted.is_serving:
                await _serve(network, show)
    books = await who_paid_whom(folder, list(network.nodes))
    return conclude(facts, books, chain_books, show)


async def _trade(
    network: "LocalNetwork", wanted: Wanted, show: Show, nursery: trio.Nursery
) -> "tuple[dict[str, object], ChainBooks | None]":
    """Buy answers, on channels that are opened on the chain before, and closed there after.

    A worker that was killed is started again in the nursery: what it earned is agreed on with its new life.
    """
    from cocoon_p2p.cli.demo_chain import DemoChain
    from cocoon_p2p.cli.demo_loss import Loss
    from cocoon_p2p.cli.spell import answer_facts
    from cocoon_p2p.node import open_paying_client

    loaded = load(ClientFile, network.client_file, os.environ)
    async with open_paying_client(loaded) as opened:
        chain = None if network.fortune is None else DemoChain(network, opened, show.step)
        model = await _find_model(opened.client)
        if chain is not None:
            await chain.begin(loaded.settings.client.channel_capacity)
        loss = None if wanted.kill_after is None else Loss(network, wanted.kill_after)
        answer = await _buy(opened.client, model, wanted.prompt, show, loss)
        if loss is not None:
            await loss.undo(nursery, answer)
        facts = answer_facts(answer)
        if wanted.is_talking:
            from cocoon_p2p.cli.ask import talk

            await talk(opened.client, model=model, wishes={})
        if chain is None:
            return facts, None
        await chain.see_proxy_open()
        return facts, None if wanted.is_serving else await chain.end()


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


async def _load_network_code() -> None:
    """Import what the client needs while the nodes come up: that takes as long as their own start."""
    for module in ("cocoon_p2p.network.libp2p.kad", "cocoon_p2p.payments.lite.connection"):
        await trio.to_thread.run_sync(importlib.import_module, module)


async def _find_model(client: "Client") -> str:
    from cocoon_p2p.errors import Unavailable

    with trio.move_on_after(FOUND_SECONDS):
        while not (offers := await client.models()):  # noqa: ASYNC110  (each look is a search)
            await trio.sleep(0.1)
        return offers[0].model.name
    from cocoon_p2p.cli.demo_chain import HINT

    raise Unavailable("the proxy was not found in the directory", hint=HINT)


async def _buy(client: "Client", model: str, prompt: str, show: Show, loss: "Loss | None") -> "Answer":
    from cocoon_p2p.cli.spell import footer, harmless

    show.line(f"\n> {prompt}")
    async with client.chat(model, [{"role": "user", "content": prompt}]) as answer:
        async for piece in answer:
            show.line(harmless(piece.text), newline=False)
            if loss is not None:
                loss.look(answer, piece.completion_tokens)
    show.line()
    show.line(footer(answer))
    if loss is not None:
        show.line(f"  {loss.victim or 'nobody'} was killed after {answer.parts[0].usage.completion} tokens")
    show.line()
    return answer


def conclude(facts: dict[str, object], books: "Books", chain_books: "ChainBooks | None", show: Show) -> bool:
    """Show who paid whom, and say whether all of it is accounted for."""
    faults = [*books.faults, *(chain_books.faults(books) if chain_books else ())]
    facts |= {
        "unspent": books.unspent,
        "chain": None if chain_books is None else "local",
        "channel_addresses": [contract.address for contract in chain_books.contracts] if chain_books else [],
        "onchain": chain_books and chain_books.facts(books),
        "faults": faults,
    }
    if show.is_quiet:
        click.echo(json.dumps(facts))
    else:
        show.line()
        books.print()
        if chain_books is not None:
            show.line()
            chain_books.print(books)
    return not faults


async def _serve(network: "LocalNetwork", show: Show) -> None:
    place = network.place
    show.line("\nThe network stays up until Ctrl-C. In another terminal:\n")
    show.line(f"    cocoon chat --config {place}/client.toml")
    if network.fortune is not None:
        show.line(f"    cocoon channels list --config {place}/client.toml")
        show.line(f"    cocoon wallet show {place}/client.wallet --chain {network.fortune.config}")
    show.line("\nTo sell in it, say in a worker's file (`cocoon init worker`):\n")
    show.line(f'    bootstrap = "{network.network_file.resolve()}"')
    show.line()
    if show.is_quiet:
        click.echo(json.dumps({"client": str(network.client_file)}), err=True)
    await trio.sleep_forever()
