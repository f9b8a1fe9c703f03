"""`cocoon bench FILE`: how quick a worker's models are on this machine, and how many requests at once pay."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio

from cocoon_p2p.cli.steps import StepPrinter
from cocoon_p2p.cli.tables import print_json, print_table
from cocoon_p2p.config import Loaded, WorkerFile, load
from cocoon_p2p.errors import ConfigurationError, Unavailable
from cocoon_p2p.observability import configure_logging

if TYPE_CHECKING:
    from cocoon_p2p.inference.engine import ModelCard
    from cocoon_p2p.inference.measuring.kept import Measurement
    from cocoon_p2p.inference.measuring.levels import Level

_COLUMNS = ("requests at once", "first token, s", "prefill, tokens/s", "decode, each", "decode, in all")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1, max=3600),
    default=15.0,
    show_default=True,
    help="About how long each model may take.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench(file: Path, seconds: float, as_json: bool) -> None:
    """Measure the models of the worker that FILE describes, and keep what the worker then advertises.

    Real requests of random words: one at a time, then two at once, four, and so on up to the slots, until
    more bring nothing. With slots = "auto" eight are tried, and the worker opens as many as paid. Stop the
    worker first, and leave the machine alone: whatever else it does shows in the figures.
    """
    loaded = load(WorkerFile, file, os.environ)
    configure_logging(sys.stderr, level=loaded.settings.log.level, as_json=loaded.settings.log.json)
    _refuse_running(loaded)
    measured = trio.run(_bench, loaded, seconds)
    if as_json:
        print_json({name: _facts(each) for name, each in measured.items()})
        return
    for name, each in measured.items():
        click.echo(f"\n{name}  {each.circumstances.engine}  {each.circumstances.machine}")
        print_table(_COLUMNS, map(_row, each.levels), amounts=_COLUMNS)
        click.echo(_advice(loaded, each))


def _refuse_running(loaded: Loaded[WorkerFile]) -> None:
    from cocoon_p2p.config.folder import CONTROL_SOCKET
    from cocoon_p2p.control import ask
    from cocoon_p2p.overview.peers import PEERS, ShowPeers

    try:
        ask(loaded.data_directory / CONTROL_SOCKET, PEERS, ShowPeers())
    except Unavailable:
        return
    raise ConfigurationError(
        "the worker runs: what it serves meanwhile would show in the figures", hint="stop it, then measure"
    )


async def _bench(loaded: Loaded[WorkerFile], seconds: float) -> "dict[str, Measurement]":
    from cocoon_p2p.inference.engine import EngineError
    from cocoon_p2p.node.engine import open_engine
    from cocoon_p2p.node.measuring import bench, with_slots

    show = StepPrinter(as_json=False)
    is_auto = loaded.settings.worker.slots == "auto"
    settled = with_slots(loaded, is_bench=True)

    def tell(card: "ModelCard", level: "Level") -> None:
        show("measured", model=card.name, load=f"{level.concurrency} at once")

    async with open_engine(settled, show) as engine:
        try:
            return await bench(settled, engine, seconds=seconds, is_auto=is_auto, tell=tell)
        except EngineError as exc:
            raise Unavailable(f"the engine cannot be measured: {exc}") from exc


def _row(level: "Level") -> tuple[str, ...]:
    return (
        str(level.concurrency),
        f"{level.first_token_seconds:.3f}",
        f"{level.prefill:,.1f}",
        *("none" if rate is None else f"{rate:,.1f}" for rate in (level.decode, level.decode_all)),
    )


def _advice(loaded: Loaded[WorkerFile], measured: "Measurement") -> str:
    slots, worth, opened = loaded.settings.worker.slots, measured.slots, measured.circumstances.slots
    if worth is None:
        return "there was no time to see how many slots pay: give it more --seconds"
    if slots == "auto":
        return f"{worth} at once bring all that there is; the worker will open {opened} slots"
    if worth < slots:
        return f"{worth} at once bring as much as {slots} do: with slots = {worth} each is answered sooner"
    return f'all {slots} slots pay; more may: slots = "auto" tries'


def _facts(measured: "Measurement") -> dict[str, object]:
    from cocoon_p2p.inference.measuring.levels import speeds_at

    here = measured.circumstances
    told = speeds_at(measured.levels, here.slots)
    return {
        "circumstances": here,
        "levels": [
            {
                "requests_at_once": level.concurrency,
                "first_token_seconds": level.first_token_seconds,
                "prefill_tokens_per_second": level.prefill,
                "decode_tokens_per_second": level.decode,
                "decode_tokens_per_second_in_all": level.decode_all,
            }
            for level in measured.levels
        ],
        "slots_worth_having": measured.slots,
        "advertised": {
            "prefill_tokens_per_second": told.prefill,
            "decode_tokens_per_second": told.decode,
            "decode_tokens_per_second_at_full_load": told.decode_full,
        },
    }
