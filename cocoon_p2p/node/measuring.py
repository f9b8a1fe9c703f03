"""How quick a worker's engine is: as was measured before, or measured now.

    cocoon bench    all levels of load, up to the slots --> measured.json: speeds, slots worth having
    cocoon worker   measured.json, where it still holds; else one request and all slots, for some seconds

Spec: inference/measuring.md.
"""

import logging
import time
from collections.abc import Callable

import msgspec

from cocoon_p2p.config import SLOTS_UNMEASURED, Loaded, WorkerFile
from cocoon_p2p.inference.engine import Engine, EngineError, ModelCard
from cocoon_p2p.inference.measuring.kept import (
    Circumstances,
    Measurement,
    read_measurements,
    write_measurements,
)
from cocoon_p2p.inference.measuring.levels import Level, Speeds, concurrencies, slots_worth_having, speeds_at
from cocoon_p2p.inference.measuring.machine import describe_machine
from cocoon_p2p.inference.measuring.sweep import sweep
from cocoon_p2p.node.announce import Announce

log = logging.getLogger(__name__)

SLOTS_TRIED = 8
"How many slots `cocoon bench` opens an engine with where it is to find out how many are worth having."


def with_slots(loaded: Loaded[WorkerFile], *, is_bench: bool = False) -> Loaded[WorkerFile]:
    """Settle how many slots `auto` is: what was found worth having on this machine, of this model.

    Args:
        loaded: The worker's file.
        is_bench: Whether it is to be found out now; then there are as many as are tried.
    """
    worker = loaded.settings.worker
    if worker.slots != "auto":
        return loaded
    slots = SLOTS_TRIED if is_bench else _slots_found(loaded) or worker.slots_opened
    settings = msgspec.structs.replace(loaded.settings, worker=msgspec.structs.replace(worker, slots=slots))
    return Loaded(settings, loaded.path)


def _slots_found(loaded: Loaded[WorkerFile]) -> int | None:
    machine, model = describe_machine(), loaded.settings.worker.model
    for each in read_measurements(loaded.data_directory).values():
        if (each.circumstances.machine, each.circumstances.model) == (machine, model):
            return each.slots
    return None


async def bench(
    loaded: Loaded[WorkerFile],
    engine: Engine,
    *,
    seconds: float,
    is_auto: bool,
    tell: Callable[[ModelCard, Level], None] = lambda _card, _level: None,
) -> dict[str, Measurement]:
    """Measure each model of an engine, all levels of load, and keep what came of it in the data folder.

    Args:
        loaded: The worker's file, its slots settled.
        engine: Opened by it.
        seconds: About how long each model may take.
        is_auto: Whether the worker opens as many slots as are found worth having here.
        tell: Told of each level when it is done.

    Raises:
        EngineError: It cannot be measured.
        ConfigurationError: The data folder cannot be written.
    """
    measured: dict[str, Measurement] = {}
    slots = engine.capabilities.slots
    for card in engine.capabilities.models:

        def tell_level(level: Level, card: ModelCard = card) -> None:
            tell(card, level)

        levels = await sweep(
            engine, card, concurrencies=concurrencies(slots), seconds=seconds, tell=tell_level
        )
        worth = slots_worth_having(levels, slots)
        opened = (worth or SLOTS_UNMEASURED) if is_auto else slots
        measured[card.name] = Measurement(
            _circumstances(loaded, engine, card, opened), int(time.time()), levels, worth
        )
    write_measurements(loaded.data_directory, measured)
    return measured


async def find_speeds(loaded: Loaded[WorkerFile], engine: Engine, announce: Announce) -> dict[str, Speeds]:
    """Say how quick an engine that was just opened is: each model by what is kept of it, else measured now.

    A model that cannot be measured is left out: it is served all the same, and nothing is promised of it.
    """
    seconds = loaded.settings.worker.measure_seconds
    if not seconds:
        return {}
    kept, speeds = read_measurements(loaded.data_directory), dict[str, Speeds]()
    slots = engine.capabilities.slots
    for card in engine.capabilities.models:
        here = _circumstances(loaded, engine, card, slots)
        known = kept.get(card.name)
        if known is None or known.circumstances != here:
            announce("measuring", model=card.name)
            known = await _measure_briefly(engine, card, here, seconds)
            if known is None:
                continue
            write_measurements(loaded.data_directory, {card.name: known})
        speeds[card.name] = found = speeds_at(known.levels, slots)
        announce("speed", model=card.name, **spell_speeds(found))
    return speeds


async def _measure_briefly(
    engine: Engine, card: ModelCard, here: Circumstances, seconds: float
) -> Measurement | None:
    """Measure one request alone and as many as there are slots."""
    levels = sorted({1, engine.capabilities.slots})
    try:
        found = await sweep(engine, card, concurrencies=levels, seconds=seconds)
    except EngineError as exc:
        # Its own words may quote what it was asked, which was nobody's secret; still they stay out.
        log.warning("not measured", extra={"model": card.name, "error": type(exc).__name__})
        return None
    return Measurement(here, int(time.time()), found)


def spell_speeds(speeds: Speeds) -> dict[str, str]:
    """Spell speeds for a node's steps."""
    spelled = {"prefill": f"prefill {speeds.prefill:,.0f} tokens/s"}
    if speeds.decode is not None:
        spelled["decode"] = f"decode {speeds.decode:,.1f}"
    if speeds.decode_full is not None:
        spelled["decode_full"] = f"at full load {speeds.decode_full:,.1f} each"
    return spelled


def _circumstances(loaded: Loaded[WorkerFile], engine: Engine, card: ModelCard, slots: int) -> Circumstances:
    return Circumstances(
        model=loaded.settings.worker.model,
        weights_hash=card.weights_hash.hex(),
        engine=engine.capabilities.engine,
        context_tokens=card.context_tokens,
        slots=slots,
        threads=loaded.settings.worker.threads,
        machine=describe_machine(),
    )
