"""`cocoon gateway`: OpenAI's API on this machine, paid for through the network."""

import gc
import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio

from cocoon_p2p.cli.buying import config_option
from cocoon_p2p.cli.gateway_key import key
from cocoon_p2p.config import ClientFile, Loaded, load
from cocoon_p2p.notify import ServiceManager, keep_told
from cocoon_p2p.nursery import open_service_nursery
from cocoon_p2p.observability import configure_logging
from cocoon_p2p.units import Nano

if TYPE_CHECKING:
    from cocoon_p2p.gateway import Settings


@click.group(invoke_without_command=True)
@config_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The IP address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8900, show_default=True, help="0: the system chooses."
)
@click.option(
    "--name", "names", multiple=True, help="A host name it is called by, such as api.example.org. Repeatable."
)
@click.option(
    "--requests",
    type=click.IntRange(1, 10_000),
    default=128,
    show_default=True,
    help="Served at once at most.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object when it listens.")
@click.pass_context
def gateway(
    context: click.Context,
    config_file: Path,
    host: str,
    port: int,
    names: tuple[str, ...],
    requests: int,
    as_json: bool,
) -> None:
    """Serve OpenAI's API, and buy each answer from the network. Ctrl-C lets running answers end.

    Point any OpenAI client at http://127.0.0.1:8900/v1. As long as no API key was made (`cocoon gateway key
    create`) it answers whoever reaches it, and only this machine does.
    """
    if context.invoked_subcommand is not None:
        return
    from cocoon_p2p.gateway import Settings

    loaded = load(ClientFile, config_file, os.environ)
    configure_logging(sys.stderr, level=loaded.settings.log.level, as_json=loaded.settings.log.json)
    settings = Settings(
        host=host,
        port=port,
        names=names,
        max_price=Nano(loaded.settings.client.max_cost),
        requests_max=requests,
    )
    trio.run(_run, loaded, settings, as_json)


gateway.add_command(key)


async def _run(loaded: "Loaded[ClientFile]", settings: "Settings", as_json: bool) -> None:
    """Serve until told to stop: the first SIGTERM or Ctrl-C lets what runs end, the second does not."""
    from cocoon_p2p.diagnosis import from_inside
    from cocoon_p2p.gateway import serve
    from cocoon_p2p.gateway.key_deeds import KeyDeeds
    from cocoon_p2p.gateway.keys import Keys
    from cocoon_p2p.node import open_client

    deeds = KeyDeeds()
    stop, manager = trio.Event(), ServiceManager(os.environ)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_service_nursery() as nursery:

            async def listen() -> None:
                async for _ in signals:
                    if stop.is_set():
                        nursery.cancel_scope.cancel()
                    stop.set()

            nursery.start_soon(listen)
            nursery.start_soon(keep_told, manager, stop)
            async with (
                open_client(loaded, answers=deeds.answers(), check=from_inside(loaded)) as client,
                trio.open_nursery() as serving,
            ):
                keys = Keys(client.ledger, client.purses, time.time)
                await keys.load()
                deeds.begin(keys, client.purses)
                url: str = await serving.start(partial(serve, client, settings, keys=keys, stop=stop))
                _announce(url, as_json=as_json)
                manager.status(f"listening {url}")
                manager.ready()


def _announce(url: str, *, as_json: bool) -> None:
    # What was loaded by now stays: looking through it for cycles again and again would hold answers up.
    gc.collect()
    gc.freeze()
    if as_json:
        click.echo(json.dumps({"event": "listening", "url": url}))
    else:
        click.echo(f"{url}/v1 answers as OpenAI's API does; Ctrl-C ends it", err=True)
